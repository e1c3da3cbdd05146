"""Meteoalarm's Atom feed over five days, in any order, and the CAP messages behind its entries."""

import random
from pathlib import Path
from xml.sax.saxutils import escape

from bot.ingest import meteoalarm
from tests.fakes.polled import FakeSite, VirtualTime
from tests.soaks import polling
from tests.soaks.agencies import Agency, Kind, Ledger, Message
from tests.soaks.holding import Report, Trouble
from tests.soaks.polling import Troubles

NAME = "meteoalarm"
TROUBLES = frozenset(Trouble)
PATH = "/feeds/meteoalarm-legacy-atom-velmar"
MESSAGES = "/api/v1/warnings/feeds-velmar/"
NOTHING: tuple[dict[str, str], ...] = (
    {"status": "Test"},
    {"status": "Exercise"},
    {"status": "System"},
    {"status": "Draft"},
    {"scope": "Restricted"},
    {"scope": "Private"},
    {"message_type": "Ack"},
    {"message_type": "Error"},
    {"severity": "Moderate"},
    {"event": "Fog", "title": "Red Fog Warning issued for Velmar"},
)
ENGLISH, OWN = "en", "vm"


def text(message: Message) -> str:
    lines = (
        f"{'Cancelled: ' if message.kind is Kind.CANCEL else ''}Orange Wind Warning issued for Velmar: {message.zone}",
        message.headline,
        f"Until {message.expires:%Y-%m-%d %H:%M} UTC",
    )
    return "\n".join(lines)


class Service:
    """The feed, shuffled, with entries in two languages, and the messages behind them while anybody may ask."""

    def __init__(self, site: FakeSite, time: VirtualTime, agency: Agency) -> None:
        self.asked = 0
        self._site, self._time, self._agency = site, time, agency
        self._entries: dict[str, str] = {}

    def feed(self) -> bytes:
        found = self._agency.listed(self._time.passed)
        random.Random(",".join(each.id for each in found)).shuffle(found)
        head = "<feed xmlns='http://www.w3.org/2005/Atom' xmlns:cap='urn:oasis:names:tc:emergency:cap:1.2'>"
        return f"{head}{''.join(map(self._entry, found))}</feed>".encode()

    def _entry(self, message: Message) -> str:
        if message.id not in self._entries:
            self._entries[message.id] = entry(message, OWN, self._site) + entry(message, ENGLISH, self._site)
            self._site.put(f"{MESSAGES}{message.number}", lambda: self._message(message), "application/cap+xml")
        return self._entries[message.id]

    def _message(self, message: Message) -> bytes:
        self.asked += 1
        references = " ".join(f"met@example.org,{each.id},{each.sent.isoformat()}" for each in message.follows)
        body = f"<identifier>{message.id}</identifier><references>{references}</references>"
        return f"<alert xmlns='urn:oasis:names:tc:emergency:cap:1.2'>{body}</alert>".encode()


def entry(message: Message, language: str, site: FakeSite) -> str:
    given = {
        "event": message.headline if language == ENGLISH else "Vinto", "status": "Actual", "scope": "Public",
        "severity": "Severe" if message.severe else "Moderate", "certainty": "Likely",
        "message_type": message.kind.value, "title": "Orange Wind Warning issued for Velmar",
    }  # fmt: skip
    if message.kind is Kind.NOTHING:
        given |= {"message_type": "Alert"} | NOTHING[message.odd % len(NOTHING)]
    if message.kind is Kind.EXPIRED:  # here nobody says so: something minor follows, if anything
        given |= {"message_type": "Alert", "severity": "Minor"}
    title = given.pop("title")
    given |= {
        "sent": message.sent.isoformat(), "expires": message.expires.isoformat(), "areaDesc": message.zone,
        "polygon": ("", "51.0,-9.0 52.0,-9.0 52.0,-8.0 51.0,-9.0", "999,nan x", "nothing")[message.odd % 4],
    }  # fmt: skip
    elements = "".join(f"<cap:{key}>{escape(value)}</cap:{key}>" for key, value in given.items())
    link = site.url(f"{MESSAGES}{message.number}")
    return (
        f"<entry>{elements}<cap:identifier>{message.id}</cap:identifier>"
        f"<link href='https://meteoalarm.org?geocode=VM{message.number}' hreflang='{language}'/>"
        f"<link href='{link}' type='application/cap+xml'/><id>{link}?index_info={language}</id>"
        f"<title>{title} - {escape(message.zone)}</title></entry>"
    )


async def soak(folder: Path, seed: int) -> Report:
    time = VirtualTime()
    async with FakeSite() as site:
        troubles = Troubles(site, time, PATH, further=MESSAGES)
        agency = Agency(time, troubles, random.Random(seed), every=(10.0, 50.0))
        agency.plan()
        ledger = Ledger(agency, text)
        service = Service(site, time, agency)
        site.put(PATH, service.feed, "application/atom+xml")
        report = await polling.soak(
            NAME,
            folder,
            seed,
            lambda environment: meteoalarm.source("meteoalarm", site.url(PATH), provider="meteoalarm", **environment),
            site,
            time,
            troubles,
            ledger.emitted,
        )
        assert service.asked > 0, "no message was asked for"
        return ledger.checked(report, folder / f"{NAME}.db")
