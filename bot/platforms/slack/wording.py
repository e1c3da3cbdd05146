"""The words, symbols and colours that an alert has on Slack. What came from a post is as hostile as it came."""

import math

from bot.domain import alert as alerts

SYMBOL = {alerts.Level.FLASH: "🚨", alerts.Level.URGENT: "⚠️", alerts.Level.ALERT: "🔔"}
COLOUR = {alerts.Level.FLASH: "#c1121f", alerts.Level.URGENT: "#e85d04", alerts.Level.ALERT: "#1d6fb8"}
GREY = "#7a7a7a"
CERTAINTY = {
    alerts.Certainty.POSSIBLE: "possible, not confirmed",
    alerts.Certainty.LIKELY: "likely",
    alerts.Certainty.OBSERVED: "observed",
}
_CATEGORY = {
    "terror_attack": "🎯",
    "shooting": "🔫",
    "armed_conflict": "⚔️",
    "unrest": "📣",
    "explosion": "💥",
    "fire": "🔥",
    "wildfire": "🌲",
    "earthquake": "📈",
    "volcano": "🌋",
    "landslide": "⛰️",
    "flood": "🌊",
    "storm": "🌀",
    "meteor": "☄️",
    "transport_accident": "🚆",
    "structural_collapse": "🏚️",
    "hazmat_pollution": "☣️",
    "public_health": "🏥",
    "cyber": "💻",
    "markets": "💹",
    "politics": "🏛️",
}


def level(alert: alerts.Alert) -> str:
    """``🚨 FLASH``"""
    return f"{SYMBOL[alert.level]} {alert.level.value.upper()}"


def category(alert: alerts.Alert) -> str:
    """``💥 Explosion``"""
    return f"{_CATEGORY.get(alert.category, '❕')} {alert.category.replace('_', ' ').capitalize()}"


def title(alert: alerts.Alert) -> str:
    """What is marked, how loud, what kind: the first line."""
    return " · ".join([*marks(alert), level(alert), category(alert)])


def marks(alert: alerts.Alert) -> list[str]:
    found = []
    if alert.kind is alerts.Kind.CORRECTION:
        found.append("✏️ CORRECTED")
    if alert.kind is alerts.Kind.RETRACTION:
        found.append("⛔ RETRACTED")
    if alert.disputed:
        found.append("❓ DISPUTED")
    return found


def voices(alert: alerts.Alert) -> str:
    return "1 independent voice" if alert.authors == 1 else f"{alert.authors} independent voices"


def heard(alert: alerts.Alert) -> str:
    """``3 independent voices in 5 posts``"""
    return f"{voices(alert)} in {'1 post' if alert.posts == 1 else f'{alert.posts} posts'}"


def beside_headline(alert: alerts.Alert) -> str:
    """The place's name where the headline does not have it, else nothing."""
    place = alert.place
    return place.name if place is not None and place.name not in alert.headline else ""


def around(place: alerts.Place) -> str:
    """`` (IE), within 8 km``: what stands behind the place's name."""
    country = f" ({place.country})" if place.country else ""
    return f"{country}, within {place.radius_km:.0f} km" if place.radius_km >= 1 else country


def map_link(place: alerts.Place) -> str:
    zoom = max(3, min(16, round(14 - math.log2(max(place.radius_km, 0.5)))))
    at = f"{place.lat:.4f}", f"{place.lon:.4f}"
    return f"https://www.openstreetmap.org/?mlat={at[0]}&mlon={at[1]}#map={zoom}/{at[0]}/{at[1]}"
