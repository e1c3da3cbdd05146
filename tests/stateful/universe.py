"""All that people and the world do to two processes on one store, and what must hold whatever they do.

Every act draws what it needs from ``pick``, so that Hypothesis and a seeded schedule drive the same acts.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any

from bot import admin, approving, crashpoints, pressing, proving, tuning
from bot.admin import Actor
from bot.domain import audit as chain
from bot.domain import channel as channels
from bot.domain.access import OrganisationState
from bot.domain.delivery import Outcome, RateLimited, Rejected, Scope, Unavailable, Unknown
from bot.domain.post import Deletion, Official
from bot.domain.quieting import QuietHours
from bot.pipeline import delivering
from bot.platforms.base import MUTES, Action, Press
from bot.revoking import Order
from bot.store import access, deliveries
from tests import factories
from tests.stateful.model import MATCHER, PROVIDERS
from tests.stateful.processes import PLATFORMS, POINTS, Pick, Processes, Row, brief, granted
from tests.stateful.remote import platform_id

SECTORS = ("government", "government/intelligence", "government/emergency", "finance/bank")
CATEGORIES = ("explosion", "fire")
CAPABILITIES = ("alerts", "evidence", "history")
ADA = Actor(id="cli:ada", surface="cli", operator="Ada")
BEN = Actor(id="discord:4712", surface="discord", operator="Ben")
OPERATORS = (ADA, BEN)
NOBODY = Actor(id="cli:root", surface="cli", operator="cli:root")
EVERY_TWO = frozenset(approving.Act)
HAPPENINGS = 4
FINAL = ("sent", "withheld", "superseded", "rejected", "failed")
EXPLAINED = ("held", "withheld", "superseded", "rejected", "failed")
OUTCOMES: tuple[Outcome | None, ...] = (
    *[None] * 6, Unknown(reason="cut"), Unknown(reason="reset"), Unavailable(reason="refused"),
    *[RateLimited(retry_after=timedelta(seconds=7), scope=scope) for scope in (Scope.CHANNEL, Scope.PLATFORM)],
    *[Rejected(reason="no", remedy="look", scope=s) for s in (Scope.MESSAGE, Scope.CHANNEL, Scope.WORKSPACE)],
)  # fmt: skip
LOOKS = (None, None, RateLimited(retry_after=timedelta(seconds=3)), Unavailable(reason="history is down"))


class Universe(Processes):
    """Acts are the public methods without arguments; ``check`` after each, ``end`` lets everything come to its end;
    ``close`` always."""

    def __init__(self, folder: Path, pick: Pick) -> None:
        super().__init__(folder, pick, on_intrusion=self.revoke)

    # ---- access

    def grant(self) -> None:
        org = self.pick((None, *self.model.orgs))
        values = {
            "org": org, "sector": None if org else self.pick(SECTORS), "provider": self.pick((*PROVIDERS, "*")),
            "capabilities": self.pick((("alerts", "evidence"), ("alerts",), ("history",))), "reason": "contract",
            "until": self.pick((None, None, self.now + timedelta(hours=1))),
        }  # fmt: skip
        two = self.pick((EVERY_TWO, frozenset()))
        made = self._admin(approving.grant, self.pick(OPERATORS), values, two)
        if org is not None or not two:
            self.model.grants.append(granted(**{name: values[name] for name in values if name != "reason"}))
            assert made.provider == values["provider"]

    def add_channel(self) -> None:
        org, platform = self.pick(sorted(self.model.orgs)), self.pick(PLATFORMS)
        name = f"{platform}:{org}/C{self.pick(range(4))}"
        self._admin(admin.add_channel, ADA, org, channels.parse(name))
        if name in self.channels:
            return
        wanted = factories.make_subscription(channel=name)
        done = self._try(lambda: self._admin(admin._subscribe, ADA, channels.parse(name), wanted))
        assert done == self.model.may(org, name), "a channel subscribed although its access is withdrawn"
        self.channels[name] = org

    def revoke(self) -> None:
        fields, now = self._matcher(), self.now
        starts_in, until_in = self.pick((0, 0, 0, 20)), self.pick((None, None, 1200))
        two, actor = self.pick((EVERY_TWO, frozenset())), self.pick(OPERATORS)
        order = Order(
            **fields, reason="the provider asked", retract=not starts_in and self.pick((False, True)),
            from_at=now + timedelta(seconds=starts_in) if starts_in else None,
            until=now + timedelta(seconds=until_in) if until_in else None,
            silent=self.pick((None, "an inquiry is under way")),
        )  # fmt: skip
        before = self._in_flight_denied()
        planned = None
        if self.pick((False, True)):
            planned = self._admin(approving.revoke, actor, replace(order, dry_run=True), two)
            order = replace(order, plan=planned.plan)
        effect = self._admin(approving.revoke, actor, order, two)
        self.counts["fences"] += 1
        self.model.latest = max(self.model.latest, now)
        self.model.revocations[effect.revocation] = fields | {
            "from": order.from_at or now, "until": order.until, "lifted": False, "immediate": not starts_in,
        }  # fmt: skip
        if planned is not None:
            same = ("withheld", "held", "in_flight", "delivered", "touched", "untouched", "notices")
            assert all(getattr(planned, name) == getattr(effect, name) for name in same), (planned, effect)
        touched = {each["name"] for each in effect.touched}
        denied = [row for row in self._in_flight_denied() if row["name"] in touched]
        listed = set(effect.in_flight)
        if fields.get("capability") == "evidence":  # alerts go on: what is being sent with quotes is listed besides
            sending = {row["delivery"] for row in self.cli.write(deliveries.listed, state="sending")}
            assert {row["delivery"] for row in denied} <= listed <= sending
        else:
            assert listed == {row["delivery"] for row in denied}
        self.reported |= {(row["delivery"], row["attempts"]) for row in (*before, *denied)}

    def reinstate(self) -> None:
        live = [name for name, each in self.model.revocations.items() if not each["lifted"]]
        if live:
            chosen, queued = self.pick(live), self._states("queued")
            done = self._admin(
                approving.reinstate, self.pick(OPERATORS), chosen, "settled", self.pick((EVERY_TWO, frozenset()))
            )
            self.model.revocations[chosen]["lifted"] = done["lifted_at"] is not None
            assert self._states("queued") == queued, "the backlog of the dark period was let out"

    def approve(self) -> None:
        found = [each for each in self.cli.write(approving.listed, self.now) if each["state"] == "open"]
        if not found:
            return
        chosen, actor = self.pick(found), self.pick((*OPERATORS, NOBODY))
        about = self.model.revocations.get(chosen["target"], {"lifted": False, "until": None})
        ended = chosen["act"] == "retract" and about["until"] is not None and about["until"] <= self.now
        done = self._try(lambda: self.cli.run(approving.approve, actor, self.now, chosen["proposal"]))
        assert done == (
            actor.operator != chosen["proposer"] and actor is not NOBODY and not about["lifted"] and not ended
        )
        if not done:
            return
        self.counts["approvals"] += 1
        args = chosen["args"]
        if chosen["act"] == "grant-sector":
            until = args["until"] and datetime.fromisoformat(args["until"])
            self.model.grants.append(granted(**{n: args[n] for n in ("org", "sector", "provider")}, until=until,
                capabilities=args["capabilities"]))  # fmt: skip
        elif chosen["act"] == "reinstate-sector":
            self.model.revocations[args["revocation"]]["lifted"] = True

    def suspend(self) -> None:
        org = self.pick(sorted(self.model.orgs))
        self._admin(admin.set_organisation_state, ADA, org, OrganisationState.SUSPENDED)
        self.model.suspended.add(org)
        self._check_audited([row for row in self._in_flight_denied() if row["name"] == org])

    def resume(self) -> None:
        org, queued = self.pick(sorted(self.model.suspended or self.model.orgs)), self._states("queued")
        self._admin(admin.set_organisation_state, ADA, org, OrganisationState.ACTIVE)
        self.model.suspended.discard(org)
        assert self._states("queued") == queued, "the backlog of the dark period was let out"

    def set_terms(self) -> None:
        provider = self.pick(PROVIDERS)
        terms = {
            "sectors": self.pick(((), (), *[(each,) for each in SECTORS])),
            "cells": self.pick(((), *[((category, sector),) for category in CATEGORIES for sector in SECTORS])),
            "quota": self.pick((None, None, 0, 1, 3)),
        }
        self._admin(
            admin.set_terms, ADA, provider=provider, barred_sectors=terms["sectors"], barred_cells=terms["cells"],
            quota=terms["quota"], reason="the contract says so",
        )  # fmt: skip
        self.model.terms[provider] = terms
        self._check_audited(self._in_flight_denied())

    # ---- readers

    def tune(self) -> None:
        """Mutes, quiet hours, digests, budgets: as whoever administers the workspace."""
        channel, now = channels.parse(self.pick(sorted(self.channels))), self.now
        actor = Actor(id="slack:T/UCAL", surface=channel.platform, workspace=channel.workspace)
        quiet = QuietHours(start=(now - timedelta(hours=1)).time(), end=(now + timedelta(hours=3)).time())
        settings: tuple[Callable[..., Any], ...] = (
            lambda db: tuning.mute(db, actor, now, channel, now + timedelta(hours=1)),
            lambda db: tuning.mute(db, actor, now, channel, None),
            lambda db: tuning.set_quiet_hours(db, actor, now, channel, quiet, None),
            lambda db: tuning.set_quiet_hours(db, actor, now, channel, None, None),
            lambda db: tuning.set_digest(db, actor, now, channel, (_clock(now + timedelta(minutes=20)),), None),
            lambda db: tuning.set_digest(db, actor, now, channel, (), None),
            lambda db: tuning.set_budget(db, actor, now, channel, 1),
        )
        chosen = self.pick(settings)
        done = self._try(lambda: self.cli.run(chosen))
        assert done == self.model.may(self.channels[str(channel)], str(channel)), "settings answered without access"

    def press(self) -> None:
        """A button of any message that was ever sent, however old."""
        posts = [row for row in self.rows() if row["act"] == "post" and row["state"] == "sent"]
        if not posts:
            return
        root, action = self.pick(posts), self.pick(list(Action))
        channel = channels.parse(root["channel"])
        actor = Actor(id=f"{channel.workspace}/U1", surface=channel.platform, member=channel.workspace)
        pressed = Press(
            action=action, delivery=root["delivery"], actor=actor.id, channel=channel, value=self.pick(sorted(MUTES))
        )
        found: list[pressing.Pressed] = []
        done = self._try(lambda: found.append(self.cli.run(pressing.press, actor, self.now, pressed)))
        self.counts["presses"] += 1
        tried = [row for row in self._of_message(root) if row["act"] in ("post", "edit") and row["attempts"]]
        shown = tried[-1]
        allowed = self._may(shown) and (action is not Action.SOURCES or self._may(shown, "evidence"))
        assert not done or allowed, f"a button answered without access: {action}"
        for quote in found[0].quotes if found else ():
            assert self.model.may(root["name"], root["channel"], [quote.provider], None, None, "evidence")

    # ---- the world

    def post(self) -> None:
        """One to three posts about one happening or another reach the service, and it records what they make."""
        for _ in range(self.pick((1, 1, 2, 3))):
            happening, provider = self.pick(range(HAPPENINGS)), self.pick(PROVIDERS)
            number = len(self.arrivals)
            item = factories.make_post(
                provider=provider, id=f"{happening}-{number}", text=f"happening {happening}, says {provider} {number}",
                author=f"a{number}", official=Official(category=CATEGORIES[happening % 2]), created_at=self.now,
                received_at=self.now,
            )  # fmt: skip
            self._arrive(item)
        self._feed()

    def delete_post(self) -> None:
        posts = [each.arrival.item for each in self.arrivals if not isinstance(each.arrival.item, Deletion)]
        if posts:
            gone: Any = self.pick(posts)
            self._arrive(Deletion(provider=gone.provider, id=gone.id, deleted_at=self.now))
            self._feed()

    def idle(self) -> None:
        """No posts come: detecting looks whether access has changed."""
        self._serve(lambda: self.detecting._reconcile())

    def tend(self) -> None:
        """What was held is released, what has expired is noted, channels that lag are told."""
        self._serve_write(delivering._tended, self.now)
        noted = self.cli.write(access.policy).changed_at
        self.model.latest = max(self.model.latest, noted or self.model.latest)

    def wait(self) -> None:
        seconds = self.pick((0.5, 2, 5, 11, 40, 70, 900, 2400, -3))
        if seconds > 10:
            self._cut()
        self._stepped_back |= seconds < 0
        self._tick(timedelta(seconds=seconds))

    def lose(self) -> None:
        self._serve_write(admin.record_loss, self.now, self._place(), "the bot was removed")

    def restore(self) -> None:
        self._serve_write(admin.record_return, self.now, self._place())

    # ---- delivering

    def claim(self) -> None:
        self._claim(self.pick(PLATFORMS), self.pick((1, 2, 16)))

    def answer(self) -> None:
        if self.flying:
            self.remote.next, self.remote.next_found = self.pick(OUTCOMES), self.pick(LOOKS)
            self.remote.arrives = self.pick((True, False))
            self._deliver(self.pick(list(self.flying)))

    def flow(self) -> None:
        """All is well for a moment: what is due is sent and arrives."""
        self._claim(self.pick(PLATFORMS), 16)
        self._answer_all()

    def crash(self) -> None:
        """The service ends now, whatever it is at."""
        if self.service is not None:
            self._die()

    def arm(self) -> None:
        """It will end at this point, when it next passes there."""
        self._armed = self.pick(POINTS)

    def intrude(self) -> None:
        """The command line will withdraw access just when the service passes this point."""
        self._intruding = self.pick(crashpoints.POINTS)

    # ---- what always holds

    def check(self) -> None:
        found = self.rows()
        states = {row["delivery"]: row["state"] for row in found}
        assert set(self._seen) <= set(states), "a delivery vanished"
        for row in found:
            delivery, before = row["delivery"], self._seen.get(row["delivery"])
            assert row["state"] not in EXPLAINED or row["reason"], f"{delivery} is {row['state']} without a reason"
            assert before not in FINAL or row["state"] == before, f"{delivery} was {before}, is {row['state']}"
        self._seen = states
        sending = [row for row in found if row["state"] == "sending"]
        assert len({row["channel"] for row in sending}) == len(sending), "two sends in one channel"
        assert all(sum(row["channel"].startswith(each) for row in sending) <= 16 for each in PLATFORMS)
        if self.service is not None:
            assert {row["delivery"] for row in sending} == set(self.flying)

    def check_audit(self) -> None:
        assert chain.verify(self.cli.audit()) is None

    def prove(self) -> None:
        """What a revocation says of itself; where the clock was set back its times say nothing."""
        for revocation in self.model.revocations:
            proof = self.cli.write(proving.proof, revocation)
            assert proof["claimed_after"] == [] or self._stepped_back, proof

    def end(self) -> None:
        """Everything comes within reach and the platforms accept all: every row must come to its end, every post be
        there, and what stands be what its readers may see."""
        self._armed = self._intruding = self.remote.next = self.remote.next_found = None
        self._alive()
        for channel in sorted(self.channels):
            for target in (channels.parse(channel).workspace, channel):
                self._serve_write(admin.record_return, self.now, target)
        for hours in (1, 4, 20, 24, 0):
            self._drain()
            self._tick(timedelta(hours=hours, minutes=1))
        left = [row for row in self.rows() if row["state"] not in (*FINAL, "digested")]
        assert not left, f"never came to an end: {brief(left)}"
        self.check()
        self.check_audit()
        self.prove()
        self._check_losses()
        self._check_standing()

    def duplicates(self) -> int:
        edits = {row["delivery"] for row in self.rows() if row["act"] in ("edit", "retract")}
        return sum(n - 1 for delivery, n in self.remote.arrived.items() if delivery not in edits)

    def _drain(self) -> None:
        for _ in range(60):
            self.tend()
            self.idle()
            for platform in PLATFORMS:
                self._claim(platform, 16)
            if not self.flying and not self._states("queued") and not self._states("unknown"):
                return
            self._answer_all()
            self._tick(timedelta(minutes=2))

    def _check_losses(self) -> None:
        """No post, no revision and no message is missing."""
        stored = {row["post"] for row in self._query("SELECT post FROM posts")}
        posts: Any = [each.arrival.item for each in self.arrivals if not isinstance(each.arrival.item, Deletion)]
        assert {post.key for post in posts} <= stored, "a post was lost"
        for row in self.rows():
            if row["state"] == "sent" and row["act"] != "retract":
                assert row["delivery"] in self.remote.arrived, f"said to be sent, and never came: {brief([row])}"

    def _check_standing(self) -> None:
        """A message shows nothing that was deleted, and nothing barred to who may see something at all."""
        found = {row["delivery"]: row for row in self.rows()}
        failed = {row["root"] or row["delivery"] for row in found.values() if row["state"] in ("rejected", "failed")}
        for message, sending in self.remote.stands.items():
            if sending is None or sending.root in failed:
                continue
            root = found[sending.root]
            if root["state"] != "sent":
                continue  # it arrived, and its access was withdrawn before that was known
            assert platform_id(root["delivery"]) == message
            if self.model.sees_nothing(root["name"]):
                continue
            for alert in sending.message.items or (sending.message.alert,):
                assert alert is not None
                barred = [each for each in alert.sources if not self.model.shapes(root["name"], each)]
                assert not barred, f"stands and rests on {barred}: {brief([root])}"

    def _check_audited(self, denied: Sequence[Row]) -> None:
        """What may still arrive stands on record with the act that denied it."""
        (last,) = self._query("SELECT effect FROM audit ORDER BY seq DESC LIMIT 1")
        assert set(json.loads(last["effect"])["in_flight"]) == {row["delivery"] for row in denied}

    def _of_message(self, root: Row) -> list[Row]:
        return [row for row in self.rows() if root["delivery"] in (row["delivery"], row["root"])]

    def _place(self) -> str:
        channel: str = self.pick(sorted(self.channels))
        return self.pick((channel, channels.parse(channel).workspace))  # type: ignore[no-any-return]

    def _matcher(self) -> dict[str, Any]:
        channel = self.pick(sorted(self.channels))
        pools: dict[str, Sequence[str]] = {
            "org": sorted(self.model.orgs), "workspace": (channels.parse(channel).workspace,), "channel": (channel,),
            "sector": SECTORS, "provider": (*PROVIDERS, "*"), "category": CATEGORIES, "capability": CAPABILITIES,
        }  # fmt: skip
        names = {self.pick(MATCHER) for _ in range(self.pick((1, 1, 2, 3)))}
        return {name: self.pick(pools[name]) for name in MATCHER if name in names}


def _clock(at: datetime) -> time:
    return at.time().replace(second=0, microsecond=0)
