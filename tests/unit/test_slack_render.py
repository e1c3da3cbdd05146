"""Cutting and escaping for Slack, over whatever text there is."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block

from bot.domain import alert as alerts
from bot.domain.delivery import Acknowledgement, Act, Message, Sending
from bot.platforms import base
from bot.platforms.slack import escaping, forms, render
from tests import factories
from tests.fakes import block_kit

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
    kept = escaping.cut(text, limit)
    assert length(kept) - 2 <= limit
    assert "&" not in ENTITY.sub("", kept)
    assert not {"<", ">"} & set(kept)
    kept.encode()


@st.composite
def sendings(draw: st.DrawFn) -> Sending:
    """Any message of any kind, with ``text`` wherever a text from outside can stand."""
    text = draw(LONG)
    alert = factories.make_alert(
        headline=text,
        place=alerts.Place(
            name=text, country=text[:2], lat=1, lon=2, radius_km=draw(st.floats(0, 20_000)), confidence=1
        ),
        category=text,
        sources=(text, text),
        kind=draw(st.sampled_from(alerts.Kind)),
        level=draw(st.sampled_from(alerts.Level)),
        disputed=draw(st.booleans()),
    )
    act = draw(st.sampled_from(Act))
    message = Message(
        alert=alert,
        quotes=(factories.make_quote(text=text, author=text, url=text, provider=text),) * 5,
        evidence=draw(st.booleans()),
        change=text,
        text=text,
        escalated=draw(st.booleans()),
        digested=draw(st.booleans()),
        acknowledged=draw(st.sampled_from([None, Acknowledgement(by=f"slack:T1/{text}", at=factories.NOW)])),
        items=(alert,) * draw(st.integers(0, 80)),
    )
    return factories.make_sending(act=act, message=message, target_id="1.1")


@settings(deadline=None, max_examples=200)
@given(sending=sendings())
def test_any_text_gives_a_message_within_all_limits_that_calls_nobody(sending: Sending) -> None:
    rendered = render.render(sending)
    assert length([rendered.text, rendered.blocks, rendered.attachments]) <= 13_200
    assert rendered.text.strip()
    blocks = rendered.blocks + [block for part in rendered.attachments for block in part["blocks"]]
    assert len(blocks) <= 50
    assert block_kit.faults({"blocks": blocks}) == []
    assert blocks[0]["block_id"] == sending.delivery
    for block in blocks:
        parsed = Block.parse(block)
        assert parsed is not None
        assert parsed.to_dict() == block
        assert len(block.get("block_id", "")) <= 255
        if block["type"] == "header":
            assert 0 < len(block["text"]["text"]) <= 150
        for element in _texts(block):
            assert element["text"]
            assert length(element["text"]) - 2 <= 3_000
    everything = json.dumps([rendered.text, rendered.blocks, rendered.attachments], ensure_ascii=False)
    everything.encode()
    # Slack's markup, mentions included, begins with "<"; a mention as an element has a type of its own.
    assert "<" not in everything
    assert not {"user", "usergroup", "broadcast", "channel", "mrkdwn", "emoji"} & set(_types(blocks))


@settings(deadline=None)
@given(text=LONG)
def test_any_text_gives_a_form_that_slack_takes(text: str) -> None:
    choices = tuple((f"v{n}", text) for n in range(25))
    fields = tuple(
        base.Field(
            name=kind.value, label=text, kind=kind, choices=choices, initial=(text[:2_900], "v3", "v4"), hint=text
        )
        for kind in base.FieldKind
    )
    form = base.Form(title=text, fields=fields, state="s" * 200)
    view = forms.render(form, forms.Origin(channel="C0456", response_url="https://slack.example/r", state=form.state))
    assert block_kit.view_faults(view) == []
    assert forms.origin(view).state == form.state


@pytest.mark.parametrize(
    ("form", "word"),
    [
        (base.Form(title="t", fields=(), state="s" * 3_000), "state"),
        (base.Form(title="t", fields=(base.Field(name="f", label="F", kind=base.FieldKind.CHOICE),)), "choices"),
        (
            base.Form(
                title="t", fields=(base.Field(name="f", label="F", kind=base.FieldKind.TEXT, initial=("x" * 3_001,)),)
            ),
            "text",
        ),
        (
            base.Form(
                title="t",
                fields=(base.Field(name="f", label="F", kind=base.FieldKind.CHOICE, choices=(("v" * 151, "V"),)),),
            ),
            "value",
        ),
    ],
)
def test_a_form_that_would_come_back_changed_or_not_at_all_is_refused(form: base.Form, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        forms.render(form, forms.Origin(channel="C0456", response_url=None, state=form.state))


def test_a_joined_emoji_is_kept_whole_or_dropped() -> None:
    family = "👩\u200d👩\u200d👧"
    kept = escaping.cut("ab" + family, 9)
    assert kept == "ab…"
    assert escaping.cut("ab" + family, 10) == "ab" + family


def test_an_accent_stays_on_its_letter() -> None:
    assert escaping.cut("abe\u0301cd", 4) == "ab…"


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


def test_an_ordinary_web_address_becomes_a_link() -> None:
    message = Message(
        alert=factories.make_alert(place=None), quotes=(factories.make_quote(url="https://a.example/1?b=c&d"),)
    )
    rendered = render.render(factories.make_sending(message=message))
    link = {"type": "link", "url": "https://a.example/1?b=c&d", "text": "open the post"}
    assert json.dumps(link) in json.dumps(rendered.attachments)


def test_a_reply_links_the_address_behind_each_quote_and_none_inside_it() -> None:
    quoted = "“see https://evil.example/ · https://evil.example/” · bluesky\nhttps://a.example/1?b=c&d"
    (block,) = render.reply(f"2 source posts\n{quoted}\n“no link” · x").blocks
    (section,) = block["elements"]
    assert [element["url"] for element in section["elements"] if element["type"] == "link"] == [
        "https://a.example/1?b=c&d"
    ]
    assert "".join(element.get("text", element.get("url")) for element in section["elements"]) == (
        f"2 source posts\n{quoted}\n“no link” · x"
    )


@settings(deadline=None)
@given(text=LONG, urls=st.integers(0, 200))
def test_any_reply_is_within_all_limits(text: str, urls: int) -> None:
    rendered = render.reply(text + "\nhttps://a.example/1" * urls)
    assert length([rendered.text, rendered.blocks]) <= 13_200
    assert block_kit.faults({"blocks": rendered.blocks}) == []
    assert "<" not in json.dumps([rendered.text, rendered.blocks])


@pytest.mark.parametrize("text", ["", " ", "\u200b\u2060", "\u0301", "\u3164\n\u2800", "\x00\u202e"])
def test_what_would_not_be_seen_is_nothing(text: str) -> None:
    assert escaping.clean(text) == ""
    assert escaping.cut(text, 10) == ""


def test_text_of_every_script_stays_as_it_is() -> None:
    for text in ("انفجار في الميناء", "می‌خواهم", "港で爆発", "नमस्ते", "👩\u200d👩\u200d👧"):
        assert escaping.cut(text, 100) == text


def _types(node: object) -> list[str]:
    if isinstance(node, dict):
        return [node.get("type", ""), *(found for value in node.values() for found in _types(value))]
    return [found for value in node for found in _types(value)] if isinstance(node, list) else []


def _texts(node: object) -> list[dict[str, str]]:
    if isinstance(node, dict):
        own = [node] if isinstance(node.get("text"), str) else []
        return own + [found for value in node.values() for found in _texts(value)]
    if isinstance(node, list):
        return [found for value in node for found in _texts(value)]
    return []
