"""Where a warning's area lies: the middle of its outline. Pure."""

from collections.abc import Iterable, Sequence

MOST_POINTS = 20_000


def centre(points: Iterable[tuple[float, float]]) -> tuple[float | None, float | None]:
    """The mean of (lat, lon) pairs, across the date line too; (None, None) without a valid one."""
    valid = [(lat, lon) for lat, lon in points if -90 <= lat <= 90 and -180 <= lon <= 180][:MOST_POINTS]
    if not valid:
        return None, None
    if len(valid) > 1 and valid[0] == valid[-1]:
        valid.pop()
    lons = [lon for _, lon in valid]
    if max(lons) - min(lons) > 180:
        lons = [lon + 360 if lon < 0 else lon for lon in lons]
    lat, lon = sum(lat for lat, _ in valid) / len(valid), sum(lons) / len(lons)
    return round(lat, 4), round(lon - 360 if lon > 180 else lon, 4)


def pairs(text: str) -> list[tuple[float, float]]:
    """CAP's polygon, ``lat,lon lat,lon …``; also CAP's circle, whose radius is left out."""
    found: list[tuple[float, float]] = []
    for word in text.split()[:MOST_POINTS]:
        lat, comma, lon = word.partition(",")
        try:
            if comma:
                found.append((float(lat), float(lon)))
        except ValueError:
            continue
    return found


def outline(coordinates: object) -> list[tuple[float, float]]:
    """Every position on Earth of GeoJSON coordinates, however deep they lie, as (lat, lon)."""
    found: list[tuple[float, float]] = []
    stack: list[object] = [coordinates]
    while stack and len(found) < MOST_POINTS:
        each = stack.pop()
        if not isinstance(each, Sequence) or isinstance(each, str):
            continue
        if len(each) >= 2 and all(isinstance(part, int | float) for part in each[:2]):
            lon, lat = each[:2]
            if abs(lat) <= 90 and abs(lon) <= 180:
                found.append((float(lat), float(lon)))
        else:
            stack.extend(reversed(each))
    return found
