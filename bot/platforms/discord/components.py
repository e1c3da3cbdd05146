"""The buttons and the choice under an event's message, and what the id of one says. Pure.

Discord sends the id back with every press, whenever that is: nothing is kept in memory, so old buttons work after a
restart.
"""

from typing import Any

from bot.domain import alert as alerts
from bot.domain import delivery
from bot.platforms import base

# https://discord.com/developers/docs/components/reference
ROW, BUTTON, STRING_SELECT, TEXT_INPUT, LABEL = 1, 2, 3, 4, 18
_PRIMARY, _SECONDARY = 1, 2
PREFIX = "tocsin:"
_LABELS = {
    base.Action.ACKNOWLEDGE: "Acknowledge",
    base.Action.IRRELEVANT: "Not relevant",
    base.Action.SOURCES: "Show sources",
    base.Action.WHY: "Why did I get this?",
}


def rows(message: delivery.Message, root: str) -> tuple[dict[str, Any], ...]:
    """What can be pressed under ``message``; ``root`` is the delivery that posted it."""
    if message.alert is None:
        return ()
    live = message.alert.kind is not alerts.Kind.RETRACTION
    offered = {
        base.Action.ACKNOWLEDGE: live and message.acknowledged is None,
        base.Action.IRRELEVANT: live,
        base.Action.SOURCES: message.evidence,
        base.Action.WHY: True,
    }
    buttons = _row(*(_button(action, root) for action, shown in offered.items() if shown))
    return (buttons, _row(_mute(root))) if live else (buttons,)


def parse(custom_id: str) -> tuple[base.Action, str] | None:
    """The action and the delivery that a button carries; None if it is none of ours."""
    action, _, root = custom_id.removeprefix(PREFIX).partition(":")
    if not custom_id.startswith(PREFIX) or not root or action not in set(base.Action):
        return None
    return base.Action(action), root


def _button(action: base.Action, root: str) -> dict[str, Any]:
    style = _PRIMARY if action is base.Action.ACKNOWLEDGE else _SECONDARY
    return {"type": BUTTON, "style": style, "label": _LABELS[action], "custom_id": _custom_id(action, root)}


def _mute(root: str) -> dict[str, Any]:
    return {
        "type": STRING_SELECT,
        "custom_id": _custom_id(base.Action.MUTE, root),
        "placeholder": "Mute…",
        "min_values": 1,
        "max_values": 1,
        "options": [{"label": label, "value": value} for value, label in base.MUTES.items()],
    }


def _custom_id(action: base.Action, root: str) -> str:
    return f"{PREFIX}{action.value}:{root}"


def _row(*elements: dict[str, Any]) -> dict[str, Any]:
    return {"type": ROW, "components": list(elements)}
