"""The outbox's rows: how they are queued with their alert, held, withheld, and what they say about channels."""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlite_utils import Database

from bot.domain import access as rules
from bot.domain import channel as channels
from bot.domain import times
from bot.domain.access import Capability, Decision, Policy, ProviderSet
from bot.domain.alert import Alert, Kind
from bot.domain.delivery import Act, State
from bot.domain.quieting import Hold
from bot.store import access, audit, directory, events
from bot.store.database import row, rows

OPEN = (State.QUEUED, State.HELD, State.UNKNOWN)
SHOWING = (Act.POST, Act.EDIT, Act.REPLY, Act.DIGEST)  # what shows alerts, and so asks ``decide``
REMOVED = "the channel was removed"
LOST = "lost: "  # how the reason of a row begins that is held because its channel is out of reach
Shown = tuple[str, Alert]  # in which View, and what
Known = dict[tuple[str, str], Alert | None]  # (view, alert id) → what one transaction has read
SOON, RETRACTING = 2, 4  # priorities beside those of levels, which are 1 to 3


def asks(found: Mapping[str, Any]) -> bool:
    """Does this row need ``decide``? What takes something back does not, nor what tells of a withdrawal."""
    return found["act"] in SHOWING or (found["act"] == Act.NOTICE and not found["exempt"])


def queue(
    db: Database,
    *,
    org: str,
    channel: str,
    act: Act,
    at: datetime,
    view: str | None = None,
    alert: Alert | None = None,
    root: str | None = None,
    text: str = "",
    state: State = State.QUEUED,
    reason: str = "",
    due_at: datetime | None = None,
    priority: int | None = None,
    exempt: bool = False,
) -> str:
    """Add one row; returns its delivery id (25 characters at most, Discord's limit for a nonce).

    ``exempt``: a notice about access itself, for which nobody is asked. ``priority``: by default the level's. What
    waits of the same message (``root``) must go before this and so rises to its priority.
    """
    delivery = f"d{secrets.token_hex(11)}"
    stamp = times.to_text(at)
    urgency = _priority(act, alert) if priority is None else priority
    if root is not None:
        db.execute(
            "UPDATE deliveries SET priority = max(priority, ?) WHERE (delivery = ? OR root = ?) "
            "AND state IN ('queued', 'held', 'sending', 'unknown')",
            [urgency, root, root],
        )
    db.execute(
        "INSERT INTO deliveries (delivery, org, channel, platform, act, view, alert, event, root, text, state, reason, "
        "created_at, due_at, priority, exempt) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            delivery,
            org,
            channel,
            channels.parse(channel).platform,
            act.value,
            view,
            alert and alert.id,
            alert and alert.event,
            root,
            text,
            state.value,
            reason,
            stamp,
            stamp if due_at is None else times.to_text(due_at),
            urgency,
            int(exempt),
        ],
    )
    return delivery


def get(db: Database, delivery: str) -> dict[str, Any] | None:
    return row(db, "SELECT * FROM deliveries WHERE delivery = ?", [delivery])


def root_of(db: Database, channel: str, view: str, event: str) -> dict[str, Any] | None:
    """The delivery that posted the message which tells of this event in the channel, if it stands or is on its way.

    A message tells of the event that it was posted or last edited for. One that tells of another event is taken over
    where both rest on the same posts: after a change of the organisation's View, a restart that rebuilt a long-lived
    event under another id, or a union. Within one View both must have these posts still, since an event that was split
    off another one has none of them.
    """
    told = _telling_of(db, channel, view, event)
    if told is not None:
        return told
    for other in events.sharing_evidence(db, view, event):
        if other["view"] != view or events.overlap(db, view, event, other["event"]):
            told = _telling_of(db, channel, other["view"], other["event"])
            if told is not None:
                return told
    return None


def supersede_edits(db: Database, root: str) -> None:
    """A newer revision is about to be queued: edits of the same message that nobody has sent yet are moot."""
    db.execute(
        "UPDATE deliveries SET state = 'superseded', reason = 'a later revision took its place' "
        "WHERE root = ? AND act = 'edit' AND state IN ('queued', 'held', 'unknown')",
        [root],
    )


def waits(found: Mapping[str, Any]) -> bool:
    """Is this row held because its channel has asked for that?"""
    return found["state"] == State.HELD.value and not found["reason"].startswith(LOST)


def hold(db: Database, delivery: str, held: Hold) -> None:
    """Queued or held: until then. What was queued behind an event's message is told with it."""
    db.execute(
        "UPDATE deliveries SET state = 'held', reason = ?, due_at = ?, digest = NULL WHERE delivery = ?",
        [held.why, times.to_text(held.until), delivery],
    )
    behind = rows(
        db,
        "SELECT * FROM deliveries WHERE root = ? AND act IN ('edit', 'reply') "
        "AND state IN ('queued', 'held', 'unknown') ORDER BY seq DESC",
        [delivery],
    )
    for each in behind:
        supersede(db, each["delivery"], "it is told with the event's message, which waits")
    newest = next((each for each in behind if each["act"] == Act.EDIT), None)
    alert = alert_of(db, newest) if newest else None
    if newest is not None and alert is not None:
        renew(db, delivery, newest["view"], alert)
        if alert.kind is Kind.RETRACTION:
            supersede(db, delivery, "the event was over before it was told")


def release(db: Database, delivery: str, at: datetime) -> None:
    """Held: due now."""
    db.execute(
        "UPDATE deliveries SET state = CASE WHEN attempts > 0 THEN 'unknown' ELSE 'queued' END, reason = '', "
        "due_at = ?, digest = NULL WHERE delivery = ? AND state = 'held'",
        [times.to_text(at), delivery],
    )


def supersede(db: Database, delivery: str, reason: str) -> None:
    db.execute("UPDATE deliveries SET state = 'superseded', reason = ? WHERE delivery = ?", [reason, delivery])


def edit_waits(db: Database, root: str) -> bool:
    """Is an edit of this message still to be sent?"""
    found = row(
        db,
        "SELECT 1 FROM deliveries WHERE root = ? AND act = 'edit' AND state IN ('queued', 'held', 'unknown')",
        [root],
    )
    return found is not None


def renew(db: Database, delivery: str, view: str, alert: Alert) -> None:
    """A message that has not been sent yet will tell of this revision."""
    db.execute(
        "UPDATE deliveries SET view = ?, alert = ?, event = ?, priority = max(priority, ?) WHERE delivery = ?",
        [view, alert.id, alert.event, _priority(Act.POST, alert), delivery],
    )


def waiting(db: Database, channel: str) -> list[dict[str, Any]]:
    """What is held in a channel because it has asked for that, oldest first."""
    return rows(
        db,
        "SELECT * FROM deliveries WHERE channel = ? AND state = 'held' AND reason NOT LIKE 'lost: %' ORDER BY seq",
        [channel],
    )


def waiting_until(db: Database, at: datetime) -> list[dict[str, Any]]:
    """What is held, not yet gathered into a digest, and need not be held any longer, by channel, oldest first; in
    channels that can be reached."""
    return rows(
        db,
        "SELECT * FROM deliveries WHERE state = 'held' AND reason NOT LIKE 'lost: %' AND digest IS NULL "
        "AND due_at <= ? AND channel IN (SELECT c.channel FROM channels c JOIN workspaces w USING (workspace) "
        "WHERE c.lost IS NULL AND w.lost IS NULL) ORDER BY channel, seq",
        [times.to_text(at)],
    )


def queued_posts(db: Database, channel: str) -> list[dict[str, Any]]:
    """Messages about new events that have never been tried, oldest first."""
    return rows(
        db,
        "SELECT * FROM deliveries WHERE channel = ? AND act = 'post' AND state = 'queued' AND attempts = 0 "
        "ORDER BY seq",
        [channel],
    )


def posted_since(db: Database, channel: str, since: datetime) -> int:
    """How many messages about new events a channel has had, or is about to have, that were not held back."""
    found = row(
        db,
        "SELECT count(*) AS n FROM deliveries WHERE channel = ? AND act = 'post' AND created_at >= ? "
        "AND state IN ('queued', 'sending', 'unknown', 'sent')",
        [channel, times.to_text(since)],
    )
    return found["n"] if found else 0


def lagging(db: Database, since: datetime, *, most: int) -> dict[str, int]:
    """Channels in which more than ``most`` new events are due, the oldest since before that time → how many. Not where
    they wait for a platform that does not answer: that is another trouble."""
    found = rows(
        db,
        "SELECT channel, count(*) AS n FROM deliveries WHERE act = 'post' "
        "AND state IN ('queued', 'sending', 'unknown') GROUP BY channel HAVING count(*) > ? AND min(created_at) < ? "
        "AND sum(state = 'unknown' OR (attempts > 0 AND reason NOT LIKE 'rate limited%')) = 0",
        [most, times.to_text(since)],
    )
    return {each["channel"]: each["n"] for each in found}


def sent_replies(db: Database, root: str) -> tuple[str, ...]:
    """Platform ids of the replies that are known to stand under a message, oldest first."""
    found = rows(
        db,
        "SELECT platform_id FROM deliveries WHERE root = ? AND act = 'reply' AND state = 'sent' "
        "AND platform_id IS NOT NULL ORDER BY seq",
        [root],
    )
    return tuple(each["platform_id"] for each in found)


def was_told(db: Database, org: str, event: str) -> bool:
    """Was any channel of this organisation told of the event, by a message or in a digest, or is it being told?"""
    found = row(
        db,
        "SELECT 1 FROM deliveries WHERE event = ? AND act = 'post' AND attempts > 0 AND channel IN "
        "(SELECT c.channel FROM channels c JOIN workspaces w USING (workspace) WHERE w.org = ?)",
        [event, org],
    )
    return found is not None


def has_backlog(db: Database, channel: str) -> bool:
    """Is more than one message due?"""
    found = row(
        db, "SELECT count(*) AS n FROM deliveries WHERE channel = ? AND state IN ('queued', 'unknown')", [channel]
    )
    return bool(found and found["n"] > 1)


def gather(db: Database, digest: str, items: Iterable[str]) -> None:
    """These held rows are told of in that digest."""
    for delivery in items:
        db.execute("UPDATE deliveries SET digest = ?, state = 'held' WHERE delivery = ?", [digest, delivery])


def digest_telling_of(db: Database, channel: str, event: str) -> dict[str, Any] | None:
    """The newest item of a digest, standing or on its way, that tells of this event: the item's row."""
    return row(
        db,
        """
        SELECT item.* FROM deliveries AS item JOIN deliveries AS digest ON digest.delivery = item.digest
        WHERE item.channel = ? AND item.event = ? AND item.state = 'digested'
            AND digest.state IN ('queued', 'held', 'sending', 'unknown', 'sent') AND NOT EXISTS
            (SELECT 1 FROM deliveries AS gone WHERE gone.root = digest.delivery AND gone.act = 'retract')
        ORDER BY item.seq DESC LIMIT 1
        """,
        [channel, event],
    )


def told(db: Database, channel: str, since: datetime) -> list[dict[str, Any]]:
    """Rows of what a channel was told about, each event once, the newest first: sent messages and digests' items."""
    return rows(
        db,
        "SELECT *, max(seq) FROM deliveries WHERE channel = ? AND created_at >= ? AND act IN ('post', 'edit') "
        "AND state IN ('sent', 'digested') GROUP BY event ORDER BY max(seq) DESC",
        [channel, times.to_text(since)],
    )


def lose(db: Database, target: str, reason: str) -> int:
    """A workspace or channel is out of reach: its open rows wait as ``held`` until it is restored."""
    if not directory.lose(db, target, reason):
        return 0
    return db.execute(
        f"UPDATE deliveries SET state = 'held', reason = ? WHERE state IN ('queued', 'unknown') AND {_WITHIN}",  # noqa: S608
        [LOST + reason, target, target],
    ).rowcount


def record_loss(db: Database, at: datetime, target: str, reason: str) -> int:
    """``lose``, on record. Returns how much is held."""
    held = lose(db, target, reason)
    if directory.organisation_of(db, target.split("/", maxsplit=1)[0]) is not None:
        audit.append(
            db, at=at, actor="tocsin", surface="service", action="lost", target=target, reason=reason,
            effect={"held": held},
        )  # fmt: skip
    return held


def record_return(db: Database, at: datetime, target: str) -> int:
    """``restore``, on record if it had been lost. Returns how much is due again."""
    was_lost = directory.restore(db, target)
    released = restore(db, target, at)
    if was_lost:
        audit.append(
            db, at=at, actor="tocsin", surface="service", action="restored", target=target,
            effect={"released": released},
        )  # fmt: skip
    return released


def restore(db: Database, target: str, at: datetime) -> int:
    """It is back: what was held for that reason is due again."""
    directory.restore(db, target)
    return db.execute(
        "UPDATE deliveries SET state = CASE WHEN attempts > 0 THEN 'unknown' ELSE 'queued' END, reason = '', "  # noqa: S608
        f"due_at = ? WHERE state = 'held' AND reason LIKE 'lost: %' AND {_WITHIN} AND channel IN (SELECT c.channel "
        "FROM channels c JOIN workspaces w USING (workspace) WHERE c.lost IS NULL AND w.lost IS NULL)",
        [times.to_text(at), target, target],
    ).rowcount


def withhold(db: Database, delivery: str, reason: str, policy_version: int) -> None:
    """A digest with what it was to tell of."""
    for wanted in _WITHHELD:
        db.execute(wanted, [reason, policy_version, delivery])


def deny(db: Database, found: Mapping[str, Any], decision: Decision, policy: Policy, at: datetime) -> None:
    """Withhold one row, and put it on record: who was not told of what, and by which rule."""
    withhold(db, found["delivery"], denial(decision), policy.version)
    note_denied(db, found["org"], found["delivery"], found["alert"], found["channel"], decision, at)


def denial(decision: Decision) -> str:
    """The reason of a row that is withheld."""
    return f"{decision.rule}: {decision.why}"


def note_denied(
    db: Database, org: str, delivery: str, alert: str | None, channel: str, decision: Decision, at: datetime
) -> None:
    """The audit's entry of a delivery that was denied."""
    audit.append(
        db, at=at, actor="tocsin", surface="service", action="delivery-denied", target=org, reason=denial(decision),
        effect={"delivery": delivery, "alert": alert, "channel": channel},
    )  # fmt: skip


def withhold_denied(
    db: Database, orgs: Iterable[rules.Organisation], policy: Policy, at: datetime
) -> tuple[int, int, list[str]]:
    """Turn what is open and no longer allowed into ``withheld``: how many were queued, how many held; list what is
    being sent. Whoever calls it puts the whole on record, as one act."""
    counts, in_flight, reasons = {State.QUEUED: 0, State.HELD: 0}, [], []
    known: Known = {}
    for org, own in policy.by_organisation(orgs):
        decided: dict[tuple[Any, ...], Decision] = {}
        for found in open_rows(db, [org.org]):
            if found["act"] == Act.DIGEST and found["state"] == State.SENDING.value:
                if not all(decide_row(db, item, own, at, org=org).allowed for item in items_shown(db, found)):
                    in_flight.append(found["delivery"])
                continue
            asked = (found["channel"], found["view"], found["alert"], found["act"], found["attempts"] == 0)
            decision = decided.get(asked) or decided.setdefault(
                asked, decide_row(db, found, own, at, org=org, known=known)
            )
            if decision.allowed:
                continue
            if found["state"] == State.SENDING.value:
                in_flight.append(found["delivery"])
            else:
                reasons.append((denial(decision), policy.version, found["delivery"]))
                counts[State.HELD if found["state"] == State.HELD.value else State.QUEUED] += 1
    for wanted in _WITHHELD:
        db.conn.executemany(wanted, reasons)
    return counts[State.QUEUED], counts[State.HELD], in_flight


def open_rows(db: Database, orgs: Iterable[str]) -> list[dict[str, Any]]:
    """Rows that ask for access and have not been settled: queued, held, unknown or being sent."""
    return [
        found
        for org in orgs
        for found in rows(
            db,
            "SELECT * FROM deliveries WHERE org = ? AND state IN ('queued', 'held', 'unknown', 'sending') "
            "AND (act IN ('post', 'edit', 'reply', 'digest') OR act = 'notice' AND NOT exempt) ORDER BY seq",
            [org],
        )
    ]


def open_in(db: Database, channel: str) -> list[dict[str, Any]]:
    """What waits for a channel, of any act."""
    return rows(
        db,
        "SELECT * FROM deliveries WHERE channel = ? AND state IN ('queued', 'held', 'unknown') ORDER BY seq",
        [channel],
    )


def standing_posts(db: Database, orgs: Iterable[str]) -> list[dict[str, Any]]:
    """Messages about events, and digests, that stand in channels of these organisations and are not being retracted."""
    return [
        found
        for org in orgs
        for found in rows(
            db,
            "SELECT * FROM deliveries AS post WHERE org = ? AND act IN ('post', 'digest') AND state = 'sent' AND "
            "NOT EXISTS (SELECT 1 FROM deliveries AS gone WHERE gone.root = post.delivery AND gone.act = 'retract') "
            "ORDER BY seq",
            [org],
        )
    ]


def perhaps_standing(db: Database, org: str) -> list[dict[str, Any]]:
    """An organisation's messages about events, and digests, that were tried and may have arrived or may still, although
    nobody knows: being sent, without an answer, or withheld since."""
    return rows(
        db,
        "SELECT * FROM deliveries AS post WHERE org = ? AND act IN ('post', 'digest') AND attempts > 0 "
        "AND state IN ('sending', 'unknown', 'withheld') AND "
        "NOT EXISTS (SELECT 1 FROM deliveries AS gone WHERE gone.root = post.delivery AND gone.act = 'retract') "
        "ORDER BY seq",
        [org],
    )


def views_told(db: Database, org: str) -> list[str]:
    """The Views whose alerts an organisation was told of."""
    found = rows(db, "SELECT DISTINCT view FROM deliveries WHERE org = ? AND attempts > 0 AND view IS NOT NULL", [org])
    return [each["view"] for each in found]


def standing_on(db: Database, post: str) -> list[dict[str, Any]]:
    """Messages that stand and were posted or edited for events which this post is evidence of."""
    return rows(
        db,
        "SELECT DISTINCT post.* FROM evidence AS e JOIN deliveries AS told ON told.view = e.view "
        "AND told.event = e.event AND told.act IN ('post', 'edit') "
        "JOIN deliveries AS post ON post.delivery = coalesce(told.root, told.delivery) "
        "WHERE e.post = ? AND post.state IN ('sent', 'sending', 'unknown') AND NOT EXISTS "
        "(SELECT 1 FROM deliveries AS gone WHERE gone.root = post.delivery AND gone.act = 'retract') ORDER BY post.seq",
        [post],
    )


def listed(db: Database, *, state: str | None = None, org: str | None = None) -> list[dict[str, Any]]:
    """The contract's keys, oldest first."""
    return rows(
        db,
        "SELECT delivery, alert, event, org, channel, act, state, reason, attempts, platform_id, created_at, sent_at, "
        "claimed_at, policy_version, provenance AS rule, view FROM deliveries "
        "WHERE (:state IS NULL OR state = :state) AND (:org IS NULL OR org = :org) ORDER BY seq",
        {"state": state, "org": org},
    )


def sent_between(db: Database, start: str, end: str) -> int:
    """How many messages reached a platform in [start, end)."""
    found = row(
        db, "SELECT count(*) AS n FROM deliveries WHERE state = 'sent' AND sent_at >= ? AND sent_at < ?", [start, end]
    )
    return found["n"] if found else 0


def history_of(db: Database, org: str, since: str) -> list[dict[str, Any]]:
    """An organisation's rows that were made, claimed or sent from a time on, oldest first."""
    return rows(
        db,
        "SELECT * FROM deliveries WHERE org = :org AND "
        "(created_at >= :since OR claimed_at >= :since OR sent_at >= :since) ORDER BY seq",
        {"org": org, "since": since},
    )


def of_event(db: Database, channel: str, event: str) -> list[dict[str, Any]]:
    """All rows of one event in one channel, oldest first."""
    return rows(db, "SELECT * FROM deliveries WHERE channel = ? AND event = ? ORDER BY seq", [channel, event])


def unsettled(db: Database, platform: str) -> int:
    """How many rows of this platform still have a way to go without anybody's help."""
    found = row(
        db,
        "SELECT count(*) AS n FROM deliveries WHERE platform = ? AND state IN ('queued', 'sending', 'unknown')",
        [platform],
    )
    return found["n"] if found else 0


def counts(db: Database) -> dict[str, int]:
    """State → rows."""
    return {found["state"]: found["n"] for found in rows(db, "SELECT state, count(*) AS n FROM deliveries GROUP BY 1")}


def alert_of(db: Database, found: Mapping[str, Any]) -> Alert | None:
    """The alert that a row is about; None for notices and digests."""
    return events.get(db, found["view"], found["alert"]) if found["alert"] else None


def shown_by(db: Database, root: Mapping[str, Any]) -> list[Alert]:
    """The revisions that an event's message or a digest has shown, or is being made to show, the first one first."""
    if root["act"] == Act.DIGEST:
        items = (alert_of(db, item) for item in items_shown(db, root))
        return [alert for alert in items if alert is not None]
    found = rows(
        db,
        "SELECT DISTINCT view, alert FROM deliveries WHERE (delivery = ? OR root = ?) AND act IN ('post', 'edit') "
        "AND attempts > 0 ORDER BY seq",
        [root["delivery"], root["delivery"]],
    )
    return [alert for each in found if (alert := events.get(db, each["view"], each["alert"])) is not None]


def shown_to(db: Database, org: str, known: Known) -> dict[str, list[Alert]]:
    """``shown_by`` of every message of an organisation, by its delivery."""
    found = rows(
        db,
        "SELECT coalesce(digest, root, delivery) AS message, view, alert FROM deliveries WHERE org = ? "
        "AND act IN ('post', 'edit') AND attempts > 0 ORDER BY seq",
        [org],
    )
    shown: dict[str, list[Alert]] = {}
    for each in found:
        alert = _alert_known(db, each, known)
        if alert is not None:
            shown.setdefault(each["message"], []).append(alert)
    return shown


def told_by(db: Database, root: Mapping[str, Any], event: str) -> list[Alert]:
    """The revisions that called for attention to this event: by its message or the digest that told of it, and in the
    thread, not by edits. Only a digest tells of several events."""
    found = rows(
        db,
        "SELECT view, alert, event FROM deliveries WHERE (delivery = :root OR root = :root OR digest = :root) "
        "AND act IN ('post', 'reply') AND attempts > 0 AND state IN ('sending', 'unknown', 'sent', 'digested') "
        "ORDER BY seq",
        {"root": root["delivery"]},
    )
    several = root["act"] == Act.DIGEST.value
    told = [each for each in found if not several or each["event"] == event]
    return [alert for each in told if (alert := alert_of(db, each)) is not None]


def is_taken_back(db: Database, root: str) -> bool:
    """Was this message retracted, or is it to be?"""
    return row(db, "SELECT 1 FROM deliveries WHERE root = ? AND act = 'retract'", [root]) is not None


def open_replies(db: Database, root: str) -> list[dict[str, Any]]:
    """What waits to be told in this message's thread, not tried yet."""
    return rows(
        db,
        "SELECT * FROM deliveries WHERE root = ? AND act = 'reply' AND state IN ('queued', 'held') AND attempts = 0 "
        "ORDER BY seq",
        [root],
    )


def items_shown(db: Database, digest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows that a digest tells of, by any attempt to send it."""
    return rows(db, "SELECT * FROM deliveries WHERE digest = ? AND attempts > 0 ORDER BY seq", [digest["delivery"]])


def standing_in(db: Database, root: Mapping[str, Any]) -> list[Alert]:
    """The revisions of which one stands in an event's message: the last that is known to have arrived, and what was
    tried since and may have."""
    return [alert for _, alert in _shown(db, _tried_in(db, root))]


def may_stand_in(db: Database, root: Mapping[str, Any]) -> list[Shown]:
    """Like ``standing_in``, with the View of each; of a digest, everything that it tells of."""
    return _shown(db, items_shown(db, root) if root["act"] == Act.DIGEST else _tried_in(db, root))


def may_stand_under(db: Database, root: Mapping[str, Any]) -> list[Shown]:
    """What was said in a message's thread, or may have been."""
    found = rows(
        db,
        "SELECT view, alert FROM deliveries WHERE root = ? AND act = 'reply' AND attempts > 0 "
        "AND state IN ('sent', 'sending', 'unknown', 'withheld') ORDER BY seq",
        [root["delivery"]],
    )
    return _shown(db, found)


def coming_edit(db: Database, root: str) -> Shown | None:
    """What the last edit of this message that is still to be sent will show."""
    found = rows(
        db,
        "SELECT view, alert FROM deliveries WHERE root = ? AND act = 'edit' AND state IN ('queued', 'held', 'unknown') "
        "ORDER BY seq DESC LIMIT 1",
        [root],
    )
    return next(iter(_shown(db, found)), None)


def view_of(db: Database, root: str, alert: str) -> str | None:
    """In which View a message has shown this revision."""
    found = row(
        db, "SELECT view FROM deliveries WHERE (delivery = ? OR root = ?) AND alert = ? AND act IN ('post', 'edit') "
        "AND attempts > 0 ORDER BY seq DESC LIMIT 1",
        [root, root, alert],
    )  # fmt: skip
    return found["view"] if found else None


def will_drop(db: Database, root: Mapping[str, Any], post: str) -> bool:
    """Is an edit of this message queued that does not quote the post any more?"""
    found = rows(
        db,
        "SELECT view, alert FROM deliveries WHERE root = ? AND act = 'edit' AND state IN ('queued', 'held') "
        "ORDER BY seq DESC LIMIT 1",
        [root["delivery"]],
    )
    alert = alert_of(db, found[0]) if found else None
    return alert is not None and post not in alert.quotes


def decide_row(
    db: Database,
    found: Mapping[str, Any],
    policy: Policy,
    at: datetime,
    *,
    org: rules.Organisation | None = None,
    known: Known | None = None,
) -> Decision:
    """``access.decide`` for one row, by the policy given; a row without an alert asks for its channel. A new event's
    message, not tried yet, also asks whether the provider's quota has room for it, unless another channel was told of
    it. ``known``: alerts that this transaction has read already."""
    owner = org or directory.organisation(db, found["org"])
    asked = request_for(owner, found["channel"], found["view"], _alert_known(db, found, known), at)
    limited = any(terms.quota is not None for terms in policy.terms)
    if limited and found["act"] == Act.POST and found["attempts"] == 0 and not was_told(db, owner.org, found["event"]):
        asked = replace(asked, used=dict.fromkeys(asked.providers, 0) | access.quota_used(db, owner.org, at))
    return rules.decide(policy, asked)


def _tried_in(db: Database, root: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of an event's message: the last that is known to have arrived, and those that were tried since."""
    found = rows(
        db,
        "SELECT view, alert, state FROM deliveries WHERE (delivery = ? OR root = ?) AND act IN ('post', 'edit') "
        "AND attempts > 0 ORDER BY seq DESC",
        [root["delivery"], root["delivery"]],
    )
    arrived = next((n for n, each in enumerate(found) if each["state"] == State.SENT.value), len(found))
    return found[arrived::-1] if arrived < len(found) else found[::-1]


def _shown(db: Database, found: Iterable[Mapping[str, Any]]) -> list[Shown]:
    return [(each["view"], alert) for each in found if (alert := alert_of(db, each)) is not None]


def _alert_known(db: Database, found: Mapping[str, Any], known: Known | None) -> Alert | None:
    if known is None or not found["alert"]:
        return alert_of(db, found)
    key = (found["view"], found["alert"])
    if key not in known:
        known[key] = alert_of(db, found)
    return known[key]


def request_for(
    org: rules.Organisation,
    channel: str,
    view: str | None,
    alert: Alert | None,
    at: datetime,
    capability: Capability = Capability.ALERTS,
) -> rules.Request:
    """The question that a delivery asks."""
    return rules.Request(
        org=org,
        at=at,
        capability=capability,
        workspace=channels.parse(channel).workspace,
        channel=channel,
        providers=frozenset(alert.sources) if alert else frozenset(),
        category=alert.category if alert else None,
        view=ProviderSet.parse(view) if view else None,
    )


_WITHHELD = (
    "UPDATE deliveries SET state = 'withheld', reason = ?, policy_version = ? WHERE delivery = ?",
    "UPDATE deliveries SET state = 'withheld', reason = ?, policy_version = ? "
    "WHERE digest = ? AND state IN ('held', 'digested')",
)
_WITHIN = "channel IN (SELECT channel FROM channels WHERE workspace = ? OR channel = ?)"


def _telling_of(db: Database, channel: str, view: str, event: str) -> dict[str, Any] | None:
    """The newest message in the channel, standing or on its way, that was posted or last edited for this event."""
    return row(
        db,
        """
        SELECT post.* FROM deliveries AS told
        JOIN deliveries AS post ON post.delivery = coalesce(told.root, told.delivery)
        WHERE told.channel = :channel AND told.event = :event AND told.view = :view AND told.act IN ('post', 'edit')
            AND post.state IN ('queued', 'held', 'sending', 'unknown', 'sent') AND NOT EXISTS
            (SELECT 1 FROM deliveries AS later WHERE later.channel = :channel AND later.root = post.delivery AND
                (later.act = 'retract' OR (later.act = 'edit' AND later.seq > told.seq)))
        ORDER BY post.seq DESC LIMIT 1
        """,
        {"channel": channel, "view": view, "event": event},
    )


def _priority(act: Act, alert: Alert | None) -> int:
    if act is Act.RETRACT:
        return RETRACTING
    if act is Act.DIGEST:
        return 1
    return 0 if alert is None else 1 + alert.level.rank
