"""Golden renderings for Discord, read in the diff; and the promises that hold for any text.

``TOCSIN_GOLDEN=1 pytest tests/golden/test_discord_render.py`` writes the files anew.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain import alert as alerts
from bot.domain.delivery import Acknowledgement, Act, Message, Sending
from bot.platforms.discord import components, escaping, render
from tests import factories

FOLDER = Path(__file__).parent / "discord"
HOSTILE = (
    "@everyone <@1> <@&1> <#2> <!channel> [free](https://evil.example) **b** ~~s~~ `c` ||d|| </x:1> "
    "\u202egnp.exe\u202c שלום zero\u200bwidth\u2060\ufeff # h\n- l\n> q \ud800 <t:1:R>"
)
LONG = "Ω🔥 sehr lange Geschichte_mit*Zeichen " * 110  # more than 4,000 characters
TEXTS = {"shortest": "x", "longest": LONG, "hostile": HOSTILE}


def make_message(kind: alerts.Kind, level: alerts.Level, size: str) -> Message:
    text = TEXTS[size]
    shortest = size == "shortest"
    place = None if shortest else alerts.Place(name=text, country="IE", lat=52.1, lon=-8.2, radius_km=8, confidence=0.7)
    fields: dict[str, Any] = {"kind": kind, "level": level, "headline": text, "place": place}
    if not shortest:
        fields |= {"revision": 7, "disputed": True, "change": text, "authors": 999_999, "posts": 9_999_999}
        fields |= {"sources": tuple(f"{text[:30]}{number}" for number in range(30))}
    quote = factories.make_quote(text=text, author=text, provider="rss:" + text, url=f"https://x.example/{text[:9]}")
    quotes = () if shortest else (factories.make_quote(text=text), *[quote] * 9)
    return Message(alert=factories.make_alert(**fields), quotes=quotes, change="" if shortest else text)


def make_reply(size: str, **fields: Any) -> Message:
    return replace(make_message(alerts.Kind.UPDATE, alerts.Level.FLASH, size), **fields)


def make_digest(size: str) -> Message:
    kinds = [*alerts.Kind] if size != "shortest" else [alerts.Kind.NEW]
    levels = sorted(alerts.Level, key=lambda level: -level.rank) if size != "shortest" else [alerts.Level.ALERT]
    made = [make_message(kind, level, size).alert for level in levels for kind in kinds]
    items = tuple(alert for alert in made if alert) * (20 if size == "longest" else 1)
    return Message(text=TEXTS[size], items=items)


def make_acknowledged(by: str) -> Message:
    at = factories.NOW + timedelta(minutes=4)
    return Message(alert=factories.make_alert(), acknowledged=Acknowledgement(by=by, at=at))


ORDINARY = factories.make_alert(
    kind=alerts.Kind.UPDATE, level=alerts.Level.URGENT, revision=3, authors=9, posts=12, change="9 independent voices"
)
CASES = [
    *(
        (f"{kind.value}-{level.value}-{size}", Act.POST, make_message(kind, level, size))
        for kind in alerts.Kind
        for level in alerts.Level
        for size in TEXTS
    ),
    ("edit-ordinary", Act.EDIT, Message(alert=ORDINARY, quotes=(factories.make_quote(),))),
    ("edit-without-evidence", Act.EDIT, Message(alert=ORDINARY, evidence=False)),
    ("edit-acknowledged", Act.EDIT, make_acknowledged("discord:1234567890")),
    ("edit-acknowledged-on-slack", Act.EDIT, make_acknowledged("slack:T0123/U0456")),
    ("edit-acknowledged-hostile", Act.EDIT, make_acknowledged("discord:1> @everyone <@&2")),
    *((f"reply-{size}", Act.REPLY, make_reply(size)) for size in TEXTS),
    *((f"reply-escalated-{size}", Act.REPLY, make_reply(size, escalated=True)) for size in TEXTS),
    *((f"reply-digested-{size}", Act.REPLY, make_reply(size, digested=True)) for size in TEXTS),
    ("reply-correction", Act.REPLY, make_message(alerts.Kind.CORRECTION, alerts.Level.ALERT, "shortest")),
    ("reply-retraction", Act.REPLY, make_message(alerts.Kind.RETRACTION, alerts.Level.ALERT, "shortest")),
    *((f"notice-{size}", Act.NOTICE, Message(text=text)) for size, text in TEXTS.items()),
    *((f"digest-{size}", Act.DIGEST, make_digest(size)) for size in TEXTS),
    ("digest-plain", Act.DIGEST, Message(text="Nothing happened in the quiet hours.")),
    ("retract", Act.RETRACT, Message()),
]


def rendered(act: Act, message: Message) -> render.Rendering:
    sending: Sending = factories.make_sending(act=act, message=message, target_id="1")
    return render.render(sending)


@pytest.mark.parametrize(("name", "act", "message"), CASES, ids=[case[0] for case in CASES])
def test_golden(name: str, act: Act, message: Message) -> None:
    rendering = rendered(act, message)
    shown = {"content": rendering.content, "embed": rendering.embed, "components": list(rendering.components)}
    text = json.dumps(shown, indent=1, ensure_ascii=False) + "\n"
    file = FOLDER / f"{name}.json"
    if os.environ.get("TOCSIN_GOLDEN") == "1":
        FOLDER.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert file.read_text(encoding="utf-8") == text
    check(rendering)


def test_no_golden_file_without_a_case() -> None:
    assert {file.stem for file in FOLDER.glob("*.json")} == {case[0] for case in CASES}


def test_level_and_kind_show_without_colour() -> None:
    for level in alerts.Level:
        assert level.value.upper() in rendered(Act.POST, make_message(alerts.Kind.NEW, level, "shortest")).content
    for kind, word in ((alerts.Kind.CORRECTION, "CORRECTED"), (alerts.Kind.RETRACTION, "RETRACTED")):
        shown = rendered(Act.EDIT, make_message(kind, alerts.Level.ALERT, "shortest"))
        assert shown.embed is not None
        assert word in shown.content
        assert word.lower() in shown.embed["description"].lower()


def test_quotes_are_shown_with_their_link_and_only_when_given() -> None:
    alert = factories.make_alert()
    with_quote = rendered(Act.POST, Message(alert=alert, quotes=(factories.make_quote(),)))
    assert "[the post](https://social.example/1)" in str(with_quote.embed)
    assert "the post" not in str(rendered(Act.POST, Message(alert=alert)).embed)
    without = rendered(Act.POST, Message(alert=alert, evidence=False))
    assert "Source posts are not part of this organisation's access" in str(without.embed)


def test_a_digest_names_as_many_as_fit_and_counts_the_rest() -> None:
    items = tuple(factories.make_alert(headline=f"Number {number}") for number in range(1, 61))
    shown = rendered(Act.DIGEST, Message(text="60 alerts in the quiet hours", items=items))
    assert shown.content == "60 alerts in the quiet hours"
    assert shown.embed is not None
    *lines, rest = shown.embed["description"].split("\n")
    assert rest == f"… and {60 - len(lines)} more"
    assert [f"Number {number}" in line for number, line in enumerate(lines, start=1)] == [True] * len(lines)
    whole = rendered(Act.DIGEST, Message(text="3 alerts", items=items[:3])).embed
    assert whole is not None
    assert "more" not in whole["description"]


def test_a_reply_in_the_thread_is_about_what_changed_and_one_elsewhere_names_its_event() -> None:
    changed = Message(alert=ORDINARY, change="9 independent voices")
    assert rendered(Act.REPLY, changed).content == "🔄 **Updated.** 9 independent voices"
    for message in (replace(changed, escalated=True), replace(changed, digested=True)):
        shown = rendered(Act.REPLY, message)
        assert shown.embed is not None
        assert shown.embed["description"] == "🔄 **Updated.** 9 independent voices"
        for words in ("**URGENT**", "Explosion reported in Port Calder", "💥 Explosion", "Port Calder, IE"):
            assert words in shown.content
        assert ("ESCALATED" in shown.content) is message.escalated
        assert render.thread_name(replace(changed, digested=True)) == "What changed"


def test_every_button_is_known_again() -> None:
    for kind in alerts.Kind:
        message = make_message(kind, alerts.Level.FLASH, "longest")
        for element in pressed(rendered(Act.EDIT, message)):
            parsed = components.parse(element["custom_id"])
            assert parsed is not None
            assert parsed[1] == "d0000000000000000000001"
    for other in ("tocsin:why", "tocsin:why:", "tocsin:eat:d1", "why:d1", "", "tocsin:form:why:d1"):
        assert components.parse(other) is None


@pytest.mark.parametrize("quoted", ["https://social.example/@ada/1", "https://evil.example/ [x](https://b.example)"])
def test_an_address_on_a_line_of_its_own_stays_a_link(quoted: str) -> None:
    (page,) = escaping.pages(f"see {quoted}\n  {quoted}", limit=2000, most=1)
    first, second = page.split("\n")
    assert "https\\://" in first
    assert (second == f"<{quoted}>") is (" " not in quoted)


@pytest.mark.parametrize("url", ["javascript:alert(1)", "https://a.example/) [x](https://b.example", "https://a b"])
def test_an_odd_link_is_left_out(url: str) -> None:
    shown = rendered(Act.POST, Message(alert=factories.make_alert(), quotes=(factories.make_quote(url=url),)))
    assert "the post" not in str(shown.embed)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("@everyone", "@\u200beveryone"),
        ("<@123>", "\\<@\u200b123>"),
        ("[a](https://b)", "\\[a\\](https\\://b)"),
        ("# big", "\\# big"),
        ("a # b - c", "a # b - c"),
        ("1. one", "1\\. one"),
        ("-# small", "\\-\\# small"),
        ("\\*", "\\\\\\*"),
        ("a\u202eb\x00c", "abc"),
    ],
)
def test_escapes(text: str, shown: str) -> None:
    assert escaping.escape(text, 100) == shown


ANY = st.text(alphabet=st.one_of(st.characters(), st.sampled_from("\\*_~`|<>[]()@#:-+.\n\r\u202e😀")), max_size=5000)


@given(ANY, st.integers(min_value=1, max_value=200))
@settings(deadline=None)
def test_a_cut_is_never_inside_an_escape_or_a_pair(text: str, limit: int) -> None:
    cut = escaping.escape(text, limit)
    assert escaping.length(cut) <= limit
    cut.encode("utf-8")
    whole = escaping.escape(text, 10**9)
    assert whole == cut or (cut.endswith("…") and whole.startswith(cut[:-1]))
    body = cut.removesuffix("…")
    assert (len(body) - len(body.rstrip("\\"))) % 2 == 0
    assert not re.search(r"@(?!\u200b)", body)


@given(ANY)
@settings(deadline=None)
def test_escaped_text_reads_as_before_and_holds_no_live_markup(text: str) -> None:
    escaped = escaping.escape(text, 10**9)
    assert re.sub(r"\\([^0-9A-Za-z\s])", r"\1", escaped).replace("@\u200b", "@") == escaping.clean(text)
    live = re.sub(r"\\[^0-9A-Za-z\s]", "", escaped)
    assert not re.search(r"[*_~`|<\[\]]|https?://|(?m:^\s*(#{1,3}|-|>)\s)", live)


@given(ANY, ANY, st.lists(ANY, max_size=3), st.sampled_from(alerts.Kind), st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_text_fits_everywhere(
    headline: str, change: str, quotes: list[str], kind: alerts.Kind, evidence: bool
) -> None:
    alert = factories.make_alert(
        headline=headline,
        change=change,
        category=change[:200] or "fire",
        sources=tuple(quotes),
        kind=kind,
        disputed=True,
        first_post_at=factories.NOW - timedelta(hours=3),
        place=alerts.Place(name=change, country=None, lat=0, lon=0, radius_km=0, confidence=0),
    )
    message = Message(
        alert=alert,
        change=change,
        evidence=evidence,
        quotes=tuple(factories.make_quote(text=quote, author=quote, provider=quote) for quote in quotes),
        acknowledged=Acknowledgement(by=f"slack:{headline}", at=factories.NOW),
    )
    for act in (Act.POST, Act.EDIT):
        check(rendered(act, message))
    for reply in (message, replace(message, escalated=True), replace(message, digested=True)):
        check(rendered(Act.REPLY, reply))
    for act in (Act.NOTICE, Act.DIGEST):
        check(rendered(act, Message(text=headline)))
    check(rendered(Act.DIGEST, Message(text=headline, items=(alert,) * 40)))
    for page in escaping.pages(headline, limit=2000, most=5):
        assert escaping.length(page) <= 2000


def check(rendering: render.Rendering) -> None:
    """Discord's limits, in UTF-16 units; and that the delivery is found again."""
    assert 0 < escaping.length(rendering.content) <= render.CONTENT_LIMIT
    assert rendering.content.strip()
    footers = [rendering.embed["footer"]["text"]] if rendering.embed else []
    assert render.carries("d0000000000000000000001", content=rendering.content, footers=footers)
    rows = rendering.components
    assert len(rows) <= 5
    assert all(1 <= len(row["components"]) <= 5 for row in rows)
    ids = [element["custom_id"] for element in pressed(rendering)]
    assert len(set(ids)) == len(ids)
    assert all(len(each) <= 100 for each in ids)
    assert not re.search(r"@(?!\u200b)(everyone|here)|<@&", rendering.content + str(rendering.embed))
    embed = rendering.embed
    if embed is None:
        return
    assert render.embed_length(embed) <= render.EMBED_LIMIT
    assert len(embed.get("fields", ())) <= 25
    for text, limit in texts_of(embed):
        assert text.strip()
        assert escaping.length(text) <= limit
        text.encode("utf-8")


def pressed(rendering: render.Rendering) -> list[dict[str, Any]]:
    return [element for row in rendering.components for element in row["components"]]


def texts_of(embed: dict[str, Any]) -> Iterator[tuple[str, int]]:
    for key, limit in (("title", render.TITLE_LIMIT), ("description", render.DESCRIPTION_LIMIT)):
        if key in embed:
            yield embed[key], limit
    if "author" in embed:
        yield embed["author"]["name"], 256
    for field in embed.get("fields", ()):
        yield field["name"], render.FIELD_NAME_LIMIT
        yield field["value"], render.FIELD_VALUE_LIMIT
