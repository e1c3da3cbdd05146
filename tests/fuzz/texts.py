"""Texts inside of what is sent, headers, and the cursors of every source."""

from collections.abc import Callable

from yarl import URL

from bot.domain import errors
from bot.ingest import (
    feed_elements,
    fetching,
    geometry,
    hazards,
    jetstream_position,
    markup,
    mastodon_html,
    mastodon_requests,
    mastodon_timeline,
    polling,
    replay,
    trouble,
    wikimedia,
    x_cursor,
    x_requests,
)
from bot.ingest.polling import Place
from tests.fuzz.decoding import NOW, Decoder, as_json


def _text(read: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: read(data.decode("utf-8", "replace"))


def _headers(text: str) -> object:
    text = "".join(each for each in text if each.isprintable())[:8_000]  # the rest the HTTP client refuses
    given = dict.fromkeys(_HEADERS, text) | {"X-RateLimit-Remaining": "0", "x-rate-limit-remaining": "0"}
    return (
        trouble.retry_after_s(given, NOW),
        trouble.date(given),
        x_requests.pause_s(given, NOW),
        x_requests.pause_s(given | {"Retry-After": ""}, NOW),
        mastodon_requests._asked_s(429, given, NOW),
        mastodon_requests._count(text),
    )


_HEADERS = ("Retry-After", "X-RateLimit-Reset", "x-rate-limit-reset", "Date")
_HTML = (
    b'<p>Smoke &amp; <a class="mention" href="https://a.example/@b">@b</a> <img alt=":fire:"/>&#x1F525;</p><!-- c -->',
    b"<script>no()</script><ul><li>one<li>two</ul><style>p{}</style><a href='https://a.example/?a>b'>x</a>",
)

TABLE: tuple[Decoder, ...] = (
    Decoder(name="html", kind="html", read=_text(markup.text), covers=(markup.text,), documents=_HTML),
    Decoder(
        name="mastodon-html", kind="html", read=_text(mastodon_html.text), covers=(mastodon_html.text,), documents=_HTML
    ),
    Decoder(
        name="hazard",
        kind="text",
        read=_text(hazards.category),
        covers=(hazards.category,),
        documents=(b"Red Flag Warning", b"Storm surge", b"forest-fire"),
    ),
    Decoder(
        name="polygon",
        kind="text",
        read=_text(lambda text: geometry.centre(geometry.pairs(text))),
        covers=(geometry.pairs,),
        documents=(b"53.2,-9.3 53.4,-9.3 53.4,-9.1", b"53.2,-9.3 20.0", b"89,179.9 89,-179.9 nan,inf 1e999,1"),
    ),
    Decoder(
        name="moment",
        kind="text",
        read=_text(feed_elements.moment),
        covers=(feed_elements.moment,),
        documents=(
            b"Wed, 14 May 2031 11:59:00 +0000",
            b"2031-05-14T11:50:00+0100",
            b"31 Dec 9999 23:59:59 -1400",
            b"0001-01-01T00:00:00+14:00",
        ),
    ),
    Decoder(
        name="headers",
        kind="text",
        read=_text(_headers),
        covers=(trouble.retry_after_s, x_requests.pause_s),
        documents=(b"120", b"Wed, 14 May 2031 12:01:00 GMT", b"2031-05-14T12:05:00Z", b"31 Dec 9999 23:59:59 -1400"),
    ),
    Decoder(
        name="redirect",
        kind="text",
        read=_text(lambda text: str(fetching.redirected(URL("https://news.example/feed"), text))),
        covers=(fetching.redirected,),
        refuses=(trouble.LostError,),
        documents=(b"/moved", b"https://[::1]:99/a", b"http://news.example/", b"//other.example/feed?a=%ff#b"),
    ),
    Decoder(
        name="jetstream-cursor",
        kind="text",
        read=_text(lambda text: jetstream_position.Position.parse(text).cursor),
        covers=(jetstream_position.Position.parse,),
        refuses=(errors.UsageError,),
        quotes=True,
        documents=(b"1936526400000000", b"jet.example:1234:1936526400000000"),
    ),
    Decoder(
        name="mastodon-cursor",
        kind="text",
        read=_text(lambda text: mastodon_timeline.Position.parse(text).cursor),
        covers=(mastodon_timeline.Position.parse,),
        refuses=(errors.UsageError,),
        quotes=True,
        documents=(b"119000000000000001@1936526400000",),
    ),
    Decoder(
        name="wikimedia-cursor",
        kind="json",
        read=_text(lambda text: wikimedia.Position.parse(text).cursor),
        covers=(wikimedia.Position.parse,),
        refuses=(errors.UsageError,),
        quotes=True,
        documents=as_json({"at": "2031-05-14T12:00:00.000Z", "told": {"enwiki:Selby": "2031-05-14T11:58:00.000Z"}}),
    ),
    Decoder(
        name="x-cursor",
        kind="text",
        read=_text(x_cursor.parse),
        covers=(x_cursor.parse,),
        refuses=(errors.UsageError,),
        quotes=True,
        documents=(
            b"1936526400000",
            b"1936526400000:1900000000000000001",
            b"1936526400000:1900000000000000001:60:1936526400000:116001",
        ),
    ),
    Decoder(
        name="polled-cursor",
        kind="json",
        read=_text(lambda text: Place.parse("fuzz", text).cursor),
        covers=(polling.Place.parse,),
        refuses=(errors.UsageError,),
        quotes=True,
        documents=as_json(
            {
                "etag": '"a"',
                "modified": "Wed, 14 May 2031 11:59:00 GMT",
                "base": "https://news.example/",
                "moved": "https://news.example/2",
                "at": 1_936_526_400,
                "known": {"k": ["v", "1", "-"]},
            }
        ),
    ),
    Decoder(
        name="replay-cursor",
        kind="json",
        read=_text(replay.parse),
        covers=(replay.parse,),
        refuses=(errors.UsageError,),
        quotes=True,
        documents=(b"12", *as_json({"posts/a.jsonl": [12, 3_735_928_559], "b.jsonl.gz": [0, 0]})),
    ),
)
