"""Every message as Slack gets it, against tests/golden/slack/*.json.

``TOCSIN_REGENERATE=1 pytest tests/golden/test_slack_rendering.py`` writes them anew: read the diff.
"""

import json
import os
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from slack_sdk.models.blocks import Block

from bot.domain import alert as alerts
from bot.domain.delivery import Acknowledgement, Act, Message, Sending
from bot.platforms.slack import render
from tests import factories

FOLDER = Path(__file__).parent / "slack"
HOSTILE = (
    '<!channel> <@U1|boss> <https://evil.example|click> &amp; *bold* _it_ ~no~ `code` :skull: @here\n> "quoted" \\n '
    "\u202egnirts\u202c \x00\x1b[31m \ud800 👩‍👩‍👧‍👦 e\u0301 http://evil.example/a?b=<c>&d "
    "@everyone @channel انفجار في الميناء \u200b\u2060\ufeff z\u200ba\u200cp"
)
UNSEEN = "\u200b\u2060\ufeff\u00ad\u3164\u2800 \u0301" * 40


def shortest() -> dict[str, Any]:
    return {"alert": {"headline": "Fire", "place": None, "posts": 1, "authors": 1, "category": "fire"}, "quotes": ()}


def longest() -> dict[str, Any]:
    place = alerts.Place(name="Llanfair " * 60, country="GB", lat=53.22, lon=-4.2, radius_km=512.4, confidence=0.9)
    quote = factories.make_quote(
        text="Windows broken, “all” of them \\ & more. " * 200,
        author="a" * 400,
        url="https://social.example/" + "a" * 470,
    )
    alert = {
        "headline": "Explosion & fire " * 100,
        "place": place,
        "category": "structural_collapse",
        "posts": 123_456,
        "authors": 65_432,
        "certainty": alerts.Certainty.OBSERVED,
        "disputed": True,
        "revision": 99,
        "sources": tuple(f"rss:paper-{n}" for n in range(60)),
    }
    return {"alert": alert, "quotes": (quote,) * 6, "change": "Now 9 posts, then 3. " * 300}


def hostile() -> dict[str, Any]:
    place = alerts.Place(name=HOSTILE, country="<!", lat=-8.1, lon=179.99, radius_km=0.3, confidence=0.1)
    quote = factories.make_quote(provider=HOSTILE, author=HOSTILE, text=HOSTILE, url="javascript:alert(1)")
    alert = {"headline": HOSTILE, "place": place, "category": HOSTILE, "sources": (HOSTILE,), "disputed": True}
    return {"alert": alert, "quotes": (quote, factories.make_quote(url="https://a.example/|<b>")), "change": HOSTILE}


def endless() -> dict[str, Any]:
    """Hostile text to the length of a long post, everywhere."""
    text = (HOSTILE * 40)[:4_000]
    place = alerts.Place(name=text, country="IE", lat=52.1, lon=-8.2, radius_km=8, confidence=0.7)
    quote = factories.make_quote(provider=text, author=text, text=text)
    alert = {"headline": text, "place": place, "category": text, "sources": (text,) * 5}
    return {"alert": alert, "quotes": (quote,) * 5, "change": text}


def unseen() -> dict[str, Any]:
    place = alerts.Place(name=UNSEEN, country=None, lat=52.1, lon=-8.2, radius_km=8, confidence=0.7)
    quote = factories.make_quote(author=UNSEEN, text=UNSEEN)
    return {"alert": {"headline": UNSEEN, "place": place}, "quotes": (quote,), "change": UNSEEN}


def make(act: Act, content: dict[str, Any], message: dict[str, Any] | None = None, **alert: Any) -> Sending:
    later = {"raised_at": factories.NOW + timedelta(minutes=4)}
    said = Message(
        **{
            "alert": factories.make_alert(**later | content["alert"] | alert),
            "quotes": content["quotes"],
            "change": content.get("change", ""),
        }
        | (message or {})
    )
    return factories.make_sending(act=act, message=said, target_id=None if act is Act.POST else "1.000001")


def acknowledged(act: Act, by: str) -> Sending:
    when = factories.NOW + timedelta(minutes=9)
    return make(act, CONTENTS["usual"](), {"acknowledged": Acknowledgement(by=by, at=when)}, level=alerts.Level.FLASH)


def digest(text: str, *items: alerts.Alert) -> Sending:
    return factories.make_sending(act=Act.DIGEST, message=Message(text=text, items=items))


def items(content: dict[str, Any], count: int) -> list[alerts.Alert]:
    """The loudest first."""
    levels = sorted((list(alerts.Level) * count)[:count], key=lambda level: -level.rank)
    return [factories.make_alert(**{"level": level, "event": f"{n:016x}"} | content) for n, level in enumerate(levels)]


CONTENTS = {"usual": lambda: {"alert": {}, "quotes": (factories.make_quote(),), "change": "3 → 9 posts."}} | {
    "shortest": shortest,
    "longest": longest,
    "hostile": hostile,
    "endless": endless,
    "unseen": unseen,
}
EVENTS = {
    f"{act.value}-{kind.value}-{level.value}-{name}": lambda act=act, kind=kind, level=level, content=content: make(
        act, content(), kind=kind, level=level
    )
    for act, kind in (
        (Act.POST, alerts.Kind.NEW),
        (Act.EDIT, alerts.Kind.UPDATE),
        (Act.EDIT, alerts.Kind.CORRECTION),
        (Act.EDIT, alerts.Kind.RETRACTION),
        (Act.REPLY, alerts.Kind.UPDATE),
        (Act.REPLY, alerts.Kind.CORRECTION),
        (Act.REPLY, alerts.Kind.RETRACTION),
    )
    for level in alerts.Level
    for name, content in CONTENTS.items()
    # A reply differs by what it says, not by each level, and so do texts that only attack.
    if level is alerts.Level.URGENT or (act is not Act.REPLY and name not in ("endless", "unseen"))
}
REPLIES = {
    f"reply-{how}-{level.value}-{name}": lambda how=how, level=level, content=content: make(
        Act.REPLY, content(), {how: True}, level=level, kind=alerts.Kind.UPDATE, revision=2
    )
    for how, levels in {"escalated": ("urgent", "flash"), "digested": ("alert",)}.items()
    for level in map(alerts.Level, levels)
    for name, content in CONTENTS.items()
}
READERS = {
    f"post-{level.value}-without-evidence": lambda level=level: make(
        Act.POST, CONTENTS["usual"](), {"evidence": False}, level=level
    )
    for level in alerts.Level
} | {
    "edit-acknowledged": lambda: acknowledged(Act.EDIT, "slack:T0123/U0456"),
    "edit-acknowledged-on-discord": lambda: acknowledged(Act.EDIT, "discord:1234567890"),
    "edit-acknowledged-by-hostile": lambda: acknowledged(Act.EDIT, "slack:T0123/U1|<!channel>"),
    "post-acknowledged": lambda: acknowledged(Act.POST, "slack:T0123/U0456"),
}
TEXTS = {
    f"notice-{name}": lambda text=text: factories.make_sending(act=Act.NOTICE, message=Message(text=text))
    for name, text in {
        "usual": "Acme may no longer receive from bluesky.\n\n• 3 alerts were withheld\n• ask ada@example.org",
        "empty": "",
        "longest": "All & sundry: one line of a notice.\n" * 2000,
        "hostile": HOSTILE,
        "unseen": UNSEEN,
    }.items()
}
DIGESTS = {
    "digest-usual": lambda: digest(
        "3 alerts while this channel had quiet hours (22:00–07:00, Europe/Dublin)",
        factories.make_alert(level=alerts.Level.FLASH, certainty=alerts.Certainty.LIKELY, authors=41, posts=70),
        factories.make_alert(level=alerts.Level.URGENT, category="fire", headline="Fire at a warehouse", authors=1),
        factories.make_alert(category="storm", headline="Roofs torn off by a storm", place=None),
    ),
    "digest-corrected": lambda: digest("1 alert", factories.make_alert(kind=alerts.Kind.CORRECTION, revision=3)),
    "digest-shortest": lambda: digest("1 alert", factories.make_alert(**shortest()["alert"])),
    "digest-longest": lambda: digest("Many alerts, " * 90, *items(longest()["alert"], 60)),
    "digest-many": lambda: digest("400 alerts", *items({}, 400)),
    "digest-hostile": lambda: digest(HOSTILE, *items(hostile()["alert"], 3)),
    "digest-endless": lambda: digest(HOSTILE * 20, *items(endless()["alert"], 60)),
    "digest-unseen": lambda: digest(UNSEEN, *items(unseen()["alert"], 2)),
    "digest-without-alerts": lambda: digest("Nothing happened."),
}
CASES = EVENTS | REPLIES | READERS | TEXTS | DIGESTS | {"retract": lambda: make(Act.RETRACT, hostile())}
ATTACKS = [name for name in CASES if name.endswith(("hostile", "endless", "unseen"))] + ["retract"]


@pytest.mark.parametrize("name", CASES)
def test_rendering_is_as_it_was_reviewed(name: str) -> None:
    rendered = asdict(render.render(CASES[name]()))
    text = json.dumps(rendered, indent=1, ensure_ascii=False) + "\n"
    file = FOLDER / f"{name}.json"
    if os.environ.get("TOCSIN_REGENERATE") == "1":
        file.write_text(text)
    assert file.exists(), "no golden file; see this module's docstring"
    assert json.loads(file.read_text()) == json.loads(text)


def test_no_golden_file_is_left_over() -> None:
    assert {file.stem for file in FOLDER.glob("*.json")} == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_rendering_keeps_slacks_limits_and_its_own_sdk_reads_it(name: str) -> None:
    sending = CASES[name]()
    rendered = render.render(sending)
    everything = json.dumps([rendered.text, rendered.blocks, rendered.attachments], ensure_ascii=False)
    assert len(everything.encode("utf-16-le")) // 2 <= 13_200
    blocks = rendered.blocks + [block for part in rendered.attachments for block in part["blocks"]]
    assert len(blocks) <= 50
    assert rendered.blocks[0]["block_id"] == sending.delivery
    for block in blocks:
        parsed = Block.parse(block)
        assert parsed is not None
        assert parsed.to_dict() == block
        if block["type"] == "header":
            assert 0 < len(block["text"]["text"]) <= 150


@pytest.mark.parametrize("name", ATTACKS)
def test_hostile_text_is_no_markup_no_mention_and_no_link(name: str) -> None:
    rendered = render.render(CASES[name]())
    everything = json.dumps(asdict(rendered), ensure_ascii=False)
    for harm in ("<!channel", "<@U1", "<https://evil", "javascript:", "\u202e", "\\u0000", "\\u001b", "a.example"):
        assert harm not in everything
    assert not set("*_~`") & set(rendered.text)
    assert ":skull:" not in rendered.text
    for kind in ("user", "usergroup", "broadcast", "channel", "mrkdwn"):
        assert f'"type": "{kind}"' not in everything
    assert "<" not in everything
    everything.encode()  # no lone surrogate is left


@pytest.mark.parametrize("level", list(alerts.Level))
def test_level_is_a_symbol_a_word_and_a_colour(level: alerts.Level) -> None:
    others = [render.render(make(Act.POST, shortest(), level=other)) for other in alerts.Level if other is not level]
    rendered = render.render(make(Act.POST, shortest(), level=level))
    symbol, word, _, category_symbol, category = rendered.blocks[0]["text"]["text"].split()
    assert (category_symbol, category) == ("🔥", "Fire")
    assert word == level.value.upper()
    for other in others:
        assert symbol not in other.blocks[0]["text"]["text"]
        assert rendered.attachments[0]["color"] != other.attachments[0]["color"]


@pytest.mark.parametrize("act", [Act.POST, Act.EDIT, Act.REPLY])
def test_corrections_retractions_and_disputes_are_marked_first_and_in_the_fallback(act: Act) -> None:
    for fields, mark in (
        ({"kind": alerts.Kind.CORRECTION}, "CORRECTED"),
        ({"kind": alerts.Kind.RETRACTION}, "RETRACTED"),
        ({"disputed": True}, "DISPUTED"),
    ):
        rendered = render.render(make(act, {"alert": {}, "quotes": ()}, **fields))
        assert mark in rendered.text
        assert mark in json.dumps(rendered.blocks[0])
        assert mark not in render.render(make(act, {"alert": {}, "quotes": ()})).text


def test_without_the_capability_evidence_one_line_says_so_and_there_are_no_sources_to_show() -> None:
    told = render.render(CASES["post-flash-without-evidence"]())
    everything = json.dumps(told.attachments)
    assert "not part of this organisation's access" in everything
    assert "rich_text_quote" not in everything
    assert "tocsin.sources" not in everything
    quoted = json.dumps(render.render(make(Act.POST, CONTENTS["usual"]())).attachments)
    assert "rich_text_quote" in quoted
    assert "not part of this organisation's access" not in quoted


def test_the_earliest_post_alone_is_quoted() -> None:
    quotes = (factories.make_quote(text="the first"), factories.make_quote(text="a later one"))
    everything = json.dumps(asdict(render.render(make(Act.POST, {"alert": {}, "quotes": quotes}))))
    assert "the first" in everything
    assert "a later one" not in everything


def pressable(sending: Sending) -> list[str]:
    blocks = [block for part in render.render(sending).attachments for block in part["blocks"]]
    return [element["action_id"] for block in blocks if block["type"] == "actions" for element in block["elements"]]


ALL_BUTTONS = ["tocsin.acknowledge", "tocsin.mute", "tocsin.irrelevant", "tocsin.sources", "tocsin.why"]


@pytest.mark.parametrize(
    ("name", "buttons"),
    [
        ("post-new-flash-usual", ALL_BUTTONS),
        ("edit-correction-flash-usual", ALL_BUTTONS),
        ("edit-acknowledged", ALL_BUTTONS[1:]),
        ("post-flash-without-evidence", [*ALL_BUTTONS[:3], ALL_BUTTONS[4]]),
        ("edit-retraction-flash-usual", ALL_BUTTONS[3:]),
        ("reply-escalated-flash-usual", []),
        ("digest-usual", []),
        ("notice-usual", []),
        ("retract", []),
    ],
)
def test_a_message_has_the_buttons_that_make_sense_there(name: str, buttons: list[str]) -> None:
    assert pressable(CASES[name]()) == buttons


def test_buttons_carry_the_delivery_that_posted_the_message_whatever_edits_it() -> None:
    rendered = render.render(factories.make_sending(act=Act.EDIT, delivery="d-edit", root="d-first", target_id="1.1"))
    actions = rendered.attachments[0]["blocks"][-1]["elements"]
    values = [element.get("value") for element in actions if element["type"] == "button"]
    assert values == ["d-first"] * 4
    assert [option["value"] for option in actions[1]["options"]] == [
        "d-first|1h",
        "d-first|today",
        "d-first|escalation",
    ]
    assert "d-first" not in json.dumps(rendered.blocks)


def test_an_acknowledgement_is_a_mention_in_an_edit_only() -> None:
    """There it calls nobody."""
    mention = {"type": "user", "user_id": "U0456"}
    assert mention in acknowledgement(CASES["edit-acknowledged"]())
    for name in ("post-acknowledged", "edit-acknowledged-on-discord", "edit-acknowledged-by-hostile"):
        shown = acknowledgement(CASES[name]())
        assert all(element["type"] != "user" for element in shown)
        assert any("acknowledged" in element.get("text", "").lower() for element in shown)


def acknowledgement(sending: Sending) -> list[dict[str, Any]]:
    return list(render.render(sending).attachments[0]["blocks"][-2]["elements"][0]["elements"])


def test_an_escalation_is_seen_in_the_channel_and_says_what_has_become_louder() -> None:
    rendered = render.render(CASES["reply-escalated-flash-usual"]())
    assert rendered.broadcast
    for shown in (json.dumps(rendered.blocks, ensure_ascii=False), rendered.text):
        for word in ("Escalated to 🚨 FLASH", "Explosion reported in Port Calder", "3 → 9 posts."):
            assert word in shown
    assert not render.render(CASES["reply-update-urgent-usual"]()).broadcast


def test_a_reply_to_a_digest_names_its_event() -> None:
    rendered = render.render(CASES["reply-digested-alert-usual"]())
    assert not rendered.broadcast
    for shown in (json.dumps(rendered.blocks, ensure_ascii=False), rendered.text):
        for word in ("🔔 ALERT", "Explosion", "Port Calder", "3 → 9 posts."):
            assert word in shown


@pytest.mark.parametrize("name", ["digest-longest", "digest-many", "digest-endless"])
def test_a_digest_tells_as_much_as_fits_and_counts_the_rest(name: str) -> None:
    sending = CASES[name]()
    _, bullets, rest = render.render(sending).blocks[0]["elements"]
    shown = len(bullets["elements"])
    assert shown >= 10
    assert rest["elements"][0]["text"] == f"… and {len(sending.message.items) - shown} more"


def test_a_digest_is_read_out_by_its_first_line_and_the_loudest() -> None:
    text = render.render(CASES["digest-many"]()).text
    assert text.startswith("400 alerts • 🚨 FLASH · 💥 Explosion: Explosion reported in Port Calder")
    assert text.endswith("and 395 more")


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith(("post", "edit", "reply-d", "reply-e"))])
def test_the_fallback_names_level_and_headline(name: str) -> None:
    sending = CASES[name]()
    assert sending.message.alert is not None
    text = render.render(sending).text
    assert sending.message.alert.level.value.upper() in text
    if "usual" in name:
        assert "Explosion reported in Port Calder" in text
