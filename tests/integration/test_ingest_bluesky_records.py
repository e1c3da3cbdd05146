"""Whether a post stands at its author's own server: what each answer means, and whom we do not ask at all."""

import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import abc
from yarl import URL

from bot.ingest import trouble
from bot.ingest.bluesky_records import Records
from tests.fakes import sources
from tests.fakes.bluesky import FakeRecords

DID = sources.did(1)
URI = f"at://{DID}/app.bsky.feed.post/3mbbbb0000001"
PUBLIC = "93.184.216.34"


@contextlib.asynccontextmanager
async def asking(*gone: str) -> AsyncIterator[tuple[FakeRecords, Records]]:
    async with FakeRecords(lambda uri: uri not in gone) as fake, Records(URL(fake.url)) as records:
        yield fake, records


async def test_the_server_that_the_directory_names_has_the_last_word() -> None:
    other = URI + "x"
    async with asking(URI) as (fake, records):
        assert (await records.stands(URI), await records.stands(other)) == (False, True)
        assert fake.asked == [URI, other]
        assert fake.looked_up == [DID, DID]


async def test_an_account_of_an_own_host_is_looked_up_there() -> None:
    async with asking() as (fake, records):
        uri = f"at://{fake.web_did}/app.bsky.feed.post/3mbbbb0000001"
        assert await records.stands(uri) is True
        assert fake.looked_up == [fake.web_did]


@pytest.mark.parametrize(
    "error", ["RecordNotFound", "RepoNotFound", "RepoDeactivated", "RepoTakendown", "RepoSuspended"]
)
@pytest.mark.parametrize("status", [400, 404])
async def test_what_the_server_says_is_not_there_is_gone(status: int, error: str) -> None:
    async with asking() as (fake, records):
        fake.bad = [(status, {"error": error, "message": "invented"})]
        assert await records.stands(URI) is False


@pytest.mark.parametrize(
    ("state", "stands"),
    [
        ("takendown", False), ("suspended", False), ("deleted", False), ("deactivated", False),
        ("RepoNotFound", False), ("throttled", None), ("desynchronized", None), ("invented", None),
    ],
)  # fmt: skip
async def test_of_an_account_that_is_not_active_everything_is_gone(state: str, stands: bool | None) -> None:
    async with asking() as (fake, records):
        fake.accounts[DID] = state
        assert await records.stands(URI) is stands


@pytest.mark.parametrize(
    ("status", "message", "stands"),
    [
        (410, "DID not available", False), (404, f"DID not available: {DID}", False),
        (404, f"DID not registered: {DID}", None), (404, "", None), (500, "DID not available", None),
    ],
)  # fmt: skip
async def test_an_account_that_the_directory_has_buried_is_gone(status: int, message: str, stands: bool | None) -> None:
    async with asking() as (fake, records):
        fake.documents[DID] = (status, {"message": message})
        assert await records.stands(URI) is stands
        assert fake.asked == []


@pytest.mark.parametrize("status", [404, 410])
async def test_an_own_host_without_a_document_means_nothing(status: int) -> None:
    async with asking() as (fake, records):
        fake.documents[fake.web_did] = (status, {"message": "DID not available"})
        assert await records.stands(f"at://{fake.web_did}/app.bsky.feed.post/3mbbbb0000001") is None


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"<html>"), (200, b"[" * 100_000), (200, b"\xff"), (200, {"uri": "at://another"}), (200, {"uri": 5}),
        (200, b'"' + b"x" * 3_000_000 + b'"'), (302, "/elsewhere"), (400, {"error": "InvalidRequest"}), (400, b"no"),
        (401, {"error": "RecordNotFound"}), (403, {}), (429, {}), (500, {"error": "RecordNotFound"}), (503, {}),
    ],
)  # fmt: skip
async def test_any_other_answer_means_nothing(answer: tuple[int, Any]) -> None:
    async with asking() as (fake, records):
        fake.bad = [answer]
        assert await records.stands(URI) is None
        assert fake.bad == []


@pytest.mark.parametrize(
    "document",
    [
        (200, b"no"), (200, []), (200, {"id": DID}), (200, {"id": DID, "service": "x"}), (302, "/elsewhere"),
        (200, {"id": DID, "service": [5, {"id": "#other", "serviceEndpoint": "https://elsewhere.example"}]}),
        (200, b" " * 200_000),
    ],
)  # fmt: skip
async def test_a_document_that_names_no_server_means_nothing(document: tuple[int, Any]) -> None:
    async with asking() as (fake, records):
        fake.documents[DID] = document
        assert await records.stands(URI) is None
        assert fake.asked == []


@pytest.mark.parametrize(
    "endpoint", ["", "ftp://127.0.0.1", "https://", "//x", "https://[", "file:///etc/passwd", "http://127.0.0.1:99999"]
)
async def test_a_server_that_is_none_means_nothing(endpoint: str) -> None:
    async with asking() as (fake, records):
        document = fake.document(DID)
        document["service"][-1]["serviceEndpoint"] = endpoint
        fake.documents[DID] = document
        assert await records.stands(URI) is None


async def test_the_document_of_somebody_else_means_nothing() -> None:
    async with asking() as (fake, records):
        fake.documents[DID] = fake.document(sources.did(2))
        assert await records.stands(URI) is None


@pytest.mark.parametrize("uri", ["", "at://x", "at://did:key:zabc/app.bsky.feed.post/3m", "at://did:web:a/b/c/d"])
async def test_whoever_has_no_server_is_not_looked_for(uri: str) -> None:
    async with asking() as (fake, records):
        assert await records.stands(uri) is None
        assert fake.looked_up == []


class Names(abc.AbstractResolver):
    def __init__(self, **of: str) -> None:
        self.of = of
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[abc.ResolveResult]:
        self.asked.append(host)
        return [
            abc.ResolveResult(
                hostname=host, host=self.of[host.split(".")[0]], port=port, family=socket.AF_INET, proto=0, flags=0
            )
        ]

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("host", ["inner.example", "127.0.0.1", "localhost", "169.254.169.254", "2130706433"])
async def test_no_stranger_leads_us_to_an_address_inside(host: str) -> None:
    names = Names(inner="127.0.0.1", localhost="127.0.0.1", outer=PUBLIC)
    async with (
        FakeRecords(lambda _: False) as fake,
        Records(URL("http://outer.example"), names=lambda: names) as records,
    ):
        assert await records.stands(f"at://did:web:{host}%3A{fake.port}/app.bsky.feed.post/3m") is None
        assert (fake.asked, fake.looked_up) == ([], [])


async def test_nothing_is_asked_without_encryption() -> None:
    names = Names(outer=PUBLIC)
    async with Records(URL("https://outer.example"), names=lambda: names) as records:
        with pytest.raises(trouble.LostError, match="encryption"):
            await records._get(URL("http://elsewhere.example/x"), 100)
        assert names.asked == []
