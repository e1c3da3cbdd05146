"""Build test data with one call; override only what the story is about."""

from datetime import UTC, datetime
from typing import Any

from bot.domain import access, alert, channel, delivery, post, subscription

NOW = datetime(2031, 5, 14, 12, 0, tzinfo=UTC)


def make_post(**fields: Any) -> post.Post:
    defaults: dict[str, Any] = {
        "provider": "bluesky",
        "id": "at://did:plc:aaa/app.bsky.feed.post/1",
        "text": "Huge explosion at the harbour in Port Calder, windows broken",
        "created_at": NOW,
        "received_at": NOW,
        "author": "did:plc:aaa",
        "langs": ("en",),
        "url": "https://social.example/1",
    }
    return post.Post(**defaults | fields)


def make_alert(**fields: Any) -> alert.Alert:
    defaults: dict[str, Any] = {
        "event": "00000000000000e1",
        "revision": 1,
        "kind": alert.Kind.NEW,
        "level": alert.Level.ALERT,
        "certainty": alert.Certainty.POSSIBLE,
        "newsworthiness": 0.6,
        "disputed": False,
        "category": "explosion",
        "categories": {"explosion": 0.93},
        "headline": "Explosion reported in Port Calder",
        "place": alert.Place(name="Port Calder", country="IE", lat=52.1, lon=-8.2, radius_km=8.0, confidence=0.7),
        "first_post_at": NOW,
        "raised_at": NOW,
        "posts": 3,
        "authors": 3,
        "sources": ("bluesky",),
        "evidence": ("bluesky|a", "bluesky|b", "bluesky|c"),
        "quotes": ("bluesky|a",),
        "langs": ("en",),
    }
    return alert.Alert(**defaults | fields)


def make_quote(**fields: Any) -> delivery.Quote:
    defaults: dict[str, Any] = {
        "provider": "bluesky",
        "author": "did:plc:aaa",
        "text": "Huge explosion at the harbour in Port Calder, windows broken",
        "url": "https://social.example/1",
        "created_at": NOW,
    }
    return delivery.Quote(**defaults | fields)


def make_sending(**fields: Any) -> delivery.Sending:
    defaults: dict[str, Any] = {
        "delivery": "d0000000000000000000001",
        "channel": channel.Channel("slack", "T0123", "C0456"),
        "act": delivery.Act.POST,
        "message": delivery.Message(alert=make_alert(), quotes=(make_quote(),)),
        "target_id": None,
        "attempt": 1,
        "uncertain": False,
        "created_at": NOW,
    }
    made = defaults | fields
    return delivery.Sending(**{"root": made["delivery"]} | made)


def make_organisation(**fields: Any) -> access.Organisation:
    return access.Organisation(**{"org": "o1", "name": "Acme", "sector": "finance/bank"} | fields)


def make_grant(**fields: Any) -> access.Grant:
    defaults: dict[str, Any] = {
        "grant": "g1",
        "org": "o1",
        "sector": None,
        "provider": "*",
        "capabilities": frozenset({access.Capability.ALERTS, access.Capability.EVIDENCE}),
    }
    return access.Grant(**defaults | fields)


def make_revocation(**fields: Any) -> access.Revocation:
    return access.Revocation(**{"revocation": "r1", "reason": "the provider asked", "from_at": NOW} | fields)


def make_subscription(**fields: Any) -> subscription.Subscription:
    return subscription.Subscription(
        **{"subscription": "s1", "channel": "slack:T0123/C0456", "anywhere": True} | fields
    )
