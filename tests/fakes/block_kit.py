"""What Slack itself checks in messages and modals, and what it makes of them when somebody presses or fills in."""

from collections.abc import Iterator, Mapping
from typing import Any

from slack_sdk.models.blocks import Block

INPUTS = ("plain_text_input", "static_select", "multi_static_select")


def faults(message: Mapping[str, Any]) -> list[str]:
    """What Slack has against the blocks of a message."""
    found = []
    for block in blocks(message):
        if Block.parse(dict(block)) is None:
            found.append(f"an unknown block: {block.get('type')}")
        if block["type"] == "actions":
            found += _actions_faults(block)
    return found


def view_faults(view: Mapping[str, Any]) -> list[str]:
    """What Slack has against a modal."""
    found = [f"{name} is missing" for name in ("type", "title", "blocks") if not view.get(name)]
    if view.get("type") != "modal":
        found.append("not a modal")
    for name in ("title", "submit", "close"):
        found += _text_faults(view.get(name) or {"type": "plain_text", "text": name}, 24, name)
    found += [
        f"{name} is too long"
        for name, most in (("callback_id", 255), ("private_metadata", 3_000))
        if len(view.get(name) or "") > most
    ]
    shown = view.get("blocks") or []
    ids = [block.get("block_id") for block in shown]
    if len(shown) > 100 or len(set(ids)) < len(ids):
        found.append("too many blocks, or two with one block_id")
    if any(block["type"] == "input" for block in shown) and not view.get("submit"):
        found.append("inputs without submit")
    for block in shown:
        if Block.parse(dict(block)) is None:
            found.append(f"an unknown block: {block.get('type')}")
        if block["type"] == "input":
            found += _input_faults(block)
    return found


def blocks(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those of a message, then those of its attachments."""
    return [
        *(message.get("blocks") or []),
        *(block for attachment in message.get("attachments") or [] for block in attachment.get("blocks") or []),
    ]


def elements(message: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Everything that can be pressed in a message, each with its block."""
    for block in blocks(message):
        if block["type"] == "actions":
            yield from ((block, element) for element in block["elements"])


def labels(message: Mapping[str, Any]) -> list[str]:
    """What stands on it."""
    return [(element.get("text") or element["placeholder"])["text"] for _, element in elements(message)]


def click(message: Mapping[str, Any], label: str) -> dict[str, Any]:
    """The action that Slack sends when the button with this label is clicked."""
    for block, element in elements(message):
        if element["type"] == "button" and element["text"]["text"] == label:
            kept = {key: element[key] for key in ("action_id", "type", "text", "value", "style") if key in element}
            return kept | {"block_id": block.get("block_id", "aBc1"), "action_ts": "1.000001"}
    raise LookupError(f"there is no button {label!r} under this message")


def choose(message: Mapping[str, Any], label: str) -> dict[str, Any]:
    """The action that Slack sends when the option with this label is chosen."""
    for block, element in elements(message):
        for option in element.get("options", ()):
            if option["text"]["text"] == label:
                kept = {key: element[key] for key in ("action_id", "type", "placeholder")}
                return kept | {
                    "selected_option": option,
                    "block_id": block.get("block_id", "aBc1"),
                    "action_ts": "1.000001",
                }
    raise LookupError(f"there is no option {label!r} under this message")


def filled_in(view: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """``view.state.values`` where a person gave these labels' texts (of an option, a list of options); what is not
    given stays as it was shown. Raises LookupError for what cannot be given there."""
    inputs = [block for block in view["blocks"] if block["type"] == "input"]
    unknown = set(given) - {block["label"]["text"] for block in inputs}
    if unknown:
        raise LookupError(f"the form has no field {', '.join(sorted(unknown))}")
    state: dict[str, Any] = {}
    for block in inputs:
        element = block["element"]
        value = given.get(block["label"]["text"], _shown(element))
        state[block["block_id"]] = {element["action_id"]: {"type": element["type"]} | _state(element, value)}
    return state


def _shown(element: Mapping[str, Any]) -> Any:
    match element["type"]:
        case "plain_text_input":
            return element.get("initial_value")
        case "static_select":
            return (element.get("initial_option") or {"text": {"text": None}})["text"]["text"]
        case _:
            return [option["text"]["text"] for option in element.get("initial_options") or []]


def _state(element: Mapping[str, Any], value: Any) -> dict[str, Any]:
    match element["type"]:
        case "plain_text_input":
            return {"value": value or None}
        case "static_select":
            return {"selected_option": None if value is None else _option(element, value)}
        case _:
            return {"selected_options": [_option(element, label) for label in value]}


def _option(element: Mapping[str, Any], label: str) -> dict[str, Any]:
    for option in element["options"]:
        if option["text"]["text"] == label:
            return dict(option)
    raise LookupError(f"there is no option {label!r} in this field")


def _actions_faults(block: Mapping[str, Any]) -> list[str]:
    found = []
    pressed = block["elements"]
    ids = [element.get("action_id") for element in pressed]
    if not 0 < len(pressed) <= 25 or len(set(ids)) < len(ids):
        found.append("an actions block has 1 to 25 elements with action_ids of their own")
    for element in pressed:
        if not 0 < len(element.get("action_id") or "") <= 255:
            found.append("action_id")
        if element["type"] == "button":
            found += _text_faults(element.get("text"), 75, "button")
            if len(element.get("value") or "") > 2_000 or len(element.get("accessibility_label") or "") > 75:
                found.append("a button's value or its accessible name is too long")
        else:
            found += _select_faults(element)
    return found


def _input_faults(block: Mapping[str, Any]) -> list[str]:
    element = block["element"]
    found = _text_faults(block.get("label"), 2_000, "label")
    if block.get("hint"):
        found += _text_faults(block["hint"], 2_000, "hint")
    if element["type"] not in INPUTS or not 0 < len(element.get("action_id") or "") <= 255:
        return [*found, "an element that is no input"]
    if element["type"] == "plain_text_input":
        if len(element.get("initial_value") or "") > element.get("max_length", 3_000):
            found.append("initial_value is too long")
        return found
    return found + _select_faults(element)


def _select_faults(element: Mapping[str, Any]) -> list[str]:
    options = element.get("options") or []
    found = _text_faults(element.get("placeholder"), 150, "placeholder")
    if not 0 < len(options) <= 100:
        found.append("a select has 1 to 100 options")
    for option in options:
        found += _text_faults(option.get("text"), 75, "option")
        if not 0 < len(option.get("value") or "") <= 150:
            found.append("an option's value")
    initial = [*(element.get("initial_options") or []), *filter(None, [element.get("initial_option")])]
    if any(option not in options for option in initial):
        found.append("what is chosen at first is not among the options")
    return found


def _text_faults(text: Any, most: int, what: str) -> list[str]:
    good = isinstance(text, dict) and text.get("type") == "plain_text" and 0 < len(text.get("text") or "") <= most
    return [] if good else [f"{what} is no plain_text of 1 to {most} characters"]
