"""A Jetstream of made-up frames in a process of its own: each connection gets the same ones, as fast as it takes them,
packed if it asks for that.

The child is ``python -m bot.benching jetstream-server FRAMES``; everything is encoded before it says its port on
stdout, so that it has next to nothing to compute while it sends, and it ends with its parent.
"""

import asyncio
import base64
import contextlib
import functools
import hashlib
import json
import random
import struct
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import zstandard

from bot.benching import workload

PATHS = {1: "/subscribe", 2: "/xrpc/network.bsky.jetstream.subscribeEvents"}
LAST = "the last of the frames"
COLLECTION = "app.bsky.feed.post"
DICTIONARY = "/xrpc/network.bsky.jetstream.getZstdDictionary"
DICTIONARY_SIZE = 32 * 1024
SAMPLES = 500
TOGETHER = 256  # frames in a write
ACCOUNTS = 20_000
TEXTS = 2_000
KEY = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
EVERY_MS = 18  # between two frames: some 55 posts a second

_STARTS_AT = datetime(2031, 5, 14, 12, tzinfo=UTC)
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


@contextlib.asynccontextmanager
async def serving(count: int) -> AsyncIterator[str]:
    """Its address, without a path."""
    command = [sys.executable, "-m", "bot.benching", "jetstream-server", str(count)]
    child = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        said = json.loads(await child.stdout.readline())
        yield f"ws://127.0.0.1:{said['port']}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


async def run(count: int) -> None:
    """In the child: until stdin ends."""
    frames = list(events(count))
    chunks = {}
    for version, path in PATHS.items():
        plain = [(v1 if version == 1 else v2)(frame) for frame in frames]
        chunks[path, False] = _chunks(plain, 0x1)
        packer = zstandard.ZstdCompressor(dict_data=zstandard.ZstdCompressionDict(dictionary()))
        chunks[path, True] = _chunks([packer.compress(frame) for frame in plain], 0x2)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            path, query, key = await _asked(reader)
            if path == DICTIONARY:
                head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(dictionary())
                answer = [head, dictionary()]
            else:
                packed = "compress=true" in query or "zstdDictionary=" in query
                answer = [_welcome(key), *chunks[path, packed]]
            for chunk in answer:
                writer.write(chunk)
                await writer.drain()
            await reader.read()  # until it goes
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    sys.stdout.write(json.dumps({"port": server.sockets[0].getsockname()[1]}) + "\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


def events(count: int) -> Iterator[dict[str, Any]]:
    """``did``, ``at``, ``seq``, ``kind`` and what ``kind`` says: what a subscriber to posts is sent, mostly new posts.

    The shares are guesses from what the public stream looks like: 88 % new posts, of which two in five are replies and
    one in five has pictures; deletions, edits, accounts that come and go, identities. The last one is a post, ``LAST``.
    """
    rng = random.Random(20310514)
    texts = [each.text for each in workload.posts(min(count, TEXTS))]
    for number in range(count):
        kind = "commit"
        body: dict[str, Any] = {"rev": _key(rng, 13), "operation": "create", "collection": COLLECTION}
        body["rkey"] = _key(rng, 13)
        chance = 0.0 if number == count - 1 else rng.random()
        at = _STARTS_AT + timedelta(milliseconds=number * EVERY_MS)
        did = f"did:plc:{rng.randrange(ACCOUNTS):06d}{'a' * 18}"
        if chance < 0.885:
            text = LAST if number == count - 1 else rng.choice(texts)
            body |= {"operation": "create" if chance < 0.88 else "update", "record": _record(rng, text, at)}
            body["cid"] = "bafyrei" + _key(rng, 52)
        elif chance < 0.95:
            body["operation"] = "delete"
        else:
            kind = "identity" if chance < 0.98 else "account"
            body = {"did": did, "seq": 31_000_000_000 + number, "time": _text(at)}
            body |= {"handle": "someone.example"} if kind == "identity" else {"active": chance < 0.995}
        yield {"did": did, "at": at, "seq": 1 + number, "kind": kind, "body": body}


@functools.cache
def dictionary() -> bytes:
    """What packed frames of both protocols need to be unpacked."""
    samples: list[Any] = [pack(event) for event in events(SAMPLES) for pack in (v1, v2)]
    return zstandard.train_dictionary(DICTIONARY_SIZE, samples).as_bytes()


def _record(rng: random.Random, text: str, at: datetime) -> dict[str, Any]:
    record: dict[str, Any] = {"$type": COLLECTION, "createdAt": _text(at - timedelta(milliseconds=350))}
    kind = rng.random()
    if kind < 0.2:
        blob = {"$type": "blob", "ref": {"$link": "bafkrei" + _key(rng, 52)}, "mimeType": "image/jpeg", "size": 412_345}
        image = {"alt": "", "aspectRatio": {"height": 2000, "width": 1500}, "image": blob}
        record["embed"] = {"$type": "app.bsky.embed.images", "images": [image] * rng.randint(1, 3)}
    elif kind < 0.3:
        card = {"description": "An invented page", "title": "Invented", "uri": "https://news.example/story"}
        record["embed"] = {"$type": "app.bsky.embed.external", "external": card}
    record["langs"] = [rng.choice(["en", "en", "en", "ja", "pt-BR", "es", "de"])]
    if rng.random() < 0.4:
        parent = {"cid": "bafyrei" + _key(rng, 52), "uri": f"at://did:plc:{'b' * 24}/{COLLECTION}/{_key(rng, 13)}"}
        record["reply"] = {"parent": parent, "root": parent}
    if kind > 0.85:
        facet = {"features": [{"$type": "app.bsky.richtext.facet#tag", "tag": "invented"}]}
        record["facets"] = [facet | {"index": {"byteEnd": 9, "byteStart": 0}}]
    return record | {"text": text}


def v1(event: dict[str, Any]) -> bytes:
    time_us = (event["at"] - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    frame = {"did": event["did"], "time_us": time_us, "kind": event["kind"], event["kind"]: event["body"]}
    return json.dumps(frame, ensure_ascii=False, separators=(",", ":")).encode()


def v2(event: dict[str, Any]) -> bytes:
    kind, body = event["kind"], event["body"]
    payload = {"$type": f"network.bsky.jetstream.subscribeEvents#{kind}", "seq": event["seq"], "did": event["did"]}
    payload |= {"time": _text(event["at"])} | (body if kind == "commit" else {kind: body})
    payload["witnessedAt"] = _text(event["at"])
    frame = {"$type": "message", "payload": payload}
    return json.dumps(frame, ensure_ascii=False, separators=(",", ":")).encode()


def _key(rng: random.Random, length: int) -> str:
    return "".join(rng.choices(_LETTERS, k=length))


def _text(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _chunks(frames: Sequence[bytes], opcode: int) -> list[bytes]:
    return [
        b"".join(_head(len(frame), opcode) + frame for frame in frames[start : start + TOGETHER])
        for start in range(0, len(frames), TOGETHER)
    ]


def _head(size: int, opcode: int) -> bytes:
    """Of an unmasked frame in one piece (RFC 6455, 5.2)."""
    first = bytes([0x80 | opcode])
    if size < 126:
        return first + bytes([size])
    return first + (b"\x7e" + struct.pack(">H", size) if size < 65_536 else b"\x7f" + struct.pack(">Q", size))


async def _asked(reader: asyncio.StreamReader) -> tuple[str, str, str]:
    """A request's path, its query, and the key of a WebSocket."""
    said = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in said[1:])}
    path, _, query = said[0].split(" ")[1].partition("?")
    return path, query, headers.get("sec-websocket-key", "")


def _welcome(key: str) -> bytes:
    accept = base64.b64encode(hashlib.sha1((key + KEY).encode()).digest())  # noqa: S324
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
