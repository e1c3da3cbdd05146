"""From an official list to what channels show: the real source over HTTP, the real detectors, a real store."""

import asyncio
import contextlib
import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.detection.detector import Detector
from bot.domain.post import Arrival, Deletion, Post
from bot.ingest import nws, usgs
from bot.ingest.polling import PollingSource
from bot.pipeline.classifying import Judged
from bot.pipeline.detecting import Detecting
from bot.store.database import rows
from tests import stories
from tests.fakes import polled
from tests.fakes.polled import FakeSite, VirtualTime
from tests.worlds import World

MINUTE = timedelta(minutes=1)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """One with Acme, which may receive everything, and a channel that wants everything."""
    made = World(tmp_path / "store.db")
    made.now = polled.START
    made.org()
    made.channel()
    yield made
    made.close()


def quake(**fields: Any) -> dict[str, Any]:
    began = int(polled.START.timestamp() * 1000)
    properties = {
        "mag": 6.1, "place": "20km W of Galway, Ireland", "time": began, "updated": began, "type": "earthquake",
        "status": "automatic", "tsunami": 0, "ids": ",us7000aaaa,",
    }  # fmt: skip
    point = [fields.pop("lon", -9.3), fields.pop("lat", 53.2), 10.0]
    return {"id": "us7000aaaa", "properties": properties | fields, "geometry": {"coordinates": point}}


def after(minutes: float) -> int:
    return int((polled.START + minutes * MINUTE).timestamp() * 1000)


def collection(*features: Any) -> bytes:
    return json.dumps({"features": features}).encode()


async def read(
    make: Any, documents: Sequence[bytes], path: str = "/summary/all_hour.geojson", **settings: Any
) -> list[Arrival]:
    """What the source yields while its list is each of ``documents`` for two minutes."""
    found: list[Arrival] = []
    time = VirtualTime(until=len(documents) * 2 * MINUTE)
    async with FakeSite() as site:
        site.put(path, lambda: documents[min(int(time.passed / (2 * MINUTE)), len(documents) - 1)], "application/json")
        source: PollingSource = make("official", site.url(path), **settings, **time.environment())
        with contextlib.suppress(polled.OverError):
            async for arrival in source.posts(None):
                found.append(arrival)  # noqa: PERF401  # what came before OverError counts
    assert source.health.last_error is None
    return found


def felt(at: float, words: str) -> Judged:
    post = stories.post(at, words, id=f"felt{at:g}", author=f"person{at:g}")
    return stories.judged(post, at, topic=3, category="earthquake", place="Galway")


def play(world: World, arrivals: Sequence[Arrival], others: Sequence[Judged] = ()) -> None:
    """In the order of their time, each in a batch of its own; everything due is delivered in between."""
    judged = [*(Judged(arrival=arrival, classification=None) for arrival in arrivals), *others]

    async def playing(batch: Judged) -> None:
        await detecting.take([batch])

    async def start() -> Detecting:
        made = Detecting(world.database, lambda view: Detector(view, stories.GAZETTEER), now=lambda: world.now)
        await made.start()
        return made

    detecting = asyncio.run(start())
    for each in sorted(judged, key=lambda one: one.arrival.at):
        world.now = each.arrival.at
        asyncio.run(playing(each))
        world.deliver_all()


def revisions(world: World) -> list[dict[str, Any]]:
    return [json.loads(row["body"]) for row in world.write(rows, "SELECT body FROM alerts WHERE view = '*'")]


def told(world: World) -> list[tuple[str, int]]:
    """What the channel got: the acts, and of which revision each tells."""
    assert set(world.states()) <= {"sent", "superseded"}
    return [(row["act"], int(row["alert"].rpartition("-")[2])) for row in world.rows(state="sent")]


def test_one_quake_is_an_alert_its_revision_edits_it_and_its_deletion_retracts_it(world: World) -> None:
    documents = [
        collection(quake()),
        collection(quake(mag=5.4, updated=after(2), lat=53.4)),
        collection(quake(status="deleted", updated=after(4))),
    ]
    arrivals = asyncio.run(read(usgs.source, documents, provider="usgs", magnitude=4.5))
    play(world, arrivals)
    alerts = revisions(world)
    assert [alert["kind"] for alert in alerts] == ["new", "update", "retraction"]
    assert len({alert["event"] for alert in alerts}) == 1
    assert {alert["category"] for alert in alerts} == {"earthquake"}
    assert "was updated by its issuer" in alerts[1]["change"]
    assert [alert["certainty"] for alert in alerts[:2]] == ["observed", "observed"]
    assert {alert["level"] for alert in alerts} == {"alert"}, "an authority that repeats itself is not louder"
    assert alerts[0]["place"]["country"] == "IE"
    assert [alert["evidence"] for alert in alerts[:2]] == [
        ["usgs|us7000aaaa"], [f"usgs|us7000aaaa#v:{after(2)}"]
    ]  # fmt: skip
    assert told(world) == [("post", 1), ("edit", 2), ("reply", 2), ("edit", 3), ("reply", 3)]


def test_many_revisions_do_not_make_it_louder(world: World) -> None:
    documents = [collection(quake(mag=6 + number / 10, updated=after(2 * number))) for number in range(8)]
    arrivals = asyncio.run(read(usgs.source, documents, provider="usgs", magnitude=4.5))
    assert sum(isinstance(arrival.item, Post) for arrival in arrivals) == 8
    assert sum(isinstance(arrival.item, Deletion) for arrival in arrivals) == 7
    play(world, arrivals)
    alerts = revisions(world)
    assert {alert["level"] for alert in alerts} == {"alert"}
    assert {alert["authors"] for alert in alerts} == {1}
    assert len(alerts) == 8
    assert [act for act, _ in told(world)].count("post") == 1


def test_a_quake_makes_an_event_that_people_found_certain(world: World) -> None:
    words = (
        "strong earthquake felt here in Galway, lamps are swinging", "whoa the ground is shaking in Galway",
        "earthquake in Galway, everybody ran outside", "Galway just shook for ten seconds, plates fell",
        "big earthquake, Galway hospital has lost its windows",
    )  # fmt: skip
    reports = [felt(5 + 15 * number, text) for number, text in enumerate(words)]
    documents = [collection(), collection(quake())]
    arrivals = asyncio.run(read(usgs.source, documents, provider="usgs", magnitude=4.5))
    play(world, arrivals, reports)
    alerts = revisions(world)
    assert alerts[0]["kind"] == "new"
    assert alerts[0]["certainty"] != "observed"
    assert {alert["event"] for alert in alerts} == {alerts[0]["event"]}
    assert alerts[-1]["certainty"] == "observed"
    assert "officially confirmed" in " ".join(alert["change"] for alert in alerts)
    assert told(world)[0] == ("post", 1)
    assert {act for act, _ in told(world)[1:]} == {"edit", "reply"}


def alert(number: int, kind: str, *references: int) -> dict[str, Any]:
    sent = polled.START + 2 * (number - 1) * MINUTE
    return {
        "properties": {
            "id": f"a{number}", "status": "Actual", "messageType": kind, "event": "Flash Flood Warning",
            "severity": "Severe", "certainty": "Likely", "urgency": "Immediate", "areaDesc": "Cork, Ireland",
            "sent": sent.isoformat(), "headline": f"Flash Flood Warning {number} for Cork",
            "references": [{"identifier": f"a{reference}"} for reference in references],
        },
        "geometry": None,
    }  # fmt: skip


def test_a_warning_is_updated_and_cancelled(world: World) -> None:
    documents = [
        collection(alert(1, "Alert")),
        collection(alert(2, "Update", 1)),
        collection(alert(3, "Cancel", 1, 2)),
        collection(),
    ]
    arrivals = asyncio.run(read(nws.source, documents, provider="nws", contact="ada@example.org", path="/alerts"))
    play(world, arrivals)
    alerts = revisions(world)
    assert [each["kind"] for each in alerts] == ["new", "update", "retraction"]
    assert {each["category"] for each in alerts} == {"flood"}
    assert told(world) == [("post", 1), ("edit", 2), ("reply", 2), ("edit", 3), ("reply", 3)]


def test_a_warning_that_ends_is_left_standing(world: World) -> None:
    documents = [collection(alert(1, "Alert")), collection(), collection()]
    arrivals = asyncio.run(read(nws.source, documents, provider="nws", contact="ada@example.org", path="/alerts"))
    play(world, arrivals)
    assert [each["kind"] for each in revisions(world)] == ["new"]
    assert told(world) == [("post", 1)]
