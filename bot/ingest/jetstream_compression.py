"""zstd frames with a dictionary, as both protocols offer them: v1 by one that is published with the server's source,
v2 by one that the server is asked for (``network.bsky.jetstream.getZstdDictionary``).

Whatever is wrong with a dictionary is a sentence for a person and a connection without compression, never a lost frame:
one that should be unpacked and cannot be ends the connection, and the next goes on from where we were.
"""

import asyncio
from pathlib import Path

import aiohttp
import zstandard
from yarl import URL

from bot.ingest.jetstream_frames import MAX_FRAME, BadFrameError

MAX_DICTIONARY = 1024 * 1024  # bytes; Bluesky's have 110 and 64 KiB
METHOD = "network.bsky.jetstream.getZstdDictionary"

_MAGIC = b"\x37\xa4\x30\xec"  # RFC 8878, 5
_MAX_WINDOW = 8 * 1024 * 1024


class DictionaryError(Exception):
    """There is no compression; the message is a sentence's predicate, about ``host`` or the source."""


class Dictionary:
    """One that can be used; ``id`` stands in the head of every frame that needs it."""

    def __init__(self, data: bytes) -> None:
        """Raises DictionaryError."""
        if len(data) > MAX_DICTIONARY or not data.startswith(_MAGIC):
            raise DictionaryError("holds no zstd dictionary")
        try:
            dictionary = zstandard.ZstdCompressionDict(data, dict_type=zstandard.DICT_TYPE_FULLDICT)
            self._decompressor = zstandard.ZstdDecompressor(dict_data=dictionary, max_window_size=_MAX_WINDOW)
            self._decompressor.decompress(zstandard.ZstdCompressor(dict_data=dictionary).compress(b"{}"))
        except (zstandard.ZstdError, ValueError, MemoryError):
            raise DictionaryError("holds a broken zstd dictionary") from None
        self.id = dictionary.dict_id()

    def unpack(self, data: bytes) -> bytes:
        """At most MAX_FRAME bytes. Raises BadFrameError; DictionaryError where another dictionary was meant."""
        try:
            head = zstandard.get_frame_parameters(data)
        except zstandard.ZstdError:
            raise BadFrameError("not zstd") from None
        if head.dict_id not in (0, self.id):
            raise DictionaryError(f"packs with the dictionary {head.dict_id}, ours is {self.id}")
        try:
            if head.content_size == zstandard.CONTENTSIZE_UNKNOWN:
                unpacked = self._decompressor.stream_reader(data).read(MAX_FRAME + 1)
            elif head.content_size > MAX_FRAME:  # such a frame would get as much memory as it names
                raise BadFrameError("too big unpacked")
            else:
                return self._decompressor.decompress(data)
        except (zstandard.ZstdError, MemoryError):
            if head.dict_id == 0:
                raise BadFrameError("not valid zstd") from None
            raise DictionaryError("sends what our dictionary does not unpack") from None
        if len(unpacked) > MAX_FRAME:
            raise BadFrameError("too big unpacked")
        return unpacked


def read(path: Path) -> Dictionary:
    """Raises DictionaryError."""
    try:
        with path.open("rb") as stream:
            return Dictionary(stream.read(MAX_DICTIONARY + 1))
    except OSError as error:
        raise DictionaryError(f"cannot be read ({error.strerror})") from None


async def fetch(session: aiohttp.ClientSession, url: URL, timeout_s: float) -> Dictionary:
    """What the server of ``url`` (protocol 2) packs with now. Raises DictionaryError or ClientConnectorError."""
    address = url.with_scheme("https" if url.scheme == "wss" else "http").parent / METHOD
    try:
        async with asyncio.timeout(timeout_s), session.get(address) as response:
            if response.status != 200:
                raise DictionaryError(f"offers no dictionary ({response.status})")
            data = bytearray()
            async for chunk in response.content.iter_any():
                data += chunk
                if len(data) > MAX_DICTIONARY:
                    break
    except aiohttp.ClientConnectorError:
        raise  # nor will the stream be reached
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise DictionaryError(f"did not give its dictionary ({type(error).__name__})") from None
    return Dictionary(bytes(data))
