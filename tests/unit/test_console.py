import asyncio
import contextlib
import io
import os

import pytest

from bot.domain.alert import Kind, Level
from bot.domain.delivery import Act, Message, Missing, Sent, Unavailable
from bot.platforms.console import ConsoleNotifier, printable, render
from tests.factories import make_alert, make_quote, make_sending

HOSTILE = "\x1b[2J\x1b]0;owned\x07[bold red]:boom: \u202egnissim\r\nALERT fake\ud800"


def shown(alert=None, quotes=(), act=Act.POST, **fields):
    return render(act, Message(alert=alert or make_alert(), quotes=quotes, **fields)).plain


def send(stream, **fields):
    return asyncio.run(ConsoleNotifier(stream).send(make_sending(**fields)))


def test_alert_is_one_block():
    text = shown(quotes=(make_quote(),))
    assert text.splitlines() == [
        "○ ALERT · explosion  2031-05-14T12:00:00.000Z",
        "  Explosion reported in Port Calder",
        "  Port Calder (IE) ± 8 km · possible · 3 independent voices in 3 posts · from bluesky · "
        "first post 2031-05-14T12:00:00.000Z",
        "  “Huge explosion at the harbour in Port Calder, windows broken” — did:plc:aaa, bluesky",
    ]


@pytest.mark.parametrize(
    ("kind", "word"),
    [(Kind.UPDATE, "UPDATE"), (Kind.CORRECTION, "CORRECTION"), (Kind.RETRACTION, "RETRACTED")],
)
def test_later_revisions_say_so_and_what_changed(kind, word):
    text = shown(make_alert(kind=kind, level=Level.FLASH), change="now 12 voices")
    assert text.startswith(f"⚡ FLASH · explosion · {word}")
    assert "  changed: now 12 voices\n" in text


def test_unknown_place_and_author_and_one_voice():
    text = shown(make_alert(place=None, authors=1, disputed=True), quotes=(make_quote(author=None),))
    assert "possible, disputed · 1 independent voice in" in text
    assert "— unknown, bluesky" in text


def test_long_quote_is_cut():
    text = shown(quotes=(make_quote(text="x" * 1000),))
    assert "x" * 279 + "…”" in text
    assert "x" * 280 not in text


def test_hostile_text_cannot_steer_the_terminal():
    stream = io.StringIO()
    alert = make_alert(headline=HOSTILE, change=HOSTILE)
    message = Message(alert=alert, quotes=(make_quote(text=HOSTILE, author=HOSTILE),), change=HOSTILE)
    assert send(stream, message=message) == Sent(platform_id="d0000000000000000000001")
    text = stream.getvalue()
    assert not any(character in text for character in "\x1b\x07\r\u202e\ud800")
    assert "[bold red]:boom:" in text
    assert not any(line.startswith("ALERT fake") for line in text.splitlines())


def test_no_colour_where_there_is_no_terminal():
    stream = io.StringIO()
    send(stream)
    assert "\x1b" not in stream.getvalue()


def test_reply_prints_nothing_since_the_edit_has_shown_it():
    stream = io.StringIO()
    assert isinstance(send(stream, act=Act.REPLY), Sent)
    assert stream.getvalue() == ""


def test_retraction_and_notice():
    assert shown(act=Act.RETRACT).startswith("✕ WITHDRAWN")
    assert render(Act.NOTICE, Message(text="your access\x1b ends")).plain == "your access  ends\n"


def test_what_was_printed_cannot_be_found():
    assert asyncio.run(ConsoleNotifier(io.StringIO()).find(make_sending())) == Missing()


def test_terminal_without_unicode_still_gets_the_words():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    assert isinstance(send(stream, message=Message(alert=make_alert(headline="Explosión"))), Sent)
    stream.flush()
    assert b"ALERT" in raw.getvalue()


def test_console_that_cannot_be_written_is_an_outcome():
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    assert send(Full()) == Unavailable(reason="the console cannot be written: No space left on device")


@pytest.mark.parametrize(("text", "plain"), [("a\nb\tc", "a b c"), ("  \x00", ""), ("é 𝄞 日本", "é 𝄞 日本")])
def test_printable(text, plain):
    assert printable(text) == plain


async def test_a_reader_that_has_gone_is_an_outcome_and_not_the_end() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w", buffering=1)
    outcome = await ConsoleNotifier(stream).send(make_sending())
    assert isinstance(outcome, Unavailable)
    with contextlib.suppress(BrokenPipeError):
        stream.close()
