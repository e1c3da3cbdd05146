"""The bundled scenario keeps what it promises: enough posts, enough variety, and the same ones every time."""

import json
import re
from collections import Counter
from datetime import datetime
from typing import Any

import pytest

from bot.rehearsal import chatter, scenario, truth

POST_KEYS = {
    "source", "id", "text", "created_at", "author", "langs", "url",
    "repost_of", "reply_to", "lat", "lon", "media", "verified", "official",
}  # fmt: skip


@pytest.fixture(scope="module")
def everything() -> list[dict[str, Any]]:
    return [json.loads(line) for line in scenario.lines()]


@pytest.fixture(scope="module")
def posts(everything: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in everything if "text" in line]


@pytest.fixture(scope="module")
def deletions(everything: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in everything if "text" not in line]


def about(posts: list[dict[str, Any]], happening: str) -> list[dict[str, Any]]:
    return [post for post in posts if truth.happening_of(post["id"]) == happening]


def seconds(post: dict[str, Any]) -> float:
    return (datetime.fromisoformat(post["created_at"]) - scenario.START).total_seconds()


def test_there_are_posts_enough_of_happenings_amid_chatter(posts: list[dict[str, Any]]) -> None:
    told = Counter(truth.happening_of(post["id"]) for post in posts)
    assert len(posts) >= 1_800
    assert told[None] > 0.8 * len(posts)
    assert set(told) - {None} == set(truth.HAPPENINGS)


def test_happenings_are_of_many_categories_and_languages(posts: list[dict[str, Any]]) -> None:
    assert len({happening["category"] for happening in truth.HAPPENINGS.values()}) >= 6
    assert len({happening["lang"] for happening in truth.HAPPENINGS.values()}) >= 3
    assert sum(happening["lang"] == "en" for happening in truth.HAPPENINGS.values()) >= 5
    for name, happening in truth.HAPPENINGS.items():
        assert any(happening["lang"] in post["langs"] for post in about(posts, name))


def test_the_scenario_is_the_same_every_time() -> None:
    assert list(scenario.lines()) == list(scenario.lines())


def test_lines_are_sorted_by_time(everything: list[dict[str, Any]]) -> None:
    times = [line.get("created_at") or line["deleted_at"] for line in everything]
    assert times == sorted(times)
    assert times[0].startswith("2031-05-14T14:")


def test_lines_have_the_keys_of_the_contract(posts: list[dict[str, Any]], deletions: list[dict[str, Any]]) -> None:
    for post in posts:
        assert set(post) == POST_KEYS
        assert 0 < len(post["text"].strip()) <= 300
        assert re.fullmatch(r"2031-05-14T1[4-7]:\d\d:\d\d\.\d{3}Z", post["created_at"])
    for deletion in deletions:
        assert set(deletion) == {"source", "id", "deleted_at"}


def test_ids_are_unique_and_references_point_backwards(posts: list[dict[str, Any]]) -> None:
    seen: dict[str, str] = {}
    for post in posts:
        assert post["id"] not in seen
        for reference in (post["repost_of"], post["reply_to"]):
            assert reference is None or seen[reference] == post["source"]
        seen[post["id"]] = post["source"]


def test_only_posts_that_were_seen_are_deleted(everything: list[dict[str, Any]]) -> None:
    alive: set[str] = set()
    for line in everything:
        if "text" in line:
            alive.add(line["id"])
        else:
            assert line["id"] in alive
            alive.remove(line["id"])


def test_happenings_have_reposts_and_textual_reposts(posts: list[dict[str, Any]]) -> None:
    written = [post for post in posts if truth.happening_of(post["id"])]
    assert sum(post["repost_of"] is not None for post in written) >= 10
    assert sum(post["text"].startswith("RT @") for post in written) >= 6


def test_a_fast_happening_starts_with_six_voices_in_ninety_seconds(posts: list[dict[str, Any]]) -> None:
    for name in ("harbour-explosion", "train-derailment", "earthquake", "flash-flood", "mall-shooting-hoax", "volcano"):
        first = [post for post in about(posts, name) if post["repost_of"] is None][:6]
        assert len({post["author"] for post in first}) == 6
        assert seconds(first[-1]) - seconds(first[0]) < 95


def test_the_hoax_is_denied_by_a_verified_account(posts: list[dict[str, Any]]) -> None:
    hoax = about(posts, "mall-shooting-hoax")
    denial = next(i for i, post in enumerate(hoax) if post["text"].startswith("There is no active shooter"))
    assert hoax[denial]["verified"]
    assert denial >= 10
    assert sum("false alarm" in post["text"].lower() for post in hoax[denial:]) >= 3


def test_all_the_evidence_of_the_gas_leak_is_deleted(
    posts: list[dict[str, Any]], deletions: list[dict[str, Any]]
) -> None:
    leak = about(posts, "plant-gas-leak")
    assert len(leak) == 4
    assert {post["id"] for post in leak} <= {deletion["id"] for deletion in deletions}


def test_the_earthquake_has_an_official_post(posts: list[dict[str, Any]]) -> None:
    official = [post for post in posts if post["official"]]
    assert [(post["source"], post["official"]["category"]) for post in official] == [("usgs", "earthquake")]


def test_chatter_hardly_repeats(posts: list[dict[str, Any]]) -> None:
    own = [post for post in posts if truth.happening_of(post["id"]) is None and post["repost_of"] is None]
    sentences = Counter(post["text"].lower() for post in own)
    assert max(sentences.values()) == 1
    everywhere = Counter(post["text"] for post in posts if truth.happening_of(post["id"]) is None)
    assert max(everywhere.values()) <= 2
    assert chatter.possibilities() > 300_000


def test_chatter_comes_in_six_languages_without_a_burst(posts: list[dict[str, Any]]) -> None:
    small_talk = [post for post in posts if truth.happening_of(post["id"]) is None]
    langs = Counter(post["langs"][0] for post in small_talk)
    assert set(langs) == {"en", "es", "fr", "pt", "de", "it"}
    assert min(langs.values()) >= 50
    assert max(Counter(int(seconds(post) // 60) for post in small_talk).values()) < 30
