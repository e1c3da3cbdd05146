"""Every command of the contract: it exists, it prints what the contract says, and it ends with the right status."""

import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bot.rehearsal import scenario, truth
from tests.acceptance.stage import LOADED_ONCE, environment, json_lines

ALERT_KEYS = {
    "alert", "event", "revision", "kind", "level", "certainty", "newsworthiness", "disputed", "category", "categories",
    "headline", "place", "first_post_at", "raised_at", "posts", "authors", "sources", "evidence",
}  # fmt: skip
ORG_KEYS = {"org", "name", "sector", "state"}
CHANNEL_KEYS = {"channel", "org", "platform", "workspace"}
REVOKE_KEYS = {
    "revocation", "plan", "dry_run", "touched", "untouched", "withheld", "in_flight", "delivered", "committed_at",
}  # fmt: skip
DELIVERY_KEYS = {
    "delivery", "alert", "event", "org", "channel", "act", "state", "reason", "attempts", "platform_id", "created_at",
    "sent_at",
}  # fmt: skip
AUDIT_KEYS = {"seq", "at", "actor", "surface", "action", "target", "reason", "effect", "prev_hash", "hash"}

# One process for all commands, since loading the program costs a second; each is a call of its own in it.
_SERVER = f"""
import json, sys, traceback
from click.testing import CliRunner
from bot.cli import main
{LOADED_ONCE}
requests, answers = sys.stdin, sys.stdout
for line in requests:
    request = json.loads(line)
    result = CliRunner().invoke(main, request["argv"], input=request["stdin"])
    crash = ""
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        crash = "".join(traceback.format_exception(result.exception))
    print(json.dumps([result.exit_code, result.stdout, result.stderr, crash]), file=answers, flush=True)
"""


@dataclass(frozen=True, kw_only=True)
class Result:
    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return json_lines(self.out)


class CommandLine:
    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVER],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder, env=environment(),
        )  # fmt: skip

    def __call__(self, *argv: str | Path, stdin: str = "", status: int = 0) -> Result:
        """Run one command, which must end with ``status``."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"argv": [str(each) for each in argv], "stdin": stdin}) + "\n")
        self._process.stdin.flush()
        code, out, err, crash = json.loads(self._process.stdout.readline())
        assert not crash, f"tocsin {' '.join(map(str, argv))}:\n{crash}"
        assert code == status, f"tocsin {' '.join(map(str, argv))} ended with {code}:\n{err}"
        return Result(status=code, out=out, err=err)

    def close(self) -> None:
        assert self._process.stdout is not None
        self._process.communicate(timeout=10)


@pytest.fixture(scope="module")
def tocsin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    running = CommandLine(tmp_path_factory.mktemp("here"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def posts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An hour and a half of the rehearsal; its second deletion is among it, its happenings are mostly before."""
    path = tmp_path_factory.mktemp("posts") / "posts.jsonl"
    chosen = [each for each in scenario.posts() if (each.get("created_at") or "") < "2031-05-14T14:30"]
    path.write_text("".join(json.dumps(each) + "\n" for each in chosen if "text" in each))
    return path


@pytest.fixture
def config(tmp_path: Path, posts: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(
        f'[store]\npath = "{tmp_path}/tocsin.db"\n[model]\nthreads = 1\n'
        f'[[source]]\ntype = "replay"\nname = "recorded"\npath = "{posts}"\n'
    )
    return path


@pytest.mark.parametrize("flag", ["--json", None])
def test_every_command_does_what_the_contract_says(
    tocsin: CommandLine, config: Path, posts: Path, flag: str | None
) -> None:
    def run(*argv: str | Path, keys: set[str] | None = None, rows: int | None = None, status: int = 0) -> list[Any]:
        """With ``--json``: the lines, which have the keys. Without: text for people, which is no JSON."""
        result = tocsin("-c", config, *argv, *([flag] if flag else []), status=status)
        if flag is None:
            assert result.out.strip()
            return []
        for line in result.lines:
            assert keys is None or set(line) >= keys, (argv, line)
        assert rows is None or len(result.lines) == rows
        return result.lines

    run("org", "add", "Acme", "--sector", "news/print", keys=ORG_KEYS, rows=1)
    run("org", "add", "Bank", "--sector", "finance/bank", keys=ORG_KEYS, rows=1)
    run("org", "list", keys=ORG_KEYS, rows=2)
    run("org", "show", "acme", keys=ORG_KEYS, rows=1)
    run("channel", "add", "Acme", "console:-/acme", keys=CHANNEL_KEYS, rows=1)
    run("channel", "add", "Bank", "slack:T0123/C0456", keys=CHANNEL_KEYS, rows=1)
    run("channel", "list", keys=CHANNEL_KEYS, rows=2)
    run("grant", "--sector", "news", "--provider", "*", "--reason", "contract", rows=1)
    run("grant", "--org", "Acme", "--provider", "*", "--capability", "history", "--capability", "export", "--until",
        "30d", "--reason", "contract", rows=1)  # fmt: skip
    run("grant", "--org", "Bank", "--provider", "bluesky", "--reason", "contract", rows=1)
    run("subscribe", "console:-/acme", "--anywhere", rows=1)
    run("subscribe", "slack:T0123/C0456", "--place", "Germany", "--category", "flood", "--level", "urgent", rows=1)
    run("subscriptions", rows=2)
    run("unsubscribe", "slack:T0123/C0456", rows=1)

    replayed = run("replay", posts, "--deliver", keys=ALERT_KEYS)
    run("deliveries", keys=DELIVERY_KEYS)
    delivered = run("deliveries", "--state", "sent", "--org", "Acme", keys=DELIVERY_KEYS)
    run("events", "--org", "Acme", "--search", "explosion", "--since", "2031-05-14", keys=ALERT_KEYS)
    exported = tocsin("-c", config, "export", "--org", "Acme", "--since", "2031-05-14", *([flag] if flag else []))
    assert all(set(line) >= ALERT_KEYS for line in exported.lines)
    alert = exported.lines[0]
    if flag:
        assert {each["alert"] for each in delivered} == {each["alert"] for each in exported.lines}
        assert {each["alert"] for each in delivered} <= {each["alert"] for each in replayed}
    for what in (alert["alert"], alert["evidence"][0]):
        for told in run("explain", what, "--org", "Acme", keys={"stages", "shown"}, rows=1):
            assert told["shown"] is True
            assert all(set(stage) >= {"stage", "verdict", "figures"} for stage in told["stages"])
            assert "detected" in {stage["stage"] for stage in told["stages"]}

    planned = run("revoke", "--sector", "news", "--reason", "ended", "--retract", "--dry-run", keys=REVOKE_KEYS, rows=1)
    plan = ["--plan", planned[0]["plan"]] if flag else []
    revoked = run("revoke", "--sector", "news", "--reason", "ended", *plan, "--retract", keys=REVOKE_KEYS, rows=1)
    if flag:
        assert (planned[0]["revocation"], planned[0]["dry_run"], revoked[0]["dry_run"]) == (None, True, False)
        assert [set(each) for each in revoked[0]["touched"]] == [{"org", "name", "sector"}]
    (withdrawn,) = tocsin("-c", config, "revocations", "--json").lines
    run("revocations", rows=1)
    run("revocation", "show", withdrawn["revocation"], keys={"effect", "claimed_after"}, rows=1)
    tocsin("-c", config, "events", "--org", "Acme", status=1)
    run("reinstate", withdrawn["revocation"], "--reason", "paid", rows=1)
    run("org", "suspend", "Bank", keys=ORG_KEYS, rows=1)
    run("org", "resume", "Bank", keys=ORG_KEYS, rows=1)
    run("channel", "remove", "slack:T0123/C0456", rows=1)

    run("audit", keys=AUDIT_KEYS)
    run("audit", "verify", keys={"ok"}, rows=1)
    export = tocsin("-c", config, "audit", "export", *([flag] if flag else []))
    assert all(set(line) >= AUDIT_KEYS for line in export.lines)
    file = config.with_name("audit.jsonl")
    file.write_text(export.out)
    run("audit", "verify", file, keys={"ok"}, rows=1)
    file.write_text(export.out.replace("ended", "never"))
    run("audit", "verify", file, keys={"ok"}, rows=1, status=1)
    run("check", keys={"part", "ok", "problem", "remedy"}, rows=6)
    run("classify", posts, keys={"id", "text", "categories", "places"})


def test_the_models_life_has_its_commands() -> None:
    for command in ("train", "evaluate", "export", "card"):
        done = subprocess.run(
            [sys.executable, "-m", "classifiers", command, "--help"],
            capture_output=True, text=True, env=environment(), timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("argv", "status", "says"),
    [
        (["org", "show", "nobody"], 2, "org list"),
        (["org", "add", "X", "--sector", "astrology"], 2, "sector"),
        (["org", "add", "acme", "--sector", "news"], 1, "exists already"),
        (["channel", "add", "Acme", "fax:1/2"], 2, "fax:1/2"),
        (["channel", "remove", "slack:T1/C1"], 2, "channel list"),
        (["subscribe", "console:-/acme"], 2, "--anywhere"),
        (["subscribe", "slack:T9/C9", "--anywhere"], 2, "channel add"),
        (["grant", "--provider", "x", "--reason", "r"], 2, "--org"),
        (["revoke", "--reason", "r"], 2, "at least one"),
        (["revoke", "--org", "Acme", "--plan", "p0", "--reason", "r"], 1, "dry-run"),
        (["reinstate", "r0", "--reason", "r"], 2, "revocations"),
        (["events", "--org", "Acme"], 1, "--capability history"),
        (["export", "--org", "Acme", "--since", "2031-01-01"], 1, "--capability export"),
        (["replay", "nowhere.jsonl"], 2, "nowhere.jsonl"),
        (["replay", "config.example.toml", "--pace", "0"], 2, "--pace"),
        (["classify", "nowhere.txt"], 2, "nowhere.txt"),
        (["teleport"], 2, "teleport"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_a_status(
    tocsin: CommandLine, config: Path, argv: list[str], status: int, says: str
) -> None:
    tocsin("-c", config, "org", "add", "Acme", "--sector", "news")
    tocsin("-c", config, "channel", "add", "Acme", "console:-/acme")
    tocsin("-c", config, "grant", "--org", "Acme", "--provider", "bluesky", "--reason", "contract")
    result = tocsin("-c", config, *argv, status=status)
    assert says in result.err
    assert "Traceback" not in result.err
    assert result.out == ""


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ('[store]\npth = "x.db"', "store.pth is not a setting"),
        ('[slack]\nbot_token = "xoxb-SECRET"', "app_token (xapp-…) is missing"),
        ('[web]\nport = "eighty"', "web.port"),
        ('[model]\npath = "/nowhere/model"', "/nowhere/model"),
        ('[[source]]\ntype = "replay"\npath = "/nowhere.jsonl"', "/nowhere.jsonl"),
        ('[[source]]\ntype = "carrier-pigeon"', "carrier-pigeon"),
        ("[store", "not valid TOML"),
    ],
)
def test_bad_configuration_is_one_sentence_and_nothing_is_started(
    tocsin: CommandLine, tmp_path: Path, toml: str, says: str
) -> None:
    file, store = tmp_path / "config.toml", tmp_path / "tocsin.db"
    file.write_text(toml)
    result = tocsin("-c", file, "--db", store, "run", status=2)
    assert says in result.err
    assert len(result.err.splitlines()) == 1
    assert "SECRET" not in result.err
    assert sorted(tmp_path.iterdir()) == [file]


def test_missing_configuration_file_is_said(tocsin: CommandLine, tmp_path: Path) -> None:
    assert "absent.toml" in tocsin("-c", tmp_path / "absent.toml", "run", status=2).err


def test_replay_skips_and_counts_bad_lines(tocsin: CommandLine, config: Path, posts: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed.jsonl"
    good = posts.read_text().splitlines()
    mixed.write_text("\n".join([good[0], "{broken", *good[1:], '{"source": "x", "id": "1"}', ""]))
    clean = tocsin("-c", config, "replay", posts, "--json")
    result = tocsin("-c", config, "replay", mixed, "--json")
    assert result.out == clean.out
    assert f"bad lines skipped: 2, good: {len(good)}" in result.err
    assert "line=2" in result.err
    assert f"line={len(good) + 2}" in result.err

    mixed.write_text("{broken\n")
    assert "no good line" in tocsin("-c", config, "replay", mixed, "--json", status=1).err


def test_replay_says_the_same_of_the_same_posts(tocsin: CommandLine, config: Path, posts: Path, tmp_path: Path) -> None:
    once = tocsin("-c", config, "replay", posts, "--json").out
    assert len(once.splitlines()) >= 4
    packed = tmp_path / "posts.jsonl.gz"
    packed.write_bytes(gzip.compress(posts.read_bytes()))
    lines = posts.read_text().splitlines(keepends=True)
    halves = [tmp_path / "odd.jsonl", tmp_path / "even.jsonl"]
    for number, half in enumerate(halves):
        half.write_text("".join(lines[number::2]))
    assert tocsin("-c", config, "replay", packed, "--json").out == once
    assert tocsin("-c", config, "replay", "-", "--json", stdin=posts.read_text()).out == once
    assert tocsin("-c", config, "replay", *halves, "--json").out == once


def test_replay_as_an_organisation_only_reads_the_store_and_shows_what_it_may_have(
    tocsin: CommandLine, config: Path, posts: Path
) -> None:
    for name in ("Acme", "Bank"):
        tocsin("-c", config, "org", "add", name, "--sector", "news")
    tocsin("-c", config, "grant", "--sector", "news", "--provider", "x", "--reason", "r")
    tocsin("-c", config, "revoke", "--org", "Bank", "--reason", "ended")
    store = config.with_name("tocsin.db")
    before = (store.read_bytes(), store.stat().st_mtime_ns)

    seen = tocsin("-c", config, "replay", posts, "--as", "Acme", "--json").lines
    assert seen
    assert {source for line in seen for source in line["sources"]} == {"x"}
    assert tocsin("-c", config, "replay", posts, "--as", "Bank", "--json").out == ""
    assert (store.read_bytes(), store.stat().st_mtime_ns) == before
    assert tocsin("-c", config, "deliveries", "--json").out == ""


def explained(lines: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {line["post"]: line for line in lines if "stages" in line}


def test_replay_explains_what_became_of_a_post_stage_by_stage(tocsin: CommandLine, config: Path, posts: Path) -> None:
    raised = tocsin("-c", config, "replay", posts, "--json").lines
    voice, ordinary = raised[0]["evidence"][0], json.loads(posts.read_text().splitlines()[0])["id"]
    asked = [each for post in (voice, ordinary, "never") for each in ("--explain", post)]
    result = tocsin("-c", config, "replay", posts, "--json", *asked)
    assert [line for line in result.lines if "stages" not in line] == raised
    found = explained(result.lines)
    assert list(found) == [voice, ordinary, "never"]
    for line in found.values():
        assert set(line) == {"post", "stages", "shown"}
        assert all(set(stage) == {"stage", "verdict", "figures"} for stage in line["stages"])
        assert all(stage["verdict"].startswith(("yes: ", "no: ")) for stage in line["stages"])
    stages = {stage["stage"]: stage for stage in found[voice]["stages"]}
    assert list(stages) == ["screened", "classified", "detected", "assessed"]
    assert stages["screened"]["figures"]["score"] >= stages["screened"]["figures"]["threshold"]
    assert stages["classified"]["figures"]["p"] >= stages["classified"]["figures"]["threshold"]
    assert stages["detected"]["figures"]["event"] == raised[0]["event"]
    assert stages["assessed"]["figures"]["voices"] >= 2
    assert found[voice]["shown"]
    assert [stage["verdict"][:3] for stage in found[ordinary]["stages"]][-1] == "no:"
    assert not found[ordinary]["shown"]
    assert found["never"]["stages"] == [
        {"stage": "received", "verdict": "no: no post never came in this replay", "figures": {}}
    ]
    said = tocsin("-c", config, "replay", posts, *asked).out
    assert f"post {voice}\n  screened    yes: score" in said
    assert "no post never came" in said


def test_replay_explains_nothing_of_a_post_that_the_organisation_may_not_have(
    tocsin: CommandLine, config: Path, posts: Path
) -> None:
    for name, provider in (("Acme", "x"), ("Bank", "usgs")):
        tocsin("-c", config, "org", "add", name, "--sector", "news")
        tocsin("-c", config, "grant", "--org", name, "--provider", provider, "--reason", "r")
    raised = tocsin("-c", config, "replay", posts, "--as", "Acme", "--json").lines
    voice = raised[0]["evidence"][0]
    for name, stages in (("Acme", ["screened", "classified", "detected", "assessed"]), ("Bank", ["access"])):
        lines = tocsin("-c", config, "replay", posts, "--as", name, "--json", "--explain", voice).lines
        (line,) = explained(lines).values()
        assert [stage["stage"] for stage in line["stages"]] == stages
        assert line["shown"] is (name == "Acme")
    assert line["stages"][0]["verdict"] == "no: Bank has no grant for alerts from x"
    assert "--as" in tocsin("-c", config, "replay", posts, "--deliver", "--explain", voice, status=2).err


def test_classify_answers_each_line_in_its_order(tocsin: CommandLine, config: Path) -> None:
    lines = [
        "huge explosion at the harbour in Port Calder, windows blown in",
        "",
        '{"text": ""}',
        "   ",
        '{"id": "p7", "text": "nice cup of tea"}',
        '{"text": 5}',
        "{",
        "the river has burst its banks",
    ]
    result = tocsin("-c", config, "classify", "--json", stdin="\n".join(lines))
    found = result.lines
    assert [each["text"] for each in found] == [lines[0], "", "nice cup of tea", lines[-1]]
    assert [each.get("id") for each in found] == [None, None, "p7", None]
    assert all(len(each["categories"]) == 20 for each in found)
    assert all(0 <= p <= 1 for each in found for p in each["categories"].values())
    assert found[0]["categories"]["explosion"] > 0.5
    assert max(found[1]["categories"].values()) < 0.5
    assert "line 6" in result.err
    assert "line 7" in result.err


def test_classify_says_of_a_text_what_it_says_of_it_alone(tocsin: CommandLine, config: Path, posts: Path) -> None:
    """Batches depend on timing; were the answers to depend on batches, the same posts would raise other alerts."""
    chosen = posts.read_text().splitlines()[90:150]
    together = tocsin("-c", config, "classify", "--json", stdin="\n".join(chosen)).lines
    for number in range(0, len(chosen), 12):
        (alone,) = tocsin("-c", config, "classify", "--json", stdin=chosen[number]).lines
        assert alone["categories"] == pytest.approx(together[number]["categories"], abs=0.0002)


def test_rehearsal_finds_its_happenings_corrects_the_hoax_and_raises_nothing_from_chatter(
    tocsin: CommandLine, config: Path
) -> None:
    result = tocsin("-c", config, "rehearse", "--json")
    assert all(set(line) == ALERT_KEYS for line in result.lines)
    about: dict[str, set[str]] = {}
    from_chatter = []
    for line in result.lines:
        happenings = [truth.happening_of(post) for post in line["evidence"]]
        known = [each for each in happenings if each is not None]
        if len(known) * 2 <= len(happenings):
            from_chatter.append((line["alert"], line["headline"]))
        for each in set(known):
            about.setdefault(each, set()).add(line["kind"])
    english = {name for name, each in truth.HAPPENINGS.items() if each["lang"] == "en"}
    assert len(english & about.keys()) >= 5
    assert "correction" in about["mall-shooting-hoax"]
    assert "retraction" in about["plant-gas-leak"]
    assert from_chatter == []


def test_rehearsal_is_shown_as_the_console_shows_it(tocsin: CommandLine, config: Path) -> None:
    result = tocsin("-c", config, "rehearse")
    assert "explosion" in result.out
    assert "CORRECTION" in result.out
    assert "RETRACTED" in result.out
    assert "\x1b" not in result.out
