"""What readers called not relevant, for training the model with. An operator's own export, audited by its count."""

from datetime import datetime
from typing import Any

from bot.admin import Actor
from bot.store import audit, messages
from bot.store.database import Tables


def export(db: Tables, actor: Actor, at: datetime) -> list[dict[str, Any]]:
    """One line a post: ``source``, ``id``, ``text``, ``langs``, ``category`` and ``irrelevant``, how many said so.

    A post that alerts of several categories rest on is told once, with the category that most people called wrong.
    """
    lines: dict[tuple[str, str], dict[str, Any]] = {}
    for each in messages.feedback(db):
        line = {
            "source": each["provider"],
            "id": each["id"],
            "text": each["text"],
            "langs": each["langs"],
            "category": each["category"],
            "irrelevant": each["presses"],
        }
        key = (each["provider"], each["id"])
        if line["irrelevant"] > lines.setdefault(key, line)["irrelevant"]:
            lines[key] = line
    audit.append(
        db, at=at, actor=str(actor), surface=actor.surface, action="feedback-export", target="posts",
        effect={"posts": len(lines)},
    )  # fmt: skip
    return list(lines.values())
