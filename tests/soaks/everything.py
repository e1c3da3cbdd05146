"""All soaks by the name of what is read, and the troubles that each source can have."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.soaks import feeds
from tests.soaks.holding import Report, Trouble

_MODULES = (feeds,)

SOAKS: dict[str, Callable[[Path, int], Awaitable[Report]]] = {each.NAME: each.soak for each in _MODULES}
TROUBLES: dict[str, frozenset[Trouble]] = {each.NAME: each.TROUBLES for each in _MODULES}
