"""Feeds: what entries become, what counts as news, and what an edit does."""

import contextlib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from bot.domain import post
from bot.ingest import feed, feed_entries
from bot.ingest.polling import Asked, Known, Place, UnreadableError
from tests import factories, shared

NOW = factories.NOW
BASE = URL("https://news.example/feed.xml")
HOUR = timedelta(hours=1)
READING = feed.Entries("rss:news", official=True)


def rss(*items: str) -> bytes:
    return f"<rss version='2.0'><channel><language>en-GB</language>{''.join(items)}</channel></rss>".encode()


def item(words: str, *, guid: str = "g1", at: datetime | None = NOW, more: str = "") -> str:
    when = "" if at is None else f"<pubDate>{format_datetime(at)}</pubDate>"
    return f"<item><guid isPermaLink='false'>{guid}</guid><title>{words}</title>{when}{more}</item>"


def atom(words: str, *, updated: datetime) -> bytes:
    return (
        f"<feed xmlns='http://www.w3.org/2005/Atom' xml:lang='fr'><entry><id>tag:a</id><title>{words}</title>"
        f"<link href='/1'/><published>{NOW.isoformat()}</published><updated>{updated.isoformat()}</updated>"
        "</entry></feed>"
    ).encode()


def read(body: bytes, known: Known | None = None, **asked: Any) -> tuple[list[Any], dict[str, tuple[str, ...]]]:
    """The items, and what is known afterwards. Without ``since`` it is the first reading."""
    told = READING.read(body, None, Asked(**{"now": NOW, "since": None, "address": BASE, "known": known or {}} | asked))
    place = Place(known=dict(known or {}))
    for step in [*(each for each in told.steps if each.item is None), *(each for each in told.steps if each.item)]:
        place.remember(step.remember)
    return [step.item for step in told.steps if step.item is not None], place.known


def said(items: list[Any]) -> list[str]:
    """The words of posts, the ids of what went, and gaps."""
    return [
        found.text if isinstance(found, post.Post) else f"-{found.id}" if isinstance(found, post.Deletion) else "gap"
        for found in items
    ]


def test_an_entry_becomes_a_post() -> None:
    more = (
        "<link>/1</link><description>&lt;p&gt;Two &lt;b&gt;hurt&lt;/b&gt;&lt;/p&gt;</description><author>Ada</author>"
    )
    ((found,), _) = read(rss(item("Fire in Selby Heath", more=more)))
    assert isinstance(found, post.Post)
    assert (found.provider, found.id, found.text) == ("rss:news", "g1", "Fire in Selby Heath\nTwo hurt")
    assert (found.url, found.langs, found.verified) == ("https://news.example/1", ("en",), True)
    assert (found.created_at, found.official) == (NOW, None)
    assert found.author
    assert "Ada" not in found.author


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rss20.xml", ("http://example.org/guid/1", "First item title\nWatch out for nasty tricks", 2002)),
        ("atom10.xml", ("tag:feedparser.org,2005-11-09:/docs/examples/atom10.xml:3", None, 2005)),
        ("atom03.xml", ("tag:feedparser.org,2004-04-20:/docs/examples/atom03.xml:3", None, 2004)),
    ],
)
def test_recorded_feeds_are_read(name: str, expected: tuple[str, str | None, int]) -> None:
    body = shared.require("samples", "rss", name).read_bytes()
    ((entry,), dropped) = feed_entries.decode(body, None, BASE)
    assert (entry.id, entry.text.startswith("First"), dropped) == (expected[0], True, 0)
    assert expected[1] in (None, entry.text)
    assert entry.published is not None
    assert entry.published.year == expected[2]
    assert entry.url is not None
    assert entry.url.startswith("http")


def test_rss_1_and_older_are_read() -> None:
    body = (
        b"<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#' xmlns='http://purl.org/rss/1.0/'"
        b" xmlns:dc='http://purl.org/dc/elements/1.1/'><channel rdf:about='x'><dc:language>es</dc:language></channel>"
        b"<item rdf:about='https://n.example/1'><title>Humo</title><link>https://n.example/1</link>"
        b"<dc:date>2031-05-14T11:30:00+0000</dc:date></item></rdf:RDF>"
    )
    ((entry,), _) = feed_entries.decode(body, None, BASE)
    assert (entry.id, entry.langs, entry.published) == ("https://n.example/1", ("es",), NOW - timedelta(minutes=30))


def test_ids_fall_back_to_the_link_and_to_a_hash() -> None:
    body = rss(
        "<item><title>a</title><link>/x</link></item>", "<item><title>b</title></item>", "<item><link>/y</link></item>"
    )
    entries, dropped = feed_entries.decode(body, None, BASE)
    assert entries[0].id == "https://news.example/x"
    assert entries[1].id.startswith("hash:")
    assert dropped == 1


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("Wed, 14 May 2031 12:00:00 GMT", NOW),
        ("Wed, 14 May 2031 14:00:00 +0200", NOW),
        ("14 May 31 12:00 UT", NOW),
        ("2031-05-14T12:00:00Z", NOW),
        ("2031-05-14T13:00:00+0100", NOW),
        ("2031-05-14 12:00:00", NOW),
        ("yesterday", None),
        ("1901-01-01T00:00:00Z", None),
        ("9999-12-31T23:59:59-14:00", None),
        ("Wed, 99 May 2031 12:00:00 GMT", None),
    ],
)
def test_times_are_taken_where_they_make_sense(written: str, expected: datetime | None) -> None:
    body = rss(f"<item><title>a</title><pubDate>{written}</pubDate></item>")
    ((entry,), _) = feed_entries.decode(body, None, BASE)
    assert entry.published == expected


def test_a_new_feed_tells_only_what_is_fresh() -> None:
    body = rss(
        item("new", guid="3", at=NOW - timedelta(minutes=59)),
        item("old", guid="2", at=NOW - timedelta(minutes=61)),
        item("undated", guid="1", at=None),
    )
    items, known = read(body)
    assert [found.text for found in items] == ["new"]
    items, _ = read(body, known, since=NOW)
    assert items == []


def test_entries_come_oldest_first_and_undated_ones_count_from_their_receipt() -> None:
    _, known = read(rss(item("seen", guid="0")))
    body = rss(item("c", guid="3", at=None), item("b", guid="2", at=None), item("seen", guid="0"))
    items, _ = read(body, known, since=NOW - timedelta(minutes=1))
    assert [(found.text, found.created_at) for found in items] == [("b", NOW), ("c", NOW)]


def test_a_claim_from_the_future_is_cut() -> None:
    ((found,), _) = read(rss(item("later", at=NOW + timedelta(days=2))))
    assert found.created_at == NOW


def test_an_edit_without_a_time_brings_the_new_words_of_the_time_of_the_reading() -> None:
    _, known = read(rss(item("Flod warning")))
    later = NOW + timedelta(minutes=5)
    (gone, new), known = read(rss(item("Flood warning")), known, now=later, since=NOW)
    assert gone == post.Deletion(provider="rss:news", id="g1", deleted_at=later, replaced_by=new.id)
    assert (new.id, new.text, new.created_at) == (f"g1#v:{later.timestamp():.0f}", "Flood warning", NOW)
    for words in ("Flod warning", "Flood warning"):
        items, known = read(rss(item(words)), known, now=later + HOUR, since=later)
        assert items == [], "an old copy, and the true one"


def test_an_edit_of_what_was_only_seen_is_news() -> None:
    items, known = read(rss(item("No warnings", at=None)))
    assert items == []
    (new,), _ = read(rss(item("Flood warning", at=None)), known, now=NOW + HOUR, since=NOW)
    assert (new.text, new.created_at) == ("Flood warning", NOW + HOUR)


def test_words_that_always_change_come_ever_more_seldom_and_the_last_ones_win() -> None:
    _, known = read(rss(item("seen 0 times")))
    told = []
    for minute in range(1, 24 * 60):
        now = NOW + timedelta(minutes=minute)
        items, known = read(rss(item(f"seen {minute} times")), known, now=now, since=NOW)
        told += [(minute, found.text) for found in items if isinstance(found, post.Post)]
    assert [minute for minute, _ in told[:6]] == [1, 11, 31, 71, 151, 311]
    assert len(told) <= 12
    assert all(words == f"seen {minute} times" for minute, words in told)


def test_what_waits_for_its_turn_is_asked_for_in_full_and_a_quiet_day_forgets_it() -> None:
    now, known = NOW, read(rss(item("a")))[1]
    for words in ("b", "c"):
        told = READING.read(rss(item(words)), None, Asked(now=now, since=NOW, address=BASE, known=known))
        _, known = read(rss(item(words)), known, now=now, since=NOW)
        assert told.complete == (words == "b")
    now += timedelta(minutes=10)
    assert said(read(rss(item("c")), known, now=now, since=NOW)[0])[1:] == ["c"]
    _, known = read(rss(item("c")), known, now=now, since=NOW)
    for words in ("d", "e"):
        now += timedelta(days=1)
        items, known = read(rss(item(words)), known, now=now, since=NOW)
        assert said(items)[1:] == [words]
    now += timedelta(minutes=10)
    assert said(read(rss(item("f")), known, now=now, since=NOW)[0])[1:] == ["f"]


def test_an_edit_without_a_time_after_one_with_a_time_ahead_is_a_later_version() -> None:
    _, known = read(atom("3 dead", updated=NOW))
    _, known = read(atom("2 dead", updated=NOW + HOUR), known, since=NOW)
    (gone, new), _ = read(atom("1 dead", updated=NOW + HOUR), known, now=NOW + timedelta(minutes=1), since=NOW)
    assert gone.replaced_by == new.id
    assert post.newer(new.id, gone.id)


def test_an_edit_with_a_time_brings_the_new_words_under_a_new_id() -> None:
    _, known = read(atom("3 dead", updated=NOW))
    later = NOW + timedelta(minutes=5)
    items, known = read(atom("2 dead", updated=later), known, now=later, since=NOW)
    (gone, new) = items
    assert gone == post.Deletion(provider="rss:news", id="tag:a", deleted_at=later, replaced_by=new.id)
    assert (new.id, new.text, new.created_at) == (f"tag:a#v:{later.timestamp():.0f}", "2 dead", later)
    last = later + timedelta(minutes=5)
    (gone, new), _ = read(atom("1 dead", updated=last), known, now=last, since=later)
    assert (gone.id, new.id) == (f"tag:a#v:{later.timestamp():.0f}", f"tag:a#v:{last.timestamp():.0f}")


def test_a_crash_between_the_halves_of_an_edit_loses_none() -> None:
    _, known = read(atom("3 dead", updated=NOW))
    later = NOW + timedelta(minutes=5)
    asked = Asked(now=later, since=NOW, address=BASE, known=known)
    first, _ = (step for step in READING.read(atom("2 dead", updated=later), None, asked).steps if step.item)
    items, _ = read(atom("2 dead", updated=later), {**known, **first.remember}, now=later, since=NOW)
    assert [found.text for found in items] == ["2 dead"]


def test_a_crash_between_the_halves_of_an_edit_without_a_time_loses_none() -> None:
    _, known = read(rss(item("3 dead")))
    _, known = read(rss(item("2 dead")), known, since=NOW)
    later = NOW + timedelta(minutes=10)
    asked = Asked(now=later, since=NOW, address=BASE, known=known)
    first, _ = (step for step in READING.read(rss(item("1 dead")), None, asked).steps if step.item)
    (new,), _ = read(rss(item("1 dead")), {**known, **first.remember}, now=NOW, since=NOW)
    assert new.text == "1 dead"
    assert isinstance(first.item, post.Deletion)
    assert post.newer(new.id, first.item.id or ""), "though the clock went back"


def test_an_old_copy_of_the_feed_takes_no_edit_back() -> None:
    """A cache behind the same name may show what was there before."""
    first, second = atom("3 dead", updated=NOW), atom("2 dead", updated=NOW + timedelta(minutes=5))
    _, known = read(first)
    later = NOW + timedelta(minutes=9)
    items, known = read(second, known, now=later, since=NOW)
    assert len(items) == 2
    for body in (first, second, first, second):
        items, known = read(body, known, now=later, since=NOW)
        assert items == []
    (gone, new), _ = read(atom("1 dead", updated=later), known, now=later, since=NOW)
    assert gone.id == f"tag:a#v:{(NOW + timedelta(minutes=5)).timestamp():.0f}"
    assert new.text == "1 dead"


def told_over(steps: list[tuple[int, str, int]]) -> list[str]:
    """What is told of one entry: minute, words, and the minute that it says it was changed."""
    known: Known = {}
    found: list[str] = []
    for minute, words, changed in steps:
        body = atom(words, updated=NOW + timedelta(minutes=changed))
        items, known = read(body, known, now=NOW + timedelta(minutes=minute), since=NOW)
        found += [item.text for item in items if isinstance(item, post.Post)]
    return found


def test_an_entry_that_goes_back_and_forth_is_believed_after_hours() -> None:
    steps = [(0, "none", 0), (10, "FLOOD", 0), (20, "none", 0), (600, "none", 0)]
    assert told_over([*steps, (3000, "none", 0), (3100, "FLOOD", 0)]) == ["none", "FLOOD", "none", "FLOOD"]


def test_the_newest_words_come_back_after_an_old_copy_that_nobody_saw() -> None:
    assert told_over([(0, "A", 0), (60, "C", 50), (61, "B", 40), (62, "C", 50), (500, "C", 50)])[-1] == "C"


def test_an_edit_is_told_whatever_became_of_the_publishers_clock() -> None:
    _, known = read(atom("3 dead", updated=NOW))
    items, known = read(atom("2 dead", updated=NOW + timedelta(hours=9)), known, since=NOW)
    assert len(items) == 2
    last = items[-1].id
    for minute, words in ((9, "1 dead"), (10, "0 dead")):
        (gone, new), known = read(atom(words, updated=NOW + timedelta(minutes=minute)), known, since=NOW)
        assert (gone.id, gone.replaced_by, new.text) == (last, new.id, words)
        assert post.newer(new.id, last)
        last = new.id


def test_a_time_of_change_that_always_moves_is_no_change() -> None:
    items, known = read(atom("smoke", updated=NOW))
    assert len(items) == 1
    for minute in range(1, 5):
        items, known = read(atom("smoke", updated=NOW + timedelta(minutes=minute)), known, since=NOW)
        assert items == []


def test_new_ids_for_everything_tell_nothing_anew_and_are_no_gap() -> None:
    """A publisher moves to other software."""
    words = ("Fire in Selby", "Flood in Velmar", "All clear")
    dated = [NOW - timedelta(minutes=minute) for minute in range(3)]
    old = [item(each, guid=f"old{at}", at=at) for each, at in zip(words, dated, strict=True)]
    moved = [item(each, guid=f"new{at}", at=at) for each, at in zip(words, dated, strict=True)]
    _, known = read(rss(*old))
    items, known = read(rss(item("Smoke", guid="new9"), *moved), known, since=NOW)
    assert [found.text for found in items] == ["Smoke"]
    assert read(rss(item("Smoke", guid="new9"), *moved), known, since=NOW)[0] == []


def test_new_ids_for_everything_without_times_tell_nothing_anew() -> None:
    words = ("Fire in Selby", "Flood in Velmar", "All clear")
    _, known = read(rss(*(item(each, guid=f"old{each}", at=None) for each in words)))
    moved = [item(each, guid=f"new{each}", at=None) for each in words]
    items, known = read(rss(*moved), known, since=NOW)
    assert items == []
    again = item("Fire in Selby", guid="another", at=None)
    assert [found.id for found in read(rss(again, *moved[1:]), known, since=NOW)[0]] == ["another"], "it burns again"


@pytest.mark.parametrize("at", [None, NOW.replace(hour=0)])
def test_the_same_words_again_without_an_exact_time_are_news(at: datetime | None) -> None:
    _, known = read(rss(item("seen", guid="0", at=at)))
    told = []
    for number, words in enumerate(("Flood warning in force", "No warnings") * 2, start=1):
        items, known = read(rss(item(words, guid=f"{number}", at=at)), known, since=NOW)
        told += [found.id for found in items if isinstance(found, post.Post)]
    assert told == ["1", "2", "3", "4"]


def test_the_same_words_as_of_what_just_left_are_news_and_hide_no_gap() -> None:
    names = ["Flood warning in force", "No warnings"]
    _, known = read(rss(*(item(each, guid=each, at=None) for each in names)))
    items, _ = read(rss(*(item(each, guid=f"new {each}", at=None) for each in names)), known, since=NOW)
    assert said(items) == ["gap", "No warnings", "Flood warning in force"]


def test_an_entry_that_alone_gets_a_new_id_is_known_by_its_exact_time() -> None:
    at = NOW + timedelta(minutes=7)
    _, known = read(rss(item("Fire", guid="/fire", at=at), item("Flood", guid="/flood")), now=at)
    assert read(rss(item("Fire", guid="/fire-2", at=at), item("Flood", guid="/flood")), known, since=NOW)[0] == []
    _, known = read(rss(item("Flood", guid="/flood")), known, now=at, since=NOW)
    items, _ = read(rss(item("Fire", guid="/fire-2", at=at), item("Flood", guid="/flood")), known, now=at, since=NOW)
    assert said(items) == ["Fire"], "the old one left long ago"


def test_the_same_words_at_the_same_time_of_two_entries_are_two() -> None:
    _, known = read(rss(item("seen", guid="0")))
    gales = [item("Gale warning", guid=guid) for guid in ("1", "2")]
    items, _ = read(rss(*gales, item("seen", guid="0")), known, since=NOW)
    assert [found.id for found in items] == ["2", "1"]


def test_a_guid_that_stands_for_every_entry_is_none() -> None:
    def entry(number: int) -> str:
        at = NOW + timedelta(minutes=number)
        return item(f"n{number}", guid="https://news.example/", at=at, more=f"<link>/{number}</link>")

    found, known = read(rss(entry(0)), now=NOW + HOUR)
    for number in range(1, 6):
        shown = [entry(each) for each in range(number, max(-1, number - 2), -1)]
        items, known = read(rss(*shown), known, now=NOW + HOUR, since=NOW)
        found += items
    assert [each.text for each in found] == [f"n{number}" for number in range(6)]


def linked(words: str, *, at: datetime | None, link: str = "/warnings") -> str:
    when = "" if at is None else f"<pubDate>{format_datetime(at)}</pubDate>"
    return f"<item><title>{words}</title><link>{link}</link>{when}</item>"


@pytest.mark.parametrize("shape", ["time", "one time", "date", "none"])
@pytest.mark.parametrize("named", [False, True])
def test_entries_that_share_their_only_name_are_told_apart(shape: str, named: bool) -> None:
    def entry(number: int) -> str:
        times = {"time": NOW + timedelta(minutes=number), "one time": NOW, "date": NOW.replace(hour=0), "none": None}
        words, at = f"Warning {number}", times[shape]
        return item(words, guid="always", at=at) if named else linked(words, at=at)

    _, known = read(rss(linked("seen", at=None, link="/other")))
    told = []
    for shown in ([1, 0], [2, 1, 0], [3, 2, 1], [3], [4, 3], [4], [6, 5]):
        items, known = read(rss(*map(entry, shown)), known, now=NOW + HOUR, since=NOW)
        told += said(items)
    assert [each for each in told if each != "gap"] == [f"Warning {number}" for number in range(7)]


def test_a_name_that_was_of_one_entry_and_proves_to_be_shared_tells_nothing_twice() -> None:
    first = linked("Warning 1", at=NOW)
    items, known = read(rss(first))
    assert said(items) == ["Warning 1"]
    second = linked("Warning 2", at=NOW + timedelta(minutes=1))
    items, known = read(rss(second, first), known, now=NOW + HOUR, since=NOW)
    assert said(items) == ["Warning 2"]
    for shown in ([first], [second], [second, first]):
        items, known = read(rss(*shown), known, now=NOW + HOUR, since=NOW)
        assert items == []


def test_the_same_words_of_a_shared_name_at_another_time_are_news() -> None:
    warnings = [linked("Flood warning", at=NOW + timedelta(hours=hour)) for hour in range(3)]
    items, known = read(rss(warnings[1], warnings[0]), now=NOW + HOUR)
    assert said(items) == ["Flood warning"] * 2
    items, _ = read(rss(*warnings[::-1]), known, now=NOW + 2 * HOUR, since=NOW)
    assert said(items) == ["Flood warning"]


def test_entries_without_any_name_are_told_apart_by_their_times() -> None:
    def nameless(minute: int) -> str:
        return f"<item><title>Alarm</title><pubDate>{format_datetime(NOW + timedelta(minutes=minute))}</pubDate></item>"

    items, known = read(rss(nameless(1), nameless(0)), now=NOW + HOUR)
    assert said(items) == ["Alarm"] * 2
    assert said(read(rss(nameless(2), nameless(1)), known, now=NOW + HOUR, since=NOW)[0]) == ["Alarm"]


def test_a_feed_that_gives_guids_at_last_tells_nothing_twice() -> None:
    ats = [NOW - timedelta(minutes=minute) for minute in range(2)]
    _, known = read(rss(*(linked(f"n{at}", at=at, link=f"/{at.minute}") for at in ats)))
    more = [f"<link>/{at.minute}</link>" for at in ats]
    body = rss(*(item(f"n{at}", guid=f"g{at}", at=at, more=link) for at, link in zip(ats, more, strict=True)))
    assert read(body, known, since=NOW)[0] == []


@pytest.mark.parametrize("turned", [False, True])
def test_of_several_versions_of_an_entry_the_latest_counts(turned: bool) -> None:
    first, second = atom("3 dead", updated=NOW), atom("2 dead", updated=NOW + timedelta(minutes=5))
    head, *_ = first.partition(b"<entry>")
    both = [first, second][:: -1 if turned else 1]
    versions = [body.partition(b"<entry>")[2].removesuffix(b"</feed>") for body in both]
    body = head + b"".join(b"<entry>" + each for each in versions) + b"</feed>"
    ((found,), known) = read(body, now=NOW + HOUR)
    assert found.text == "2 dead"
    assert read(body, known, now=NOW + HOUR, since=NOW)[0] == []


def test_a_gap_never_ends_in_the_future() -> None:
    _, known = read(rss(item("seen", guid="0")))
    later = NOW + timedelta(days=2)
    (gap, _), _ = read(rss(item("later", guid="9", at=later + timedelta(days=9))), known, now=later, since=NOW)
    assert (gap.since, gap.until) == (NOW, later)


def test_where_nothing_known_is_left_there_is_a_gap() -> None:
    _, known = read(rss(item("seen", guid="0")))
    later = NOW + timedelta(days=2)
    items, _ = read(rss(item("far on", guid="99", at=later)), known, now=later, since=NOW)
    assert isinstance(items[0], post.Gap)
    assert (items[0].since, items[0].until) == (NOW, later)
    assert items[1].text == "far on"


@given(
    st.binary(max_size=300)
    | st.text(max_size=200).map(lambda text: rss(item(text)).replace(b"g1", text.encode("utf-8", "replace")))
)
@settings(max_examples=300, deadline=None)
def test_anything_is_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(UnreadableError):
        for found in read(body)[0]:
            assert found.id
            assert "\0" not in found.id + found.text
            found.text.encode()
            assert found.created_at.tzinfo is UTC


@pytest.mark.parametrize("link", ["https://xn--a.example/2", "https://xn--/2", "https://x\u3002@][\uff0e\u2024@/2"])
def test_a_link_to_no_host_costs_no_entry(link: str) -> None:
    entries, dropped = feed_entries.decode(
        rss(item("Smoke", more=f"<link>{link}</link>"), item("Fire", guid="g2")), None, BASE
    )
    assert (sorted(entry.text for entry in entries), dropped) == (["Fire", "Smoke"], 0)
