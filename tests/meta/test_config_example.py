"""config.example.toml holds every setting with its default and one sentence."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from bot import config

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"
TEXT = EXAMPLE.read_text(encoding="utf-8")
PARTS = {
    name: field.annotation for name, field in config.Config.model_fields.items() if name not in ("source", "operator")
}
SETTINGS = [(part, name) for part, model in PARTS.items() for name in model.model_fields]
SOURCES: dict[str, type[BaseModel]] = {
    "jetstream": config.JetstreamSource,
    "replay": config.ReplaySource,
    "mastodon": config.MastodonSource,
    "x": config.XSource,
    "wikimedia": config.WikimediaSource,
    "push": config.PushSource,
    "rss": config.FeedSource,
    "nws": config.NwsSource,
    "usgs": config.UsgsSource,
    "gdacs": config.GdacsSource,
    "meteoalarm": config.MeteoalarmSource,
}
BLOCKS = [
    *((kind, name) for kind, model in SOURCES.items() for name in model.model_fields),
    *(("operator", name) for name in config.Operator.model_fields),
]


def block(start: str) -> str:
    """The lines from the one that ``start`` matches up to the next table that is no comment of its own."""
    lines = TEXT.splitlines()
    first = next(number for number, line in enumerate(lines) if re.match(start, line))
    rest = lines[first + 1 :]
    end = next((number for number, line in enumerate(rest) if re.match(r"(# )?\[", line)), len(rest))
    return "\n".join(rest[:end])


def source_block(kind: str) -> str:
    """The lines of the ``[[source]]`` whose type it is."""
    parts = re.split(r"^(?:# )?\[\[\w+\]\]$", TEXT, flags=re.MULTILINE)
    return next(part for part in parts if re.search(rf'^(# )?type = "{kind}"$', part, re.MULTILINE))


def written(text: str, name: str) -> re.Match[str] | None:
    return re.search(rf"^(# )?{name} = ", text, re.MULTILINE)


def comparable(value: Any) -> Any:
    match value:
        case Path():
            return str(value)
        case SecretStr():
            return value.get_secret_value()
        case BaseModel():
            return {name: comparable(getattr(value, name)) for name in type(value).model_fields}
        case list():
            return [comparable(each) for each in value]
    return value


def test_example_is_valid_and_equals_the_defaults(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert comparable(config.load(EXAMPLE)) == comparable(config.load(None))


@pytest.mark.parametrize(("part", "name"), SETTINGS)
def test_setting_stands_in_its_part(part, name):
    text = block(rf"\[{part}\]")
    found = written(text, name)
    assert found, f"[{part}] {name} is missing"
    default = getattr(getattr(config.Config(), part), name)
    assert (default is None) is bool(found[1]), f"[{part}] {name}: what has no default is a comment, the rest is not"
    if default is not None:
        assert tomllib.loads(TEXT)[part][name] == comparable(default)


@pytest.mark.parametrize(("kind", "name"), BLOCKS)
def test_setting_of_a_block_stands_in_the_example(kind, name):
    text = block(r"# \[\[operator\]\]") if kind == "operator" else source_block(kind)
    assert written(text, name), f"{kind}: {name} is missing"


def test_every_setting_has_a_sentence():
    """A comment stands right above it, or above the settings that it shares it with."""
    said = False
    for line in TEXT.splitlines():
        if line.startswith("# ") and not re.match(r"# (\[|\w+ = )", line):
            said = True
        elif not line.strip():
            said = False
        elif re.match(r"(# )?\w+ = ", line):
            assert said or block_sentence(line), f"{line!r} has no sentence"


def block_sentence(line: str) -> bool:
    """``name``, ``type`` and ``ids`` of a block are said above the block."""
    return bool(re.match(r"(# )?(name|type|ids) = ", line))
