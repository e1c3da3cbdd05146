"""Everything that reads what strangers send: it gives a value that the service can live with, or refuses. See
``tests.fuzz.table``; ``python -m tests.fuzzing`` goes on with other inputs."""

import http.server
import importlib
import inspect
import os
import pkgutil
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot import ingest
from tests import shared
from tests.fuzz import hostile, judging, mutating, values
from tests.fuzz.decoding import Decoder
from tests.fuzz.table import TABLE

MUTANTS = 100
CUTS = 150
HURTING = 12
SIZE = 500_000
SECRET = "nobody may read this"

pytestmark = pytest.mark.timeout(60)
every = pytest.mark.parametrize("decoder", TABLE, ids=lambda each: each.name)


@every
def test_real_documents_are_read(decoder: Decoder) -> None:
    """Else the mutations of them would prove nothing."""
    refused = 0
    for document in decoder.documents:
        try:
            decoder.read(document)
        except decoder.refuses:
            refused += 1
    assert refused < len(decoder.documents)


@every
@settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
@given(data=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(decoder: Decoder, data: bytes) -> None:
    judging.judge(decoder, data)


@every
def test_a_document_that_ends_anywhere_is_read_or_refused(decoder: Decoder) -> None:
    for document in decoder.documents:
        for cut in mutating.cuts(document, CUTS):
            judging.judge(decoder, cut)


@every
def test_a_document_with_anything_in_it_is_read_or_refused(decoder: Decoder) -> None:
    rng = random.Random(decoder.name)
    for _ in range(MUTANTS):
        judging.judge(decoder, mutating.mutated(rng, decoder.kind, rng.choice(decoder.documents)))


@every
def test_a_recorded_document_with_anything_in_it_is_read_or_refused(decoder: Decoder) -> None:
    if not decoder.samples:
        return
    rng = random.Random(decoder.name)
    for path in sorted(shared.require("samples").glob(decoder.samples)):
        document = path.read_bytes()
        for _ in range(max(5, min(60, 2_000_000 // len(document)))):
            judging.judge(decoder, mutating.mutated(rng, decoder.kind, document))


@every
def test_what_was_made_to_hurt_is_read_or_refused(decoder: Decoder) -> None:
    """Whatever takes more than time in proportion to its length does not end within the timeout."""
    rng = random.Random(decoder.name)
    made = list(hostile.hostile(decoder.kind, decoder.documents[0], SIZE, rng.sample(values.PIECES, 3)))
    for _, data in rng.sample(made, min(HURTING, len(made))):
        judging.judge(decoder, data)


@every
def test_ten_megabytes_are_read_or_refused(decoder: Decoder) -> None:
    for data in hostile.huge(decoder.kind, decoder.documents[0], 10_000_000):
        judging.judge(decoder, data)


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[tuple[str, str, list[str]]]:
    """A file and a server that nobody may ask for anything, and what it was asked for."""
    requests: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            self.send_error(404)

        def log_message(self, *_: Any) -> None:
            pass

    file = tmp_path / "secret"
    file.write_text(SECRET)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="server")
        thread.start()
        try:
            yield str(file), f"http://127.0.0.1:{server.server_port}", requests
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("decoder", [each for each in TABLE if each.kind == "xml"], ids=lambda each: each.name)
def test_xml_never_grows_and_never_asks_for_anything(decoder: Decoder, asked: tuple[str, str, list[str]]) -> None:
    file, server, requests = asked
    before = _open_files()
    for name, bomb in hostile.bombs(file, server):
        judging.judge(decoder, bomb)
        try:
            found = decoder.read(bomb)
        except decoder.refuses:
            continue
        assert SECRET not in repr(found), name
        assert len(repr(found)) < 10 * len(bomb) + 10_000, name
    assert requests == []
    assert _open_files() == before


def test_the_table_is_complete() -> None:
    """A public function or method that takes bytes first, or is called ``parse`` or ``decode…``."""
    covered = {f"{each.__module__}.{each.__qualname__}" for decoder in TABLE for each in decoder.covers}
    assert _readers() - covered == set(), "what reads bytes of strangers belongs into tests/fuzz"


def _readers() -> set[str]:
    found: set[str] = set()
    for module in pkgutil.iter_modules(ingest.__path__):
        members = vars(importlib.import_module(f"{ingest.__name__}.{module.name}"))
        own = [each for each in members.values() if getattr(each, "__module__", "").endswith(f".{module.name}")]
        for each in own:
            if inspect.isclass(each) and not each.__name__.startswith("_") and not getattr(each, "_is_protocol", False):
                found |= {_name(one) for one in vars(each).values() if _reads(one, method=True)}
            elif _reads(each, method=False):
                found.add(_name(each))
    return found


def _reads(member: Any, *, method: bool) -> bool:
    function = getattr(member, "__func__", member)
    if not inspect.isfunction(function) or inspect.iscoroutinefunction(function) or function.__name__.startswith("_"):
        return False
    parameters = list(inspect.signature(function).parameters.values())[method:]
    takes_bytes = bool(parameters) and parameters[0].annotation is bytes
    return takes_bytes or function.__name__ == "parse" or function.__name__.startswith("decode")


def _name(member: Callable[..., Any]) -> str:
    function = getattr(member, "__func__", member)
    return f"{function.__module__}.{function.__qualname__}"


def _open_files() -> set[str]:
    """Of this process, by what they are."""
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        return set()
    return {os.readlink(each) for each in folder.iterdir() if each.is_symlink() and each.exists()}
