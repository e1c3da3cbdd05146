from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain import audit
from bot.domain.audit import AuditEntry
from tests.factories import NOW


def chained(reasons):
    entries, prev_hash = [], audit.GENESIS
    for seq, reason in enumerate(reasons, start=1):
        entry = audit.seal(
            AuditEntry(
                seq=seq, at=NOW.isoformat(), actor="Ada (cli:ada)", surface="cli", action="grant", target="o1",
                reason=reason, effect={"n": seq, "ü": [reason, None]}, prev_hash=prev_hash,
            )
        )  # fmt: skip
        entries.append(entry)
        prev_hash = entry.hash
    return entries


reasons = st.lists(st.text(max_size=5), min_size=2, max_size=6)


@given(reasons)
def test_chain_holds_and_survives_json(texts):
    entries = chained(texts)
    assert audit.verify(entries) is None
    assert [AuditEntry(**audit.to_json(entry)) for entry in entries] == entries


def test_empty_chain_holds():
    assert audit.verify([]) is None


@given(reasons, st.data())
def test_changed_entry_is_named(texts, data):
    entries = chained(texts)
    seq = data.draw(st.integers(1, len(entries)))
    field, value = data.draw(st.sampled_from([("reason", "another"), ("effect", {}), ("actor", "x"), ("at", "y")]))
    entries[seq - 1] = replace(entries[seq - 1], **{field: value})
    assert audit.verify(entries) == f"entry {seq} was changed: its hash differs from its content"


@given(reasons, st.data())
def test_entry_resealed_after_a_change_breaks_the_next_one(texts, data):
    entries = chained(texts)
    seq = data.draw(st.integers(1, len(entries) - 1))
    entries[seq - 1] = audit.seal(replace(entries[seq - 1], reason="something else"))
    assert f"entry {seq + 1} does not follow" in str(audit.verify(entries))


@pytest.mark.parametrize("gone", [0, 1])
def test_missing_entry_is_named(gone):
    entries = chained(["a", "b", "c"])
    del entries[gone]
    assert audit.verify(entries) == f"entry {gone + 1} is missing: the next one is {gone + 2}"
