"""Forms as Slack shows them: a modal with one input for each field, and what comes back of it. Pure functions."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, assert_never

from bot.platforms import base
from bot.platforms.slack import blocks, escaping
from bot.platforms.slack.blocks import Block

CALLBACK = "tocsin.form"

# https://docs.slack.dev/reference/views and …/block-kit/blocks/input-block
_TITLE = 24
_LABEL = 2_000
_HINT = 2_000
_TYPED = 3_000
_METADATA = 3_000
_OPTIONS = 100
_FAULT = 1_000
_ACTION = "value"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a form was asked for: what of the command its submission needs. ``state`` is the form's own."""

    channel: str
    response_url: str | None
    state: str


def render(form: base.Form, origin: Origin) -> dict[str, Any]:
    """The view for views.open. Raise ValueError for a form that Slack would refuse: our own mistake."""
    metadata = json.dumps({"channel": origin.channel, "reply": origin.response_url, "state": origin.state})
    if len(metadata) > _METADATA:
        raise ValueError(f"form {form.title!r}: its state is too long for Slack")
    return {
        "type": "modal",
        "callback_id": CALLBACK,
        "title": blocks.plain_text(form.title, _TITLE),
        "submit": blocks.plain_text("Save", _TITLE),
        "close": blocks.plain_text("Cancel", _TITLE),
        "private_metadata": metadata,
        "blocks": [_input(field) for field in form.fields],
    }


def origin(view: Mapping[str, Any]) -> Origin:
    """What ``render`` put into a view; raises ValueError or KeyError for what it did not make."""
    metadata = json.loads(view["private_metadata"])
    if not isinstance(metadata, dict) or not isinstance(metadata["channel"], str):
        raise ValueError("a view that is not one of ours")
    return Origin(channel=metadata["channel"], response_url=metadata.get("reply"), state=str(metadata["state"]))


def values(view: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Field name → what was given, for every field that the view shows."""
    given = view["state"]["values"]
    return {str(name): _given(given.get(name) or {}) for name in _fields(view)}


def faults(view: Mapping[str, Any], found: base.Faults) -> dict[str, str]:
    """For ``response_action: errors``: only fields that the view shows; all others stand at the first one."""
    shown = _fields(view)
    sentences: dict[str, list[str]] = {}
    for name, sentence in found.fields.items():
        sentences.setdefault(name if name in shown else shown[0], []).append(sentence)
    return {name: escaping.one_line(" ".join(said), _FAULT) for name, said in sentences.items()}


def told(view: Mapping[str, Any], found: base.Faults) -> str:
    """The same for a form that is closed already."""
    labels = {block["block_id"]: str((block.get("label") or {}).get("text") or "") for block in view["blocks"]}
    lines = [f"{labels.get(name) or name}: {sentence}" for name, sentence in found.fields.items()]
    return "\n".join(["Nothing was changed:", *lines])


def _fields(view: Mapping[str, Any]) -> list[str]:
    return [block["block_id"] for block in view["blocks"] if block["type"] == "input"]


def _given(states: Mapping[str, Any]) -> tuple[str, ...]:
    state = states.get(_ACTION) or {}
    match state.get("type"):
        case "plain_text_input":
            return (state["value"],) if state.get("value") else ()
        case "static_select":
            chosen = state.get("selected_option")
            return (chosen["value"],) if chosen else ()
        case "multi_static_select":
            return tuple(option["value"] for option in state.get("selected_options") or ())
        case _:
            return ()


def _input(field: base.Field) -> Block:
    hint = {"hint": blocks.plain_text(field.hint, _HINT)} if field.hint else {}
    return {
        "type": "input",
        "block_id": field.name,
        "label": blocks.plain_text(field.label, _LABEL),
        "element": _element(field),
        "optional": not field.required,
        **hint,
    }


def _element(field: base.Field) -> Block:
    match field.kind:
        case base.FieldKind.TEXT:
            typed = " ".join(escaping.clean(" ".join(field.initial)).split())
            if len(typed) > _TYPED:
                # Cut, it would come back cut and be saved so.
                raise ValueError(f"field {field.name!r}: its text is too long for Slack")
            initial = {"initial_value": typed} if typed else {}
            return {"type": "plain_text_input", "action_id": _ACTION, "max_length": _TYPED, **initial}
        case base.FieldKind.CHOICE:
            chosen = _chosen(field)[:1]
            return _select(field, many=False) | ({"initial_option": chosen[0]} if chosen else {})
        case base.FieldKind.CHOICES:
            chosen = _chosen(field)
            return _select(field, many=True) | ({"initial_options": chosen} if chosen else {})
        case _:
            assert_never(field.kind)


def _select(field: base.Field, *, many: bool) -> Block:
    if not 0 < len(field.choices) <= _OPTIONS:
        raise ValueError(f"field {field.name!r}: Slack takes 1 to {_OPTIONS} choices, not {len(field.choices)}")
    return blocks.select("Choose…", _options(field), action_id=_ACTION, many=many)


def _options(field: base.Field) -> list[Block]:
    return [blocks.option(value, label) for value, label in field.choices]


def _chosen(field: base.Field) -> list[Block]:
    """Slack wants initial options exactly as they stand among the options."""
    return [option for option in _options(field) if option["value"] in field.initial]
