"""The outbox at work: rows are claimed one per channel, and settled by what the platform answered.

``claim_due`` asks ``access.decide`` for every row, and for everything that a digest tells of, in the transaction that
claims it. In a channel the larger ``priority`` goes first, then the older row; what belongs to one message keeps its
order.
"""

from datetime import datetime
from typing import Any

from sqlite_utils import Database

from bot.domain import access as rules
from bot.domain import channel as channels
from bot.domain import delivery as acts
from bot.domain import quieting, times
from bot.domain.access import Capability, Decision, Policy
from bot.domain.alert import Alert
from bot.domain.delivery import Act, Message, Scope, Sending, Settlement, State
from bot.domain.quieting import Hold, Quieting
from bot.store import access, deliveries, directory, messages, posts
from bot.store.database import row, rows


def recover(db: Database, at: datetime) -> int:
    """At the start of the one service: what was being sent when the last one ended may or may not have arrived."""
    stamp = times.to_text(at)
    return db.execute(
        "UPDATE deliveries SET state = 'unknown', reason = 'the service stopped while it was being sent', due_at = ? "
        "WHERE state = 'sending'",
        [stamp],
    ).rowcount


def claim_due(db: Database, *, platform: str, at: datetime, most: int) -> list[Sending]:
    """Claim up to ``most`` due rows of a platform, the oldest of each channel, never a second one in a channel.

    Rows to which ``decide`` says no become ``withheld`` here and the channel's next row gets its turn.
    """
    running = row(db, "SELECT count(*) AS n FROM deliveries WHERE platform = ? AND state = 'sending'", [platform])
    room = min(most, acts.IN_FLIGHT_PER_PLATFORM - (running["n"] if running else 0))
    policy: Policy | None = None
    claimed: list[Sending] = []
    for channel in _free_channels(db, platform, at):
        if len(claimed) >= room:
            break
        policy = policy or access.policy(db)
        owner = directory.organisation_of(db, channels.parse(channel).workspace)
        sending = _claim_in(db, channel, policy if owner is None else policy.of(owner), at)
        if sending is not None:
            claimed.append(sending)
    return claimed


def next_due(db: Database, platform: str, at: datetime) -> datetime | None:
    """When the next channel's turn may come, for the worker to sleep until; None: none without a settlement."""
    now = times.to_text(at)
    turns = [max(head["due_at"], _paused_until(db, head["channel"], now) or "") for head in _heads(db, platform)]
    return times.from_text(min(turns)) if turns else None


def settle(db: Database, sending: Sending, settlement: Settlement, *, at: datetime, spacing_until: datetime) -> None:
    """Write what became of a claimed row, pause lanes, and mark what is lost."""
    db.execute(
        "UPDATE deliveries SET state = ?, reason = ?, platform_id = coalesce(?, platform_id), "
        "due_at = coalesce(?, due_at), sent_at = ? WHERE delivery = ? AND state = 'sending'",
        [
            settlement.state.value,
            (deliveries.LOST if settlement.lose else "") + settlement.reason,
            settlement.platform_id,
            settlement.due_at and times.to_text(settlement.due_at),
            times.to_text(at) if settlement.state is State.SENT else None,
            sending.delivery,
        ],
    )
    if settlement.state in (State.REJECTED, State.FAILED):
        _end_items(db, sending.delivery, State.FAILED, f"the digest was {settlement.state.value}")
    if spacing_until > at:
        _pause(db, str(sending.channel), spacing_until, "spacing")
    if settlement.pause is not None and settlement.pause_until is not None:
        _pause(db, _lane(sending, settlement.pause), settlement.pause_until, settlement.reason)
    if settlement.lose is not None:
        for target in _lost_targets(db, sending, settlement.lose):
            deliveries.record_loss(db, at, target, settlement.reason)
    elif settlement.state is State.SENT and sending.act in (Act.POST, Act.NOTICE, Act.DIGEST):
        if directory.lost(db, str(sending.channel)) is not None:  # it is within reach after all
            for target in (sending.channel.workspace, str(sending.channel)):
                deliveries.record_return(db, at, target)
    elif (lost := directory.lost(db, str(sending.channel))) is not None:
        db.execute(
            "UPDATE deliveries SET state = 'held', reason = ? WHERE delivery = ? AND state IN ('queued', 'unknown')",
            [deliveries.LOST + lost, sending.delivery],
        )


def _free_channels(db: Database, platform: str, at: datetime) -> list[str]:
    """Channels with a due row at the head, nothing in flight and no paused lane; the most urgent, then the
    longest-waiting first."""
    now = times.to_text(at)
    return [
        head["channel"]
        for head in _heads(db, platform)
        if head["due_at"] <= now and _paused_until(db, head["channel"], now) is None
    ]


def _heads(db: Database, platform: str) -> list[dict[str, Any]]:
    """The row whose turn it is in each channel that has nothing in flight: ``channel``, ``due_at``.

    The first query steps through the index from channel to channel: a long queue costs no more than a short one.
    """
    return rows(
        db,
        """
        WITH RECURSIVE lanes (channel) AS (
            SELECT min(channel) FROM deliveries
                WHERE platform = :platform AND state IN ('queued', 'sending', 'unknown')
            UNION ALL
            SELECT (SELECT min(channel) FROM deliveries WHERE platform = :platform
                AND state IN ('queued', 'sending', 'unknown') AND channel > lanes.channel)
            FROM lanes WHERE lanes.channel IS NOT NULL
        )
        SELECT head.channel, head.due_at FROM lanes JOIN deliveries AS head ON head.seq =
            (SELECT seq FROM deliveries WHERE platform = :platform AND channel = lanes.channel
                AND state IN ('queued', 'sending', 'unknown') ORDER BY priority DESC, seq LIMIT 1)
        WHERE NOT EXISTS (SELECT 1 FROM deliveries WHERE platform = :platform AND channel = lanes.channel
            AND state IN ('queued', 'sending', 'unknown') AND state = 'sending')
        ORDER BY head.priority DESC, head.seq
        """,
        {"platform": platform},
    )


def _paused_until(db: Database, channel: str, now: str) -> str | None:
    parsed = channels.parse(channel)
    found = row(
        db,
        "SELECT max(paused_until) AS until FROM lanes WHERE lane IN (?, ?, ?) AND paused_until > ?",
        [channel, parsed.workspace, parsed.platform, now],
    )
    return found["until"] if found else None


def _claim_in(db: Database, channel: str, policy: Policy, at: datetime) -> Sending | None:
    """The channel's first row that may go, claimed; rows that may not are settled on the way."""
    now, known = times.to_text(at), directory.has_channel(db, channel)
    ready = rows(
        db,
        "SELECT * FROM deliveries WHERE channel = ? AND state IN ('queued', 'unknown') ORDER BY priority DESC, seq",
        [channel],
    )
    for found in ready:
        if found["due_at"] > now:
            return None
        act = Act(found["act"])
        if not known and act is not Act.RETRACT:
            deliveries.withhold(db, found["delivery"], deliveries.REMOVED, policy.version)
            continue
        if act in (Act.EDIT, Act.REPLY) and deliveries.is_taken_back(db, found["root"]):
            deliveries.supersede(db, found["delivery"], "the message that it belongs to was taken back")
            continue
        root = deliveries.get(db, found["root"]) if found["root"] else None
        if act in (Act.EDIT, Act.REPLY, Act.RETRACT) and not _stands(act, root):
            if root is None or root["state"] not in (*deliveries.OPEN, State.SENDING.value):
                _moot(db, found, root)
            continue
        if _is_news(found, act) and at - times.from_text(found["created_at"]) > acts.GIVE_UP_AFTER:
            db.execute(
                "UPDATE deliveries SET state = 'failed', reason = 'no news any more: queued more than a day ago' "
                "WHERE delivery = ?",
                [found["delivery"]],
            )
            continue
        decision = Decision(allowed=True, rule="shows nothing", why="")
        message = Message(text=found["text"])
        if deliveries.asks(found):
            decision = deliveries.decide_row(db, found, policy, at)
            if not decision.allowed:
                deliveries.deny(db, found, decision, policy, at)
                continue
            waits = _waits(db, found, act, at)
            if waits is not None:
                deliveries.hold(db, found["delivery"], waits)
                continue
        if act in deliveries.SHOWING:
            message = _message(db, found, root, policy, at)
            if act is Act.DIGEST and not message.items:
                deliveries.supersede(db, found["delivery"], "nothing is left to tell")
                continue
            if act is Act.POST and found["attempts"] == 0 and message.alert is not None:
                _use_quota(db, found["org"], message.alert, policy, at)
        return _claimed(db, found, act, message, root, decision, policy.version, at)
    return None


def _is_news(found: dict[str, Any], act: Act) -> bool:
    """Would it be stale after a day? Edits, retractions and notices of a withdrawal still have to come."""
    return act in (Act.POST, Act.REPLY) or (act is Act.NOTICE and not found["exempt"])


def _waits(db: Database, found: dict[str, Any], act: Act, at: datetime) -> Hold | None:
    """Does the channel not want it now? Quiet hours may have begun since it was queued, or the channel was out of
    reach. What has been tried already goes on."""
    settings = directory.quieting(db, found["channel"])
    if found["attempts"] or act not in (Act.POST, Act.REPLY) or settings == Quieting(zone=settings.zone):
        return None
    alert = deliveries.alert_of(db, found)
    if alert is None:
        return None
    if act is Act.REPLY:
        return quieting.hold_reply(settings, alert, at)
    return quieting.hold_post(settings, alert, at, posted_today=0)


def _stands(act: Act, root: dict[str, Any] | None) -> bool:
    """Can this be done to the message? One that was withheld after an attempt without an answer may be there all the
    same: it is looked for, and taken back if it is."""
    if root is None:
        return False
    perhaps = root["state"] == State.WITHHELD.value and root["attempts"] > 0
    return root["state"] == State.SENT.value or (act is Act.RETRACT and perhaps)


def _use_quota(db: Database, org: str, alert: Alert, policy: Policy, at: datetime) -> None:
    """Once for an event, however many of the organisation's channels are told of it."""
    limited = {terms.provider for terms in policy.terms if terms.quota is not None} & set(alert.sources)
    if limited and not deliveries.was_told(db, org, alert.event):
        access.use_quota(db, org, sorted(limited), at)


def _claimed(
    db: Database,
    found: dict[str, Any],
    act: Act,
    message: Message,
    root: dict[str, Any] | None,
    decision: Decision,
    policy_version: int,
    at: datetime,
) -> Sending:
    db.execute(
        "UPDATE deliveries SET state = 'sending', reason = '', attempts = attempts + 1, claimed_at = ?, "
        "policy_version = ?, provenance = ? WHERE delivery = ?",
        [times.to_text(at), policy_version, decision.rule, found["delivery"]],
    )
    late = found["claimed_at"] is not None and at - times.from_text(found["claimed_at"]) > acts.VERIFY_AFTER
    return Sending(
        delivery=found["delivery"],
        root=found["root"] or found["delivery"],
        channel=channels.parse(found["channel"]),
        act=act,
        message=message,
        target_id=root["platform_id"] if root else None,
        attempt=found["attempts"] + 1,
        uncertain=found["state"] == State.UNKNOWN.value or late,
        created_at=times.from_text(found["created_at"]),
        root_at=times.from_text(root["created_at"]) if root else None,
        replies=deliveries.sent_replies(db, found["root"]) if act is Act.RETRACT else (),
    )


def _message(db: Database, found: dict[str, Any], root: dict[str, Any] | None, policy: Policy, at: datetime) -> Message:
    if found["act"] == Act.DIGEST:
        return _digest(db, found, policy, at)
    alert = deliveries.alert_of(db, found)
    if alert is None:
        raise ValueError(f"delivery {found['delivery']} names an alert that is not stored")
    org = directory.organisation(db, found["org"])
    asked = deliveries.request_for(org, found["channel"], found["view"], alert, at, Capability.EVIDENCE)
    seen = rules.decide(policy, asked).allowed
    return Message(
        alert=alert,
        quotes=posts.quotes(db, alert.quotes) if seen else (),
        evidence=seen,
        change=alert.change,
        escalated=found["act"] == Act.REPLY and root is not None and _is_louder(db, root, alert),
        digested=root is not None and root["act"] == Act.DIGEST,
        acknowledged=messages.acknowledgement(db, found["root"] or found["delivery"]),
    )


def _digest(db: Database, found: dict[str, Any], policy: Policy, at: datetime) -> Message:
    """What it may tell of now; from here on it may have been told. What may not be told any more is withheld."""
    gathered = rows(
        db,
        "SELECT * FROM deliveries WHERE digest = ? AND state IN ('held', 'digested') ORDER BY seq",
        [found["delivery"]],
    )
    items, begun = [], []
    for item in gathered:
        decision = deliveries.decide_row(db, item, policy, at)
        alert = deliveries.alert_of(db, item)
        if not decision.allowed or alert is None:
            deliveries.deny(db, item, decision, policy, at)
            continue
        if item["attempts"] == 0:
            _use_quota(db, found["org"], alert, policy, at)
        db.execute(
            "UPDATE deliveries SET state = 'digested', attempts = attempts + 1, claimed_at = ?, policy_version = ?, "
            "provenance = ? WHERE delivery = ?",
            [times.to_text(at), policy.version, decision.rule, item["delivery"]],
        )
        items.append(alert)
        begun.append(times.from_text(item["created_at"]))
    items.sort(key=lambda alert: (-alert.level.rank, -alert.newsworthiness, alert.first_post_at))
    since = directory.quieting(db, found["channel"]).local(min(begun)) if begun else ""
    events_told = "1 event" if len(items) == 1 else f"{len(items)} events"
    return Message(text=f"Digest: {events_told} since {since}", items=tuple(items))


def _is_louder(db: Database, root: dict[str, Any], alert: Alert) -> bool:
    """Than everything that was told before it, by that message and in its thread."""
    before = [each.level.rank for each in deliveries.told_by(db, root, alert.event) if each.id != alert.id]
    return bool(before) and alert.level.rank > max(before)


def _moot(db: Database, found: dict[str, Any], root: dict[str, Any] | None) -> None:
    """The message that this row would change never came to stand: nothing to edit, answer or retract."""
    state = root["state"] if root else "missing"
    db.execute(
        "UPDATE deliveries SET state = 'superseded', reason = ? WHERE delivery = ?",
        [f"the message that it belongs to is {state}", found["delivery"]],
    )


def _end_items(db: Database, digest: str, state: State, reason: str) -> None:
    """What a digest was to tell of, and will not."""
    db.execute(
        "UPDATE deliveries SET state = ?, reason = ? WHERE digest = ? AND state IN ('held', 'digested')",
        [state.value, reason, digest],
    )


def _pause(db: Database, lane: str, until: datetime, reason: str) -> None:
    db.execute(
        "INSERT INTO lanes VALUES (?, ?, ?) ON CONFLICT (lane) DO UPDATE SET paused_until = excluded.paused_until, "
        "reason = excluded.reason WHERE excluded.paused_until > paused_until",
        [lane, times.to_text(until), reason],
    )


def _lane(sending: Sending, scope: Scope) -> str:
    match scope:
        case Scope.MESSAGE | Scope.CHANNEL:
            return str(sending.channel)
        case Scope.WORKSPACE:
            return sending.channel.workspace
        case Scope.PLATFORM:
            return sending.channel.platform


def _lost_targets(db: Database, sending: Sending, scope: Scope) -> list[str]:
    if scope is Scope.PLATFORM:
        return [
            found["workspace"]
            for found in rows(db, "SELECT workspace FROM workspaces WHERE platform = ?", [sending.channel.platform])
        ]
    return [_lane(sending, scope)]
