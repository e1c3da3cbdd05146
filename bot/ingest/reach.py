"""Which machines a redirect may lead to: none of our own networks, unless the configured host is itself in one."""

import ipaddress
import socket

from aiohttp import abc, resolver
from yarl import URL

from bot.ingest import trouble

_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")  # IPv4 behind NAT64

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Reach(abc.AbstractResolver):
    """A connection's names; ``check`` is for addresses that are written out, which are never looked up."""

    def __init__(self, home: URL, names: abc.AbstractResolver | None = None) -> None:
        self._home = home.raw_host or ""
        self._names = names or resolver.DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[abc.ResolveResult]:
        """Raises LostError for one that may not be asked, OSError where there is no such name."""
        try:
            found = await self._names.resolve(host, port, family)
        except UnicodeError:  # a label that is empty, or longer than there is
            raise OSError("no name") from None
        if host != self._home and any(inside(each["host"]) for each in found):
            await self._check_home()
        return found

    async def check(self, url: URL) -> None:
        """Raises LostError."""
        if url.raw_host != self._home and inside(url.raw_host or ""):
            await self._check_home()

    async def close(self) -> None:
        await self._names.close()

    async def _check_home(self) -> None:
        if not inside(self._home):
            try:
                found = await self._names.resolve(self._home, 0, socket.AF_UNSPEC)
            except (OSError, UnicodeError):
                found = []
            if not any(inside(each["host"]) for each in found):
                raise trouble.LostError("redirects to an address inside a private network")


def inside(host: str) -> bool:
    """Is this address, or ``localhost``, anything but a single machine of the public internet? Not for other names."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        address: Address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        address = _within(address)
    return address.is_multicast or not address.is_global


def _within(address: ipaddress.IPv6Address) -> Address:
    """The IPv4 address that it stands for, if it does."""
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
