"""``tocsin check`` and ``tocsin classify``: looking at the parts one by one."""

import asyncio
import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bot import app, config
from bot.config import Config
from bot.domain import errors
from bot.ingest import lines, terms
from bot.ingest import standing as sources_standing
from bot.ingest.source import State
from bot.platforms.base import Problem
from bot.platforms.discord import client as discord
from bot.platforms.slack import app as slack
from bot.platforms.slack import http as slack_http
from bot.store import retention
from bot.store.database import Database
from classifiers.api import Classifier

CLASSIFY_MOST = 256  # lines classified at once


async def check(config_file: Path | None, db: Path | None) -> list[dict[str, Any]]:
    """Each part with what is wrong with it and what to do. Nothing is created or sent."""
    try:
        settings = config.load(config_file, db=db)
    except errors.UsageError as error:
        return [_part("configuration", _problem(error))]
    return [
        _part("configuration"),
        _part("store", _problem_of_store(settings)),
        _part("model", await asyncio.to_thread(_problem_of_model, settings)),
        *([_part("sources", problem) for problem in await _problems_of_sources(settings)] or [_part("sources")]),
        *([_part("slack", problem) for problem in await _problems_of_slack(settings)] or [_part("slack")]),
        _part("discord", await _problem_of_discord(settings)),
    ]


def classify(classifier: Classifier, given: Iterable[bytes]) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Line number and the contract's classify object, or what is wrong with the line; empty lines are passed over."""
    waiting: list[tuple[int, str | None, str]] = []
    for number, line in enumerate(given, start=1):
        stripped = line.strip()
        if not stripped:
            continue
        if stripped.startswith(b"{"):
            try:
                post_id, text = lines.decode_text(stripped)
            except lines.BadLineError as error:
                yield from _classified(classifier, waiting)
                waiting = []
                yield number, str(error)
                continue
            waiting.append((number, post_id, text))
        else:
            waiting.append((number, None, stripped.decode("utf-8", "replace")))
        if len(waiting) == CLASSIFY_MOST:
            yield from _classified(classifier, waiting)
            waiting = []
    yield from _classified(classifier, waiting)


def _classified(
    classifier: Classifier, waiting: list[tuple[int, str | None, str]]
) -> Iterator[tuple[int, dict[str, Any] | str]]:
    answers = classifier.classify([text for _, _, text in waiting])
    for (number, post_id, text), answer in zip(waiting, answers, strict=True):
        result: dict[str, Any] = {} if post_id is None else {"id": post_id}
        result["text"] = text
        result["categories"] = {name: round(p, 4) for name, p in answer.categories.items()}
        result["places"] = [
            {"text": span.text, "start": span.start, "end": span.end, "type": span.type} for span in answer.places
        ]
        if answer.report is not None:
            result["report"] = round(answer.report, 4)
        if answer.sources:
            result["sources"] = {name: round(p, 4) for name, p in answer.sources.items()}
        yield number, result


def _part(name: str, problem: Problem | None = None) -> dict[str, Any]:
    return {
        "part": name,
        "ok": problem is None,
        "problem": problem.problem if problem else None,
        "remedy": problem.remedy if problem else None,
    }


def _problem(error: Exception) -> Problem:
    """Our errors are one sentence, the remedy after its last semicolon."""
    what, _, remedy = str(error).rpartition("; ")
    return Problem(problem=what, remedy=remedy) if what else Problem(problem=remedy, remedy="see README.md")


def _problem_of_store(settings: Config) -> Problem | None:
    path = settings.store.path
    if not path.exists():
        parent = path.absolute().parent
        if parent.is_dir():
            return None
        return Problem(problem=f"store {path}: its folder does not exist", remedy=f"make {parent}")
    try:
        Database.open(path, read_only=True).close()
    except errors.StoreError as error:
        return _problem(error)
    return None


def _problem_of_model(settings: Config) -> Problem | None:
    try:
        app.load_classifier(settings.model).classify(["check"])
    except errors.UsageError as error:
        return _problem(error)
    return None


async def _problems_of_sources(settings: Config) -> list[Problem]:
    """What the configuration or a provider's terms are short of; else what ails those of the service that runs."""
    found = _problem_of_sources(settings) or _problem_of_terms(settings)
    if found is not None or not settings.store.path.exists():
        return [] if found is None else [found]
    with contextlib.suppress(errors.StoreError), Database.open(settings.store.path, read_only=True) as database:
        unasked = app.unasked(settings.source, await database.read(retention.providers))
        names = {each.name: each.provider or "*" for each in settings.source}
        standing = await database.read(sources_standing.standing, names, app.now())
        return [app.not_asked(name) for name in unasked[:1]] + [
            Problem(problem=f"source {each['source']}: {each['last_error']}", remedy=str(each["remedy"]))
            for each in standing
            if each["state"] in (State.CONNECTING, State.WAITING, State.FAILED) and each["last_error"]
        ]
    return []  # which is the part "store"


def _problem_of_sources(settings: Config) -> Problem | None:
    try:
        app.build_sources(settings.source)
    except errors.UsageError as error:
        return _problem(error)
    return None


def _problem_of_terms(settings: Config) -> Problem | None:
    """A source whose provider's terms somebody has to have read."""
    for each in settings.source:
        known = terms.of(each.type, each.provider or "*")
        if known.needs_consent and not getattr(each, "accept_terms", False):
            return Problem(
                problem=f"source {each.name}: {known.note}",
                remedy="read the provider's terms, then take the posts by a source that has accept_terms, and set it",
            )
    return None


async def _problems_of_slack(settings: Config) -> list[Problem]:
    """In HTTP mode there may be one for each workspace that installed the app."""
    given = settings.slack
    if given.public_url is not None:
        with contextlib.ExitStack() as stack:
            database = None
            with contextlib.suppress(errors.StoreError):  # which is the part "store"
                database = stack.enter_context(Database.open(settings.store.path, read_only=True))
            return await slack_http.check(database=database, public_url=given.public_url, api_url=given.api_url)
    if given.bot_token is None or given.app_token is None:
        return []
    problem = await slack.check(
        bot_token=given.bot_token.get_secret_value(),
        app_token=given.app_token.get_secret_value(),
        api_url=given.api_url,
    )
    return [] if problem is None else [problem]


async def _problem_of_discord(settings: Config) -> Problem | None:
    if settings.discord.token is None:
        return None
    return await discord.check(token=settings.discord.token.get_secret_value(), api_url=settings.discord.api_url)
