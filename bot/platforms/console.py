"""The console as a platform: one block per alert, updates shown as updates. Colour only on a terminal."""

import io
from datetime import timedelta
from typing import TextIO

from rich.console import Console as Terminal
from rich.text import Text

from bot.domain import times
from bot.domain.alert import Alert, Kind, Level
from bot.domain.delivery import Act, Found, Message, Missing, Outcome, Sending, Sent, Unavailable

_MARKS = {
    Level.ALERT: ("○", "ALERT", "yellow"),
    Level.URGENT: ("◆", "URGENT", "red"),
    Level.FLASH: ("⚡", "FLASH", "bold red"),
}
_KINDS = {Kind.NEW: "", Kind.UPDATE: "UPDATE", Kind.CORRECTION: "CORRECTION", Kind.RETRACTION: "RETRACTED"}
QUOTE_MOST = 280


class ConsoleNotifier:
    """Writes to one text stream. Post text loses its control characters, so it cannot steer the terminal."""

    platform = "console"
    spacing = timedelta(0)
    per_second: float | None = None

    def __init__(self, stream: TextIO) -> None:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Unicode still gets the words
        self._terminal = _Terminal(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=True)

    async def send(self, sending: Sending) -> Outcome:
        """A REPLY says what the EDIT before it has shown already, so it prints nothing."""
        if sending.act is not Act.REPLY:
            try:
                self._terminal.print(render(sending.act, sending.message))
            except OSError as error:
                return Unavailable(reason=f"the console cannot be written: {error.strerror}")
        return Sent(platform_id=sending.delivery)

    async def find(self, sending: Sending) -> Found:  # noqa: ARG002
        """What was printed cannot be looked up: after a crash a block may appear twice."""
        return Missing()


class _Terminal(Terminal):
    def on_broken_pipe(self) -> None:
        """rich would end the process; here the reader's leaving is an outcome."""
        raise


def render(act: Act, message: Message) -> Text:
    """One block, ending with an empty line."""
    if act is Act.RETRACT:
        return Text("✕ WITHDRAWN  an alert above was withdrawn\n", style="dim")
    if message.alert is None:
        return Text(printable(message.text) + "\n")
    return _block(message.alert, message)


def _block(alert: Alert, message: Message) -> Text:
    mark, word, colour = _MARKS[alert.level]
    kind = _KINDS[alert.kind]
    head = f"{mark} {word} · {alert.category.replace('_', ' ')}" + (f" · {kind}" if kind else "")
    block = Text(head, style="dim" if alert.kind is Kind.RETRACTION else colour)
    block.append(f"  {times.to_text(alert.raised_at)}\n", style="dim")
    block.append(f"  {printable(alert.headline)}\n", style="strike" if alert.kind is Kind.RETRACTION else "bold")
    facts = [
        f"{alert.certainty.value}{', disputed' if alert.disputed else ''}",
        f"{alert.authors} independent {'voice' if alert.authors == 1 else 'voices'} in {alert.posts} posts",
        f"from {', '.join(alert.sources)}",
        f"first post {times.to_text(alert.first_post_at)}",
    ]
    if alert.place is not None:
        country = f" ({alert.place.country})" if alert.place.country else ""
        facts.insert(0, f"{printable(alert.place.name)}{country} ± {alert.place.radius_km:g} km")
    block.append("  " + " · ".join(facts) + "\n")
    if message.change:
        block.append(f"  changed: {printable(message.change)}\n", style="cyan")
    for quote in message.quotes[:1]:
        text = printable(quote.text)
        text = text if len(text) <= QUOTE_MOST else text[: QUOTE_MOST - 1] + "…"
        block.append(f"  “{text}” — {printable(quote.author or 'unknown')}, {quote.provider}\n", style="italic")
    return block


def printable(text: str) -> str:
    """One line without control, format (direction override) and surrogate characters."""
    return "".join(char if char.isprintable() else " " for char in text).strip()
