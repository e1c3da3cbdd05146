"""What a test may need and somebody else may lack: ``../shared`` (specifications, samples, data), the extra `train`."""

import importlib.util
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


needs_train = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "sklearn", "tqdm", "onnx", "matplotlib")),
    reason="the extra `train` is not installed",
)
"""For what trains, exports or evaluates a model."""
