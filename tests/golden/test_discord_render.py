"""Golden renderings for Discord, read in the diff; and the promises that hold for any text.

``TOCSIN_GOLDEN=1 pytest tests/golden/test_discord_render.py`` writes the files anew.
"""

import json
import os
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain import alert as alerts
from bot.domain.delivery import Act, Message, Sending
from bot.platforms.discord import escaping, render
from tests import factories

FOLDER = Path(__file__).parent / "discord"
HOSTILE = (
    "@everyone <@1> <#2> [free](https://evil.example) **b** `c` ||d|| </x:1> "
    "\u202egnp.exe\u202c # h\n- l\n> q \ud800 <t:1:R>"
)
LONG = "Ω🔥 sehr lange Geschichte_mit*Zeichen " * 200
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


CASES = [
    *(
        (f"{kind.value}-{level.value}-{size}", Act.POST, make_message(kind, level, size))
        for kind in alerts.Kind
        for level in alerts.Level
        for size in TEXTS
    ),
    *((f"reply-{size}", Act.REPLY, make_message(alerts.Kind.UPDATE, alerts.Level.URGENT, size)) for size in TEXTS),
    *((f"notice-{size}", Act.NOTICE, Message(text=text)) for size, text in TEXTS.items()),
    *((f"digest-{size}", Act.DIGEST, Message(text=text)) for size, text in TEXTS.items()),
    ("retract", Act.RETRACT, Message()),
]


def rendered(act: Act, message: Message) -> render.Rendering:
    sending: Sending = factories.make_sending(act=act, message=message, target_id="1")
    return render.render(sending)


@pytest.mark.parametrize(("name", "act", "message"), CASES, ids=[case[0] for case in CASES])
def test_golden(name: str, act: Act, message: Message) -> None:
    rendering = rendered(act, message)
    shown = {"content": rendering.content, "embed": rendering.embed}
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
        assert word in shown.embed["author"]["name"]


def test_quotes_are_shown_with_their_link_and_only_when_given() -> None:
    alert = factories.make_alert()
    with_quote = rendered(Act.POST, Message(alert=alert, quotes=(factories.make_quote(),)))
    assert "[the post](https://social.example/1)" in str(with_quote.embed)
    assert "💬" not in str(rendered(Act.POST, Message(alert=alert)).embed)


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


@given(ANY, ANY, st.lists(ANY, max_size=6))
@settings(max_examples=60, deadline=None)
def test_any_text_fits_everywhere(headline: str, change: str, quotes: list[str]) -> None:
    alert = factories.make_alert(
        headline=headline,
        change=change,
        kind=alerts.Kind.CORRECTION,
        disputed=True,
        first_post_at=factories.NOW - timedelta(hours=3),
        place=alerts.Place(name=change, country=None, lat=0, lon=0, radius_km=0, confidence=0),
    )
    message = Message(
        alert=alert,
        change=change,
        quotes=tuple(factories.make_quote(text=quote, author=quote, provider=quote) for quote in quotes),
    )
    for act in (Act.POST, Act.EDIT, Act.REPLY):
        check(rendered(act, message))
    for act in (Act.NOTICE, Act.DIGEST):
        check(rendered(act, Message(text=headline)))
    for page in escaping.pages(headline, limit=2000, most=5):
        assert escaping.length(page) <= 2000


def check(rendering: render.Rendering) -> None:
    """Discord's limits, in UTF-16 units; and that the delivery is found again."""
    assert 0 < escaping.length(rendering.content) <= render.CONTENT_LIMIT
    assert rendering.content.strip()
    footers = [rendering.embed["footer"]["text"]] if rendering.embed else []
    assert render.carries("d0000000000000000000001", content=rendering.content, footers=footers)
    embed = rendering.embed
    if embed is None:
        return
    assert render.embed_length(embed) <= render.EMBED_LIMIT
    assert len(embed.get("fields", ())) <= 25
    for text, limit in texts_of(embed):
        assert text.strip()
        assert escaping.length(text) <= limit
        text.encode("utf-8")


def texts_of(embed: dict[str, Any]) -> Iterator[tuple[str, int]]:
    for key, limit in (("title", render.TITLE_LIMIT), ("description", render.DESCRIPTION_LIMIT)):
        if key in embed:
            yield embed[key], limit
    if "author" in embed:
        yield embed["author"]["name"], 256
    for field in embed.get("fields", ()):
        yield field["name"], render.FIELD_NAME_LIMIT
        yield field["value"], render.FIELD_VALUE_LIMIT
