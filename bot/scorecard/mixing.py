"""Streams of several replays, or of a replay at another rate, made by ``tools/mix_stream.py`` and kept in the cache."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.domain.errors import TocsinError


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    """Post lines in ``posts`` and what is true of them in ``truth``."""

    posts: Path
    truth: Path

    def events(self) -> list[dict[str, Any]]:
        """The happenings as the truth file describes them."""
        return list(json.loads(self.truth.read_text(encoding="utf-8"))["events"])


def mix(shared: Path, cache: Path, name: str, *arguments: str) -> Mixed:
    """What the tool makes of these arguments; made where the cache has none of this name. Raises TocsinError."""
    mixed = Mixed(posts=cache / f"{name}.jsonl", truth=cache / f"{name}.truth.json")
    if mixed.truth.is_file():
        return mixed
    cache.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable, str(shared / "tools" / "mix_stream.py"), *arguments, "--out", str(mixed.posts),
        "--truth-out", str(mixed.truth),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        mixed.truth.unlink(missing_ok=True)
        raise TocsinError(f"mix_stream.py could not mix {name}: {done.stderr.strip()}")
    return mixed
