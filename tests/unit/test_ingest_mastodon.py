"""Decoding Mastodon's statuses: hostile HTML and JSON, ids and times, and the recorded sample."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.ingest import lines, mastodon_html, mastodon_statuses, sse
from bot.ingest.mastodon_statuses import BadStatusError
from bot.ingest.mastodon_timeline import Position, Timeline
from tests import factories, shared

NOW = factories.NOW


def raw(**fields: Any) -> dict[str, Any]:
    return {
        "id": "110000000000000001",
        "uri": "https://away.example/users/ada/statuses/1",
        "created_at": "2031-05-14T11:59:00.000Z",
        "visibility": "public",
        "content": "<p>Smoke</p>",
        "account": {"url": "https://away.example/@ada"},
    } | fields


def decode(**fields: Any) -> mastodon_statuses.Status:
    return mastodon_statuses.decode(json.dumps(raw(**fields)).encode(), NOW, provider="mastodon")


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ("<p>one</p><p>two<br />three</p>", "one\n\ntwo\nthree"),
        ("plain &lt;b&gt; &amp; &#x1F525;", "plain <b> & 🔥"),
        ("<p>a < b and c > d</p>", "a < b and c > d"),
        ('<a class="u-url mention" href="https://x.example/@bo">@<span>bo</span></a> hi', "@bo hi"),
        ('<a href="https://x.example/a">https://x.example/a</a>', "https://x.example/a"),
        ('<a href="https://x.example/a">read</a>', "read (https://x.example/a)"),
        ('<a href="https://x.example/?a>b">read</a>', "read (https://x.example/?a>b)"),
        ('<a href="javascript:alert(1)">read</a>', "read"),
        ('<a href="https://x.example/a"></a>', "https://x.example/a"),
        ('<img alt=":fire:" src="x"> now', ":fire: now"),
        ("<script>alert(1)</script><style>p{}</style>seen", "seen"),
        ("<ul><li>one</li><li>two</li></ul>", "one\n\ntwo"),
        ("&lt;script&gt;", "<script>"),
        ("<!-- not seen -->seen", "seen"),
        ("<p>unfinished <a href=", "unfinished <a href="),
        ("&#" + "9" * 5000 + ";", "&#" + "9" * 5000 + ";"),
        ("<@everyone>", "<@everyone>"),
        ("", ""),
    ],
)
def test_html_becomes_text(markup: str, expected: str) -> None:
    assert mastodon_html.text(markup) == expected


@pytest.mark.parametrize(
    "piece",
    ["<", "<a ", "<!--", '<a href="', "<a href='x", "&#", "&amp", "<p>", "</a>", '<a href="https://x">', "\n ", '="'],
)
def test_html_of_megabytes_takes_no_time(piece: str) -> None:
    """A quadratic reader would not come back before the test's time limit."""
    assert len(mastodon_html.text(piece * (10_000_000 // len(piece)))) <= 30 * mastodon_html.MOST


def test_as_much_html_is_read_as_costs_the_loop_no_time() -> None:
    assert mastodon_html.text("x" * 100_000) == "x" * mastodon_html.MOST
    assert mastodon_html.MOST <= lines.MAX_TEXT


@pytest.mark.parametrize("id", ["a b", "", "x" * 65, "1@2", "ü"])
def test_an_id_of_a_page_that_could_be_no_cursor_is_none(id: str) -> None:
    listed = json.dumps([raw(id="110000000000000001"), raw(id=id)]).encode()
    assert [each for each, _ in mastodon_statuses.page(listed)] == ["", "110000000000000001"]


def test_a_status_is_taken_for_what_makes_sense_in_it() -> None:
    status = decode(
        spoiler_text=" Fire ",
        language="pt-BR",
        url="javascript:alert(1)",
        media_attachments=[{"url": "https://files.example/1"}, {"url": None, "remote_url": None}, {"url": "data:x"}],
    )
    assert status.post is not None
    assert (status.post.text, status.post.langs) == ("Fire\n\nSmoke", ("pt",))
    assert (status.post.url, status.post.media) == (status.uri, ("https://files.example/1",))
    assert (status.post.id, status.version) == (status.uri, 0)


def test_an_edited_status_has_an_id_of_its_own() -> None:
    status = decode(edited_at="2031-05-14T11:59:30.250Z")
    assert status.post is not None
    assert status.version == int(datetime(2031, 5, 14, 11, 59, 30, 250_000, UTC).timestamp() * 1000)
    assert status.post.id == f"{status.uri}#v:{status.version}"


def test_media_of_sensitive_statuses_are_left_out() -> None:
    status = decode(sensitive=True, media_attachments=[{"url": "https://files.example/1"}])
    assert status.post is not None
    assert status.post.media == ()


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        ("2031-05-14T11:00:00Z", datetime(2031, 5, 14, 11, tzinfo=UTC)),
        ("2031-05-14T11:00:00+01:00", datetime(2031, 5, 14, 10, tzinfo=UTC)),
        ("2031-05-14T11:00:00", datetime(2031, 5, 14, 11, tzinfo=UTC)),
        ("2099-01-01T00:00:00Z", NOW),
        ("1066-10-14T09:00:00Z", NOW),
    ],
)
def test_the_time_is_a_claim(claim: str, expected: datetime) -> None:
    status = decode(created_at=claim)
    assert status.post is not None
    assert status.post.created_at == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"id": "../1"},
        {"id": ""},
        {"id": 5},
        {"uri": "at://x"},
        {"uri": "https://x.example/a b"},
        {"created_at": "soon"},
        {"created_at": "0001-01-01T00:00:00+14:00"},
        {"edited_at": "1066-10-14T09:00:00Z"},
        {"account": None},
        {"account": {}},
        {"content": 5},
        {"id": str((int(NOW.timestamp() * 1000) + 2 * 86_400_000) << 16)},
    ],
)
def test_what_is_no_status_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(BadStatusError):
        decode(**fields)


def test_ids_sort_and_tell_their_time() -> None:
    late = str(int(NOW.timestamp() * 1000) << 16)
    assert mastodon_statuses.id_time(late) == NOW
    assert mastodon_statuses.first_id(NOW) == late
    assert mastodon_statuses.first_id(datetime(1969, 1, 1, tzinfo=UTC)) == "0"
    assert mastodon_statuses.order("99") < mastodon_statuses.order("100")
    flake = "01HXSJ3ZB4V7Q0YVJ9W0GZ5A8C"
    assert mastodon_statuses.id_time(flake) is None


@pytest.mark.parametrize("version", [0, 1_936_000_000_000])
def test_an_id_says_which_version_it_is(version: int) -> None:
    uri = "https://away.example/users/ada/statuses/1"
    assert mastodon_statuses.split(mastodon_statuses.versioned(uri, version)) == (uri, version)


@pytest.mark.parametrize("body", [b"<html>404</html>", b"", b"[]", b'{"error": 5}', b'{"status": "gone"}'])
def test_only_the_api_gives_a_reason(body: bytes) -> None:
    assert mastodon_statuses.problem(body) == ""
    assert mastodon_statuses.problem(b'{"error": "Record not found"}') == "Record not found"


def timeline_at(*hours: float) -> Timeline:
    """After statuses of these hours from noon on."""
    timeline = Timeline(
        name="mastodon", provider="mastodon", prefix="a.example/", position=Position.parse(f"{number(0)}@1")
    )
    timeline.heard(NOW)
    for count, each in enumerate(hours):
        status = decode(id=number(each), uri=f"https://away.example/{count}")
        timeline.add(status, NOW, edited=False)
    return timeline


def number(hours: float) -> str:
    return mastodon_statuses.first_id(NOW + timedelta(hours=hours))


def test_what_comes_late_does_not_move_us_back_but_a_clock_that_was_set_back_does() -> None:
    assert timeline_at(1, *[0.5] * 7).position == timeline_at(1).position
    late = timeline_at(1, *[0.5] * 8).position
    assert late is not None
    assert late.id == number(0.5)


def test_an_edit_of_an_old_status_does_not_move_us() -> None:
    timeline = timeline_at(1)
    for count in range(10):
        old = decode(id=number(-5), uri=f"https://away.example/old/{count}", edited_at="2031-05-14T11:59:30.250Z")
        timeline.recall(old.local_id, old.uri)
        assert len(timeline.found(old, NOW)) == (2 if count == 0 else 0)
        timeline.add(old, NOW, edited=True)
    assert timeline.position is not None
    assert timeline.position.id == number(1)


def test_an_answer_about_another_status_is_none() -> None:
    timeline = timeline_at()
    timeline.recall(number(-5), "https://away.example/old/1")
    reused = decode(id=number(-5), uri="https://away.example/another", edited_at="2031-05-14T11:59:30.250Z")
    assert timeline.found(reused, NOW) == []


@pytest.mark.parametrize("head", [b"", b"[]", b'[{"uri": "x"', b'[{"id": "../1"', b'{"id": "1"'])
def test_the_first_id_of_a_page_is_read_from_its_beginning(head: bytes) -> None:
    assert mastodon_statuses.first_of(json.dumps([raw(id="9")]).encode()[:30]) == "9"
    assert mastodon_statuses.first_of(head) == ""


def test_a_page_keeps_its_good_statuses_beside_a_bad_one() -> None:
    body = json.dumps([raw(id="9"), {"id": None}, raw(id="10"), 5]).encode()
    assert [local for local, _ in mastodon_statuses.page(body)] == ["", "", "9", "10"]
    with pytest.raises(BadStatusError):
        mastodon_statuses.page(b'{"error": "x"}')


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 1_000_000,
        b'{"reblog":' * 50_000,
        json.dumps(raw(content="x" * 10_000_000)).encode(),
        json.dumps(raw())[:-20].encode(),
        json.dumps(raw(content="\ud800")).encode(),
    ],
    ids=["deep list", "deep object", "10 MB", "truncated", "lone surrogate"],
)
def test_monsters_are_refused(data: bytes) -> None:
    with pytest.raises(BadStatusError):
        mastodon_statuses.decode(data, NOW, provider="mastodon")


def test_text_is_cleaned_as_in_post_lines() -> None:
    status = decode(content="a\0b" + "x" * 300_000, spoiler_text="y" * 50_000)
    assert status.post is not None
    assert "a\ufffdb" in status.post.text
    assert len(status.post.text) == lines.MAX_TEXT


def test_the_recorded_sample_is_read() -> None:
    sample = shared.require("samples", "mastodon", "streaming.sse").read_bytes()
    found: list[Any] = []
    for event in sse.Parser().feed(sample + b"\n\n"):
        if event.comment:
            continue
        if event.event in ("update", "status.update"):
            found.append(mastodon_statuses.decode(event.data, NOW, provider="mastodon", undiscoverable=True))
        elif event.event == "delete":
            found.append(mastodon_statuses.local_id(event.data))
    assert len(found) == 19
    posts = [each.post for each in found if not isinstance(each, str) and each.post is not None]
    assert all("<" not in item.text and item.author for item in posts)
    assert any(item.id.partition("#")[2] for item in posts)
