"""What the figures were taken on, and what the process uses of it."""

import os
import platform
import resource
import sqlite3
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

R = TypeVar("R")

MIB = 1024.0  # kibibytes
PACKAGES = ("onnxruntime", "transformers", "tokenizers", "numpy", "sqlite-utils")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Wall clock and CPU seconds of this process, all its threads together."""

    seconds: float
    cpu_seconds: float

    def rates(self, items: int) -> dict[str, Any]:
        """JSON-ready: how many items, in what time, and how many a second."""
        return {
            "items": items,
            "seconds": round(self.seconds, 3),
            "cpu_seconds": round(self.cpu_seconds, 3),
            "per_second": round(items / self.seconds, 1) if items and self.seconds > 0 else None,
        }


class Stopwatch:
    """Starts when it is made."""

    def __init__(self) -> None:
        self._began, self._cpu_began = time.perf_counter(), time.process_time()

    def read(self) -> Timed:
        return Timed(seconds=time.perf_counter() - self._began, cpu_seconds=time.process_time() - self._cpu_began)


def timed(fn: Callable[[], R]) -> tuple[R, Timed]:
    """What ``fn`` returns, and how long it took."""
    watch = Stopwatch()
    result = fn()
    return result, watch.read()


def describe() -> dict[str, Any]:
    """CPU, memory and the versions that the figures depend on. ``load`` is the 1-minute load average at this moment."""
    return {
        "cpu": _field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_mib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024 / MIB),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "load": round(os.getloadavg()[0], 2),
    } | {name: _version(name) for name in PACKAGES}


def memory() -> dict[str, float | None]:
    """``peak_mib`` and ``now_mib``: the resident set of this process; ``now_mib`` only where there is a /proc."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (MIB if sys.platform != "darwin" else MIB * 1024)
    high, now = (_field("/proc/self/status", name) for name in ("VmHWM", "VmRSS"))
    return {
        "peak_mib": round(int(high.split()[0]) / MIB if high else peak, 1),
        "now_mib": round(int(now.split()[0]) / MIB, 1) if now else None,
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _field(file: str, name: str) -> str | None:
    """The first value of ``name:`` in a file of /proc; None where there is no such file or field."""
    try:
        text = Path(file).read_text(encoding="utf-8")
    except OSError:
        return None
    found = (line.partition(":")[2].strip() for line in text.splitlines() if line.partition(":")[0].strip() == name)
    return next(found, None)
