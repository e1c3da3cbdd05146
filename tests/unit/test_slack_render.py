"""Cutting and escaping for Slack, over whatever text there is."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block

from bot.domain import alert as alerts
from bot.domain.delivery import Act, Message
from bot.platforms.slack import render
from tests import factories

# What tends to break things, next to everything else: entities, quotes, emoji, joiners, accents, surrogates.
TRICKY = st.text(
    st.one_of(st.sampled_from('&<>"\\\n\t *_~`:|\u200d\u0301👩🏽\ud800\u202e\x00'), st.characters()), max_size=4_000
)
LONG = st.builds(lambda text, times: text * times, TRICKY, st.integers(1, 40))
ENTITY = re.compile("&(amp|lt|gt);")


def length(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode("utf-16-le")) // 2


@settings(deadline=None)
@given(text=LONG, limit=st.integers(1, 3_000))
def test_cut_counts_as_slack_does_and_never_tears_an_entity(text: str, limit: int) -> None:
    kept = render.cut(text, limit)
    assert length(kept) - 2 <= limit
    assert "&" not in ENTITY.sub("", kept)
    assert not {"<", ">"} & set(kept)
    kept.encode()


@settings(deadline=None)
@given(text=LONG)
def test_any_text_gives_a_message_within_all_limits(text: str) -> None:
    place = alerts.Place(name=text, country=None, lat=1, lon=2, radius_km=3, confidence=1)
    quote = factories.make_quote(text=text, author=text, url=text, provider=text)
    alert = factories.make_alert(
        headline=text, place=place, category=text, sources=(text, text), kind=alerts.Kind.CORRECTION, disputed=True
    )
    event = Message(alert=alert, quotes=(quote,) * 5, change=text)
    for act, message in ((Act.POST, event), (Act.REPLY, event), (Act.NOTICE, Message(text=text))):
        rendered = render.render(factories.make_sending(act=act, message=message))
        assert length([rendered.text, rendered.blocks, rendered.attachments]) <= 13_200
        assert rendered.text.strip()
        blocks = rendered.blocks + [block for part in rendered.attachments for block in part["blocks"]]
        for block in blocks:
            parsed = Block.parse(block)
            assert parsed is not None
            assert parsed.to_dict() == block
            for element in _texts(block):
                assert element["text"]
                assert length(element["text"]) - 2 <= 3_000


def test_a_joined_emoji_is_kept_whole_or_dropped() -> None:
    family = "👩\u200d👩\u200d👧"
    kept = render.cut("ab" + family, 9)
    assert kept == "ab…"
    assert render.cut("ab" + family, 10) == "ab" + family


def test_an_accent_stays_on_its_letter() -> None:
    assert render.cut("abe\u0301cd", 4) == "ab…"


def test_a_text_is_cut_at_a_line_break_if_one_is_near() -> None:
    lines = [f"line {n} " + "x" * 90 for n in range(200)]
    rendered = render.plain("\n".join(lines))
    chunks = [section["elements"][0]["text"] for section in rendered.blocks[0]["elements"]]
    assert len(chunks) > 3
    assert all(line in lines for chunk in chunks[:-1] for line in chunk.split("\n"))
    assert chunks[-1].endswith(" …")


@pytest.mark.parametrize(
    "url",
    [
        None,
        "javascript:alert(1)",
        "ftp://a.example/",
        "https://",
        "https://user@bank.example/",
        "https://a.example/ b",
        "https://a.example/|b>",
        "https://[",
        "https://ex\u202eample/",
        "https://a.example/" + "a" * 500,
    ],
)
def test_only_ordinary_web_addresses_become_links(url: str | None) -> None:
    message = Message(alert=factories.make_alert(place=None), quotes=(factories.make_quote(url=url),))
    rendered = render.render(factories.make_sending(message=message))
    assert '"link"' not in json.dumps(rendered.attachments)


def _texts(node: object) -> list[dict[str, str]]:
    if isinstance(node, dict):
        own = [node] if isinstance(node.get("text"), str) else []
        return own + [found for value in node.values() for found in _texts(value)]
    if isinstance(node, list):
        return [found for value in node for found in _texts(value)]
    return []
