"""The commands about access, from the command line: what they print, for people and as JSON, and how they end."""

import getpass
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_cli import CommandLine, Result

ME = f"cli:{getpass.getuser()}"


@pytest.fixture(scope="module")
def tocsin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    running = CommandLine(tmp_path_factory.mktemp("here"))
    yield running
    running.close()


class Service:
    """One store, and configurations in which the person at the keyboard is Ada, Ben, or nobody."""

    def __init__(self, tocsin: CommandLine, folder: Path) -> None:
        self._tocsin = tocsin
        self._folder = folder
        for name, (ada, ben) in {"ada": (ME, "cli:ben"), "ben": ("cli:ada", ME), "nobody": ("cli:a", "cli:b")}.items():
            self._write(
                name, f'[[operator]]\nname = "Ada"\nids = ["{ada}"]\n[[operator]]\nname = "Ben"\nids = ["{ben}"]\n'
            )
        self._write("alone", "")

    def _write(self, name: str, operators: str) -> None:
        (self._folder / f"{name}.toml").write_text(f'[store]\npath = "{self._folder}/tocsin.db"\n{operators}')

    def __call__(self, *argv: str | Path, who: str = "alone", status: int = 0) -> Result:
        return self._tocsin("-c", self._folder / f"{who}.toml", *argv, status=status)

    def json(self, *argv: str | Path, who: str = "alone", status: int = 0) -> Any:
        """The one line."""
        (line,) = self(*argv, "--json", who=who, status=status).lines
        return line


@pytest.fixture
def service(tocsin: CommandLine, tmp_path: Path) -> Service:
    made = Service(tocsin, tmp_path)
    made("org", "add", "Acme", "--sector", "news", "--purpose", "breaking news", "--domain", "acme.example")
    made("org", "add", "North Fusion Center", "--sector", "research", "--parent", "Bureau", "--domain", "north.gov")
    made("channel", "add", "Acme", "slack:T0123/C0456")
    made("grant", "--org", "Acme", "--provider", "*", "--reason", "contract 1")
    made("subscribe", "slack:T0123/C0456", "--anywhere")
    return made


# ---- terms


def test_terms_are_set_listed_and_replaced(service: Service) -> None:
    argv = ["--bar-sector", "government", "--bar", "unrest:news", "--quota", "50", "--reason", "section 4"]
    service("terms", "x", *argv)
    assert service.json("terms", "x") == {
        "provider": "x", "barred_sectors": ["government"], "barred_cells": ["unrest:news"], "quota": 50,
    }  # fmt: skip
    said = service("terms").out
    assert "government" in said
    assert "unrest:news" in said
    service("terms", "usgs", "--quota", "3", "--reason", "section 1")
    assert [line["provider"] for line in service("terms", "--json").lines] == ["usgs", "x"]
    assert service.json("terms", "x", "--reason", "lifted") == {
        "provider": "x", "barred_sectors": [], "barred_cells": [], "quota": None,
    }  # fmt: skip


def test_unknown_terms_are_none(service: Service) -> None:
    assert service("terms", "--json").out == ""
    service("terms", "mastodon")


# ---- a second person


def propose_retraction(service: Service) -> dict[str, Any]:
    found: dict[str, Any] = service.json(
        "revoke", "--org", "Acme", "--retract", "--reason", "clause 7", "--silent", "quietly", who="ada"
    )
    return found


def test_what_one_proposes_another_approves(service: Service) -> None:
    (proposal,) = propose_retraction(service)["proposals"]
    line = service.json("proposals", who="ben")
    assert (line["proposal"], line["state"], line["proposer"], line["act"]) == (proposal, "open", "Ada", "retract")
    assert proposal in service("proposals").out
    done = service.json("approve", proposal, who="ben")
    assert (done["proposal"], done["state"]) == (proposal, "approved")
    assert done["done"] == "being retracted: 0"
    assert service.json("proposals")["state"] == "approved"


def test_the_answer_says_who_has_to_do_what(service: Service) -> None:
    said = service("revoke", "--org", "Acme", "--retract", "--reason", "clause 7", who="ada").out
    assert "holds since" in said
    assert "another operator has to approve it within a day: `tocsin approve a" in said
    said = service("grant", "--sector", "news", "--provider", "x", "--reason", "contract 9", who="ada").out
    assert "until then nothing is granted" in said
    approved = service("approve", said.split("`tocsin approve ")[1].split("`")[0], who="ben").out
    assert "x to sector news" in approved


def test_terms_that_permit_more_are_proposed(service: Service) -> None:
    service("terms", "mastodon", "--bar-sector", "government", "--reason", "section 4", who="ada")
    done = service.json("terms", "mastodon", "--reason", "section 5", who="ada")
    assert done["barred_sectors"] == ["government"]
    assert "another operator" in service("terms", "mastodon", "--reason", "section 5", who="ada").err
    assert service.json("approve", done["proposal"], who="ben")["done"] == "the terms of mastodon are set"
    assert service.json("terms", "mastodon")["barred_sectors"] == []
    assert "another operator" in service("terms", "x", "--reason", "section 4", who="ada").err, "its own terms bar"


def test_reinstating_a_sector_is_proposed(service: Service) -> None:
    made = service.json("revoke", "--sector", "news", "--reason", "clause 7", who="ada")
    said = service("reinstate", made["revocation"], "--reason", "settled", who="ada").out
    assert f"until then revocation {made['revocation']} holds" in said
    again = service.json("reinstate", made["revocation"], "--reason", "settled", who="ben")
    assert (again["lifted_at"], again["revocation"]) == (None, made["revocation"])
    assert service.json("approve", again["proposal"], who="ada")["state"] == "approved"


def test_rejected_is_rejected(service: Service) -> None:
    (proposal,) = propose_retraction(service)["proposals"]
    assert service.json("reject", proposal, who="ben") == {"proposal": proposal, "state": "rejected"}
    assert "is rejected" in service("approve", proposal, who="ben", status=1).err


@pytest.mark.parametrize(("who", "says"), [("ada", "the person who proposed it"), ("alone", "not an operator of the")])
def test_who_may_not_approve_is_refused(service: Service, who: str, says: str) -> None:
    (proposal,) = propose_retraction(service)["proposals"]
    result = service("approve", proposal, who=who, status=1)
    assert says in result.err
    assert result.out == ""
    assert service("audit", "--json").lines[-1]["action"] == "approve-refused"


def test_alone_nothing_waits(service: Service) -> None:
    found = service.json("revoke", "--org", "Acme", "--retract", "--drop-credentials", "--reason", "clause 7")
    assert found["proposals"] == []
    assert found["dropping"] == ["slack:T0123"]
    assert "tokens to be let go of: slack:T0123" in service(
        "revoke", "--org", "Acme", "--drop-credentials", "--dry-run", "--reason", "clause 7"
    ).out  # fmt: skip


# ---- proof and report


def test_revocation_is_shown_with_its_proof(service: Service) -> None:
    made = service.json(
        "revoke", "--org", "Acme", "--reason", "clause 7", "--requester", "the provider", "--notice", "Please call us."
    )
    assert made["notices"] == 1
    found = service.json("revocation", "show", made["revocation"])
    assert found["claimed_after"] == []
    assert found["effect"]["notices"] == 1
    said = service("revocation", "show", made["revocation"]).out
    assert "claimed after the fence (must be none): none" in said
    assert "asked for by the provider" in said


def test_report_is_markdown_or_json_and_names_nobody_unless_asked(service: Service) -> None:
    service("revoke", "--org", "Acme", "--reason", "a | b", "--requester", "the provider")
    said = service("report").out
    assert said.startswith("# Access withdrawn, ")
    assert "Acme" not in said
    assert "| a \\| b | 1 |" in said
    found = service.json("report")
    assert found["revocations"]["by_requester"] == {"the provider": 1}
    assert "names" not in found["touched"]
    assert service.json("report", "--names")["touched"]["names"] == ["Acme"]
    assert service.json("report", "--until", "2001-01-01")["revocations"]["made"] == 0


# ---- who was missed


def test_audit_clients_names_who_looks_like_it_and_why(service: Service) -> None:
    assert "nobody looks like" in service("audit", "clients").out
    argv = ["audit", "clients", "--sector", "government/intelligence"]
    found = service.json(*argv)
    assert (found["name"], found["looks_like"]) == ("North Fusion Center", "government/intelligence")
    assert {sign["kind"] for sign in found["signs"]} == {"name", "domain"}
    assert "e-mail domain north.gov is a government's" in service(*argv).out
    service("revoke", "--sector", "government/intelligence", "--provider", "x", "--reason", "clause 7")
    assert service.json("audit", "clients")["name"] == "North Fusion Center"


# ---- the chain's head


def test_head_that_was_published_is_checked(service: Service, tmp_path: Path) -> None:
    published = service("audit", "head").out.strip()
    assert service.json("audit", "head") == {
        "seq": int(published.partition(":")[0]), "hash": published.partition(":")[2],
    }  # fmt: skip
    service("revoke", "--org", "Acme", "--reason", "clause 7")
    assert service.json("audit", "verify", "--head", published)["ok"] is True
    file = tmp_path / "cut.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in service("audit", "export").lines[:2]))
    found = service.json("audit", "verify", file, "--head", published, status=1)
    assert (found["ok"], found["entries"]) == (False, 2)
    assert "cut off" in service("audit", "verify", file, "--head", published, status=1).out


# ---- what cannot be done is one sentence


@pytest.mark.parametrize(
    ("argv", "status", "says"),
    [
        (["terms", "x", "--quota", "3"], 2, "--reason"),
        (["terms", "--quota", "3", "--reason", "r"], 2, "name the provider"),
        (["terms", "*", "--quota", "3", "--reason", "r"], 2, "one provider"),
        (["terms", "X", "--quota", "3", "--reason", "r"], 2, "is not a name"),
        (["terms", "x", "--quota", "0", "--reason", "r"], 2, "--quota"),
        (["terms", "x", "--bar", "unrest", "--reason", "r"], 2, "sector"),
        (["terms", "x", "--bar", "astrology:news", "--reason", "r"], 2, "CATEGORY:SECTOR"),
        (["terms", "x", "--bar", "unrest:astrology", "--reason", "r"], 2, "astrology"),
        (["terms", "x", "--bar-sector", "astrology", "--reason", "r"], 2, "astrology"),
        (["terms", "x", "--quota", "3", "--reason", " "], 2, "--reason"),
        (["approve", "a0"], 2, "tocsin proposals"),
        (["reject", "a0"], 2, "tocsin proposals"),
        (["approve"], 2, "PROPOSAL"),
        (["revocation", "show", "r0"], 2, "tocsin revocations"),
        (["report", "--since", "yesterday"], 2, "is not a time"),
        (["report", "--since", "30d"], 2, "write a date"),
        (["audit", "clients", "--sector", "astrology"], 2, "--sector"),
        (["audit", "verify", "--head", "nonsense"], 2, "SEQ:HASH"),
        (["audit", "verify", "--head", "9" * 5000 + ":" + "0" * 64], 2, "SEQ:HASH"),
        (["audit", "verify", "nowhere.jsonl"], 2, "nowhere.jsonl"),
        (["revoke", "--org", "Acme", "--within", "36h", "--reason", "r"], 2, "--within"),
        (["revoke", "--org", "Acme", "--retract", "--within", "soon", "--reason", "r"], 2, "span of time"),
        (["revoke", "--org", "Acme", "--notice", "a", "--silent", "b", "--reason", "r"], 2, "contradict"),
        (["revoke", "--org", "Acme", "--silent", "", "--reason", "r"], 2, "--silent"),
        (["revoke", "--org", "Acme", "--retract", "--from", "2h", "--reason", "r"], 2, "--retract"),
        (
            ["revoke", "--org", "Acme", "--provider", "x", "--drop-credentials", "--reason", "r"],
            2,
            "--drop-credentials",
        ),
        (["revoke", "--provider", "X", "--reason", "r"], 2, "is not a name"),
        (["revoke", "--org", "Acme", "--until", "2001-01-01", "--reason", "r"], 2, "--until"),
        (["grant", "--org", "Acme", "--sector", "news", "--provider", "x", "--reason", "r"], 2, "exactly one"),
        (["grant", "--sector", "astrology", "--provider", "x", "--reason", "r"], 2, "astrology"),
        (["grant", "--org", "Acme", "--provider", "x", "--reason", ""], 2, "--reason"),
    ],
)
@pytest.mark.parametrize("who", ["alone", "ada"])
def test_what_cannot_be_done_is_one_sentence_and_changes_nothing(
    service: Service, argv: list[str], status: int, says: str, who: str
) -> None:
    before = service("audit", "head").out
    result = service(*argv, who=who, status=status)
    assert says in result.err
    assert "Traceback" not in result.err
    assert result.out == ""
    assert service("audit", "head").out == before


def test_nobody_of_the_configuration_cannot_propose_and_is_told_what_to_do(service: Service) -> None:
    result = service("revoke", "--org", "Acme", "--retract", "--reason", "r", who="nobody")
    assert "[[operator]] ids: only the fence holds" in result.out
