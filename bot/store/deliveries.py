"""The outbox: rows are queued with their alert, claimed one per channel, and settled by what the platform answered.

``claim_due`` asks ``access.decide`` for every row in the transaction that claims it.
"""

import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlite_utils import Database

from bot.domain import access as rules
from bot.domain import channel as channels
from bot.domain import delivery as acts
from bot.domain import times
from bot.domain.access import Capability, Decision, Policy, ProviderSet
from bot.domain.alert import Alert
from bot.domain.delivery import Act, Message, Scope, Sending, Settlement, State
from bot.store import access, directory, events, posts
from bot.store.database import row, rows

OPEN = (State.QUEUED, State.HELD, State.UNKNOWN)
SHOWING = (Act.POST, Act.EDIT, Act.REPLY, Act.DIGEST)  # what shows alerts, and so asks ``decide``
REMOVED = "the channel was removed"
LOST = "lost: "  # how the reason of a row begins that is held because its channel is out of reach


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
) -> str:
    """Add one row; returns its delivery id (25 characters at most, Discord's limit for a nonce)."""
    delivery = f"d{secrets.token_hex(11)}"
    stamp = times.to_text(at)
    db.execute(
        "INSERT INTO deliveries (delivery, org, channel, platform, act, view, alert, event, root, text, state, reason, "
        "created_at, due_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
            stamp,
        ],
    )
    return delivery


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
        sending = _claim_in(db, channel, policy, at)
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
            (LOST if settlement.lose else "") + settlement.reason,
            settlement.platform_id,
            settlement.due_at and times.to_text(settlement.due_at),
            times.to_text(at) if settlement.state is State.SENT else None,
            sending.delivery,
        ],
    )
    if spacing_until > at:
        _pause(db, str(sending.channel), spacing_until, "spacing")
    if settlement.pause is not None and settlement.pause_until is not None:
        _pause(db, _lane(sending, settlement.pause), settlement.pause_until, settlement.reason)
    if settlement.lose is not None:
        for target in _lost_targets(db, sending, settlement.lose):
            lose(db, target, settlement.reason)
    elif (lost := directory.lost(db, str(sending.channel))) is not None:
        db.execute(
            "UPDATE deliveries SET state = 'held', reason = ? WHERE delivery = ? AND state IN ('queued', 'unknown')",
            [LOST + lost, sending.delivery],
        )


def lose(db: Database, target: str, reason: str) -> int:
    """A workspace or channel is out of reach: its open rows wait as ``held`` until it is restored."""
    if not directory.lose(db, target, reason):
        return 0
    return db.execute(
        f"UPDATE deliveries SET state = 'held', reason = ? WHERE state IN ('queued', 'unknown') AND {_WITHIN}",  # noqa: S608
        [LOST + reason, target, target],
    ).rowcount


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
    db.execute(
        "UPDATE deliveries SET state = 'withheld', reason = ?, policy_version = ? WHERE delivery = ?",
        [reason, policy_version, delivery],
    )


def withhold_denied(
    db: Database, orgs: Iterable[rules.Organisation], policy: Policy, at: datetime
) -> tuple[int, list[str]]:
    """Turn what is open and no longer allowed into ``withheld``; list what is being sent."""
    withheld, in_flight = 0, []
    for found in open_rows(db, (org.org for org in orgs)):
        if found["view"] is None:
            continue
        decision = decide_row(db, found, policy, at)
        if decision.allowed:
            continue
        if found["state"] == State.SENDING.value:
            in_flight.append(found["delivery"])
        else:
            withhold(db, found["delivery"], f"{decision.rule}: {decision.why}", policy.version)
            withheld += 1
    return withheld, in_flight


def open_rows(db: Database, orgs: Iterable[str]) -> list[dict[str, Any]]:
    """Rows about alerts that have not been settled: queued, held, unknown or being sent."""
    return [
        found
        for org in orgs
        for found in rows(
            db,
            "SELECT * FROM deliveries WHERE org = ? AND state IN ('queued', 'held', 'unknown', 'sending') "
            "AND act IN ('post', 'edit', 'reply', 'digest') ORDER BY seq",
            [org],
        )
    ]


def standing_posts(db: Database, orgs: Iterable[str]) -> list[dict[str, Any]]:
    """Messages about events that stand in channels of these organisations and are not being retracted."""
    return [
        found
        for org in orgs
        for found in rows(
            db,
            "SELECT * FROM deliveries AS post WHERE org = ? AND act = 'post' AND state = 'sent' AND NOT EXISTS "
            "(SELECT 1 FROM deliveries AS gone WHERE gone.root = post.delivery AND gone.act = 'retract') ORDER BY seq",
            [org],
        )
    ]


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
    """The revisions that an event's message has shown, or is being made to show, the first one first."""
    found = rows(
        db,
        "SELECT DISTINCT view, alert FROM deliveries WHERE (delivery = ? OR root = ?) AND act IN ('post', 'edit') "
        "AND attempts > 0 ORDER BY seq",
        [root["delivery"], root["delivery"]],
    )
    return [alert for each in found if (alert := events.get(db, each["view"], each["alert"])) is not None]


def standing_in(db: Database, root: Mapping[str, Any]) -> list[Alert]:
    """The revisions of which one stands in an event's message: the last that is known to have arrived, and what was
    tried since and may have."""
    found = rows(
        db,
        "SELECT view, alert, state FROM deliveries WHERE (delivery = ? OR root = ?) AND act IN ('post', 'edit') "
        "AND attempts > 0 ORDER BY seq DESC",
        [root["delivery"], root["delivery"]],
    )
    arrived = next((n for n, each in enumerate(found) if each["state"] == State.SENT.value), len(found))
    possible = (events.get(db, each["view"], each["alert"]) for each in reversed(found[: arrived + 1]))
    return [alert for alert in possible if alert is not None]


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


def decide_row(db: Database, found: Mapping[str, Any], policy: Policy, at: datetime) -> Decision:
    """``access.decide`` for one row, by the policy given; a row without an alert asks for its channel."""
    org = directory.organisation(db, found["org"])
    asked = request_for(org, found["channel"], found["view"], alert_of(db, found), at)
    return rules.decide(policy, asked)


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


def _free_channels(db: Database, platform: str, at: datetime) -> list[str]:
    """Channels with a due row at the head, nothing in flight and no paused lane; the longest-waiting first."""
    now = times.to_text(at)
    return [
        head["channel"]
        for head in _heads(db, platform)
        if head["due_at"] <= now and _paused_until(db, head["channel"], now) is None
    ]


def _heads(db: Database, platform: str) -> list[dict[str, Any]]:
    """The first open row of each channel that has nothing in flight: ``channel``, ``head`` (its seq), ``due_at``."""
    return rows(
        db,
        """
        SELECT channel, min(seq) AS head, due_at FROM deliveries
        WHERE platform = :platform AND state IN ('queued', 'unknown') AND channel NOT IN
            (SELECT channel FROM deliveries WHERE platform = :platform AND state = 'sending')
        GROUP BY channel ORDER BY head
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
    waiting = rows(
        db, "SELECT * FROM deliveries WHERE channel = ? AND state IN ('queued', 'unknown') ORDER BY seq", [channel]
    )
    for found in waiting:
        if found["due_at"] > now:
            return None
        act = Act(found["act"])
        if not known and act is not Act.RETRACT:
            withhold(db, found["delivery"], REMOVED, policy.version)
            continue
        root = row(db, "SELECT * FROM deliveries WHERE delivery = ?", [found["root"]]) if found["root"] else None
        if act in (Act.EDIT, Act.REPLY, Act.RETRACT) and (root is None or root["state"] != State.SENT.value):
            if root is not None and root["state"] in (*OPEN, State.SENDING.value):
                return None
            _moot(db, found, root)
            continue
        if act in (Act.POST, Act.REPLY) and at - times.from_text(found["created_at"]) > acts.GIVE_UP_AFTER:
            db.execute(
                "UPDATE deliveries SET state = 'failed', reason = 'no news any more: queued more than a day ago' "
                "WHERE delivery = ?",
                [found["delivery"]],
            )
            continue
        decision = Decision(allowed=True, rule="shows nothing", why="")
        message = Message(text=found["text"])
        if act in SHOWING:
            decision = decide_row(db, found, policy, at)
            if not decision.allowed:
                withhold(db, found["delivery"], f"{decision.rule}: {decision.why}", policy.version)
                continue
            message = _message(db, found, policy, at) if found["alert"] else message
        return _claimed(db, found, act, message, root, decision, policy.version, at)
    return None


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
    )


def _message(db: Database, found: dict[str, Any], policy: Policy, at: datetime) -> Message:
    alert = alert_of(db, found)
    if alert is None:
        raise ValueError(f"delivery {found['delivery']} names an alert that is not stored")
    org = directory.organisation(db, found["org"])
    asked = request_for(org, found["channel"], found["view"], alert, at, Capability.EVIDENCE)
    seen = rules.decide(policy, asked).allowed
    return Message(alert=alert, quotes=posts.quotes(db, alert.quotes) if seen else (), change=alert.change)


def _moot(db: Database, found: dict[str, Any], root: dict[str, Any] | None) -> None:
    """The message that this row would change never came to stand: nothing to edit, answer or retract."""
    state = root["state"] if root else "missing"
    db.execute(
        "UPDATE deliveries SET state = 'superseded', reason = ? WHERE delivery = ?",
        [f"the message that it belongs to is {state}", found["delivery"]],
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
