"""Forms as Discord's modals, and what comes back of them. One that was refused can be opened again as filled in."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import discord

from bot.domain.channel import Channel
from bot.platforms import base
from bot.platforms.discord import components, escaping

# https://discord.com/developers/docs/components/reference#label
_PREFIX = components.PREFIX + "form:"
_AGAIN = components.PREFIX + "again"
_ID_LIMIT = 100
_TITLE_LIMIT = _LABEL_LIMIT = 45
_HINT_LIMIT = _CHOICE_LIMIT = 100
_TEXT_LIMIT = 4000
_MOST_FIELDS = 5
# Of how many forms the fields are remembered, so that a refused one can be shown again. A restart forgets them all.
_REMEMBERED = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who fills in a form, and where."""

    user: int
    channel: Channel


class Open:
    """The forms that people are filling in: the last of each asker, as long as there is room."""

    def __init__(self) -> None:
        self._forms: OrderedDict[Asker, base.Form] = OrderedDict()

    def keep(self, asker: Asker, form: base.Form) -> None:
        self._forms[asker] = form
        self._forms.move_to_end(asker)
        while len(self._forms) > _REMEMBERED:
            self._forms.popitem(last=False)

    def of(self, asker: Asker, state: str | None = None) -> base.Form | None:
        """``state``: only if it is the form of that state."""
        form = self._forms.get(asker)
        return form if form is not None and state in (None, form.state) else None

    def done(self, asker: Asker) -> None:
        self._forms.pop(asker, None)


def modal(form: base.Form) -> discord.ui.Modal:
    """Raises ValueError for more than Discord takes: our own mistake.

    It is stopped already: discord.py need not remember it, the submission finds its way by the id.
    """
    custom_id = _PREFIX + form.state
    if len(custom_id) > _ID_LIMIT or not 1 <= len(form.fields) <= _MOST_FIELDS:
        raise ValueError(f"the form {form.title!r} has {len(form.fields)} fields and a state of {len(form.state)}")
    made = discord.ui.Modal(title=escaping.plain(form.title, _TITLE_LIMIT), custom_id=custom_id)
    for field in form.fields:
        made.add_item(
            discord.ui.Label(
                text=escaping.plain(field.label, _LABEL_LIMIT),
                description=escaping.plain(field.hint, _HINT_LIMIT) or None,
                component=_input(field),
            )
        )
    made.stop()
    return made


def state(custom_id: str) -> str | None:
    """The state of the form that was sent off; None if it is none of ours."""
    return custom_id.removeprefix(_PREFIX) if custom_id.startswith(_PREFIX) else None


def values(data: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Field name → what was given, of a submission's data."""
    return {str(each["custom_id"]): _given(each) for each in _inputs(data.get("components") or ())}


def filled(form: base.Form, given: Mapping[str, tuple[str, ...]]) -> base.Form:
    fields = (replace(field, initial=given.get(field.name, field.initial)) for field in form.fields)
    return replace(form, fields=tuple(fields))


def faults(found: base.Faults, form: base.Form | None) -> str:
    labels = {field.name: field.label for field in form.fields} if form else {}
    lines = [f"{labels.get(name, name)} — {problem}" for name, problem in found.fields.items()]
    return "\n".join(["Nothing was changed:", *lines])


def again() -> discord.ui.View:
    """The button that opens the refused form again."""
    view = discord.ui.View(timeout=None)
    view.add_item(discord.ui.Button(label="Try again", style=discord.ButtonStyle.primary, custom_id=_AGAIN))
    view.stop()
    return view


def is_again(custom_id: str) -> bool:
    return custom_id == _AGAIN


def _input(field: base.Field) -> discord.ui.Item[Any]:
    if field.kind is base.FieldKind.TEXT:
        return discord.ui.TextInput(
            custom_id=field.name,
            default=_cut("".join(field.initial[:1])) or None,
            required=field.required,
        )
    most = len(field.choices) if field.kind is base.FieldKind.CHOICES else 1
    known = {value for value, _ in field.choices}
    initial = [value for value in field.initial if value in known][:most]
    return discord.ui.Select(
        custom_id=field.name,
        min_values=int(field.required),
        max_values=most,
        required=field.required,
        options=[
            discord.SelectOption(
                label=escaping.plain(label, _CHOICE_LIMIT) or value, value=value, default=value in initial
            )
            for value, label in field.choices
        ],
    )


def _cut(text: str) -> str:
    """Not escaped: it is to be edited."""
    return text if escaping.length(text) <= _TEXT_LIMIT else text[: _TEXT_LIMIT // 2]


def _inputs(found: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """In labels; older versions of Discord's app send rows."""
    for each in found:
        if "custom_id" in each:
            yield each
        elif "component" in each:
            yield from _inputs([each["component"]])
        else:
            yield from _inputs(each.get("components") or ())


def _given(element: Mapping[str, Any]) -> tuple[str, ...]:
    if element.get("type") == components.TEXT_INPUT:
        text = str(element.get("value") or "").strip()
        return (text,) if text else ()
    return tuple(str(value) for value in element.get("values") or ())
