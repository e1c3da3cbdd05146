"""Grant, revoke, reinstate, claim, send, crash: whatever the order, nothing is sent that may not be.

The model is a second, deliberately plain implementation of default deny: dicts, loops and a small universe of
providers. The remote side is a dict that remembers what arrived.
"""

import asyncio
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bot import admin, proving, revoking
from bot.domain import alert as alerts
from bot.domain import audit as chain
from bot.domain import channel as channels
from bot.domain.access import ProviderSet
from bot.domain.delivery import (
    Act,
    Found,
    Missing,
    Outcome,
    RateLimited,
    Rejected,
    Scope,
    Sending,
    Sent,
    Unavailable,
    Unknown,
)
from bot.domain.post import Deletion
from bot.pipeline.delivering import Delivering
from bot.store import claiming, deliveries
from tests import factories
from tests.worlds import OPERATOR, World

PROVIDERS = ("bluesky", "mastodon", "x")
ELSEWHERE = "zzz"  # stands for every provider that no grant and no revocation names
CATEGORIES = ("explosion", "fire")
SECTORS = ("government", "government/intelligence", "government/emergency", "finance/bank")
PLATFORMS = ("slack", "discord")
SHOWING = ("post", "edit", "reply")
FINAL = ("sent", "withheld", "superseded", "rejected", "failed")
EXPLAINED = ("held", "withheld", "superseded", "rejected", "failed")


class Remote:
    """The chat platform: what arrived, by delivery id, and what it shall answer next. The ``Notifier`` of the test."""

    platform = "slack"
    spacing = timedelta(0)

    def __init__(self) -> None:
        self.arrived: dict[str, int] = {}
        self.messages: set[str] = set()
        self.next: Outcome | None = None
        self.next_found: Found | None = None
        self.arrives = True
        self.newly: list[Sending] = []

    async def send(self, sending: Sending) -> Outcome:
        if self.next is None or (isinstance(self.next, Unknown) and self.arrives):
            self.take(sending)
        return self.next or Sent(platform_id=_platform_id(sending))

    async def find(self, sending: Sending) -> Found:
        if self.next_found is not None:
            return self.next_found
        if sending.delivery in self.arrived:
            return Sent(platform_id=_platform_id(sending), duplicate=True)
        return Missing()

    def take(self, sending: Sending) -> None:
        self.arrived[sending.delivery] = self.arrived.get(sending.delivery, 0) + 1
        self.newly.append(sending)
        if sending.act is Act.POST:
            self.messages.add(_platform_id(sending))
        elif sending.act in (Act.EDIT, Act.REPLY, Act.RETRACT):
            assert sending.target_id in self.messages, f"{sending.act} of a message that does not stand"


def _platform_id(sending: Sending) -> str:
    return f"ts-{sending.delivery}"


outcomes = st.sampled_from(
    [None, None, None, None, Unknown(reason="cut"), Unknown(reason="reset"), Unavailable(reason="refused")]
    + [RateLimited(retry_after=timedelta(seconds=7), scope=scope) for scope in (Scope.CHANNEL, Scope.PLATFORM)]
    + [Rejected(reason="no", remedy="look", scope=scope) for scope in (Scope.MESSAGE, Scope.CHANNEL, Scope.WORKSPACE)]
)
looks = st.sampled_from(
    [None, None, RateLimited(retry_after=timedelta(seconds=3)), Unavailable(reason="history is down")]
)


class AccessMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="tocsin-")
        self.world = World(Path(self.folder.name) / "store.db")
        self.remote = Remote()
        self.orgs: dict[str, str] = {}  # org → sector
        self.channels: dict[str, str] = {}  # channel → org
        self.grants: list[dict[str, Any]] = []
        self.revocations: dict[str, dict[str, Any]] = {}
        self.flying: dict[str, Sending] = {}
        self.reported: set[str] = set()  # in flight, by the word of some revocation
        self.withheld_at_revoke: set[str] = set()
        self.revisions: dict[tuple[str, str], int] = {}
        self.deleted: set[str] = set()
        self.seen: dict[str, dict[str, Any]] = {}
        for name, sector in (("Acme", "government/intelligence"), ("Bank", "finance/bank")):
            self._add_org(name, sector)
            self._grant(org=name, sector=None, provider="*", until=None, evidence=True)
            for platform in PLATFORMS:
                self._add_channel(name, platform, 0)

    def teardown(self) -> None:
        try:
            self._drain()
        finally:
            self.world.close()
            self.folder.cleanup()

    # ---- who there is

    @rule(sector=st.sampled_from(SECTORS))
    @precondition(lambda self: len(self.orgs) < 5)
    def add_organisation(self, sector: str) -> None:
        name = f"Org{len(self.orgs)}"
        self._add_org(name, sector)
        self._add_channel(name, "slack", 0)

    @rule(data=st.data(), platform=st.sampled_from(PLATFORMS), number=st.integers(0, 4))
    def add_channel(self, data: st.DataObject, platform: str, number: int) -> None:
        self._add_channel(data.draw(st.sampled_from(sorted(self.orgs))), platform, number)

    @rule(data=st.data(), provider=st.sampled_from((*PROVIDERS, "*")), evidence=st.booleans(), hours=st.integers(0, 2))
    def grant(self, data: st.DataObject, provider: str, evidence: bool, hours: int) -> None:
        org = data.draw(st.one_of(st.none(), st.sampled_from(sorted(self.orgs))))
        sector = data.draw(st.sampled_from(SECTORS)) if org is None else None
        until = self.world.now + timedelta(hours=hours) if hours else None
        self._grant(org=org, sector=sector, provider=provider, until=until, evidence=evidence)

    # ---- access withdrawn and given back

    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        fields: dict[str, Any] = {}
        named = data.draw(
            st.sets(
                st.sampled_from(("org", "workspace", "channel", "sector", "provider", "category", "capability")),
                min_size=1,
                max_size=3,
            )
        )
        channel = data.draw(st.sampled_from(sorted(self.channels)))
        pools: dict[str, tuple[str, ...]] = {
            "org": tuple(sorted(self.orgs)),
            "workspace": (channels.parse(channel).workspace,),
            "channel": (channel,),
            "sector": SECTORS,
            "provider": (*PROVIDERS, "*"),
            "category": CATEGORIES,
            "capability": ("alerts", "evidence", "history"),
        }
        for name in sorted(named):
            fields[name] = data.draw(st.sampled_from(pools[name]))
        starts_in = data.draw(st.sampled_from((0, 0, 20)))
        until_in = data.draw(st.sampled_from((None, None, 1200)))
        now = self.world.now
        order = fields | {
            "from_at": now + timedelta(seconds=starts_in) if starts_in else None,
            "until": now + timedelta(seconds=until_in) if until_in else None,
            "retract": data.draw(st.booleans()) if not starts_in else False,
        }
        if data.draw(st.booleans()):
            planned = self.world.revoke(**order, dry_run=True)
            effect = self.world.revoke(**order, plan=planned.plan)
            assert (planned.withheld, planned.in_flight, planned.delivered, planned.retracting, planned.touched) == (
                effect.withheld, effect.in_flight, effect.delivered, effect.retracting, effect.touched,
            )  # fmt: skip
        else:
            effect = self.world.revoke(**order)
        assert effect.revocation is not None
        self.revocations[effect.revocation] = fields | {
            "from": now + timedelta(seconds=starts_in),
            "until": order["until"],
            "lifted": False,
            "immediate": not starts_in,
        }
        denied = {
            delivery
            for delivery, sending in self.flying.items()
            if sending.act.value in SHOWING and not self._may_send(self._row(delivery))
        }
        touched = {each["org"] for each in effect.touched}
        assert set(effect.in_flight) == {each for each in denied if self._row(each)["org"] in touched}
        self.reported |= set(effect.in_flight)

    @rule(data=st.data())
    @precondition(lambda self: any(not each["lifted"] for each in self.revocations.values()))
    def reinstate(self, data: st.DataObject) -> None:
        live = [name for name, each in self.revocations.items() if not each["lifted"]]
        chosen = data.draw(st.sampled_from(live))
        open_before = [row["delivery"] for row in self.world.rows(state="queued")]
        self.world.act(revoking.reinstate, chosen, "settled")
        self.revocations[chosen]["lifted"] = True
        assert [row["delivery"] for row in self.world.rows(state="queued")] == open_before

    @rule()
    def prove(self) -> None:
        for revocation in self.revocations:
            proof = self.world.write(proving.proof, revocation)
            assert proof["claimed_after"] == []

    # ---- what happens

    @rule(
        data=st.data(),
        happening=st.integers(0, 3),
        category=st.sampled_from(CATEGORIES),
        kind=st.sampled_from(("update", "update", "correction", "retraction")),
    )
    def raise_alert(self, data: st.DataObject, happening: int, category: str, kind: str) -> None:
        chosen = data.draw(st.sets(st.sampled_from(PROVIDERS), min_size=1, max_size=2))
        for view in dict.fromkeys(self.world.view(org) for org in self.orgs):
            if any(view.permits(provider) for provider in chosen):
                sources = tuple(sorted(provider for provider in chosen if view.permits(provider)))
                self._raise(view, sources, happening, category, kind)

    def _raise(self, view: ProviderSet, sources: tuple[str, ...], happening: int, category: str, kind: str) -> None:
        evidence = tuple(f"{provider}|{happening}" for provider in sources)
        event = alerts.event_id(f"happening {happening}")
        revision = self.revisions.get((view.key, event), 0) + 1
        self.revisions[view.key, event] = revision
        alert = factories.make_alert(
            event=event,
            revision=revision,
            kind=alerts.Kind.NEW if revision == 1 else alerts.Kind(kind),
            category=category,
            raised_at=self.world.now,
            sources=sources,
            evidence=evidence,
            quotes=evidence[:2],
        )
        self.world.record(alert, view=view, steps=[self.world.candidate(key) for key in evidence])

    @rule(provider=st.sampled_from(PROVIDERS), happening=st.integers(0, 3))
    def delete_post(self, provider: str, happening: int) -> None:
        deletion = Deletion(provider=provider, id=str(happening), deleted_at=self.world.now)
        if self.world.write(lambda db: list(db.query("SELECT 1 FROM posts WHERE post = ?", [deletion.key]))):
            self.deleted.add(str(deletion.key))
        self.world.record(steps=[deletion])

    @rule(seconds=st.sampled_from((0.5, 2, 30, 70, 1500)))
    def wait(self, seconds: float) -> None:
        self.world.wait(seconds=seconds)

    @rule(data=st.data(), whole=st.booleans())
    def lose(self, data: st.DataObject, whole: bool) -> None:
        channel = data.draw(st.sampled_from(sorted(self.channels)))
        target = channels.parse(channel).workspace if whole else channel
        self.world.write(admin.record_loss, self.world.now, target, "the bot was removed")

    @rule(data=st.data(), whole=st.booleans())
    def restore(self, data: st.DataObject, whole: bool) -> None:
        channel = data.draw(st.sampled_from(sorted(self.channels)))
        target = channels.parse(channel).workspace if whole else channel
        self.world.write(admin.record_return, self.world.now, target)

    # ---- delivering

    @rule(platform=st.sampled_from(PLATFORMS), most=st.sampled_from((1, 2, 16)))
    def claim(self, platform: str, most: int) -> None:
        self._claim(platform, most)

    @rule(data=st.data(), outcome=outcomes, look=looks, arrives=st.booleans())
    @precondition(lambda self: self.flying)
    def answer(self, data: st.DataObject, outcome: Outcome | None, look: Found | None, arrives: bool) -> None:
        delivery = data.draw(st.sampled_from(list(self.flying)))
        self.remote.next, self.remote.next_found, self.remote.arrives = outcome, look, arrives
        self._deliver(self.flying.pop(delivery))

    @rule(data=st.data(), look=looks)
    @precondition(lambda self: self.flying)
    def stumble(self, data: st.DataObject, look: Found | None) -> None:
        """It arrives, but nobody learns of it; the look into the history may be refused; then all is well again."""
        delivery = data.draw(st.sampled_from(list(self.flying)))
        platform = self.flying[delivery].channel.platform
        self.remote.next, self.remote.next_found, self.remote.arrives = Unknown(reason="reset"), None, True
        self._deliver(self.flying.pop(delivery))
        self.remote.next = None
        for self.remote.next_found in (look, None):
            self.world.wait(seconds=5)
            self._claim(platform, 16)
            if delivery in self.flying:
                self._deliver(self.flying.pop(delivery))

    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        """The process ends; some requests had gone out. The next one finds out what became of them."""
        for delivery in list(self.flying):
            if data.draw(st.booleans()) and not self.flying[delivery].uncertain:
                self.remote.take(self.flying[delivery])
        self._check_arrivals()
        self.flying.clear()
        self.world.reopen()
        self.world.write(claiming.recover, self.world.now)

    # ---- what always holds

    @invariant()
    def nothing_vanishes(self) -> None:
        rows = {row["delivery"]: row for row in self.world.rows()}
        assert set(self.seen) <= set(rows)
        for delivery, row in rows.items():
            assert row["state"] not in EXPLAINED or row["reason"], f"{delivery} is {row['state']} without a reason"
            before = self.seen.get(delivery)
            if before is not None and before["state"] in FINAL:
                assert row["state"] == before["state"], f"{delivery} was {before['state']}, is {row['state']}"
        assert {name for name, row in rows.items() if row["state"] == "sending"} == set(self.flying)
        self.seen = rows

    @invariant()
    def one_send_a_channel(self) -> None:
        sending = self.world.rows(state="sending")
        assert len({row["channel"] for row in sending}) == len(sending)
        for platform in PLATFORMS:
            assert sum(row["channel"].startswith(platform) for row in sending) <= 16

    @invariant()
    def nothing_arrives_twice(self) -> None:
        acts = {row["delivery"]: row["act"] for row in self.seen.values()}
        twice = [each for each, n in self.remote.arrived.items() if n > 1 and acts[each] in ("post", "reply")]
        assert not twice

    @invariant()
    def the_audit_holds(self) -> None:
        assert chain.verify(self.world.audit()) is None

    # ---- the model: default deny, once more

    def _may(self, org: str, channel: str, sources: list[str], category: str, view: str, capability: str) -> bool:
        for revocation in self._live():
            if self._matches(revocation, org, channel, sources, category, capability):
                return False
        if not all(self._granted(org, provider, capability) for provider in sources):
            return False
        return all(self._shapes(org, p, capability) for p in (*PROVIDERS, ELSEWHERE) if _in_view(view, p))

    def _may_send(self, row: dict[str, Any], capability: str = "alerts") -> bool:
        alert = self.world.write(deliveries.alert_of, row)
        return self._may(
            self._name(row["org"]), row["channel"], list(alert.sources), alert.category, row["view"], capability
        )

    def _shapes(self, org: str, provider: str, capability: str) -> bool:
        """May posts of this provider shape what the organisation sees?"""
        for revocation in self._live():
            if not revocation.keys() & {"workspace", "channel", "category"} and self._matches(
                revocation, org, "", [provider], "", capability
            ):
                return False
        return self._granted(org, provider, capability)

    def _granted(self, org: str, provider: str, capability: str) -> bool:
        return any(
            (grant["org"] is None or grant["org"] == org)
            and (grant["sector"] is None or _below(self.orgs[org], grant["sector"]))
            and grant["provider"] in ("*", provider)
            and (grant["until"] is None or self.world.now < grant["until"])
            and (capability == "alerts" or grant["evidence"])
            for grant in self.grants
        )

    def _matches(
        self, revocation: dict[str, Any], org: str, channel: str, sources: list[str], category: str, capability: str
    ) -> bool:
        for name in ("org", "workspace", "channel", "sector", "provider", "category", "capability"):
            if name not in revocation:
                continue
            value = revocation[name]
            fits = {
                "org": value == org,
                "workspace": channel.startswith(value + "/"),
                "channel": value == channel,
                "sector": _below(self.orgs[org], value),
                "provider": value == "*" or value in sources,
                "category": value == category,
                "capability": value == capability,
            }
            if not fits[name]:
                return False
        return True

    def _live(self) -> list[dict[str, Any]]:
        now = self.world.now
        return [
            each
            for each in self.revocations.values()
            if not each["lifted"] and each["from"] <= now and (each["until"] is None or now < each["until"])
        ]

    # ---- steps

    def _add_org(self, name: str, sector: str) -> None:
        self.world.act(admin.add_organisation, name, sector)
        self.orgs[name] = sector

    def _add_channel(self, org: str, platform: str, number: int) -> None:
        channel = f"{platform}:{org}/C{number}"
        known = channel in self.channels
        self.world.channel(channel, org, subscribed=False)
        if not known:
            self.world.write(
                lambda db: (
                    admin._subscribe(
                        db,
                        OPERATOR,
                        self.world.now,
                        channels.parse(channel),
                        factories.make_subscription(channel=channel),
                    )
                    if self._any_grant(org)
                    else None
                )
            )
        self.channels[channel] = org

    def _any_grant(self, org: str) -> bool:
        granted = any(self._granted(org, provider, "alerts") for provider in (*PROVIDERS, ELSEWHERE))
        channel = f"slack:{org}/"
        return granted and not any(
            self._matches(each, org, channel, [], "", "alerts") or {"channel", "workspace"} & each.keys()
            for each in self._live()
        )

    def _grant(self, *, org: str | None, sector: str | None, provider: str, until: Any, evidence: bool) -> None:
        capabilities = ("alerts", "evidence") if evidence else ("alerts",)
        self.world.grant(org=org, sector=sector, provider=provider, until=until, capabilities=capabilities)
        self.grants.append({"org": org, "sector": sector, "provider": provider, "until": until, "evidence": evidence})

    def _claim(self, platform: str, most: int) -> None:
        before = {row["delivery"]: row for row in self.world.rows()}
        order = [row["delivery"] for row in self.world.rows()]
        for sending in self.world.claim(platform, most):
            assert sending.delivery not in self.flying
            self.flying[sending.delivery] = sending
            row = before[sending.delivery]
            assert row["state"] in ("queued", "unknown")
            after = {each["delivery"]: each for each in self.world.rows()}
            for earlier in order[: order.index(sending.delivery)]:
                if after[earlier]["channel"] == row["channel"]:
                    assert after[earlier]["state"] not in ("queued", "unknown"), "overtaken"
            if sending.act.value in SHOWING:
                assert self._may_send(row), f"claimed though denied: {row}"
                if sending.message.quotes:
                    assert self._may_send(row, "evidence"), f"quoted though denied: {row}"
                quoted = {quote.text for quote in sending.message.quotes}
                assert not quoted & {f"text of {key}" for key in self.deleted}
                assert "" not in quoted

    def _deliver(self, sending: Sending) -> None:
        """Through the real worker: find where it is due, send, settle."""
        notifiers = dict.fromkeys(PLATFORMS, self.remote)
        worker = Delivering(self.world.database, notifiers, now=lambda: self.world.now)  # type: ignore[arg-type]
        asyncio.run(worker._deliver(sending))
        self._check_arrivals()

    def _check_arrivals(self) -> None:
        for sending in self.remote.newly:
            if sending.act.value in SHOWING and any(
                each["immediate"] and self._hit(each, self._row(sending.delivery)) for each in self._live()
            ):
                assert sending.delivery in self.reported, "arrived after a fence that did not report it as in flight"
        self.remote.newly.clear()

    def _hit(self, revocation: dict[str, Any], row: dict[str, Any]) -> bool:
        alert = self.world.write(deliveries.alert_of, row)
        org = self._name(row["org"])
        return self._matches(revocation, org, row["channel"], list(alert.sources), alert.category, "alerts")

    def _drain(self) -> None:
        """Everything comes within reach and the remote side accepts all: every row must come to its end."""
        self.remote.next = self.remote.next_found = None
        for channel in sorted(self.channels):
            self.world.write(admin.record_return, self.world.now, channels.parse(channel).workspace)
            self.world.write(admin.record_return, self.world.now, channel)
        for _ in range(200):
            self.world.wait(minutes=2)
            for platform in PLATFORMS:
                self._claim(platform, 16)
            if not self.flying and not self.world.rows(state="queued") and not self.world.rows(state="unknown"):
                break
            for delivery in list(self.flying):
                self._deliver(self.flying.pop(delivery))
        left = [row for row in self.world.rows() if row["state"] not in FINAL]
        assert not left, f"never came to an end: {left}"
        self.nothing_arrives_twice()
        self.prove_all()

    def prove_all(self) -> None:
        for revocation in self.revocations:
            assert self.world.write(proving.proof, revocation)["claimed_after"] == []

    def _row(self, delivery: str) -> dict[str, Any]:
        return next(row for row in self.world.rows() if row["delivery"] == delivery)

    def _name(self, org_id: str) -> str:
        found = self.world.write(lambda db: list(db.query("SELECT name FROM organisations WHERE org = ?", [org_id])))
        return str(found[0]["name"])


def _below(sector: str, ancestor: str) -> bool:
    return sector == ancestor or sector.split("/")[0] == ancestor


def _in_view(key: str, provider: str) -> bool:
    """Read a View's key without the code under test."""
    if key.startswith("*"):
        return provider not in key[1:].split("!")
    return provider in key.split("+")


AccessMachine.TestCase.settings = settings(
    max_examples=100, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAccess = AccessMachine.TestCase
