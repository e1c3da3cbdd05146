"""Ids that look like those of each provider, made from a key and a time, so that the same scenario has the same ids."""

import hashlib

BASE32 = "234567abcdefghijklmnopqrstuvwxyz"
X_EPOCH_MS = 1_288_834_974_657  # x's post ids count milliseconds from here
MASTODON_HOSTS = ("social.example", "town.example", "fedi.test")


def author_id(source: str, key: str) -> str:
    """The opaque id of the author called `key` at this provider."""
    number = _digest(key)
    match source:
        case "bluesky":
            return f"did:plc:{_base32(number, 24)}"
        case "mastodon":
            return f"https://{MASTODON_HOSTS[number % 3]}/users/{_base32(number >> 8, 9)}"
        case "x":
            return str(1_000_000_000_000_000_000 + number % 900_000_000_000_000_000)
    raise ValueError(f"no ids for the source {source}")


def post_id(source: str, author: str, unix_ms: int) -> str:
    """The id of that author's post of that millisecond."""
    noise = _digest(f"{author} {unix_ms}")
    match source:
        case "bluesky":
            return f"at://{author}/app.bsky.feed.post/{_base32(unix_ms * 1000 << 10 | noise % 1024, 13)}"
        case "mastodon":
            return f"{author}/statuses/{unix_ms << 16 | noise % (1 << 16)}"
        case "x":
            return str(unix_ms - X_EPOCH_MS << 22 | noise % (1 << 22))
    raise ValueError(f"no ids for the source {source}")


def post_url(source: str, author: str, post: str) -> str:
    match source:
        case "bluesky":
            return f"https://bsky.example/profile/{author}/post/{post.rsplit('/', 1)[1]}"
        case "mastodon":
            return post
        case "x":
            return f"https://x.example/i/status/{post}"
    raise ValueError(f"no ids for the source {source}")


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")


def _base32(number: int, length: int) -> str:
    digits = (BASE32[number >> 5 * place & 31] for place in reversed(range(length)))
    return "".join(digits)
