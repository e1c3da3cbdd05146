"""Streams, pushes and files: Jetstream, Mastodon, X, Wikimedia, Post lines."""

import json
import random
from collections.abc import Callable
from typing import Any

import msgspec

from bot.ingest import (
    jetstream_compression,
    jetstream_frames,
    jetstream_records,
    lines,
    mastodon_statuses,
    sse,
    wikimedia_frames,
    x,
    x_posts,
)
from bot.ingest.bursts import Burst
from tests.fakes import sources
from tests.fuzz.decoding import NOW, Decoder, as_json


def _fed(feed: Callable[[bytes], Any], chunk: bytes) -> list[Any]:
    """In pieces of every size."""
    found, at, rng = [], 0, random.Random(len(chunk))
    while at < len(chunk):
        size = rng.choice((1, 2, 7, 100, 65_536)) if len(chunk) < 100_000 else 65_536
        found += feed(chunk[at : at + size])
        at += size
    return found


def _mended(data: bytes) -> object:
    return jetstream_records.mend(msgspec.Raw(data))


def _edit(data: bytes) -> object:
    found = wikimedia_frames.decode(data, {"enwiki"})
    if found is None or found.edit is None:
        return found
    burst = Burst(page=found.edit.page, since=found.at, at=found.at)
    return found, wikimedia_frames.to_post(burst, found.domain, provider="wikimedia", received_at=NOW)


def _line(data: bytes) -> object:
    found = lines.decode(data, NOW)
    again = lines.decode(json.dumps(lines.to_line(found)).encode(), NOW)
    if again != found:
        raise AssertionError("a line that is written and read again is another one")
    return found, lines.foreign(found)


OURS = jetstream_compression.Dictionary(sources.dictionary())
_DID = "did:plc:ada"
_RECORD = {
    "$type": "app.bsky.feed.post", "text": "Smoke over Port Calder", "createdAt": "2031-05-14T11:59:58.000Z",
    "langs": ["en"], "labels": {"$type": "com.atproto.label.defs#selfLabels", "values": [{"val": "graphic-media"}]},
    "reply": {"parent": {"uri": f"at://{_DID}/app.bsky.feed.post/3a", "cid": "b"}},
    "embed": {"$type": "app.bsky.embed.images", "images": [{"image": {"ref": {"$link": "bafyone"}}, "alt": "smoke"}]},
}  # fmt: skip
_COMMIT = {
    "rev": "3krev", "operation": "create", "collection": "app.bsky.feed.post", "rkey": "3kkey", "record": _RECORD,
    "cid": "bafycid",
}  # fmt: skip
_V1 = as_json(
    {"did": _DID, "time_us": 1_936_526_400_000_000, "kind": "commit", "commit": _COMMIT},
    {"did": _DID, "time_us": 1_936_526_400_000_000, "kind": "commit", "commit": _COMMIT | {"operation": "update"}},
    {"did": _DID, "time_us": 1_936_526_400_000_000, "kind": "account", "account": {"active": False, "seq": 7}},
)
_V2 = as_json(
    {"$type": "message", "payload": {
        "$type": "network.bsky.jetstream.subscribeEvents#commit", "did": _DID, "seq": 12,
        "time": "2031-05-14T12:00:00.000001Z", "witnessedAt": "2031-05-14T12:00:00.5Z", **_COMMIT,
    }},
    {"$type": "message", "payload": {
        "$type": "#account", "did": _DID, "seq": 13, "time": "2031-05-14T12:00:00Z", "account": {"active": False},
    }},
    {"$type": "message", "payload": {"$type": "#info", "name": "OutdatedCursor"}},
    {"$type": "error", "error": "ConsumerTooSlow"},
)  # fmt: skip
_STATUS = {
    "id": "119000000000000001", "uri": "https://away.example/users/ada/statuses/1", "visibility": "public",
    "created_at": "2031-05-14T11:59:00.000Z", "edited_at": "2031-05-14T11:59:30.000Z", "language": "en",
    "content": '<p>Smoke &amp; fire, <a href="https://away.example/a" class="x">here</a><br>now</p>',
    "url": "https://away.example/@ada/1", "spoiler_text": "fire", "in_reply_to_id": "118999999999999999",
    "account": {"url": "https://away.example/@ada", "noindex": False, "discoverable": True},
    "media_attachments": [{"url": "https://away.example/m.png", "remote_url": None}], "sensitive": False,
}  # fmt: skip
_TWEET = {
    "id": "1900000000000000001", "text": "Smoke", "author_id": "1001", "created_at": "2031-05-14T11:59:58.000Z",
    "lang": "en", "edit_history_tweet_ids": ["1899999999999999999", "1900000000000000001"],
    "referenced_tweets": [{"type": "retweeted", "id": "1800000000000000001"}], "note_tweet": {"text": "Smoke, long"},
    "geo": {"coordinates": {"type": "Point", "coordinates": [-9.3, 53.2]}}, "attachments": {"media_keys": ["3_1"]},
}  # fmt: skip
_PROBLEM = {
    "title": "Not Found Error", "type": "https://api.x.example/problems/resource-not-found", "detail": "gone",
    "resource_id": "1900000000000000002", "value": "1900000000000000002",
}  # fmt: skip
_CHANGE = {
    "meta": {"id": "e1", "domain": "en.wikipedia.org", "dt": "2031-05-14T12:00:00Z"}, "type": "edit", "namespace": 0,
    "title": "Port Calder", "user": "Ann", "bot": False, "wiki": "enwiki", "timestamp": 1_936_526_400,
}  # fmt: skip
_SSE = b""":ok

event: update
id: [{"offset":1}]
data: {"id":"1"}
data: more

: thump
retry: 10\r\n\r\nevent: delete\rdata: 12\r\r"""
_POST = {
    "source": "bluesky", "id": "p1", "text": "Smoke \ud83d\udd25", "created_at": "2031-05-14T11:59:00.123Z",
    "author": "ada", "langs": ["en-GB"], "url": "https://posts.example/1", "repost_of": None, "reply_to": "p0",
    "lat": 53.2, "lon": -9.3, "media": ["https://posts.example/1.png"], "verified": True,
    "official": {"category": "flood", "certainty": "likely", "supersedes": ["w1"], "cancelled": False},
}  # fmt: skip
_POSTS = as_json(_POST, {"source": "bluesky", "id": "p1", "deleted_at": "2031-05-14T12:00:00Z"})

TABLE: tuple[Decoder, ...] = (
    Decoder(
        name="jetstream-v1",
        kind="json",
        read=lambda data: jetstream_frames.decode_v1(data, NOW),
        covers=(jetstream_frames.decode_v1,),
        refuses=(jetstream_frames.BadFrameError,),
        documents=_V1,
        samples="bluesky-jetstream/golden_v1.jsonl",
    ),
    Decoder(
        name="jetstream-v2",
        kind="json",
        read=lambda data: jetstream_frames.decode_v2(data, NOW),
        covers=(jetstream_frames.decode_v2,),
        refuses=(jetstream_frames.BadFrameError,),
        documents=_V2,
    ),
    Decoder(
        name="jetstream-packed",
        kind="bytes",
        read=lambda data: jetstream_frames.decode_v1(OURS.unpack(data), NOW),
        covers=(jetstream_compression.Dictionary.unpack,),
        refuses=(jetstream_frames.BadFrameError, jetstream_compression.DictionaryError),
        documents=(
            sources.pack(_V1[0], sources.dictionary()),
            sources.pack(_V1[1], sources.dictionary(), sized=False),
            sources.pack(b"0" * 2**24, sources.dictionary(), sized=False),
        ),
    ),
    Decoder(
        name="jetstream-dictionary",
        kind="bytes",
        read=jetstream_compression.Dictionary,
        covers=(),
        refuses=(jetstream_compression.DictionaryError,),
        documents=(sources.dictionary(),),
        samples="bluesky-jetstream/*.zdict",
    ),
    Decoder(
        name="jetstream-record",
        kind="json",
        read=_mended,
        covers=(jetstream_records.mend,),
        refuses=(msgspec.MsgspecError, UnicodeDecodeError, RecursionError),
        documents=as_json(_RECORD),
    ),
    Decoder(
        name="mastodon-status",
        kind="json",
        read=lambda data: mastodon_statuses.decode(data, NOW, provider="mastodon"),
        covers=(mastodon_statuses.decode,),
        refuses=(mastodon_statuses.BadStatusError,),
        documents=as_json(_STATUS, _STATUS | {"content": "", "edited_at": None, "reblog": _STATUS}),
    ),
    Decoder(
        name="mastodon-page",
        kind="json",
        read=mastodon_statuses.page,
        covers=(mastodon_statuses.page,),
        refuses=(mastodon_statuses.BadStatusError,),
        documents=as_json([_STATUS, _STATUS | {"id": "119000000000000002"}]),
    ),
    Decoder(
        name="mastodon-head",
        kind="json",
        read=mastodon_statuses.first_of,
        covers=(mastodon_statuses.first_of,),
        documents=as_json([_STATUS]),
    ),
    Decoder(
        name="mastodon-delete",
        kind="text",
        read=mastodon_statuses.local_id,
        covers=(mastodon_statuses.local_id,),
        refuses=(mastodon_statuses.BadStatusError,),
        documents=(b"119000000000000001", b" 01HX-y_z \n"),
    ),
    Decoder(
        name="mastodon-instance",
        kind="json",
        read=mastodon_statuses.streaming_url,
        covers=(mastodon_statuses.streaming_url,),
        documents=as_json({"configuration": {"urls": {"streaming": "wss://away.example"}}, "title": "Away"}),
    ),
    Decoder(
        name="mastodon-problem",
        kind="json",
        read=mastodon_statuses.problem,
        covers=(mastodon_statuses.problem,),
        documents=as_json({"error": "Too many requests"}),
    ),
    Decoder(
        name="x-line",
        kind="json",
        read=lambda data: x_posts.decode(data, NOW, provider="x"),
        covers=(x_posts.decode,),
        refuses=(x_posts.BadLineError,),
        documents=as_json(
            {
                "data": _TWEET,
                "includes": {
                    "users": [{"id": "1001", "verified_type": "government"}],
                    "media": [{"media_key": "3_1", "url": "https://pics.example/1.png"}],
                    "tweets": [{"id": "1800000000000000001", "text": "Fire"}],
                },
                "matching_rules": [{"id": "11", "tag": "tocsin"}],
            },
            {"errors": [{"title": "operational-disconnect", "disconnect_type": "UpstreamOperationalDisconnect"}]},
            {"title": "ConnectionException", "connection_issue": "TooManyConnections"},
        ),
        samples="x/stream_synthetic.jsonl",
    ),
    Decoder(
        name="x-lookup",
        kind="json",
        read=x_posts.gone,
        covers=(x_posts.gone,),
        refuses=(x_posts.BadLineError,),
        documents=as_json({"data": [_TWEET, {"id": "19", "withheld": {"scope": "tweet"}}], "errors": [_PROBLEM]}),
    ),
    Decoder(
        name="x-rules",
        kind="json",
        read=x_posts.rules,
        covers=(x_posts.rules,),
        refuses=(x_posts.BadLineError,),
        documents=as_json({"data": [{"id": "11", "value": "smoke", "tag": "tocsin"}], "meta": {"next_token": "n"}}),
    ),
    Decoder(
        name="x-refused-rules",
        kind="json",
        read=x_posts.refused_rules,
        covers=(x_posts.refused_rules,),
        refuses=(x_posts.BadLineError,),
        documents=as_json({"errors": [_PROBLEM | {"value": "a OR", "details": ["no operand"]}], "meta": {}}),
    ),
    Decoder(
        name="x-problem",
        kind="json",
        read=x_posts.problem,
        covers=(x_posts.problem,),
        documents=as_json({"title": "Unauthorized", "connection_issue": ""}),
        samples="x/too_many_connections.json",
    ),
    Decoder(
        name="x-stream",
        kind="text",
        read=lambda data: _fed(x._Lines().feed, data),
        covers=(),
        documents=(b'{"data":{"id":"1"}}\r\n\r\n{"data":{"id":"2"}}\r\n',),
        samples="x/stream_synthetic.jsonl",
    ),
    Decoder(
        name="sse",
        kind="text",
        read=lambda data: _fed(sse.Parser().feed, data),
        covers=(sse.Parser.feed,),
        documents=(_SSE,),
        samples="*/*.sse",
    ),
    Decoder(
        name="wikimedia",
        kind="json",
        read=_edit,
        covers=(wikimedia_frames.decode,),
        refuses=(wikimedia_frames.BadFrameError,),
        documents=as_json(_CHANGE),
    ),
    Decoder(
        name="post-line",
        kind="json",
        read=_line,
        covers=(lines.decode,),
        refuses=(lines.BadLineError,),
        documents=_POSTS,
    ),
    Decoder(
        name="text-line",
        kind="json",
        read=lines.decode_text,
        covers=(lines.decode_text,),
        refuses=(lines.BadLineError,),
        documents=_POSTS[:1],
    ),
)
