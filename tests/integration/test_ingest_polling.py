"""PollingSource against FakeSite: real HTTP, in virtual time."""

import contextlib
import gzip
import inspect
import json
import socket
import time
import tracemalloc
from collections.abc import AsyncIterator
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from aiohttp import abc
from yarl import URL

from bot import app, config
from bot.domain import errors, post
from bot.ingest import elapsed, feed, fetching, gdacs, meteoalarm, nws, polling, reach, trouble, usgs
from bot.ingest.source import State
from tests.fakes import polled
from tests.fakes.polled import Cut, Drip, FakeSite, Garbage, Refuse, Stall, VirtualTime

MINUTE = timedelta(minutes=1)
PATH = "/feed.xml"


@pytest.fixture
async def site() -> AsyncIterator[FakeSite]:
    async with FakeSite() as server:
        yield server
        assert server.faults == []


def rss(*texts: str, at: timedelta = timedelta(0)) -> str:
    """Newest first, as feeds are."""
    when = format_datetime(polled.START + at)
    items = "".join(f"<item><guid>{text}</guid><title>{text}</title><pubDate>{when}</pubDate></item>" for text in texts)
    return f'<?xml version="1.0"?><rss version="2.0"><channel><title>t</title>{items}</channel></rss>'


def make_source(site: FakeSite, time: VirtualTime, *, path: str = PATH, **settings: Any) -> polling.PollingSource:
    return feed.source(
        "news", site.url(path), provider="rss:news", official=False, **time.environment(timeout_s=5.0) | settings
    )


async def until_over(source: polling.PollingSource, after: str | None = None) -> list[post.Arrival]:
    found = []
    with contextlib.suppress(polled.OverError):
        async with contextlib.aclosing(source.posts(after)) as posts:
            async for arrival in posts:
                found.append(arrival)  # noqa: PERF401  # what came before OverError counts
    return found


def texts(arrivals: list[post.Arrival]) -> list[str]:
    return [arrival.item.text for arrival in arrivals if isinstance(arrival.item, post.Post)]


async def test_an_unchanged_document_is_not_sent_again(site: FakeSite) -> None:
    time = VirtualTime(until=3 * MINUTE)
    site.put(PATH, rss("smoke"))
    source = make_source(site, time)
    assert texts(await until_over(source)) == ["smoke"]
    assert site.statuses[0] == 200
    assert set(site.statuses[1:]) == {304}
    assert source.health.state is State.LIVE


async def test_the_time_of_the_last_change_is_sent_back_as_well(site: FakeSite) -> None:
    site.validators, site.modified = False, format_datetime(polled.START, usegmt=False)
    site.put(PATH, rss("smoke"))
    await until_over(make_source(site, VirtualTime(until=3 * MINUTE)))
    assert site.statuses[0] == 200
    assert set(site.statuses[1:]) == {304}


async def test_the_validators_survive_a_restart_and_nothing_comes_twice(site: FakeSite) -> None:
    site.put(PATH, rss("two", "one"))
    first = await until_over(make_source(site, VirtualTime(until=MINUTE)))
    again = await until_over(make_source(site, VirtualTime(until=MINUTE)), first[-1].cursor)
    assert (texts(first), texts(again)) == (["one", "two"], [])
    assert site.statuses[-1] == 304


async def test_whoever_resumes_in_the_middle_of_a_document_gets_the_rest(site: FakeSite) -> None:
    site.put(PATH, rss("three", "two", "one"))
    first = await until_over(make_source(site, VirtualTime(until=MINUTE)))
    for number, arrival in enumerate(first[:2], start=1):
        rest = await until_over(make_source(site, VirtualTime(until=MINUTE)), arrival.cursor)
        assert texts(rest) == ["one", "two", "three"][number:]


async def test_a_crash_in_the_middle_of_the_first_document_loses_nothing_however_long_it_takes(site: FakeSite) -> None:
    site.put(PATH, rss("two", "one"))
    (first, *_) = await until_over(make_source(site, VirtualTime(until=MINUTE)))
    time = VirtualTime(until=timedelta(hours=5))
    time.passed = timedelta(hours=4)
    assert texts(await until_over(make_source(site, time), first.cursor)) == ["two"]


async def test_what_was_only_seen_is_known_after_a_restart(site: FakeSite) -> None:
    site.put(PATH, rss("old", at=timedelta(hours=-5)))
    first = await until_over(make_source(site, VirtualTime(until=MINUTE)))
    assert [type(arrival.item) for arrival in first] == [post.Mark]
    site.put(PATH, rss("written while nobody looked", "old", at=timedelta(hours=-3)))
    again = await until_over(make_source(site, VirtualTime(until=MINUTE)), first[-1].cursor)
    assert texts(again) == ["written while nobody looked"]


async def test_a_permanent_redirect_is_remembered_once_its_target_answers(site: FakeSite) -> None:
    site.put("/new.xml", rss("smoke"))
    site.move(PATH, "/new.xml", 301)
    first = await until_over(make_source(site, VirtualTime(until=2 * MINUTE)))
    assert [request.path for request in site.requests[:3]] == [PATH, "/new.xml", "/new.xml"]
    assert json.loads(first[-1].cursor)["moved"] == site.url("/new.xml")
    await until_over(make_source(site, VirtualTime(until=MINUTE)), first[-1].cursor)
    assert site.requests[-1].path == "/new.xml"
    elsewhere = make_source(site, VirtualTime(until=MINUTE), path="/new.xml?set=anew")
    await until_over(elsewhere, first[-1].cursor)
    assert site.requests[-1].query_string == "set=anew", "another url in the configuration counts"


@pytest.mark.parametrize("status", [302, 307])
async def test_a_passing_redirect_is_followed_and_forgotten(status: int, site: FakeSite) -> None:
    site.put("/new.xml", rss("smoke"))
    site.move(PATH, "/new.xml", status)
    (arrival, *_) = await until_over(make_source(site, VirtualTime(until=2 * MINUTE)))
    assert "moved" not in json.loads(arrival.cursor)
    assert [request.path for request in site.requests[:4]] == [PATH, "/new.xml"] * 2


async def test_a_redirect_to_something_else_is_not_remembered(site: FakeSite) -> None:
    site.put("/portal", "<html><body>log in first</body></html>", kind="text/html")
    site.move(PATH, "/portal", 301)
    time = VirtualTime(until=5 * MINUTE)
    source = make_source(site, time)
    assert await until_over(source) == []
    assert {request.path for request in site.requests[::2]} == {PATH}
    assert "neither RSS nor Atom" in (source.health.last_error or "")
    assert source.health.dropped >= 1


async def test_redirects_in_a_circle_and_to_nowhere_are_troubles(site: FakeSite) -> None:
    site.move(PATH, "/round")
    site.move("/round", PATH)
    source = make_source(site, VirtualTime(until=MINUTE))
    await until_over(source)
    assert "redirects more than 5 times" in (source.health.last_error or "")
    for nowhere in ("ftp://example.org/", "https://xn--a.example/", "https://x%E3%80%82@][%EF%BC%8E@/"):
        site.move(PATH, nowhere)
        await until_over(source)
        assert "redirects to no address" in (source.health.last_error or "")


async def test_what_is_gone_says_so_and_is_asked_once_a_day(site: FakeSite) -> None:
    time = VirtualTime(until=timedelta(days=3))
    site.put(PATH, lambda: rss("back again", at=time.passed).encode())
    site.script(Refuse(410), Refuse(410))
    source = make_source(site, time)
    arrivals = await until_over(source)
    assert texts(arrivals) == ["back again"]
    assert site.statuses[:3] == [410, 410, 200]
    assert all(86_400 <= wait <= 95_040 for wait in time.waits[:2])
    assert source.health.last_error == "127.0.0.1 says that this is gone for good (410)"
    assert "remove the source news" in (source.health.remedy or "")
    assert source.health.state is State.LIVE
    assert source.health.retry_at is None, "operators hear of it as of any other, not a day later"


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_goes_first(status: int, site: FakeSite) -> None:
    site.put(PATH, rss("smoke"))
    site.script(Refuse(status, {"Retry-After": "900"}))
    time = VirtualTime(until=timedelta(hours=1))
    source = make_source(site, time)
    assert texts(await until_over(source)) == ["smoke"]
    assert 900 <= time.waits[0] <= 900 + 120
    assert source.health.retry_at == polled.START + timedelta(seconds=time.waits[0])
    assert source.health.interval is not None
    assert source.health.reconnects == 1


async def test_it_is_asked_less_often_while_nothing_changes(site: FakeSite) -> None:
    site.put(PATH, rss("one"))
    time = VirtualTime(until=timedelta(days=1))
    await until_over(make_source(site, time))
    assert time.waits[0] <= 66
    assert max(time.waits) <= 3_600 * 1.1
    assert time.waits[-1] >= 3_600
    assert len(site.requests) < 60


async def test_it_is_asked_more_often_again_when_it_changes(site: FakeSite) -> None:
    count = 0

    def growing() -> bytes:
        return rss(*(f"n{number}" for number in range(count, -1, -1))).encode()

    site.put(PATH, growing)
    time = VirtualTime(until=timedelta(days=2))

    def more() -> None:
        nonlocal count
        count += 1

    for minute in range(0, 300, 5):
        time.at(timedelta(days=1, minutes=minute), more)
    found = await until_over(make_source(site, time))
    assert len(texts(found)) == 61
    middle = [wait for wait in time.waits if wait < 400]
    assert len(middle) > 30


@pytest.mark.parametrize("fault", [Cut(), Stall(), Drip(), Garbage(), Refuse(500), Refuse(404), Refuse(403)])
async def test_a_fault_is_got_over(fault: polled.Fault, site: FakeSite) -> None:
    site.put(PATH, rss("two", "one"))
    site.script(fault)
    source = make_source(site, VirtualTime(until=5 * MINUTE), timeout_s=0.3)
    assert texts(await until_over(source)) == ["one", "two"]
    assert source.health.last_error
    assert source.health.remedy
    assert source.health.state is State.LIVE


async def test_a_body_over_the_bound_is_refused(site: FakeSite) -> None:
    site.put(PATH, rss("one"))
    site.script(Garbage(b"<rss>" + b" " * 10_000_001))
    source = make_source(site, VirtualTime(until=5 * MINUTE))
    assert texts(await until_over(source)) == ["one"]
    assert "more than 10000000 bytes" in (source.health.last_error or "")


@pytest.mark.parametrize("layers", [1, 2])
async def test_a_bomb_is_never_unpacked(layers: int, site: FakeSite) -> None:
    bomb = b"<rss>" + b" " * 100_000_000
    for _ in range(layers):
        bomb = gzip.compress(bomb, 1)
    site.put(PATH, rss("one"))
    site.script(Garbage(bomb, encoding=", ".join(["gzip"] * layers)))
    source = make_source(site, VirtualTime(until=5 * MINUTE))
    tracemalloc.start()
    try:
        assert texts(await until_over(source)) == ["one"]
        assert tracemalloc.get_traced_memory()[1] < 60_000_000
    finally:
        tracemalloc.stop()
    assert source.health.last_error


async def test_nothing_has_changed_is_no_answer_to_a_first_question(site: FakeSite) -> None:
    site.put(PATH, rss("old", at=timedelta(hours=-5)))
    site.script(Refuse(304))
    source = make_source(site, VirtualTime(until=5 * MINUTE))
    assert texts(await until_over(source)) == [], "it is the first reading, still"
    assert "which it was not asked" in (source.health.last_error or "")


PORTALS = (
    b"<!DOCTYPE html><html><head><title>Log in</title></head><body><p>Welcome &nbsp; guest<br></body></html>",
    b"<html><body><form><input name=user></form><item><title>n</title></item></body></html>",
    b"<?xml version='1.0'?><!DOCTYPE html PUBLIC '-//W3C//DTD XHTML 1.0 Strict//EN' 'http://127.0.0.1/x.dtd'>"
    b"<html xmlns='http://www.w3.org/1999/xhtml'><body><p>Log in</p></body></html>",
    b'{"error": "log in first", "features": null}',
    b"[]",
    b"Please pay",
)


@pytest.mark.parametrize("portal", PORTALS)
@pytest.mark.parametrize("kind", ["feed", "gdacs", "usgs", "nws", "meteoalarm"])
async def test_a_page_to_log_in_is_no_empty_list(kind: str, portal: bytes, site: FakeSite) -> None:
    """Days of it, as behind a hotel's network: what was known stays known, and only the end of it is a gap."""
    time = VirtualTime(until=timedelta(hours=6))
    environment = time.environment()
    url = site.url("/all_hour.geojson")
    makes = {
        "feed": lambda: feed.source("s", url, provider="p", official=False, **environment),
        "gdacs": lambda: gdacs.source("s", url, provider="p", **environment),
        "usgs": lambda: usgs.source("s", url, provider="p", magnitude=4.5, **environment),
        "nws": lambda: nws.source("s", url, provider="p", contact="ada@example.org", **environment),
        "meteoalarm": lambda: meteoalarm.source("s", url, provider="p", **environment),
    }
    site.put("/all_hour.geojson", portal, "text/html")
    site.put("/4.5_day.geojson", portal, "text/html")
    source = makes[kind]()
    place = polling.Place(known={"a": ("1", "a")}, read_at=polled.START)
    assert await until_over(source, place.cursor) == []
    assert source.health.state is State.WAITING
    assert source.health.dropped > 3


async def test_a_feed_that_moved_back_is_found(site: FakeSite) -> None:
    time = VirtualTime(until=timedelta(hours=2))
    site.put("/new.xml", rss("before"))
    site.move(PATH, "/new.xml", 301)

    def move_back() -> None:
        site.put("/new.xml", lambda: None)
        site.put(PATH, rss("after", "before"))
        site.stay(PATH)

    time.at(timedelta(minutes=30), move_back)
    found = await until_over(make_source(site, time))
    assert texts(found) == ["before", "after"]
    assert "moved" not in json.loads(found[-1].cursor)
    assert site.requests[-1].path == PATH


async def test_a_moved_feed_is_not_lost_with_its_old_address(site: FakeSite) -> None:
    """It fails for a while, and where it was nobody answers any more."""
    time = VirtualTime(until=timedelta(hours=3))
    site.put("/new.xml", rss("smoke"))
    site.move(PATH, "/new.xml", 301)
    time.at(timedelta(minutes=30), lambda: site.stay(PATH))
    time.at(timedelta(minutes=30), lambda: site.script(*[Refuse(503)] * 5))
    time.at(timedelta(hours=1), lambda: site.put("/new.xml", rss("fire", "smoke")))
    assert texts(await until_over(make_source(site, time))) == ["smoke", "fire"]


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example", "xn--\u2028.example", "[::1", "a" * 300])
async def test_a_redirect_to_an_odd_name_is_a_trouble_and_no_defect(host: str, site: FakeSite) -> None:
    site.move(PATH, f"http://{host}/feed.xml", 302)
    source = make_source(site, VirtualTime(until=MINUTE))
    assert await until_over(source) == []
    assert source.health.last_error
    assert source.health.state is State.WAITING


def test_encryption_is_not_given_up_on_the_way() -> None:
    with pytest.raises(trouble.LostError, match="without encryption"):
        fetching.redirected(URL("https://a.example/1"), "http://a.example/2")
    assert str(fetching.redirected(URL("http://a.example/1"), "//b.example/2")) == "http://b.example/2"


async def test_who_is_sent_away_for_a_day_says_so_to_operators(site: FakeSite) -> None:
    time = VirtualTime(until=timedelta(days=2))
    site.put(PATH, lambda: rss("smoke", at=time.passed).encode())
    site.script(Refuse(429, {"Retry-After": "86400"}))
    source = make_source(site, time)
    assert texts(await until_over(source)) == ["smoke"]
    assert 86_400 <= time.waits[0] <= 86_400 + 120
    assert source.health.retry_at is None, "a source that is silent for a day is quiet, whatever was announced"


async def test_a_name_that_does_not_resolve_and_a_server_without_tls(site: FakeSite) -> None:
    site.move(PATH, "http://nowhere.invalid/feed.xml", 302)
    source = make_source(site, VirtualTime(until=MINUTE))
    await until_over(source)
    assert "cannot be re" in (source.health.last_error or "")
    site.move(PATH, f"https://127.0.0.1:{site.port}/feed.xml", 302)
    await until_over(source)
    assert source.health.last_error
    assert source.health.remedy


class Names(abc.AbstractResolver):
    """Each name's addresses, one after the other; the last stays."""

    def __init__(self, **addresses: list[str]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[abc.ResolveResult]:
        given = self._addresses[host.partition(".")[0]]
        at = given.pop(0) if len(given) > 1 else given[0]
        return [abc.ResolveResult(hostname=host, host=at, port=port, family=family, proto=0, flags=0)]

    async def close(self) -> None:
        pass


PUBLIC = "9.9.9.9"


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "inner.example", "[::ffff:127.0.0.1]", "10.0.0.8", "169.254.169.254", "[fe80::1]"],
)
@pytest.mark.parametrize("status", [301, 302])
async def test_nobody_outside_leads_us_to_an_address_inside(host: str, status: int, site: FakeSite) -> None:
    site.put("/secret.xml", rss("not for us"))
    site.move(PATH, f"http://{host}:{site.port}/secret.xml", status)
    source = feed.source(
        "news", f"http://outer.example:{site.port}{PATH}", provider="rss:news", official=False,
        names=lambda: Names(outer=["127.0.0.1", PUBLIC], inner=["127.0.0.1"], localhost=["127.0.0.1"]),
        **VirtualTime(until=MINUTE).environment(timeout_s=5.0),
    )  # fmt: skip
    assert texts(await until_over(source)) == []
    assert {request.path for request in site.requests} == {PATH}
    assert source.health.last_error == "outer.example redirects to an address inside a private network"


async def test_an_address_inside_that_an_older_cursor_names_is_not_asked(site: FakeSite) -> None:
    site.put("/secret.xml", rss("not for us"))
    url = f"http://outer.example:{site.port}{PATH}"
    place = polling.Place(base=url, moved=site.url("/secret.xml"))
    source = feed.source(
        "news", url, provider="rss:news", official=False, names=lambda: Names(outer=[PUBLIC]),
        **VirtualTime(until=MINUTE).environment(timeout_s=5.0),
    )  # fmt: skip
    assert await until_over(source, place.cursor) == []
    assert site.requests == []


async def test_inside_one_network_redirects_are_followed(site: FakeSite) -> None:
    site.put("/new.xml", rss("smoke"))
    site.move(PATH, f"http://other.example:{site.port}/new.xml", 301)
    source = feed.source(
        "news", f"http://outer.example:{site.port}{PATH}", provider="rss:news", official=False,
        names=lambda: Names(outer=["127.0.0.1"], other=["127.0.0.1"]),
        **VirtualTime(until=2 * MINUTE).environment(timeout_s=5.0),
    )  # fmt: skip
    found = await until_over(source)
    assert texts(found) == ["smoke"]
    assert json.loads(found[-1].cursor)["moved"] == f"http://other.example:{site.port}/new.xml", "feeds may move"


@pytest.mark.parametrize(("host", "kept"), [("outer", True), ("other", False)])
async def test_an_agency_moves_on_its_own_host_only(host: str, kept: bool, site: FakeSite) -> None:
    site.put("/new", '{"type": "FeatureCollection", "features": []}', kind="application/geo+json")
    site.move("/alerts", f"http://{host}.example:{site.port}/new", 301)
    url = f"http://outer.example:{site.port}/alerts"

    def make() -> polling.PollingSource:
        time = VirtualTime(until=MINUTE)
        return nws.source(
            "nws", url, provider="nws", contact="ada@example.org",
            names=lambda: Names(outer=["127.0.0.1"], other=["127.0.0.1"]), **time.environment(timeout_s=5.0),
        )  # fmt: skip

    (mark, *_) = await until_over(make())
    assert ("moved" in json.loads(mark.cursor)) is kept
    moved = polling.Place(base=url, moved=f"http://{host}.example:{site.port}/new")
    site.requests.clear()
    await until_over(make(), moved.cursor)
    assert site.requests[0].path == ("/new" if kept else "/alerts"), "what an older cursor remembers is no exception"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("LOCALHOST.", True), ("0.0.0.0", True), ("100.64.0.1", True), ("224.0.0.1", True), ("::1", True),
        ("fe80::1%eth0", True), ("fd00::1", True), ("ff02::1", True), ("64:ff9b::7f00:1", True),
        ("2002:7f00:1::", True),
        (PUBLIC, False), ("2620:fe::fe", False), ("64:ff9b::909:909", False), ("outer.example", False), ("", False),
    ],
)  # fmt: skip
def test_which_addresses_are_inside(host: str, expected: bool) -> None:
    assert reach.inside(host) is expected


async def test_the_cursor_of_another_kind_of_source_is_refused(site: FakeSite) -> None:
    for cursor in ("1783175888085434", "host:5:6", "[]", '{"known": 5}', '{"at": 1e30}', "\ud800"):
        with pytest.raises(errors.UsageError, match="cursor"):
            polling.Place.parse("news", cursor)
    place = polling.Place(etag='"x"', known={"a": ("1", "b")}, read_at=polled.START)
    assert polling.Place.parse("news", place.cursor) == place


async def test_what_is_known_is_bounded() -> None:
    place = polling.Place()
    for number in range(3 * polling.KNOWN):
        place.remember({f"k{number}": ("v",), "always": ("v",)})
    assert len(place.known) == polling.KNOWN
    assert "always" in place.known


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(errors.UsageError, match="http"):
        feed.source("news", "ftp://example.org/feed", provider="rss:news", official=False)


def quake(name: str, began: timedelta) -> dict[str, Any]:
    at = int((polled.START + began).timestamp() * 1000)
    properties = {"mag": 6.1, "time": at, "updated": at, "place": "Selby", "ids": f",{name},"}
    return {"id": name, "properties": properties, "geometry": {"coordinates": [1.0, 2.0, 3.0]}}


async def test_a_quake_that_left_the_list_is_asked_after_until_there_is_an_answer(site: FakeSite) -> None:
    """Although the list itself does not change any more."""
    time = VirtualTime(until=timedelta(minutes=20))
    listed = [quake("us1", timedelta(0))]
    site.put("/v1/summary/all_hour.geojson", lambda: json.dumps({"features": listed}).encode(), "application/json")
    site.put("/v1/detail/us1.geojson", "{}")
    site.move("/v1/detail/us1.geojson", "", 503)
    time.at(timedelta(minutes=5), listed.clear)
    deleted = quake("us1", timedelta(0))
    deleted["properties"]["status"] = "deleted"
    time.at(timedelta(minutes=9), lambda: site.put("/v1/detail/us1.geojson", json.dumps(deleted)))
    time.at(timedelta(minutes=9), lambda: site.stay("/v1/detail/us1.geojson"))
    url = site.url("/v1/summary/all_hour.geojson")
    source = usgs.source("usgs", url, provider="usgs", magnitude=4.5, **time.environment())
    found = [arrival.item for arrival in await until_over(source) if isinstance(arrival.item, post.Post)]
    assert [item.official is not None and item.official.cancelled for item in found] == [False, True]


def disaster(level: str, modified: timedelta) -> bytes:
    when = format_datetime(polled.START + modified)
    return (
        "<rss xmlns:gdacs='http://www.gdacs.org'><channel><item><guid>EQ1</guid><title>Velmar</title>"
        f"<pubDate>{format_datetime(polled.START)}</pubDate><gdacs:datemodified>{when}</gdacs:datemodified>"
        f"<gdacs:eventtype>EQ</gdacs:eventtype><gdacs:alertlevel>{level}</gdacs:alertlevel>"
        "<gdacs:episodeid>7</gdacs:episodeid></item></channel></rss>"
    ).encode()


async def test_an_old_copy_of_a_list_of_disasters_takes_nothing_back(site: FakeSite) -> None:
    time = VirtualTime(until=timedelta(hours=5))
    orange, red = disaster("Orange", timedelta(0)), disaster("Red", timedelta(hours=1))
    shown = [orange]
    site.put(PATH, lambda: shown[-1])
    again = disaster("Orange", timedelta(hours=3)), disaster("Red", timedelta(hours=4))
    for hour, body in ((1.0, red), (1.5, orange), (2.0, red), (3.0, again[0]), (3.5, red), (4.0, again[1])):
        time.at(timedelta(hours=hour), lambda body=body: shown.append(body))  # type: ignore[misc]
    source = gdacs.source("gdacs", site.url(PATH), provider="gdacs", **time.environment())
    items = [arrival.item for arrival in await until_over(source)]
    told = [item for item in items if isinstance(item, post.Post)]
    gone = [item.id for item in items if isinstance(item, post.Deletion)]
    assert [item.text.partition(" ")[0] for item in told] == ["Orange", "Red", "Orange", "Red"]
    assert gone == [item.id for item in told[:-1]]
    assert len({item.id for item in told}) == 4


async def test_nws_is_told_whom_to_contact(site: FakeSite) -> None:
    site.put("/alerts/active", '{"features": []}', "application/geo+json")
    time = VirtualTime(until=MINUTE)
    settings = time.environment()
    source = nws.source("nws", site.url("/alerts/active"), provider="nws", contact="ada@example.org", **settings)
    await until_over(source)
    assert {request.headers["User-Agent"] for request in site.requests} == {"tocsin (ada@example.org)"}
    assert {request.headers["Accept"] for request in site.requests} == {"application/geo+json"}
    assert all(30 <= wait <= 33 for wait in time.waits)


def warning(site: FakeSite, name: str, kind: str, host: str | None = None) -> str:
    return (
        f"<entry><title>Red Wind Warning issued for Velmar - Selby</title><cap:identifier>{name}</cap:identifier>"
        f"<cap:sent>{polled.START.isoformat()}</cap:sent><cap:severity>Extreme</cap:severity>"
        f"<cap:message_type>{kind}</cap:message_type>"
        f"<link type='application/cap+xml' href='{host or site.url('')}/cap/{name}'/></entry>"
    )


class Warnings:
    """A list of warnings, and the messages behind them, each of which refers to the one that is given."""

    def __init__(self, site: FakeSite, time: VirtualTime) -> None:
        self.site, self.time = site, time
        self.listed: list[str] = []
        site.put(PATH, self._list)

    def add(self, name: str, kind: str, *, of: str = "nothing", host: str | None = None) -> None:
        reference = f"<references>met@example.org,{of},{polled.START.isoformat()}</references>"
        self.site.put(f"/cap/{name}", f"<alert xmlns='urn:oasis:names:tc:emergency:cap:1.2'>{reference}</alert>")
        self.listed.append(warning(self.site, name, kind, host))

    def asked(self) -> list[str]:
        """In order, the messages that were asked for."""
        paths = (request.path for request in self.site.requests)
        return [path.removeprefix("/cap/") for path in paths if path.startswith("/cap/")]

    def source(self, **environment: Any) -> polling.PollingSource:
        return meteoalarm.source(
            "meteoalarm", self.site.url(PATH), provider="meteoalarm", **self.time.environment(**environment)
        )

    def _list(self) -> bytes:
        head = "<feed xmlns='http://www.w3.org/2005/Atom' xmlns:cap='urn:oasis:names:tc:emergency:cap:1.2'>"
        return f"{head}{''.join(self.listed)}</feed>".encode()


def told(arrivals: list[post.Arrival]) -> list[str]:
    return [arrival.item.id for arrival in arrivals if isinstance(arrival.item, post.Post)]


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_what_a_cancellation_refers_to_is_asked_on_the_same_host_only(elsewhere: bool, site: FakeSite) -> None:
    warnings = Warnings(site, VirtualTime(until=5 * MINUTE))
    warnings.add("w1", "Alert")
    host = f"http://localhost:{site.port}" if elsewhere else None
    warnings.time.at(2 * MINUTE, lambda: warnings.add("w2", "Cancel", of="w1", host=host))
    assert told(await until_over(warnings.source())) == (["w1"] if elsewhere else ["w1", "w2"])
    assert ("w2" in warnings.asked()) is not elsewhere


@pytest.mark.parametrize(
    "fault",
    [
        Refuse(302, {"Location": "?again"}),
        Refuse(301, {"Location": "http://localhost:1/cap/w2"}),
        Refuse(302, {"Location": "/cap/w2"}),
        Refuse(302),
        Refuse(400),
        Refuse(401),
        Refuse(403),
        Refuse(409),
        Refuse(418),
        Refuse(500),
        Cut(),
        Garbage(),
    ],
    ids=str,
)
async def test_only_a_message_that_is_not_there_refers_to_nothing(fault: polled.Fault, site: FakeSite) -> None:
    warnings = Warnings(site, VirtualTime(until=10 * MINUTE))
    warnings.add("w1", "Alert")
    warnings.time.at(2 * MINUTE, lambda: warnings.add("w2", "Cancel", of="w1"))
    site.script(fault, under="/cap/w2")
    assert told(await until_over(warnings.source())) == ["w1", "w2"]
    assert warnings.asked() == ["w2", "w2"]


@pytest.mark.parametrize("status", [404, 410])
async def test_a_message_that_is_not_there_is_not_asked_for_again(status: int, site: FakeSite) -> None:
    warnings = Warnings(site, VirtualTime(until=10 * MINUTE))
    warnings.add("w1", "Alert")
    warnings.time.at(2 * MINUTE, lambda: warnings.add("w2", "Cancel", of="w1"))
    site.script(Refuse(status), under="/cap/w2")
    assert told(await until_over(warnings.source())) == ["w1"]
    assert warnings.asked() == ["w2"]


async def test_messages_that_never_come_hold_back_no_new_warning(site: FakeSite) -> None:
    """A half-open connection for each: the reading waits for one of them only."""
    warnings = Warnings(site, VirtualTime(until=3 * MINUTE))
    warnings.add("w1", "Alert")

    def stall() -> None:
        for number in range(15):
            warnings.add(f"c{number}", "Cancel", of="w1")
        warnings.add("new", "Alert")
        site.script(Stall(), under="/cap/")

    warnings.time.at(MINUTE / 2, stall)
    warnings.time.at(2 * MINUTE, lambda: site.script(Refuse(500), under="/cap/"))
    source = warnings.source(timeout_s=0.3)
    assert told(await until_over(source))[:2] == ["w1", "new"]
    assert warnings.asked()[:2] == ["c0", "c1"], "one in the first round, then another one first"
    assert source.health.state is State.LIVE
    assert source.health.last_error == "127.0.0.1 is out of order (500), asked for a further document"


async def test_what_is_asked_for_in_vain_stands_in_no_others_way(site: FakeSite) -> None:
    warnings = Warnings(site, VirtualTime(until=20 * MINUTE))
    for number in range(4):
        warnings.add(f"w{number}", "Alert")

    def cancel() -> None:
        for number in range(4):
            warnings.add(f"c{number}", "Cancel", of=f"w{number}")
        site.move("/cap/c0", "", 403)
        site.move("/cap/c1", "", 403)

    warnings.time.at(MINUTE / 2, cancel)
    source = warnings.source()
    assert told(await until_over(source)) == ["w0", "w1", "w2", "w3", "c2", "c3"]
    assert source.health.last_error == "127.0.0.1 refused us (403), asked for a further document"
    assert source.health.remedy == "nothing to do, it is asked again"


@pytest.mark.parametrize("status", [429, 503])
async def test_who_sends_us_away_is_asked_for_no_further_document_until_then(status: int, site: FakeSite) -> None:
    """Though new warnings are told meanwhile, an update whose message cannot be had among them."""
    time = VirtualTime(until=62 * MINUTE)
    warnings = Warnings(site, time)
    warnings.add("w1", "Alert")
    asked: list[int] = []

    def more() -> None:
        for number in range(8):
            warnings.add(f"c{number}", "Cancel", of="w1")
        site.script(Refuse(status, {"Retry-After": "3000"}), under="/cap/")

    time.at(MINUTE / 2, more)
    time.at(5 * MINUTE, lambda: warnings.add("w2", "Alert"))
    time.at(10 * MINUTE, lambda: warnings.add("u1", "Update"))
    time.at(45 * MINUTE, lambda: asked.append(len(warnings.asked())))
    source = warnings.source()
    assert told(await until_over(source)) == ["w1", "w2", "u1", "c0"]
    assert asked == [1]
    assert str(status) in (source.health.last_error or "")
    assert source.health.remedy
    assert source.health.state is State.LIVE


async def test_a_page_that_cannot_be_had_does_not_hold_back_the_first_one(site: FakeSite) -> None:
    """Nor is it forgotten, although the list itself does not change any more."""
    time = VirtualTime(until=20 * MINUTE)
    site.put("/alerts", lambda: json.dumps({"features": [storm("a1")], "pagination": {"next": following}}).encode())
    site.put("/more", json.dumps({"features": [storm("a2")]}))
    following = site.url("/more")
    site.script(Stall(), Refuse(403), Refuse(429, {"Retry-After": "300"}), under="/more")
    source = nws.source(
        "nws", site.url("/alerts"), provider="nws", contact="ada@example.org", **time.environment(timeout_s=0.3)
    )
    found = await until_over(source)
    assert told(found) == ["a1", "a2"]
    assert found[0].at < found[1].at - 5 * MINUTE


async def test_that_the_first_page_has_not_changed_says_nothing_of_the_next(site: FakeSite) -> None:
    time = VirtualTime(until=5 * MINUTE)
    more = [storm("a2")]
    site.put("/alerts", json.dumps({"features": [storm("a1")], "pagination": {"next": site.url("/more")}}))
    site.put("/more", lambda: json.dumps({"features": more}).encode())
    time.at(2 * MINUTE, lambda: more.append(storm("a3")))
    source = nws.source("nws", site.url("/alerts"), provider="nws", contact="ada@example.org", **time.environment())
    assert told(await until_over(source)) == ["a1", "a2", "a3"]


async def test_an_odd_page_is_not_the_last_one(site: FakeSite) -> None:
    body = json.dumps({"features": [storm("a1"), {"odd": "HERE"}], "pagination": {"next": site.url("/more")}})
    site.put("/alerts", body.replace('"HERE"', "NaN"))
    site.put("/more", json.dumps({"features": [storm("a2")]}))
    time = VirtualTime(until=2 * MINUTE)
    source = nws.source("nws", site.url("/alerts"), provider="nws", contact="ada@example.org", **time.environment())
    assert told(await until_over(source)) == ["a1", "a2"]


def storm(name: str) -> dict[str, Any]:
    properties = {
        "id": name, "status": "Actual", "messageType": "Alert", "event": "Tornado Warning", "severity": "Extreme",
        "sent": polled.START.isoformat(), "expires": (polled.START + timedelta(hours=2)).isoformat(),
    }  # fmt: skip
    return {"properties": properties, "geometry": None}


@pytest.mark.parametrize(
    ("question", "base", "expected"),
    [
        ("https://a.example/1", "https://a.example/list", "https://a.example/1"),
        ("http://a.example/1?x", "https://a.example/list", "https://a.example/1?x"),
        ("http://a.example:80/1", "https://a.example/list", "https://a.example/1"),
        ("https://a.example:443/1", "https://a.example/list", "https://a.example/1"),
        ("https://a.example/1", "http://a.example/list", "https://a.example/1"),
        ("http://a.example/1", "http://a.example/list", "http://a.example/1"),
        ("http://a.example:81/1", "http://a.example:81/list", "http://a.example:81/1"),
        ("http://a.example:81/1", "https://a.example/list", None),
        ("https://a.example:81/1", "http://a.example:81/list", None),
        ("https://b.example/1", "https://a.example/list", None),
        ("ftp://a.example/1", "https://a.example/list", None),
        ("/1", "https://a.example/list", None),
        ("", "https://a.example/list", None),
        ("http://[", "https://a.example/list", None),
    ],
)
def test_which_addresses_are_on_the_same_server(question: str, base: str, expected: str | None) -> None:
    found = fetching.beside(question, URL(base))
    assert (None if found is None else str(found)) == expected


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="another system's monotonic clock goes on by itself")
def test_a_suspended_machine_loses_no_time() -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= elapsed.seconds() <= time.clock_gettime(time.CLOCK_BOOTTIME)
    parameters = inspect.signature(polling.PollingSource).parameters
    assert parameters["monotonic"].default is elapsed.seconds


def test_every_polled_source_is_built_from_its_settings() -> None:
    settings: list[config.Source] = [
        config.FeedSource(type="rss", name="news", provider="rss:news", url="https://news.example/feed"),
        config.NwsSource(type="nws", contact="ada@example.org"),
        config.UsgsSource(type="usgs"),
        config.GdacsSource(type="gdacs"),
        config.MeteoalarmSource(type="meteoalarm"),
    ]
    built = app.build_sources(settings)
    assert [(source.name, source.provider, source.live) for source in built] == [
        ("news", "rss:news", True), ("nws", "nws", True), ("usgs", "usgs", True), ("gdacs", "gdacs", True),
        ("meteoalarm", "meteoalarm", True),
    ]  # fmt: skip
