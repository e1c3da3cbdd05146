"""Recent changes as Wikimedia sends them, and what counts as a burst of edits."""

import contextlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.detection.detector import Detector
from bot.domain import post
from bot.domain.access import EVERYTHING
from bot.domain.post import Candidate
from bot.ingest import bursts, sse, wikimedia_frames
from bot.ingest.wikimedia_frames import BadFrameError
from tests import factories, shared
from tests.fakes import wikimedia as fakes
from tests.unit import test_detection_detector as stories

NOW = factories.NOW


def edit(
    number: int, *, editor: str | None = None, minutes: float = 0, page: str = "enwiki:Port Calder"
) -> bursts.Edit:
    at = NOW + timedelta(minutes=minutes)
    return bursts.Edit(key=f"{page} {number}", page=page, editor=editor or f"Editor {number % 3}", at=at)


def counted(*edits: bursts.Edit) -> list[bursts.Burst]:
    counting = bursts.Bursts()
    return [burst for each in edits if (burst := counting.add(each)) is not None]


def test_five_edits_by_three_people_within_ten_minutes_are_a_burst() -> None:
    (burst,) = counted(*(edit(n, minutes=2 * n) for n in range(5)))
    assert (burst.page, burst.since, burst.at) == ("enwiki:Port Calder", NOW, NOW + timedelta(minutes=8))


@pytest.mark.parametrize(
    "edits",
    [
        [edit(n, minutes=n) for n in range(4)],
        [edit(n, minutes=n, editor=f"Editor {n % 2}") for n in range(9)],
        [edit(n, minutes=3 * n) for n in range(9)],
        [edit(1, minutes=n / 10) for n in range(9)],
        [edit(n, minutes=n, page=f"enwiki:Page {n}") for n in range(9)],
    ],
    ids=["too few", "two people", "too slowly", "one edit again and again", "many articles"],
)
def test_anything_less_is_none(edits: list[bursts.Edit]) -> None:
    assert counted(*edits) == []


def test_a_burst_is_told_once_for_as_long_as_it_lasts_and_a_second_one_again() -> None:
    lasting = [edit(n, minutes=n) for n in range(40)]
    later = [edit(n, minutes=n + 30) for n in range(40, 50)]
    assert [burst.since for burst in counted(*lasting, *later)] == [NOW, NOW + timedelta(minutes=70)]


def test_edits_out_of_order_count_like_edits_in_order() -> None:
    (burst,) = counted(*(edit(n, minutes=minutes) for n, minutes in enumerate([2, 0, 8, 1, 5])))
    assert burst.since == NOW


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 90)), max_size=60))
def test_a_burst_always_rests_on_enough_edits_and_editors(drawn: list[tuple[int, int, int]]) -> None:
    edits = [
        edit(number, editor=f"Editor {editor}", minutes=minute, page=f"enwiki:{page}")
        for number, (page, editor, minute) in enumerate(sorted(drawn, key=lambda each: each[2]))
    ]
    for burst in counted(*edits):
        within = [e for e in edits if e.page == burst.page and burst.at - bursts.WINDOW <= e.at <= burst.at]
        assert len(within) >= bursts.EDITS
        assert len({e.editor for e in within}) >= bursts.EDITORS


def test_a_counter_that_is_told_what_lasts_goes_on_where_another_stopped() -> None:
    edits = [edit(n, minutes=n) for n in range(30)]
    first = bursts.Bursts()
    assert sum(first.add(each) is not None for each in edits[:20]) == 1
    second = bursts.Bursts(first.lasting)
    assert [second.add(each) for each in edits[10:]] == [None] * 20


def test_a_pause_of_more_than_ten_minutes_ends_a_burst() -> None:
    lasting = [edit(n, minutes=n) for n in range(5)]
    other = edit(1, minutes=13, page="enwiki:Elsewhere")
    again = [edit(n, minutes=14.2 + n) for n in range(10, 15)]
    assert [burst.since for burst in counted(*lasting, other, *again)] == [NOW, NOW + timedelta(minutes=24.2)]


def test_edits_that_come_hours_late_are_no_burst_and_end_none() -> None:
    lasting = [edit(n, minutes=n) for n in range(6)]
    late = [edit(n, minutes=n - 180) for n in range(10, 20)]
    assert len(counted(*lasting, *late, edit(30, minutes=6))) == 1


def change(**fields: Any) -> bytes:
    return fakes.change(at=NOW, **fields).data


def test_an_edit_of_an_article_counts() -> None:
    found = wikimedia_frames.decode(change(title="Port Calder", user="Ann"), {"enwiki"})
    assert found is not None
    assert found.edit is not None
    assert (found.edit.page, found.edit.editor, found.edit.at) == ("enwiki:Port Calder", "Ann", NOW)
    assert found.domain == "en.wikipedia.org"


@pytest.mark.parametrize(
    "fields",
    [{"bot": True}, {"namespace": 1}, {"type": "log"}, {"type": "categorize"}, {"wiki": "frwiki"}],
    ids=lambda fields: next(iter(fields)),
)
def test_what_is_no_edit_by_a_person_of_a_watched_article_moves_the_clock_only(fields: dict[str, Any]) -> None:
    found = wikimedia_frames.decode(change(**fields), {"enwiki"})
    assert found is not None
    assert (found.edit, found.at) == (None, NOW)


def test_canary_events_are_nothing() -> None:
    assert wikimedia_frames.decode(change(domain="canary"), {"enwiki"}) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"meta":{"id":"a","domain":"b"}}',
        b"[" * 100_000,
        b'{"meta":' * 50_000,
        b"x" * (10 * 1024 * 1024),
        change(title="a\0b"),
        change(title="t" * 300),
        change(title="\ud800"),
        change(user=""),
        change(dt="0001-01-01T00:00:00Z"),
        b"\xff\xfe",
    ],
    ids=lambda data: repr(data[:20]),
)
def test_bad_events_are_refused_without_a_word_of_them(data: bytes) -> None:
    with pytest.raises(BadFrameError) as refused:
        wikimedia_frames.decode(data, {"enwiki"})
    assert len(str(refused.value)) < 60


@given(
    st.dictionaries(st.sampled_from(list(json.loads(change()))), st.none() | st.text() | st.integers() | st.booleans())
)
def test_fields_of_any_kind_never_crash(fields: dict[str, Any]) -> None:
    data = json.dumps(json.loads(change()) | fields).encode("utf-8", "surrogatepass")
    with contextlib.suppress(BadFrameError):
        wikimedia_frames.decode(data, {"enwiki"})


def make_burst(page: str = "enwiki:2031 Port Calder explosion") -> bursts.Burst:
    return bursts.Burst(page=page, since=NOW, at=NOW + timedelta(minutes=3))


def test_the_post_about_a_burst() -> None:
    item = wikimedia_frames.to_post(make_burst(), "en.wikipedia.org", provider="wikimedia", received_at=NOW)
    assert item.id == f"enwiki:2031_Port_Calder_explosion:{int(NOW.timestamp())}"
    assert item.text == "Many editors are changing the article “2031 Port Calder explosion”"
    assert item.url == "https://en.wikipedia.org/wiki/2031_Port_Calder_explosion"
    assert (item.author, item.langs, item.official, item.verified) == ("wikimedia:burst", ("en",), None, False)


@pytest.mark.parametrize(
    ("wiki", "langs"),
    [
        ("dewiki", ("de",)),
        ("simplewiki", ("en",)),
        ("zh_min_nanwiki", ("zh",)),
        ("commonswiki", ()),
        ("enwikinews", ()),
    ],
)
def test_the_language_of_a_wiki(wiki: str, langs: tuple[str, ...]) -> None:
    item = wikimedia_frames.to_post(make_burst(f"{wiki}:A"), "", provider="wikimedia", received_at=NOW)
    assert (item.langs, item.url) == (langs, None)


def test_no_title_makes_a_version_of_another_post() -> None:
    item = wikimedia_frames.to_post(make_burst("enwiki:A#v:9"), "", provider="wikimedia", received_at=NOW)
    assert post.VERSION not in item.id


def test_a_title_counts_however_its_spaces_are_written() -> None:
    found = {wikimedia_frames.decode(change(title=title), {"enwiki"}).edit.page for title in ("A b", "A_b")}  # type: ignore[union-attr]
    assert found == {"enwiki:A b"}


def test_a_title_never_leaves_the_url_s_path() -> None:
    item = wikimedia_frames.to_post(
        make_burst("enwiki:A?b#c/../d@e"), "en.wikipedia.org", provider="w", received_at=NOW
    )
    assert item.url == "https://en.wikipedia.org/wiki/A%3Fb%23c/../d%40e"


def burst_candidates(count: int) -> list[Candidate]:
    titles = ["Explosion in Port Calder", "Port Calder explosion", "Port Calder harbour explosion"]
    return [
        stories.report(
            number,
            wikimedia_frames.to_post(make_burst(f"enwiki:{title}"), "", provider="wikimedia", received_at=NOW).text,
            provider="wikimedia",
            author=wikimedia_frames.AUTHOR,
            place="Port Calder",
        )
        for number, title in enumerate(titles[:count], start=10)
    ]


def test_bursts_alone_raise_nothing_however_many() -> None:
    detector = Detector(EVERYTHING, stories.GAZETTEER)
    assert stories.feed(detector, burst_candidates(3)) == []
    assert detector.posts() == 3


def test_bursts_are_one_voice_among_the_posts_of_an_event() -> None:
    detector = Detector(EVERYTHING, stories.GAZETTEER)
    stories.feed(detector, stories.blasts(4))
    stories.feed(detector, burst_candidates(3))
    a_minute_later = stories.report(30, "The invented team has won again", topic=2, at=400)
    raised = stories.feed(detector, [a_minute_later])
    assert (raised[-1].posts, raised[-1].authors) == (7, 5)


def test_the_recorded_shape() -> None:
    data = shared.require("samples", "wikimedia", "recentchange.sse").read_bytes()
    (event,) = [event for event in sse.Parser().feed(data + b"\n") if not event.comment]
    assert event.id is not None
    found = wikimedia_frames.decode(event.data, {"hewiki"})
    assert found is not None
    assert (found.edit, found.at) == (None, datetime(2020, 7, 31, 14, 58, 47, tzinfo=UTC))
    person = json.loads(event.data) | {"bot": False, "namespace": 0}
    counted = wikimedia_frames.decode(json.dumps(person).encode(), {"hewiki"})
    assert counted is not None
    assert counted.edit is not None
    assert counted.edit.page.startswith("hewiki:")
