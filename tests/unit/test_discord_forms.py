"""Forms as modals: whatever they say fits, and what is remembered of them is bounded."""

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.channel import Channel
from bot.platforms import base
from bot.platforms.discord import completing, forms
from tests.fakes.discord import limits

CHANNEL = Channel("discord", "100", "200")
TEXT = st.text(
    st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("🔥@ \n")), min_size=1, max_size=5000
)
VALUE = st.integers(0, 99).map(str)
FIELDS = st.builds(
    base.Field,
    name=st.just("name"),
    label=TEXT.map("l{}".format),
    kind=st.sampled_from(base.FieldKind),
    choices=st.dictionaries(VALUE, TEXT, min_size=1, max_size=25).map(lambda labels: tuple(labels.items())),
    initial=st.lists(st.one_of(VALUE, TEXT), max_size=3, unique=True).map(tuple),
    required=st.booleans(),
    hint=st.one_of(st.just(""), TEXT),
)


def modal(form: base.Form) -> dict[str, Any]:
    """discord.py makes modals in a running loop only."""

    async def make() -> dict[str, Any]:
        return forms.modal(form).to_dict()

    return asyncio.run(make())


@given(FIELDS, TEXT)
@settings(max_examples=60, deadline=None)
def test_any_text_fits_into_a_modal(field: base.Field, title: str) -> None:
    limits.check_modal(modal(base.Form(title="t" + title, fields=(field,), state="s")))


def test_values_come_from_labels_and_from_rows() -> None:
    text = {"type": 4, "custom_id": "where", "value": " Cork "}
    chosen = {"type": 3, "custom_id": "level", "values": ["flash"]}
    data = {"components": [{"type": 18, "component": text}, {"type": 1, "components": [chosen]}]}
    assert forms.values(data) == {"where": ("Cork",), "level": ("flash",)}
    assert forms.values({}) == {}


def test_the_last_form_of_each_asker_is_remembered_as_long_as_there_is_room() -> None:
    opened = forms.Open()
    askers = [forms.Asker(user=number, channel=CHANNEL) for number in range(201)]
    form = base.Form(title="t", fields=(), state="s")
    for asker in askers:
        opened.keep(asker, form)
    assert opened.of(askers[0]) is None
    assert opened.of(askers[1]) is form
    assert opened.of(askers[1], "another") is None
    opened.done(askers[1])
    assert opened.of(askers[1]) is None


@given(st.lists(TEXT, max_size=30), st.lists(TEXT, max_size=3), st.sampled_from(["", ",", ";"]))
@settings(max_examples=60, deadline=None)
def test_any_completion_fits(found: list[str], earlier: list[str], separator: str) -> None:
    what = completing.Asked(
        command="tocsin", subcommand="s", option="o", typed="", earlier=tuple(earlier), separator=separator
    )
    choices = completing.choices(what, found)
    limits.check_choices([{"name": choice, "value": choice} for choice in choices])
