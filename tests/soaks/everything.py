"""All soaks by the name of what is read, and the troubles that each source can have."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.soaks import feeds, files, gdacs, jetstream, mastodon, meteoalarm, nws, push, usgs, wikimedia, x
from tests.soaks.holding import Report, Trouble

_ONE = (mastodon, nws, usgs, gdacs, meteoalarm, wikimedia, push)
_SEVERAL = (jetstream, x, feeds)

SOAKS: dict[str, Callable[[Path, int], Awaitable[Report]]] = {
    **{name: soak for each in _SEVERAL for name, soak in each.SOAKS.items()},
    **{each.NAME: each.soak for each in _ONE},
    **files.SOAKS,
}
TROUBLES: dict[str, frozenset[Trouble]] = {
    **{name: each.TROUBLES for each in _SEVERAL for name in each.SOAKS},
    **{each.NAME: each.TROUBLES for each in _ONE},
    **files.TROUBLES,
}
