"""How many processes run the tests, what a skipped test means, and that none fails for being slow or for its place.

With ``TOCSIN_STRICT=1``, as in ``.ci/run``, a test that skips has failed: there everything it needs is installed.
"""

import os
from collections.abc import Generator

import pytest
import structlog
from hypothesis import HealthCheck, settings

MOST_WORKERS = 8  # each may load the model and PyTorch

# Several workers share a core: how long an example takes says nothing.
settings.register_profile("tocsin", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tocsin")
# Nor do the threads of PyTorch, here and in processes that are started, keep a core busy while they wait for it.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One for each core and one more, since part of the tests waits most of its time; none for a few named files, which
    have run before the workers have started. ``-n N`` says otherwise."""
    if all(".py" in each for each in config.args):
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores + 1, MOST_WORKERS)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """A command that a test runs here sets up its own logs; the next test, whichever it is, has them as before."""
    before = structlog.get_config()
    done = yield
    structlog.configure(**before)
    return done


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and os.environ.get("TOCSIN_STRICT") == "1":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be missing: {reason}"
    return report
