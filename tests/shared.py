"""Where ``../shared`` (specifications, samples, data) is, for the tests that need it."""

import os
from pathlib import Path

import pytest


def path() -> Path | None:
    """The folder named by TOCSIN_SHARED, else the repository's neighbour; None where there is none."""
    named = os.environ.get("TOCSIN_SHARED")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared"
    return folder if folder.is_dir() else None


def require(*parts: str) -> Path:
    """A file or folder below it. Absent: the test is skipped, or fails with TOCSIN_STRICT=1."""
    folder = path()
    if folder is not None and folder.joinpath(*parts).exists():
        return folder.joinpath(*parts)
    reason = f"needs {'/'.join(parts)} of ../shared (or of the folder that TOCSIN_SHARED names)"
    if os.environ.get("TOCSIN_STRICT") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
