"""How a workspace comes to belong to an organisation: an operator makes a code, a workspace admin types it once."""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot import admin
from bot.admin import Actor
from bot.domain import errors, times
from bot.domain.access import Organisation
from bot.domain.channel import Channel
from bot.store import audit, deliveries, directory, joining
from bot.store.database import Database, Tables

LIFE = timedelta(days=7)

# Crockford's base 32: no letter that could be taken for a digit. 25 of them are 125 bits, which nobody guesses: a fast
# hash without salt is enough.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LENGTH = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinCode:
    """Shown once, to the operator who made it; the store has only its hash."""

    code: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class _Refused:
    why: str


def make_code(db: Tables, actor: Actor, at: datetime, name: str) -> JoinCode:
    """A further code for an organisation: each is good for one workspace."""
    org = directory.organisation(db, name)
    digits = "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))
    made = JoinCode(code="-".join(re.findall(".{5}", digits)), expires_at=at + LIFE)
    joining.add(db, _hash(made.code), org.org, by=str(actor), at=at, expires_at=made.expires_at)
    audit.append(
        db, at=at, actor=str(actor), surface=actor.surface, action="join-code", target=org.org,
        effect={"expires_at": times.to_text(made.expires_at)},
    )  # fmt: skip
    return made


async def join(database: Database, actor: Actor, at: datetime, channel: Channel, code: str) -> Organisation:
    """The workspace belongs to the code's organisation from now on. Raises RefusedError, audited, for whoever does not
    administer the workspace and for a code that is unknown, expired or used."""
    if actor.workspace != channel.workspace:
        await admin.refuse(database, actor, "join", channel.workspace, at, "not an admin of this workspace")
    outcome = await database.write(_join, actor, at, channel, code)
    if isinstance(outcome, _Refused):
        await admin.record_refusal(database, actor, "join", channel.workspace, at, outcome.why)
        raise errors.RefusedError(f"join: {outcome.why}; an operator of this service makes a new code")
    return outcome


def _join(db: Tables, actor: Actor, at: datetime, channel: Channel, code: str) -> Organisation | _Refused:
    found = joining.find(db, _hash(code))
    if found is None:
        return _Refused("this code is not known")
    if found["used_at"] is not None:
        return _Refused("this code has been used, and each is good for one workspace")
    if times.from_text(found["expires_at"]) <= at:
        return _Refused("this code has expired")
    owner = directory.organisation_of(db, channel.workspace)
    if owner is not None:
        return _Refused(f"this workspace belongs to {owner.name} already")
    org = directory.organisation(db, found["org"])
    directory.bind_workspace(db, org, channel.workspace, channel.platform, at)
    joining.use(db, found["hash"], by=str(actor), workspace=channel.workspace, at=at)
    deliveries.restore(db, channel.workspace, at)
    audit.append(
        db, at=at, actor=str(actor), surface=actor.surface, action="join", target=channel.workspace,
        effect={"org": org.org},
    )  # fmt: skip
    return org


def _hash(code: str) -> str:
    """However it was typed: in lower case, with or without dashes, an O for a 0."""
    bare = re.sub(r"[^0-9A-Z]", "", code.upper()).translate(str.maketrans("OIL", "011"))
    return hashlib.sha256(bare.encode()).hexdigest()
