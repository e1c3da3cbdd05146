"""One English line: a template's words, and a place and counts that the evidence states. Nothing is invented."""

from collections.abc import Mapping

_PHRASES = {
    "terror_attack": "Attack", "shooting": "Shooting", "armed_conflict": "Armed conflict", "unrest": "Unrest",
    "explosion": "Explosion", "fire": "Fire", "wildfire": "Wildfire", "earthquake": "Earthquake",
    "volcano": "Volcanic eruption", "landslide": "Landslide", "flood": "Flooding", "storm": "Severe weather",
    "meteor": "Meteor", "transport_accident": "Transport accident", "structural_collapse": "Structural collapse",
    "hazmat_pollution": "Hazardous substance release", "public_health": "Public health emergency",
    "cyber": "Cyber incident", "markets": "Market event", "politics": "Political event",
}  # fmt: skip


def write(
    category: str, place: str | None, toll: Mapping[str, int], *, disputed: bool = False, withdrawn: bool = False
) -> str:
    """``Explosion reported in Port Calder, Ireland: at least 3 reported dead, 20 injured``. ``toll`` comes from the
    evidence; ``place`` is a name found in it, or resolved from one."""
    phrase = _PHRASES.get(category, category.replace("_", " ").capitalize() or "Incident")
    where = f" in {place}" if place else ""
    if withdrawn:
        return f"Withdrawn: {_lower(phrase)} reported{where}"
    if disputed:
        return f"Disputed: {_lower(phrase)} reported{where}, denied by an official or verified account"
    facts = _facts(toll)
    return f"{phrase} reported{where}" + (f": {facts}" if facts else "")


def toll_words(toll: Mapping[str, int]) -> str:
    """``at least 3 reported dead, 20 injured``; empty without counts."""
    return _facts(toll)


def _facts(toll: Mapping[str, int]) -> str:
    facts = [f"{toll[kind]:,} {kind}" for kind in ("dead", "injured", "missing") if toll.get(kind)]
    if not facts:
        return ""
    first, *rest = facts
    count, kind = first.split(" ", 1)
    return ", ".join([f"at least {count} reported {kind}", *rest])


def _lower(phrase: str) -> str:
    return phrase[:1].lower() + phrase[1:]
