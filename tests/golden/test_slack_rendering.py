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
from bot.domain.delivery import Act, Message, Sending
from bot.platforms.slack import render
from tests import factories

FOLDER = Path(__file__).parent / "slack"
HOSTILE = (
    '<!channel> <@U1|boss> <https://evil.example|click> &amp; *bold* _it_ ~no~ `code` :skull: @here\n> "quoted" \\n '
    "\u202egnirts\u202c \x00\x1b[31m \ud800 👩‍👩‍👧‍👦 e\u0301 http://evil.example/a?b=<c>&d"
)


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


def make(act: Act, content: dict[str, Any], **alert: Any) -> Sending:
    later = {"raised_at": factories.NOW + timedelta(minutes=4)}
    message = Message(
        alert=factories.make_alert(**later | content["alert"] | alert),
        quotes=content["quotes"],
        change=content.get("change", ""),
    )
    return factories.make_sending(act=act, message=message, target_id=None if act is Act.POST else "1.000001")


CONTENTS = {"usual": lambda: {"alert": {}, "quotes": (factories.make_quote(),)}} | {
    "shortest": shortest,
    "longest": longest,
    "hostile": hostile,
}
ALERTS = {
    f"{act.value}-{kind.value}-{level.value}-{name}": lambda act=act, kind=kind, level=level, content=content: make(
        act, content(), kind=kind, level=level
    )
    for act in (Act.POST, Act.REPLY)
    for kind in alerts.Kind
    for level in alerts.Level
    for name, content in CONTENTS.items()
    # A reply differs by what it says, not by each level.
    if act is Act.POST or level is alerts.Level.URGENT
}
TEXTS = {
    f"{act.value}-{name}": lambda act=act, text=text: factories.make_sending(act=act, message=Message(text=text))
    for act in (Act.NOTICE, Act.DIGEST)
    for name, text in {
        "usual": "Acme may no longer receive from bluesky.\n\n• 3 alerts were withheld\n• ask ada@example.org",
        "empty": "",
        "longest": "All & sundry: one line of a digest.\n" * 2000,
        "hostile": HOSTILE,
    }.items()
}
CASES = ALERTS | TEXTS | {"retract": lambda: make(Act.RETRACT, hostile())}


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


@pytest.mark.parametrize("name", [name for name in CASES if name.endswith("hostile") or name == "retract"])
def test_hostile_text_is_no_markup_no_mention_and_no_link(name: str) -> None:
    rendered = render.render(CASES[name]())
    everything = json.dumps(asdict(rendered), ensure_ascii=False)
    for harm in ("<!channel", "<@U1", "<https://evil", "javascript:", "\u202e", "\\u0000", "\\u001b", "a.example"):
        assert harm not in everything
    assert not set("*_~`") & set(rendered.text)
    assert ":skull:" not in rendered.text
    for kind in ("user", "usergroup", "broadcast", "channel"):
        assert f'"type": "{kind}"' not in everything
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


def test_without_the_capability_evidence_nothing_is_quoted() -> None:
    assert "rich_text_quote" not in json.dumps(render.render(make(Act.POST, shortest())).attachments)
