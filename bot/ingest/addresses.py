"""Addresses of servers, as an operator writes them."""

from yarl import URL

from bot.domain import errors


def server(source: str, text: str) -> URL:
    """Raises UsageError where ``text`` is no ``http://`` or ``https://`` address."""
    return _checked(source, text, ("https", "http"), "address of a server")


def websocket(source: str, text: str) -> URL:
    """Raises UsageError where ``text`` is no ``ws://`` or ``wss://`` address."""
    return _checked(source, text, ("wss", "ws"), "WebSocket address")


def _checked(source: str, text: str, schemes: tuple[str, ...], kind: str) -> URL:
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    if url.scheme not in schemes or not url.host:
        begins = " or ".join(f"{each}://" for each in schemes)
        raise errors.UsageError(f"source {source}: its url is no {kind}; it begins with {begins}")
    return url
