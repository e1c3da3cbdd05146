"""What the real one refuses: its published schema is laxer. Lengths are in UTF-16 units."""

from typing import Any


class Refuse(Exception):  # noqa: N818
    """``about``: the part of the body that is refused, and why."""

    def __init__(self, status: int, code: int, message: str, *, about: tuple[str, str, str] | None = None) -> None:
        self.status = status
        self.body: dict[str, Any] = {"message": message, "code": code}
        if about is not None:
            part, reason, text = about
            self.body["errors"] = {part: {"_errors": [{"code": reason, "message": text}]}}


def check_message(body: dict[str, Any]) -> None:
    """The limits that the real one enforces, in UTF-16 units; its published schema is laxer."""
    embeds = body.get("embeds") or []
    texts = [
        (body.get("content") or "", 2000),
        *((embed.get("title") or "", 256) for embed in embeds),
        *((embed.get("description") or "", 4096) for embed in embeds),
        *((embed.get("footer", {}).get("text") or "", 2048) for embed in embeds),
        *((embed.get("author", {}).get("name") or "", 256) for embed in embeds),
    ]
    fields = [entry for embed in embeds for entry in embed.get("fields") or ()]
    texts += [(entry["name"], 256) for entry in fields] + [(entry["value"], 1024) for entry in fields]
    total = sum(_units(text) for text, _ in texts[1:])
    too_long = any(_units(text) > limit for text, limit in texts)
    hollow = any(not entry["name"].strip() or not entry["value"].strip() for entry in fields)
    if too_long or hollow or total > 6000 or any(len(embed.get("fields") or ()) > 25 for embed in embeds):
        raise Refuse(400, 50035, "Invalid Form Body")
    if not (body.get("content") or "").strip() and not embeds:
        raise Refuse(400, 50006, "Cannot send an empty message")
    if "allowed_mentions" not in body or body["allowed_mentions"].get("parse"):
        raise Refuse(400, 50035, "the fake insists on allowed_mentions that allow nobody")
    _check_rows(body.get("components") or [])


def check_modal(modal: dict[str, Any]) -> None:
    labels = modal["components"]
    inputs = [label["component"] for label in labels]
    ids = [each["custom_id"] for each in inputs]
    fine = (
        1 <= len(labels) <= 5
        and 1 <= _units(modal["title"]) <= 45
        and 1 <= _units(modal["custom_id"]) <= 100
        and len(set(ids)) == len(ids)
        and all(1 <= _units(label["label"]) <= 45 for label in labels)
        and all(label.get("description") is None or 1 <= _units(label["description"]) <= 100 for label in labels)
        and all(_units(each.get("value") or "") <= 4000 for each in inputs)
        and all(each["type"] in (3, 4) and 1 <= _units(each["custom_id"]) <= 100 for each in inputs)
    )
    if not fine:
        raise Refuse(400, 50035, "Invalid Form Body")
    for each in inputs:
        if each["type"] == 3:
            _check_select(each)


def check_choices(choices: list[dict[str, Any]]) -> None:
    texts = [choice[key] for choice in choices for key in ("name", "value")]
    if len(choices) > 25 or not all(1 <= _units(text) <= 100 for text in texts):
        raise Refuse(400, 50035, "Invalid Form Body")


def _check_rows(rows: list[dict[str, Any]]) -> None:
    elements = [element for row in rows for element in row["components"]]
    ids = [element["custom_id"] for element in elements]
    fine = (
        len(rows) <= 5
        and all(row["type"] == 1 and 1 <= len(row["components"]) <= 5 for row in rows)
        and all(1 <= _units(each) <= 100 for each in ids)
        and len(set(ids)) == len(ids)
        and all(1 <= _units(each["label"]) <= 80 for each in elements if each["type"] == 2)
        and all(len(row["components"]) == 1 for row in rows if any(each["type"] == 3 for each in row["components"]))
    )
    if not fine:
        raise Refuse(400, 50035, "Invalid Form Body")
    for element in elements:
        if element["type"] == 3:
            _check_select(element)


def _check_select(select: dict[str, Any]) -> None:
    options = select["options"]
    chosen = [option for option in options if option.get("default")]
    least, most = select.get("min_values", 1), select.get("max_values", 1)
    fine = (
        1 <= len(options) <= 25
        and 0 <= least <= most <= len(options)
        and len(chosen) <= most
        and len({option["value"] for option in options}) == len(options)
        and all(1 <= _units(option[key]) <= 100 for option in options for key in ("label", "value"))
        and not (select.get("required") and least == 0)
    )
    if not fine:
        raise Refuse(400, 50035, "Invalid Form Body")


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2
