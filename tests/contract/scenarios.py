"""What happens in a channel, and what then stands there: one list for every platform.

A scenario is a row of steps. After each step the outbox delivers whatever is due; in the end exactly the messages
listed stand in the channel, the desk has heard exactly what is listed, and the audit has these refusals.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bot.domain.alert import Level
from tests.contract.places import Call, Ill, Kind, Who
from tests.contract.steps import (
    BringBack,
    CallOff,
    Command,
    Correct,
    DeleteChannel,
    DeletePost,
    DieSending,
    Fill,
    Join,
    LetIn,
    Press,
    Raise,
    RefuseToken,
    Remove,
    Revoke,
    ShutOut,
    Step,
    Strike,
    Together,
    Update,
    Wait,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """``stands``: kind and a part of what a person reads, oldest first. ``joined``: the channel is set up already."""

    name: str
    steps: Sequence[Step]
    stands: Sequence[tuple[Kind, str]] = ()
    desk: Sequence[str] = ()
    refused: Sequence[str] = ()
    states: Sequence[str] | None = None
    joined: bool = True


FIRST, SECOND = "Explosion reported in Port Calder", "Blast in Port Calder, revision 2"
THIRD, OTHER = "Blast in Port Calder, revision 3", "Explosion reported in Larkfield"
MESSAGE, REPLY, LOUD = Kind.MESSAGE, Kind.REPLY, Kind.LOUD
ADMIN, MEMBER, STRANGER = Who.ADMIN, Who.MEMBER, Who.STRANGER
EVERYTHING = {"where": "anywhere", "level": ["alert"], "certainty": ["possible"]}

MESSAGES = [
    Scenario(
        name="a new event is one message",
        steps=[Raise()],
        stands=[(MESSAGE, FIRST)],
    ),
    Scenario(
        name="an update edits the message and explains itself in the thread",
        steps=[Raise(), Update()],
        stands=[(MESSAGE, SECOND), (REPLY, "more voices")],
    ),
    Scenario(
        name="a second update goes into the same thread",
        steps=[Raise(), Update(), Update()],
        stands=[(MESSAGE, THIRD), (REPLY, "more voices"), (REPLY, "more voices")],
    ),
    Scenario(
        name="an update that comes before its message was sent follows it",
        steps=[Together([Raise(), Update()])],
        stands=[(MESSAGE, SECOND), (REPLY, "more voices")],
    ),
    Scenario(
        name="an escalation is seen in the channel as well",
        steps=[Raise(), Update(level=Level.FLASH)],
        stands=[(MESSAGE, SECOND), (LOUD, "more voices")],
    ),
    Scenario(
        name="a correction is marked as such",
        steps=[Raise(), Correct()],
        stands=[(MESSAGE, "CORRECTED"), (REPLY, "thunder after all")],
    ),
    Scenario(
        name="an event that was none is called off in its message and in the thread",
        steps=[Raise(), CallOff()],
        stands=[(MESSAGE, "RETRACTED"), (REPLY, "the fire brigade denies it")],
    ),
    Scenario(
        name="a message that quotes a deleted post goes",
        steps=[Raise(), DeletePost()],
        stands=[],
        states=["sent", "sent"],
    ),
    Scenario(
        name="the most urgent of a burst comes first",
        steps=[Together([Raise(1), Raise(2, Level.FLASH)])],
        stands=[(MESSAGE, OTHER), (MESSAGE, FIRST)],
    ),
    Scenario(
        name="what is told later comes as one digest",
        steps=[Command("digest", {"hours": "13:00"}, ADMIN, "digest at 13:00"), Raise(1), Raise(2), Wait(hours=1)],
        stands=[(MESSAGE, "Digest: 2 events")],
        desk=["answer digest"],
        states=["digested", "digested", "sent"],
    ),
    Scenario(
        name="what a digest has told goes on in the digest's thread",
        steps=[
            Command("digest", {"hours": "13:00"}, ADMIN, "digest at 13:00"),
            *(Raise(1), Raise(2), Wait(hours=1)),
            *(Update(1), Wait(hours=24)),
        ],
        stands=[(MESSAGE, "Digest: 2 events"), (REPLY, "more voices")],
        desk=["answer digest"],
    ),
    Scenario(
        name="what a digest has told and gets louder is a message of its own",
        steps=[
            Command("digest", {"hours": "13:00"}, ADMIN, "digest at 13:00"),
            *(Raise(1), Raise(2), Wait(hours=1)),
            Update(1, Level.FLASH),
        ],
        stands=[(MESSAGE, "Digest: 2 events"), (MESSAGE, SECOND)],
        desk=["answer digest"],
    ),
    Scenario(
        name="what is muted waits, and flash with it",
        steps=[Command("mute", {"span": "2h"}, ADMIN, "muted until"), Raise(1, Level.FLASH)],
        stands=[],
        desk=["answer mute"],
        states=["held"],
    ),
    Scenario(
        name="in quiet hours only flash comes, and afterwards the rest",
        steps=[
            Command("quiet", {"hours": "11:00-13:00"}, ADMIN, "quiet hours 11:00–13:00"),
            *(Raise(1), Raise(2, Level.FLASH)),
            Wait(hours=1),
        ],
        stands=[(MESSAGE, OTHER), (MESSAGE, FIRST)],
        desk=["answer quiet"],
    ),
    Scenario(
        name="a test message takes the way that alerts take",
        steps=[Command("test", who=ADMIN, says="on its way")],
        stands=[(MESSAGE, "TEST: nothing has happened")],
        desk=["answer test"],
    ),
    Scenario(
        name="a revoked organisation gets nothing, and nobody there is answered",
        steps=[Revoke(), Raise(), Command("recent", says="ithdrawn")],
        stands=[(MESSAGE, "access has been withdrawn")],
        desk=["answer recent"],
        states=["sent", "withheld"],
    ),
    Scenario(
        name="a revocation takes back what stands",
        steps=[Raise(), Revoke(retract=True)],
        stands=[(MESSAGE, "access has been withdrawn")],
    ),
]

PEOPLE = [
    Scenario(
        name="a workspace sets itself up: a code, a form, an event",
        steps=[
            Join(MEMBER, says="not an admin of this workspace"),
            Join(ADMIN, says="This workspace belongs to Acme now"),
            Fill({"where": "Nowhere at all", "level": ["alert"], "certainty": ["possible"]}, says="is not known"),
            Fill(EVERYTHING, says="ubscri"),
            Raise(),
        ],
        stands=[(MESSAGE, FIRST)],
        desk=["answer join", "answer join", "submit", "submit"],
        refused=["join-refused"],
        joined=False,
    ),
    Scenario(
        name="a code is good once",
        steps=[Join(says="belongs to Acme now"), Join(again=True, says="this code has been used")],
        desk=["answer join", "answer join"],
        refused=["join-refused"],
        joined=False,
    ),
    Scenario(
        name="who does not administer the workspace changes nothing",
        steps=[Command("mute", {"span": "2h"}, MEMBER, "refused"), Raise()],
        stands=[(MESSAGE, FIRST)],
        desk=["answer mute"],
        refused=["mute-refused"],
    ),
    Scenario(
        name="everybody may ask what the channel gets, what it got, and why",
        steps=[
            Raise(),
            Command("subscriptions", says="anywhere"),
            Command("status", says="this channel can be reached"),
            Command("recent", says=FIRST),
            Command("why", says="granted"),
            Command("help", says="subscribe"),
        ],
        stands=[(MESSAGE, FIRST)],
        desk=["answer subscriptions", "answer status", "answer recent", "answer why", "answer help"],
    ),
    Scenario(
        name="acknowledged twice is acknowledged once, and the message says so to everybody",
        steps=[
            Raise(),
            Together([Press("Acknowledge", MEMBER, "the message says so"), Press("Acknowledge", ADMIN, "already")]),
        ],
        stands=[(MESSAGE, "cknowledged")],
        desk=["press acknowledge"] * 2,
        states=["sent", "sent"],
    ),
    Scenario(
        name="a muted event's thread stays silent, and its message up to date",
        steps=[Raise(), Press("Mute for 1 hour", says="Muted until"), Update()],
        stands=[(MESSAGE, SECOND)],
        desk=["press mute"],
        states=["sent", "sent", "superseded"],
    ),
    Scenario(
        name="an event that is muted until it escalates comes back when it does",
        steps=[Raise(), Press("Mute until it escalates", says="Muted until"), Update(), Update(level=Level.FLASH)],
        stands=[(MESSAGE, THIRD), (LOUD, "more voices")],
        desk=["press mute"],
    ),
    Scenario(
        name="an event that is muted for today is told of again tomorrow",
        steps=[Raise(), Press("Mute for today", says="Muted until"), Wait(hours=24), Update()],
        stands=[(MESSAGE, SECOND), (REPLY, "more voices")],
        desk=["press mute"],
    ),
    Scenario(
        name="not relevant counts once",
        steps=[
            Raise(),
            Press("Not relevant", says="Noted"),
            Press("Not relevant", says="it counts once"),
            Press("Not relevant", ADMIN, "Noted"),
        ],
        stands=[(MESSAGE, FIRST)],
        desk=["press irrelevant"] * 3,
    ),
    Scenario(
        name="sources and reasons are shown to whoever asks, and nothing changes in the channel",
        steps=[
            Raise(),
            Press("Show sources", says="1 source post"),
            Press("Why did I get this?", says="granted"),
        ],
        stands=[(MESSAGE, FIRST)],
        desk=["press sources", "press why"],
    ),
    Scenario(
        name="a button is good only where its message stands",
        steps=[Raise(), Press("Acknowledge", says="not in this channel", elsewhere=True)],
        stands=[(MESSAGE, FIRST)],
        desk=["press acknowledge"],
        refused=["acknowledge-refused"],
        states=["sent"],
    ),
    Scenario(
        name="whoever is of another workspace presses in vain",
        steps=[Raise(), Press("Show sources", STRANGER, "refused"), Press("Acknowledge", STRANGER, "refused")],
        stands=[(MESSAGE, FIRST)],
        desk=["press sources", "press acknowledge"],
        refused=["sources-refused", "acknowledge-refused"],
        states=["sent"],
    ),
    Scenario(
        name="a button asks for access at the click, however old the message is",
        steps=[Raise(), Wait(hours=48), Revoke(), Press("Show sources", says="no longer permitted")],
        stands=[(MESSAGE, FIRST), (MESSAGE, "access has been withdrawn")],
        desk=["press sources"],
        refused=["sources-refused"],
    ),
]

TROUBLE = [
    Scenario(
        name="a message whose answer got lost is found again and not repeated",
        steps=[Strike(Call.POST, Ill.RESET_AFTER), Raise()],
        stands=[(MESSAGE, FIRST)],
        states=["sent"],
    ),
    Scenario(
        name="a message that never arrived is sent again",
        steps=[Strike(Call.POST, Ill.RESET), Raise()],
        stands=[(MESSAGE, FIRST)],
        states=["sent"],
    ),
    Scenario(
        name="an outage delays, and loses nothing",
        steps=[Strike(Call.POST, Ill.DOWN, times=6), Together([Raise(1), Raise(2)])],
        stands=[(MESSAGE, FIRST), (MESSAGE, OTHER)],
    ),
    Scenario(
        name="rate limits delay, and lose nothing",
        steps=[Strike(Call.POST, Ill.RATE_LIMITED, times=3), Together([Raise(1), Raise(2)])],
        stands=[(MESSAGE, FIRST), (MESSAGE, OTHER)],
    ),
    Scenario(
        name="killed while sending: the message is there once",
        steps=[Together([Raise(), DieSending()])],
        stands=[(MESSAGE, FIRST)],
        states=["sent"],
    ),
    Scenario(
        name="killed while sending, and started long afterwards: the message is there once",
        steps=[Together([Raise(), DieSending(), Wait(hours=1)])],
        stands=[(MESSAGE, FIRST)],
        states=["sent"],
    ),
    Scenario(
        name="shut out of the channel: what comes is held, and goes when the bot is let in again",
        steps=[ShutOut(), Raise(1), Raise(2), LetIn()],
        stands=[(MESSAGE, FIRST), (MESSAGE, OTHER)],
        desk=["restored channel"],
        states=["sent", "sent"],
    ),
    Scenario(
        name="a deleted channel gets nothing more, and nothing is tried",
        steps=[Raise(), DeleteChannel(), Update(), Raise(2)],
        stands=[],
        desk=["lost channel"],
        states=["sent", "held", "held", "held"],
    ),
    Scenario(
        name="removed from the workspace and invited again: what was missed comes",
        steps=[Remove(), Raise(1), Raise(2), BringBack()],
        stands=[(MESSAGE, FIRST), (MESSAGE, OTHER)],
        desk=["lost workspace", "restored workspace"],
        states=["sent", "sent"],
    ),
    Scenario(
        name="a token that is refused holds everything until there is a good one",
        steps=[RefuseToken(), Raise(1), Raise(2)],
        stands=[],
        states=["held", "held"],
    ),
    Scenario(
        name="with a good token again, what was held goes",
        steps=[RefuseToken(), Raise(1), Raise(2), BringBack()],
        stands=[(MESSAGE, FIRST), (MESSAGE, OTHER)],
        desk=["restored workspace"],
        states=["sent", "sent"],
    ),
]

SCENARIOS = [*MESSAGES, *PEOPLE, *TROUBLE]
