"""The active alerts of the US National Weather Service over five days, in pages, sometimes a minute and a half old."""

import json
import random
from datetime import UTC, timedelta, timezone
from pathlib import Path
from typing import Any

from bot.ingest import nws
from tests.fakes.polled import FakeSite, VirtualTime
from tests.soaks import polling
from tests.soaks.agencies import Agency, Kind, Ledger, Message
from tests.soaks.holding import Report, Trouble
from tests.soaks.polling import MINUTE, Troubles

NAME = "nws"
TROUBLES = frozenset(Trouble)
PATH, MORE = "/alerts/active", "/alerts/more"
PAGE = 7
ZONES = tuple(timezone(timedelta(hours=hours)) for hours in (-10, -8, -6, -5, 10))
NOTHING: tuple[dict[str, Any], ...] = (
    {"status": "Test"},
    {"status": "Exercise"},
    {"status": "Draft"},
    {"messageType": "Ack"},
    {"messageType": "Error"},
    {"scope": "Restricted"},
    {"scope": "Private"},
    {"event": "Child Abduction Emergency"},
    {"event": "Small Craft Advisory", "severity": "Minor", "urgency": "Expected"},
    {"parameters": {"VTEC": ["/T.NEW.KXXX.TO.W.0001.000000T0000Z-000000T0000Z/"]}},
)


def feature(message: Message) -> dict[str, Any]:
    zone = ZONES[message.number % len(ZONES)]
    cancels, minor = message.kind in (Kind.CANCEL, Kind.EXPIRED), not message.severe
    over = [each for each in message.follows if each.over(message.at)]
    properties: dict[str, Any] = {
        "id": message.id, "@id": f"https://alerts.example/{message.id}", "areaDesc": message.zone,
        "geocode": {"UGC": ["NEC001"]}, "status": "Actual", "scope": "Public", "messageType": message.kind.value,
        "event": message.hazard, "severity": "Minor" if cancels or minor else "Severe", "certainty": "Likely",
        "urgency": "Past" if cancels else "Expected" if minor else "Immediate", "senderName": "NWS Port Calder",
        "sent": message.sent.astimezone(zone).isoformat(), "expires": message.expires.astimezone(UTC).isoformat(),
        "ends": message.expires.astimezone(zone).isoformat() if message.odd % 2 else None,
        "headline": message.headline, "replacedBy": None,
        "references": [{"identifier": each.id} for each in message.follows if each not in over],
        "parameters": {
            "VTEC": [f"/O.{_does(message)}.KXXX.TO.W.0001.000000T0000Z-000000T0000Z/"],
            "expiredReferences": [" ".join(f"nws@example.org,{each.id},{each.sent.isoformat()}" for each in over)],
        },
    }  # fmt: skip
    if message.kind is Kind.EXPIRED or (cancels and len(over) == len(message.follows)):
        properties |= {"messageType": "Alert", "severity": "Severe", "ends": None}
    if message.kind is Kind.NOTHING:
        properties |= {"messageType": "Alert", "event": "Tornado Warning"} | NOTHING[message.odd % len(NOTHING)]
    square = [[-100.0, 42.0], [-98.0, 42.0], [-98.0, 44.0], [-100.0, 44.0], [-100.0, 42.0]]
    shapes = (None, {"type": "Polygon", "coordinates": [square]}, {"type": "Polygon", "coordinates": [[[1e300, None]]]})
    return {"type": "Feature", "id": message.id, "properties": properties, "geometry": shapes[message.odd % 3]}


def _does(message: Message) -> str:
    return {Kind.CANCEL: "CAN", Kind.EXPIRED: "EXP", Kind.UPDATE: "CON"}.get(message.kind, "NEW")


def text(message: Message) -> str:
    head = f"{'Cancelled: ' if message.kind is Kind.CANCEL else ''}{message.headline}"
    return f"{head}\n{message.zone} (Nebraska, United States)"


class Service:
    """The list in pages, the newest alerts first; every 37th minute it is what it was a little earlier."""

    def __init__(self, site: FakeSite, time: VirtualTime, agency: Agency) -> None:
        self.pages = 1
        self._site, self._time, self._agency = site, time, agency
        self._features: dict[str, str] = {}

    def page(self, number: int) -> bytes:
        now = self._time.passed
        found = self._agency.listed(now - timedelta(seconds=90) if int(now / MINUTE) % 37 == 0 else now)
        shown = ",".join(map(self._feature, found[number * PAGE : (number + 1) * PAGE]))
        following = ""
        if len(found) > (number + 1) * PAGE:
            self.pages = max(self.pages, number + 2)
            following = f', "pagination": {{"next": "{self._site.url(f"{MORE}{number + 1}?cursor=x")}"}}'
        return f'{{"type": "FeatureCollection", "features": [{shown}]{following}}}'.encode()

    def _feature(self, message: Message) -> str:
        if message.id not in self._features:
            self._features[message.id] = json.dumps(feature(message))
        return self._features[message.id]


async def soak(folder: Path, seed: int) -> Report:
    time = VirtualTime()
    async with FakeSite() as site:
        troubles = Troubles(site, time, PATH, further=MORE)
        agency = Agency(time, troubles, random.Random(seed), every=(10.0, 50.0))
        agency.plan()
        ledger = Ledger(agency, text)
        service = Service(site, time, agency)
        for number in range(9):
            address = f"{MORE}{number}" if number else PATH
            site.put(address, lambda number=number: service.page(number), "application/geo+json")  # type: ignore[misc]
        report = await polling.soak(
            NAME,
            folder,
            seed,
            lambda environment: nws.source(
                "nws", site.url(PATH), provider="nws", contact="ada@example.org", **environment
            ),
            site,
            time,
            troubles,
            ledger.emitted,
        )
        assert service.pages > 1, "a list that was never long"
        return ledger.checked(report, folder / f"{NAME}.db")
