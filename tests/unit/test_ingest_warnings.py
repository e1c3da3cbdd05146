"""Official warnings: what NWS, USGS, GDACS and Meteoalarm say, and what of it is news."""

import contextlib
import json
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from bot.domain import post
from bot.ingest import (
    bulletins,
    gdacs,
    gdacs_events,
    geojson,
    geometry,
    hazards,
    meteoalarm,
    meteoalarm_warnings,
    nws,
    nws_alerts,
    usgs,
    usgs_quakes,
)
from bot.ingest.fetching import Answer
from bot.ingest.polling import Asked, Reading, UnreadableError
from tests import factories, shared

NOW = factories.NOW
HOUR = timedelta(hours=1)


class Reader:
    """A reading, document after document."""

    def __init__(self, reading: Reading, *, address: str = "https://list.example/all_hour.geojson") -> None:
        self.reading = reading
        self.address = URL(address)
        self.known: dict[str, tuple[str, ...]] = {}
        self.since: datetime | None = None
        self.now = NOW
        self.questions: tuple[str, ...] = ()

    def read(self, body: bytes, answers: dict[str, Answer | None] | None = None) -> list[Any]:
        told = self.reading.read(body, None, self.asked(None))
        self.questions = told.questions
        if told.questions:
            told = self.reading.read(body, None, self.asked(answers or {}))
        for step in told.steps:
            self.known.update(step.remember)
        self.since = self.now
        self.now += timedelta(minutes=1)
        return [step.item for step in told.steps if step.item is not None]

    def asked(self, answers: dict[str, Answer | None] | None) -> Asked:
        return Asked(now=self.now, since=self.since, address=self.address, known=dict(self.known), answers=answers)


# NWS


def alert(number: int = 1, **fields: Any) -> dict[str, Any]:
    properties = {
        "@id": f"https://alerts.example/a{number}", "id": f"a{number}", "status": "Actual", "messageType": "Alert",
        "event": "Tornado Warning", "severity": "Extreme", "certainty": "Observed", "urgency": "Immediate",
        "areaDesc": "Selby County; Harlow County", "sent": NOW.isoformat(), "senderName": "NWS Port Calder",
        "expires": (NOW + HOUR).isoformat(), "headline": f"Tornado Warning {number} until 1:00PM by NWS Port Calder",
        "geocode": {"UGC": ["NEC017", "NEC018"]}, "references": [],
    }  # fmt: skip
    square = [[-100.0, 42.0], [-98.0, 42.0], [-98.0, 44.0], [-100.0, 44.0], [-100.0, 42.0]]
    return {"properties": properties | fields, "geometry": {"type": "Polygon", "coordinates": [square]}}


def refers(*numbers: int) -> list[dict[str, str]]:
    return [{"identifier": f"a{number}"} for number in numbers]


def collection(*features: Any) -> bytes:
    return json.dumps({"type": "FeatureCollection", "features": features}).encode()


def nws_reader() -> Reader:
    return Reader(nws.Alerts("nws"))


def test_an_alert_becomes_an_official_post() -> None:
    (found,) = nws_reader().read(collection(alert()))
    assert isinstance(found, post.Post)
    assert found.official == post.Official(category="storm", certainty="observed")
    assert found.text == (
        "Tornado Warning 1 until 1:00PM by NWS Port Calder\nSelby County; Harlow County (Nebraska, United States)"
    )
    assert (found.id, found.lat, found.lon, found.url) == ("a1", 43.0, -99.0, "https://alerts.example/a1")


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "Test"},
        {"status": "Exercise"},
        {"status": "Draft"},
        {"event": "Small Craft Advisory", "severity": "Minor", "urgency": "Expected"},
        {"event": "Red Flag Warning", "severity": "Severe"},
        {"event": "Test Message"},
        {"event": "Child Abduction Emergency"},
        {"sent": (NOW - 2 * HOUR).isoformat()},
        {"expires": (NOW - HOUR).isoformat()},
        {"messageType": "Ack"},
        {"messageType": "Error"},
        {"scope": "Restricted"},
        {"scope": "Private"},
        {"parameters": {"VTEC": ["/T.NEW.KXXX.TO.W.0001.310514T1200Z-310514T1300Z/"]}},
        {"parameters": {"VTEC": ["/O.EXP.KXXX.TO.W.0001.000000T0000Z-310514T1300Z/"]}},
        {"ends": (NOW - timedelta(minutes=2)).isoformat()},
    ],
)
def test_what_is_no_alert_is_not_told(fields: dict[str, Any]) -> None:
    assert nws_reader().read(collection(alert(**fields))) == []


def test_an_alert_is_told_once_and_ends_in_silence() -> None:
    reader = nws_reader()
    assert len(reader.read(collection(alert()))) == 1
    assert reader.read(collection(alert())) == []
    assert reader.read(collection()) == []


def vtec(action: str) -> dict[str, list[str]]:
    return {
        "VTEC": [f"/O.{action}.KXXX.TO.W.0001.000000T0000Z-310514T1300Z/", "/00000.0.ER.000000T0000Z.000000T0000Z/"]
    }


@pytest.mark.parametrize("kind", ["Alert", "Update", "Cancel"])
def test_that_a_warning_has_expired_is_no_news_and_no_cancellation(kind: str) -> None:
    reader = nws_reader()
    reader.read(collection(alert()))
    assert reader.read(collection(alert(2, messageType=kind, parameters=vtec("EXP"), references=refers(1)))) == []


@pytest.mark.parametrize("action", ["CAN", "UPG"])
def test_a_message_of_another_type_that_lifts_a_warning_cancels_it(action: str) -> None:
    reader = nws_reader()
    reader.read(collection(alert()))
    expired = {"expiredReferences": [f"nws@example.org,a0,{NOW.isoformat()} nws@example.org,a1,{NOW.isoformat()}"]}
    (found,) = reader.read(collection(alert(2, parameters=vtec(action) | expired)))
    assert (found.official.cancelled, found.official.supersedes) == (True, ("a1",))


def test_a_warning_that_is_lifted_here_and_over_there_is_cancelled() -> None:
    reader = nws_reader()
    reader.read(collection(alert()))
    both = {"VTEC": vtec("CAN")["VTEC"] + vtec("EXP")["VTEC"]}
    (found,) = reader.read(collection(alert(2, messageType="Update", parameters=both, references=refers(1))))
    assert (found.official.cancelled, found.official.supersedes) == (True, ("a1",))
    goes_on = {"VTEC": both["VTEC"] + vtec("CON")["VTEC"]}
    (found,) = nws_reader().read(collection(alert(messageType="Update", parameters=goes_on)))
    assert not found.official.cancelled


def test_an_update_after_the_old_one_ran_out_supersedes_it_all_the_same() -> None:
    reader = nws_reader()
    reader.read(collection(alert()))
    expired = {"expiredReferences": [f"nws@example.org,a1,{NOW.isoformat()}", 7]}
    new, gone = reader.read(collection(alert(2, messageType="Update", parameters=expired)))
    assert (new.official.supersedes, gone.id) == (("a1",), "a1")


@pytest.mark.parametrize(
    "geometry",
    ["x", [], {}, {"coordinates": [[[10**400, 1]]]}, {"coordinates": [[[1e300, None], [200, 95]]]}, {"coordinates": 1}],
)
def test_an_alert_without_a_sound_outline_is_told_without_a_place(geometry: Any) -> None:
    (found,) = nws_reader().read(collection(alert(areaDesc=None, geocode=7) | {"geometry": geometry}))
    assert (found.id, found.lat, found.lon) == ("a1", None, None)


def page(following: str | None, *features: Any) -> bytes:
    return json.dumps({"features": features} | ({"pagination": {"next": following}} if following else {})).encode()


def test_a_long_list_is_read_page_by_page() -> None:
    reader = nws_reader()
    answers: dict[str, Answer | None] = {
        "https://list.example/2": Answer(status=200, body=page("https://list.example/3", alert(2))),
        "https://list.example/3": Answer(status=200, body=page("https://list.example/2", alert(3))),
    }
    found = reader.read(page("https://list.example/2", alert(1)), answers)
    assert reader.questions == ("https://list.example/2",)
    assert [each.id for each in found] == ["a1", "a2", "a3"]


@pytest.mark.parametrize(
    ("second", "questions"),
    [
        (None, ()),
        (Answer(status=404), ()),
        (Answer(status=200, body=b"<html>"), ()),
        (Answer(status=200, body=page("https://list.example/3", alert(2))), ("https://list.example/3",)),
    ],
)
def test_a_page_that_is_missing_is_asked_for_again(second: Answer | None, questions: tuple[str, ...]) -> None:
    reader = nws_reader()
    told = reader.reading.read(
        page("https://list.example/2", alert(1)), None, reader.asked({"https://list.example/2": second})
    )
    assert told.steps
    assert (told.questions, told.complete) == (questions, False)


@pytest.mark.parametrize("odd", [b"NaN", b'"\\ud800"'])
def test_an_odd_page_is_not_the_last_one(odd: bytes) -> None:
    reader = nws_reader()
    body = page("https://list.example/2", alert(1), {"odd": "HERE"}).replace(b'"HERE"', odd)
    assert (geojson.following(body), len(geojson.features(body))) == ("https://list.example/2", 2)
    second = Answer(status=200, body=page("https://list.example/3", alert(2, headline="HERE")).replace(b'"HERE"', odd))
    told = reader.reading.read(body, None, reader.asked({"https://list.example/2": second}))
    assert (told.questions, told.complete) == (("https://list.example/3",), False)


@pytest.mark.parametrize("pagination", ["x", 7, None, [], {}, {"next": None}, {"next": 7}])
def test_a_page_that_says_not_where_it_goes_on_is_the_last_one(pagination: Any) -> None:
    body = json.dumps({"features": [alert()], "pagination": pagination}).encode()
    assert geojson.following(body) is None
    assert len(nws_reader().read(body)) == 1


def test_an_empty_page_is_the_last_one() -> None:
    reader = nws_reader()
    answers: dict[str, Answer | None] = {
        "https://list.example/2": Answer(status=200, body=page("https://list.example/3"))
    }
    told = reader.reading.read(page("https://list.example/2", alert(1)), None, reader.asked(answers))
    assert (len(told.steps), told.questions) == (1, ())


def test_an_update_supersedes_and_takes_the_old_words_back() -> None:
    reader = nws_reader()
    reader.read(collection(alert()))
    update = alert(2, messageType="Update", severity="Moderate", urgency="Expected", references=refers(1))
    new, gone = reader.read(collection(update))
    assert (new.id, new.official.supersedes, new.official.cancelled) == ("a2", ("a1",), False)
    assert gone == post.Deletion(provider="nws", id="a1", deleted_at=NOW + timedelta(minutes=1), replaced_by=new.id)


def test_a_cancellation_takes_back_what_stands() -> None:
    reader = nws_reader()
    reader.read(collection(alert()))
    reader.read(collection(alert(2, messageType="Update", references=refers(1))))
    cancel = alert(3, messageType="Cancel", event="Anything", references=refers(1, 2))
    (found,) = reader.read(collection(cancel))
    assert (found.id, found.official.cancelled, found.official.supersedes) == ("a3", True, ("a2",))
    assert found.text.startswith("Cancelled: ")
    assert reader.read(collection(cancel)) == []


def test_a_cancellation_of_what_was_never_told_is_nothing() -> None:
    assert nws_reader().read(collection(alert(3, messageType="Cancel", references=refers(1)))) == []


def test_a_warning_that_is_lifted_for_a_part_of_its_area_goes_on() -> None:
    reader = nws_reader()
    reader.read(collection(alert()))
    later = (NOW + timedelta(minutes=1)).isoformat()
    lifted = alert(2, messageType="Cancel", sent=later, references=refers(1))
    goes_on = alert(3, messageType="Update", sent=later, references=refers(1))
    found = reader.read(collection(lifted, goes_on))
    assert [each.id for each in found] == ["a3", "a1"]


def test_a_replaced_alert_waits_for_what_replaces_it() -> None:
    reader = nws_reader()
    reader.read(collection(alert()))
    assert reader.read(collection(alert(replacedBy="a2"))) == []


def test_a_crash_between_the_halves_of_an_update_loses_and_repeats_none() -> None:
    reader = nws_reader()
    reader.read(collection(alert()))
    update = collection(alert(2, messageType="Update", references=refers(1)))
    first, _ = reader.reading.read(update, None, reader.asked(None)).steps
    reader.known.update(first.remember)
    assert [(type(each), each.id) for each in reader.read(update)] == [(post.Deletion, "a1")]
    assert reader.read(update) == []


def test_the_second_half_of_an_update_is_told_though_the_list_has_gone_on() -> None:
    reader = nws_reader()
    reader.read(collection(alert(), alert(2)))
    update = collection(alert(3, messageType="Update", references=refers(1, 2)))
    first, *_ = reader.reading.read(update, None, reader.asked(None)).steps
    reader.known.update(first.remember)
    assert [(type(each), each.id) for each in reader.read(collection())] == [
        (post.Deletion, "a1"),
        (post.Deletion, "a2"),
    ]
    assert reader.read(update) == []
    (found,) = reader.read(collection(alert(4, messageType="Cancel", references=refers(1, 2, 3))))
    assert found.official.supersedes == ("a3",)


def test_a_half_told_update_of_an_older_cursor_is_done_again() -> None:
    reader = nws_reader()
    reader.read(collection(alert()))
    reader.known["a2"] = ("…", "a2")
    update = collection(alert(2, messageType="Update", references=refers(1)))
    assert [(type(each), each.id) for each in reader.read(update)] == [(post.Deletion, "a1")]
    assert reader.known == {"a1": ("",), "a2": ("", "a2")}


def test_what_was_updated_twice_between_two_looks_is_told_step_by_step() -> None:
    reader = nws_reader()
    reader.read(collection(alert()))
    found = reader.read(
        collection(
            alert(3, messageType="Update", references=refers(2)),
            alert(2, messageType="Update", references=refers(1)),
        )
    )
    assert [each.id for each in found] == ["a2", "a1", "a3", "a2"]


def test_what_was_replaced_before_it_was_told_is_never_told() -> None:
    reader = nws_reader()
    update = alert(2, messageType="Update", references=refers(0, 1))
    assert [each.id for each in reader.read(collection(alert(), update))] == ["a2"]
    assert reader.read(collection(alert(0), alert())) == [], "an older list came late"


@pytest.mark.parametrize("together", [True, False])
def test_what_was_cancelled_before_it_was_told_is_never_told(together: bool) -> None:
    reader = nws_reader()
    cancel = alert(2, messageType="Cancel", references=refers(1), sent=(NOW - HOUR / 2).isoformat())
    assert reader.read(collection(cancel, alert()) if together else collection(cancel)) == []
    assert reader.read(collection(alert())) == []


def test_messages_that_replace_each_other_do_not_silence_each_other() -> None:
    reader = nws_reader()
    first = alert(1, messageType="Update", references=refers(2, 1))
    second = alert(2, messageType="Update", references=refers(1))
    assert [each.id for each in reader.read(collection(first, second))] == ["a1"]


def test_what_replaces_comes_last_whatever_the_clock_says() -> None:
    reader = nws_reader()
    reader.read(collection(alert(9)))
    update = alert(2, messageType="Update", references=refers(9), sent=(NOW - 9 * HOUR).isoformat())
    last = alert(3, messageType="Update", references=refers(2), sent=(NOW - 10 * HOUR).isoformat())
    assert [each.id for each in reader.read(collection(last, update))] == ["a2", "a9", "a3", "a2"]


@pytest.mark.parametrize("wrong", [5 * HOUR, -3 * HOUR])
def test_what_is_new_in_the_list_is_in_force_whatever_the_clocks_say(wrong: timedelta) -> None:
    reader = nws_reader()
    reader.read(collection())
    sent = reader.now - wrong
    assert len(reader.read(collection(alert(sent=sent.isoformat(), expires=(sent + HOUR).isoformat())))) == 1


def test_what_had_ended_before_the_list_was_read_again_is_not_told() -> None:
    reader = nws_reader()
    over = alert(sent=(NOW - HOUR / 2).isoformat(), expires=(NOW - HOUR / 4).isoformat())
    assert reader.read(collection(over)) == []
    assert reader.read(collection(over)) == [], "nor later"
    reader.now += 5 * HOUR
    late = alert(2, sent=(NOW + HOUR).isoformat(), expires=(NOW + 2 * HOUR).isoformat())
    assert [type(each) for each in reader.read(collection(late))] == [post.Gap]


def test_an_id_is_never_taken_for_a_version_of_another() -> None:
    reader = nws_reader()
    first, second = reader.read(collection(alert(id="a1"), alert(id="a1#v:2")))
    assert not post.Deletion(provider="nws", id=first.id, deleted_at=NOW).takes(second.id)
    cancel = alert(3, messageType="Cancel", references=[{"identifier": "a1#v:2"}])
    (found,) = reader.read(collection(cancel))
    assert found.official.supersedes == (second.id,)


def test_a_list_that_was_not_read_for_long_has_a_gap() -> None:
    reader = nws_reader()
    reader.read(collection(alert()))
    reader.now += timedelta(days=2)
    (gap,) = reader.read(collection())
    assert isinstance(gap, post.Gap)
    assert gap.since == NOW


@pytest.mark.parametrize("name", ["alerts_active_zone.json", "alerts_active_zone_second.json"])
def test_recorded_alerts_are_read(name: str) -> None:
    found, dropped = nws_alerts.decode(shared.require("samples", "nws", name).read_bytes())
    assert dropped == 0
    assert {(each.category, each.certainty, each.notable) for each in found} == {("flood", "possible", True)}
    assert all("Oregon, Washington" in each.text and each.others for each in found)


# USGS


def quake(name: str = "us7000aaaa", **fields: Any) -> dict[str, Any]:
    milliseconds = int(NOW.timestamp() * 1000)
    properties = {
        "mag": 6.1, "place": "12km SE of Selby, Velmar", "time": milliseconds, "updated": milliseconds,
        "type": "earthquake", "url": f"https://quakes.example/{name}", "status": "automatic", "tsunami": 0,
        "ids": f",{name},",
    }  # fmt: skip
    point = [fields.pop("lon", -9.3), fields.pop("lat", 53.2), 10.0]
    return {"type": "Feature", "id": name, "properties": properties | fields, "geometry": {"coordinates": point}}


def updated(minutes: int) -> int:
    return int((NOW + timedelta(minutes=minutes)).timestamp() * 1000)


def usgs_reader() -> Reader:
    return Reader(usgs.Quakes("usgs", 4.5), address="https://q.example/v1.0/summary/all_hour.geojson")


def test_a_quake_becomes_an_official_post() -> None:
    (found,) = usgs_reader().read(collection(quake(tsunami=1)))
    assert found.text == (
        "M 6.1 earthquake, 12 km SE of Selby, Velmar. In a region where a tsunami is possible: see tsunami.gov"
    )
    assert found.official == post.Official(category="earthquake")
    assert (found.id, found.lat, found.lon) == ("us7000aaaa", 53.2, -9.3)


@pytest.mark.parametrize("fields", [{"mag": 4.4}, {"mag": None}, {"type": "quarry blast"}, {"status": "deleted"}])
def test_what_is_no_strong_quake_is_not_told(fields: dict[str, Any]) -> None:
    assert usgs_reader().read(collection(quake(**fields))) == []


def test_a_revision_is_told_where_a_reader_would_see_it() -> None:
    reader = usgs_reader()
    reader.read(collection(quake()))
    assert reader.read(collection(quake(updated=updated(1), felt=100))) == []
    new, gone = reader.read(collection(quake(updated=updated(2), mag=5.8)))
    assert (new.id, new.official.supersedes, gone.id) == (f"us7000aaaa#v:{updated(2)}", ("us7000aaaa",), "us7000aaaa")
    new, gone = reader.read(collection(quake(updated=updated(3), mag=4.2)))
    assert gone.id == f"us7000aaaa#v:{updated(2)}"
    assert new.text.startswith("M 4.2")
    assert reader.read(collection(quake(updated=updated(2), mag=5.8))) == [], "an older list came late"


def test_what_follows_much_later_is_new_all_the_same() -> None:
    reader = usgs_reader()
    reader.read(collection(quake()))
    reader.now += timedelta(days=1)
    reader.address = URL("https://q.example/v1.0/summary/all_week.geojson")
    new, _ = reader.read(collection(quake(updated=updated(2), mag=5.8)))
    (cancel,) = reader.read(collection(quake(updated=updated(3), status="deleted")))
    assert min(new.created_at, cancel.created_at) >= NOW + timedelta(hours=23)


def test_a_quake_keeps_its_identity_when_another_network_takes_it_over() -> None:
    reader = usgs_reader()
    reader.read(collection(quake()))
    other = quake("ci12345", ids=",us7000aaaa,ci12345,", updated=updated(1), mag=6.0)
    new, gone = reader.read(collection(other, quake()))
    assert (new.id, gone.id) == (f"us7000aaaa#v:{updated(1)}", "us7000aaaa")
    assert reader.read(collection(other)) == []


@pytest.mark.parametrize("fields", [{"status": "deleted"}, {"type": "quarry blast"}])
def test_a_quake_that_was_none_is_cancelled(fields: dict[str, Any]) -> None:
    reader = usgs_reader()
    reader.read(collection(quake()))
    (found,) = reader.read(collection(quake(updated=updated(5), **fields)))
    assert found.official == post.Official(category="earthquake", supersedes=("us7000aaaa",), cancelled=True)
    assert reader.read(collection(quake(updated=updated(5), **fields))) == []


@pytest.mark.parametrize(
    ("answer", "cancelled"),
    [
        (Answer(status=410), True),
        (Answer(status=409), True),
        (Answer(status=200, body=json.dumps(quake(status="deleted", updated=updated(1))).encode()), True),
        (Answer(status=200, body=json.dumps(quake()).encode()), False),
        (Answer(status=200, body=b"<html>"), False),
        (Answer(status=404), False),
        (Answer(status=500), False),
        (None, False),
    ],
)
def test_a_quake_that_left_the_list_early_is_asked_after(answer: Answer | None, cancelled: bool) -> None:
    reader = usgs_reader()
    reader.read(collection(quake()))
    question = "https://q.example/v1.0/detail/us7000aaaa.geojson"
    found = reader.read(collection(), {question: answer})
    assert reader.questions == (question,)
    assert [each.official.cancelled for each in found] == [True] * cancelled


@pytest.mark.parametrize("slow", [timedelta(0), timedelta(hours=-2)])
def test_an_old_copy_of_the_list_brings_no_withdrawn_quake_back(slow: timedelta) -> None:
    """Also where our own clock is slow; a newer word of it does, and can be withdrawn again."""
    reader = usgs_reader()
    reader.read(collection(quake(time=updated(-30), updated=updated(1))))
    reader.now += slow
    gone: dict[str, Answer | None] = {"https://q.example/v1.0/detail/us7000aaaa.geojson": Answer(status=410)}
    deleted = usgs_quakes.deleted("us7000aaaa", reader.now, last=updated(1))
    assert deleted.serial == max(updated(1) + 1, int(reader.now.timestamp() * 1000))
    if slow:
        reader.known["us7000aaaa"] = (f"deleted@{deleted.serial}",)
    else:
        (first,) = reader.read(collection(), gone)
        assert first.official.supersedes == ("us7000aaaa",)
    assert reader.read(collection(quake(time=updated(-30), updated=updated(1)))) == []
    assert len(reader.read(collection(quake(time=updated(-30), updated=updated(5))))) == 1
    if not slow:
        (again,) = reader.read(collection(), gone)
        assert (again.official.supersedes, again.official.cancelled) == ((f"us7000aaaa#v:{updated(5)}",), True)
        assert again.id != first.id


@pytest.mark.parametrize(
    ("answer", "complete"),
    [
        (Answer(status=410), True),
        (Answer(status=404), True),
        (Answer(status=200, body=json.dumps(quake()).encode()), True),
        (Answer(status=200, body=b"<html>"), False),
        (Answer(status=200, body=json.dumps(quake("us2")).encode()), False),
        (None, False),
    ],
)
def test_what_says_nothing_about_a_quake_is_no_answer(answer: Answer | None, complete: bool) -> None:
    reader = usgs_reader()
    reader.read(collection(quake()))
    answers = {"https://q.example/v1.0/detail/us7000aaaa.geojson": answer}
    assert reader.reading.read(collection(), None, reader.asked(answers)).complete is complete


def test_a_quake_that_leaves_the_list_in_time_is_not_asked_after() -> None:
    reader = usgs_reader()
    reader.read(collection(quake()))
    reader.now += timedelta(minutes=56)
    assert reader.read(collection()) == []
    assert reader.questions == ()


@pytest.mark.parametrize(
    ("away", "window"),
    [(None, "hour"), (timedelta(minutes=50), "hour"), (timedelta(hours=3), "day"), (timedelta(days=2), "week"),
     (timedelta(days=20), "month"), (timedelta(days=200), "month")],
)  # fmt: skip
def test_after_a_longer_time_a_longer_list_is_asked_for(away: timedelta | None, window: str) -> None:
    reading = usgs.Quakes("usgs", 4.5)
    url = URL("https://q.example/v1.0/summary/4.5_hour.geojson")
    assert reading.address(url, away).name == f"4.5_{window}.geojson"
    every = URL("https://q.example/v1.0/summary/all_hour.geojson")
    assert reading.address(every, away).name == (every.name if window == "hour" else f"4.5_{window}.geojson")
    lower = usgs.Quakes("usgs", 0.5).address(every, away).name
    assert lower == f"all_{window}.geojson".replace("month", "week")
    own = URL("https://q.example/own.geojson")
    assert reading.address(own, away) == own


def test_recorded_quakes_are_read() -> None:
    body = shared.require("samples", "usgs", "usgs_all_earthquakes_past_day.json").read_bytes()
    found, dropped = usgs_quakes.decode(body, 4.5)
    assert (len(found), dropped) == (188, 0)
    assert sum(each.bulletin.notable for each in found) == 23
    made = shared.require("samples", "usgs", "usgs_earthquake_hazards_program_feed.json").read_bytes()
    assert [each.bulletin.notable for each in usgs_quakes.decode(made, 0.0)[0]] == [False] * 3


# GDACS


def event(number: int = 1, **fields: str) -> str:
    given = {
        "eventtype": "EQ", "alertlevel": "Orange", "episodeid": "10", "title": "Orange earthquake alert in Velmar",
        "description": "Up to 20 thousand people", "pubDate": format_datetime(NOW), "point": "53.2 -9.3",
    } | fields  # fmt: skip
    return (
        f"<item><title>{given['title']}</title><description>{given['description']}</description>"
        f"<pubDate>{given['pubDate']}</pubDate><guid>EQ{number}</guid><link>https://g.example/{number}</link>"
        f"<georss:point>{given['point']}</georss:point><gdacs:eventtype>{given['eventtype']}</gdacs:eventtype>"
        f"<gdacs:alertlevel>{given['alertlevel']}</gdacs:alertlevel>"
        f"<gdacs:episodeid>{given['episodeid']}</gdacs:episodeid></item>"
    )


def gdacs_feed(*items: str) -> bytes:
    head = "<rss xmlns:gdacs='http://www.gdacs.org' xmlns:georss='http://www.georss.org/georss'><channel>"
    return f"{head}{''.join(items)}</channel></rss>".encode("utf-8-sig")


def test_a_disaster_becomes_an_official_post() -> None:
    (found,) = Reader(gdacs.Events("gdacs")).read(gdacs_feed(event()))
    assert found.text == "Orange earthquake alert in Velmar\nUp to 20 thousand people"
    assert (found.id, found.lat, found.lon) == ("EQ1", 53.2, -9.3)
    assert found.official == post.Official(category="earthquake")


@pytest.mark.parametrize(
    ("kind", "category"), [("TC", "storm"), ("FL", "flood"), ("VO", "volcano"), ("WF", "wildfire"), ("DR", None)]
)
def test_every_kind_of_disaster_has_its_category(kind: str, category: str | None) -> None:
    found = Reader(gdacs.Events("gdacs")).read(gdacs_feed(event(eventtype=kind)))
    assert [each.official.category for each in found] == ([category] if category else [])


def test_an_event_is_told_once_it_is_orange_and_then_whatever_follows() -> None:
    reader = Reader(gdacs.Events("gdacs"))
    assert reader.read(gdacs_feed(event(alertlevel="Green"))) == []
    (found,) = reader.read(gdacs_feed(event()))
    assert reader.read(gdacs_feed(event())) == []
    new, gone = reader.read(gdacs_feed(event(alertlevel="Red", episodeid="11")))
    assert (new.official.supersedes, gone.id) == ((found.id,), found.id)
    assert new.id.startswith(f"{found.id}#v:11.")
    new, _ = reader.read(gdacs_feed(event(alertlevel="Green", episodeid="12")))
    assert new.text.startswith("Green alert: ")


@pytest.mark.parametrize("name", ["gdacs-rss-24h.xml", "gdacs-rss.xml"])
def test_recorded_disasters_are_read(name: str) -> None:
    body = shared.require("samples", "gdacs", name).read_bytes()
    found, dropped = gdacs_events.decode(body, None)
    assert dropped == 0
    assert found
    assert all(each.lat is not None for each in found)


# Meteoalarm


def warning(name: str = "w1", *, area: str = "Cork", **fields: str) -> str:
    given = {
        "event": "Severe wind warning", "severity": "Severe", "message_type": "Alert", "status": "Actual",
        "certainty": "Likely", "sent": NOW.isoformat(), "expires": (NOW + 6 * HOUR).isoformat(), "areaDesc": area,
    } | fields  # fmt: skip
    elements = "".join(f"<cap:{key}>{value}</cap:{key}>" for key, value in given.items())
    return (
        f"<entry>{elements}<cap:identifier>{name}</cap:identifier>"
        f"<link href='https://meteoalarm.org?geocode={area}' hreflang='en'/>"
        f"<link href='https://list.example/cap/{name}' type='application/cap+xml'/>"
        f"<id>https://list.example/cap/{name}?index_area={area}</id>"
        f"<title>Orange Wind Warning issued for Ireland - {area}</title></entry>"
    )


def atom(*entries: str) -> bytes:
    head = "<feed xmlns='http://www.w3.org/2005/Atom' xmlns:cap='urn:oasis:names:tc:emergency:cap:1.2'>"
    return f"{head}{''.join(entries)}</feed>".encode()


def message(*identifiers: str) -> Answer:
    references = " ".join(f"met@example.org,{each},{NOW.isoformat()}" for each in identifiers)
    body = f"<alert xmlns='urn:oasis:names:tc:emergency:cap:1.2'><references>{references}</references></alert>"
    return Answer(status=200, body=body.encode())


def test_the_entries_of_one_message_become_one_official_post() -> None:
    body = atom(warning(polygon="51.0,-9.0 52.0,-9.0 52.0,-8.0 51.0,-8.0 51.0,-9.0"), warning(area="Kerry"))
    (found,) = Reader(meteoalarm.Warnings("meteoalarm")).read(body)
    assert found.text == (
        "Orange Wind Warning issued for Ireland: Cork; Kerry\nSevere wind warning\nUntil 2031-05-14 18:00 UTC"
    )
    assert found.official == post.Official(category="storm", certainty="likely")
    assert (found.id, found.lat, found.lon) == ("w1", 51.5, -8.5)
    assert found.url == "https://meteoalarm.org?geocode=Cork"


@pytest.mark.parametrize(
    "fields",
    [
        {"severity": "Moderate"},
        {"status": "Test"},
        {"scope": "Private"},
        {"message_type": "Error"},
        {"expires": NOW.isoformat()},
        {"sent": (NOW - 2 * HOUR).isoformat()},
    ],
)
def test_what_is_no_severe_warning_is_not_told(fields: dict[str, str]) -> None:
    assert Reader(meteoalarm.Warnings("meteoalarm")).read(atom(warning(**fields))) == []


def test_english_is_preferred() -> None:
    foreign = warning(event="Vent violent").replace("hreflang='en'", "hreflang='fr'")
    (found,) = Reader(meteoalarm.Warnings("meteoalarm")).read(atom(foreign, warning(area="Kerry")))
    assert "Vent" not in found.text


def test_a_message_is_told_in_one_language_by_what_is_severe_in_it() -> None:
    body = atom(
        warning(area="Corcaigh", event="Vinto").replace("hreflang='en'", "hreflang='ga'"),
        warning(area="Clare", severity="Moderate"),
        warning(area="Cork", expires=(NOW + HOUR).isoformat()),
        warning(area="Kerry", expires=(NOW + 2 * HOUR).isoformat()),
    )
    (found,) = Reader(meteoalarm.Warnings("meteoalarm")).read(body)
    assert found.text == (
        "Orange Wind Warning issued for Ireland: Cork; Kerry\nSevere wind warning\nUntil 2031-05-14 14:00 UTC"
    )


def test_a_message_that_is_a_test_in_one_of_its_entries_is_a_test() -> None:
    body = atom(warning(), warning(area="Kerry", status="Exercise"))
    assert Reader(meteoalarm.Warnings("meteoalarm")).read(body) == []


def test_an_update_that_stands_beside_what_it_replaces_is_asked_about_at_once() -> None:
    reader = Reader(meteoalarm.Warnings("meteoalarm"))
    body = atom(warning("w2", message_type="Update"), warning("w1"))
    assert [each.id for each in reader.read(body, {"https://list.example/cap/w2": message("w1")})] == ["w2"]


def test_what_is_old_at_the_very_first_reading_is_not_asked_about() -> None:
    reader = Reader(meteoalarm.Warnings("meteoalarm"))
    old = warning("w2", message_type="Update", sent=(NOW - 2 * HOUR).isoformat())
    assert [each.id for each in reader.read(atom(old, warning("w1")))] == ["w1"]
    assert reader.questions == ()
    assert reader.read(atom(old, warning("w1"))) == []
    assert reader.questions == ()


@pytest.mark.parametrize("answer", [None, Answer(status=200, body=b"<html/>"), Answer(status=200, body=b"\0")])
def test_an_update_whose_message_cannot_be_had_is_told_in_the_end(answer: Answer | None) -> None:
    reader = Reader(meteoalarm.Warnings("meteoalarm"))
    reader.read(atom(warning()))
    update, question = atom(warning("w2", message_type="Update")), "https://list.example/cap/w2"
    for _ in range(10):
        assert reader.read(update, {question: answer}) == []
        assert reader.questions == (question,)
    (new,) = reader.read(update, {question: answer})
    assert (new.id, new.official.supersedes) == ("w2", ())
    assert reader.read(update) == []


def test_a_message_that_can_be_had_later_is_told_then() -> None:
    reader = Reader(meteoalarm.Warnings("meteoalarm"))
    reader.read(atom(warning()))
    cancel, question = atom(warning("w2", message_type="Cancel")), "https://list.example/cap/w2"
    for _ in range(30):
        assert reader.read(cancel, {question: None}) == []
    (found,) = reader.read(cancel, {question: message("w1")})
    assert found.official.supersedes == ("w1",)


def test_messages_that_cannot_be_had_do_not_stand_in_the_way() -> None:
    reader = Reader(meteoalarm.Warnings("meteoalarm"))
    reader.read(atom(warning()))
    dead = [warning(f"u{number}", message_type="Cancel") for number in range(30)]
    reader.read(atom(*dead), {f"https://list.example/cap/u{number}": None for number in range(30)})
    reader.read(atom(*dead, warning("w2", message_type="Update")), {})
    assert reader.questions[0] == "https://list.example/cap/w2"


def test_what_an_update_replaces_stands_in_the_message_behind_it() -> None:
    reader = Reader(meteoalarm.Warnings("meteoalarm"))
    reader.read(atom(warning()))
    update = atom(warning("w2", message_type="Update", severity="Moderate"))
    new, gone = reader.read(update, {"https://list.example/cap/w2": message("w1")})
    assert list(reader.questions) == ["https://list.example/cap/w2"]
    assert (new.id, new.official.supersedes, gone.id) == ("w2", ("w1",), "w1")
    assert reader.read(update) == []
    assert list(reader.questions) == []


def test_a_cancellation_takes_back_what_its_message_names() -> None:
    reader = Reader(meteoalarm.Warnings("meteoalarm"))
    reader.read(atom(warning()))
    cancel = atom(warning("w3", message_type="Cancel"))
    (found,) = reader.read(cancel, {"https://list.example/cap/w3": message("w0", "w1")})
    assert (found.official.cancelled, found.official.supersedes) == (True, ("w1",))


def test_an_update_of_which_nobody_says_what_it_replaces_is_told_by_itself() -> None:
    reader = Reader(meteoalarm.Warnings("meteoalarm"))
    reader.read(atom(warning()))
    update, message = atom(warning("w2", message_type="Update")), "https://list.example/cap/w2"
    assert reader.read(update, {message: None}) == [], "it is asked again"
    (new,) = reader.read(update, {message: Answer(status=404)})
    assert (new.id, new.official.supersedes) == ("w2", ())


@pytest.mark.parametrize("status", [204, 302, 400, 403, 409, 500])
def test_only_a_message_that_is_not_there_refers_to_nothing(status: int) -> None:
    reader = Reader(meteoalarm.Warnings("meteoalarm"))
    reader.read(atom(warning()))
    cancel, question = atom(warning("w2", message_type="Cancel")), "https://list.example/cap/w2"
    assert reader.read(cancel, {question: Answer(status=status)}) == []
    (found,) = reader.read(cancel, {question: message("w1")})
    assert found.official.supersedes == ("w1",)


def test_a_cancellation_waits_for_the_update_that_goes_on_with_a_part() -> None:
    reader = Reader(meteoalarm.Warnings("meteoalarm"))
    reader.read(atom(warning()))
    later = (NOW + timedelta(minutes=1)).isoformat()
    both = atom(warning("w2", message_type="Cancel", sent=later), warning("w3", message_type="Update", sent=later))
    lifted, goes_on = "https://list.example/cap/w2", "https://list.example/cap/w3"
    assert reader.read(both, {lifted: message("w1"), goes_on: None}) == []
    assert [each.id for each in reader.read(both, {lifted: message("w1"), goes_on: message("w1")})] == ["w3", "w1"]
    reader = Reader(meteoalarm.Warnings("meteoalarm"))
    reader.read(atom(warning()))
    for _ in range(10):
        assert reader.read(both, {lifted: message("w1"), goes_on: None}) == []
    found = reader.read(both, {lifted: message("w1"), goes_on: None})
    assert [(each.id, each.official.supersedes) for each in found] == [("w3", ()), ("w2", ("w1",))]


def test_a_message_is_asked_once() -> None:
    reader = Reader(meteoalarm.Warnings("meteoalarm"))
    reader.read(atom(warning()))
    minor = atom(warning(), warning("w2", message_type="Update", severity="Minor"))
    assert reader.read(minor, {"https://list.example/cap/w2": message("w0")}) == []
    assert len(reader.questions) == 1
    assert reader.read(minor) == []
    assert len(reader.questions) == 0


def test_a_crash_before_an_update_that_was_asked_about_does_not_lose_it() -> None:
    reader = Reader(meteoalarm.Warnings("meteoalarm"))
    reader.read(atom(warning()))
    body = atom(warning("w2", message_type="Update"), warning("w3"))
    answers: dict[str, Answer | None] = {"https://list.example/cap/w2": message("w1")}
    steps = reader.reading.read(body, None, reader.asked(answers)).steps
    for step in steps:
        reader.known.update({} if step.item is not None else step.remember)
    assert [each.id for each in reader.read(body, answers)] == ["w2", "w1", "w3"]


def test_too_many_questions_wait_for_the_next_time() -> None:
    reader = Reader(meteoalarm.Warnings("meteoalarm"))
    reader.read(atom(warning()))
    body = atom(*(warning(f"u{number}", message_type="Update") for number in range(25)))
    asked = reader.asked({f"https://list.example/cap/u{number}": message() for number in range(20)})
    told = reader.reading.read(body, None, asked)
    assert (sum(step.item is not None for step in told.steps), told.complete) == (20, False)


# all of them


@pytest.mark.parametrize(
    ("event", "category"),
    [
        ("Flash Flood Warning", "flood"), ("Storm Surge Warning", "flood"), ("Hurricane Warning", "storm"),
        ("Tsunami Warning", "earthquake"), ("Ashfall Warning", "volcano"), ("Avalanche Warning", "landslide"),
        ("Hazardous Materials Warning", "hazmat_pollution"), ("Fire Warning", "fire"), ("Blizzard Warning", "storm"),
        ("Orange Forest-Fire Warning", "wildfire"), ("Yellow Rain-Flood", "flood"), ("Red Thunderstorm", "storm"),
        ("Dense Fog Advisory", None), ("Law Enforcement Warning", None), ("Fire Weather Watch", None),
    ],
)  # fmt: skip
def test_events_have_their_categories(event: str, category: str | None) -> None:
    assert hazards.category(event) == category


def test_the_middle_of_an_area_across_the_date_line() -> None:
    assert geometry.centre([(0.0, 179.0), (2.0, -179.0)]) == (1.0, 180.0)
    assert geometry.centre([(91.0, 0.0), (0.0, 999.0)]) == (None, None)
    assert geometry.pairs("1.0,2.0 x,y 3.0 4.0,5.0") == [(1.0, 2.0), (4.0, 5.0)]


def test_the_first_reading_tells_only_what_is_fresh_but_knows_the_rest() -> None:
    reader = nws_reader()
    old = alert(1, sent=(NOW - 2 * HOUR).isoformat())
    assert reader.read(collection(old)) == []
    assert reader.read(collection(old)) == []
    assert bulletins.told(reader.known, ["a1"]) == []
    (update,) = reader.read(collection(alert(2, messageType="Update", references=refers(1))))
    assert update.official.supersedes == ()


DEEP = b'{"features":' + b"[" * 100_000
READINGS: list[Reading] = [
    nws.Alerts("nws"), usgs.Quakes("usgs", 0.0), gdacs.Events("gdacs"), meteoalarm.Warnings("meteoalarm")
]  # fmt: skip


@pytest.mark.parametrize("reading", READINGS, ids=lambda reading: type(reading).__name__)
@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", DEEP, b"\0" * 10_000, b'{"features": [' + b"0," * 3_000_000 + b"0]}", b"<feed/>x", b"<html/>"],
    ids=["empty", "object", "list", "deep", "nul", "numbers", "xml", "html"],
)
def test_what_is_no_list_is_refused_or_empty(reading: Reading, body: bytes) -> None:
    reader = Reader(reading)
    with contextlib.suppress(UnreadableError):
        assert reader.read(body) == []


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize("make", [alert, quake], ids=["alert", "quake"])
@given(name=st.text(max_size=10) | st.sampled_from([*alert()["properties"], *quake()["properties"]]), value=ANYTHING)
@settings(max_examples=300, deadline=None)
def test_no_property_breaks_the_list(make: Any, name: str, value: Any) -> None:
    odd = make()
    odd["properties"][name] = value
    for feature in (odd, make() | {"geometry": {"coordinates": value}}):
        body = collection(feature, make(2) if make is alert else make("us2"))
        found = nws_reader().read(body) if make is alert else usgs_reader().read(body)
        assert {"a2", "us2"} & {each.id for each in found}
        for each in found:
            each.text.encode()


@pytest.mark.parametrize("surrogate", [b'"\\ud800"', b'"\\ud800\\u0041"', b'"\\u0000"'])
def test_lone_surrogates_and_nul_drop_one_entry_at_most(surrogate: bytes) -> None:
    body = collection(alert(headline="HERE"), alert(2)).replace(b'"HERE"', surrogate)
    found = nws_reader().read(body)
    assert "a2" in {each.id for each in found}
    assert all("\0" not in each.text for each in found)


@pytest.mark.parametrize("make", [lambda text: atom(warning(event=text)), lambda text: gdacs_feed(event(title=text))])
@given(text=st.text(max_size=50))
@settings(max_examples=150, deadline=None)
def test_no_words_break_the_feeds(make: Any, text: str) -> None:
    body = make("WORDS").replace(b"WORDS", text.encode("utf-8", "replace"))
    for reading in READINGS[2:]:
        with contextlib.suppress(UnreadableError):
            for found in Reader(reading).read(body):
                found.text.encode()
                assert "\0" not in found.text


def test_references_of_something_else_are_refused() -> None:
    with pytest.raises(UnreadableError):
        meteoalarm_warnings.references(b"<html/>")
