"""A part that is measured in a process of its own, so that its memory and its processor time are nobody else's.

The child is ``python -m bot.benching PART …`` and says on stdout, as JSON lines, how far it is and then its result.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bot
from bot.domain import errors


def run(arguments: list[str], what: str, advance: Callable[[int], None]) -> dict[str, Any]:
    """Its result. Raises TocsinError where it fails; the child never outlives this call."""
    path = os.pathsep.join(filter(None, [str(Path(bot.__file__).parent.parent), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "bot.benching", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": path}) as child:  # noqa: S603
        try:
            found = _follow(child, advance)
        finally:
            child.kill()
    if found is None:
        raise errors.TocsinError(f"bench: {what} failed in its own process; what it said stands above")
    return found


def tell(said: dict[str, Any]) -> None:
    """In the child: ``{"done": items so far}``, in the end the result."""
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def _follow(child: "subprocess.Popen[bytes]", advance: Callable[[int], None]) -> dict[str, Any] | None:
    """Pass on how far the child is; returns its result, which is its last line."""
    found, before = None, 0
    for line in child.stdout or ():
        said = json.loads(line)
        if "done" not in said:
            found = said
            continue
        advance(said["done"] - before)
        before = said["done"]
    return found if child.wait() == 0 else None
