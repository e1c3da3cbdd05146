"""What really happens in the rehearsal: for the tests, never for the pipeline."""

from functools import cache
from typing import Literal, TypedDict

from bot.rehearsal.scripted import read_happenings


class Happening(TypedDict):
    """`outcome`: what should become of it in the end. A correction or a retraction follows an alert."""

    category: str
    lang: str
    outcome: Literal["alert", "correction", "retraction"]


HAPPENINGS: dict[str, Happening] = {
    "harbour-explosion": {"category": "explosion", "lang": "en", "outcome": "alert"},
    "wildfire": {"category": "wildfire", "lang": "en", "outcome": "alert"},
    "train-derailment": {"category": "transport_accident", "lang": "en", "outcome": "alert"},
    "earthquake": {"category": "earthquake", "lang": "en", "outcome": "alert"},
    "flash-flood": {"category": "flood", "lang": "en", "outcome": "alert"},
    "hospital-ransomware": {"category": "cyber", "lang": "en", "outcome": "alert"},
    "factory-collapse": {"category": "structural_collapse", "lang": "es", "outcome": "alert"},
    "riot": {"category": "unrest", "lang": "fr", "outcome": "alert"},
    "mall-shooting-hoax": {"category": "shooting", "lang": "en", "outcome": "correction"},
    "plant-gas-leak": {"category": "hazmat_pollution", "lang": "en", "outcome": "retraction"},
    "volcano": {"category": "volcano", "lang": "pt", "outcome": "alert"},
}


def happening_of(post_id: str) -> str | None:
    """The name of the happening that this post is about, or None for chatter."""
    return _by_post().get(post_id)


@cache
def _by_post() -> dict[str, str]:
    return {post.id: post.happening for post in read_happenings() if post.happening is not None}
