"""The case of 2016, end to end: one provider bars one class in the middle of an event."""

import pytest

from bot import app, config
from bot.rehearsal import barring


@pytest.fixture(scope="module")
def found():
    import asyncio

    return asyncio.run(app.rehearse_barring(config.Config()))


def test_the_barred_class_goes_on_without_that_provider(found):
    rows = [row for row in found["rows"] if row["sector"] == barring.BARRED]
    assert len(rows) == 2
    for row in rows:
        assert row["providers_before"] == ["bluesky", "x"]
        assert row["providers_after"] == ["bluesky"]
        assert row["last_after"]["voices"] > row["last_before"]["voices"]


def test_everybody_else_notices_nothing(found):
    rows = [row for row in found["rows"] if row["sector"] != barring.BARRED]
    assert len(rows) == 10
    assert len({str(row | {"organisation": "", "sector": ""}) for row in rows}) == 1
    assert rows[0]["providers_after"] == ["bluesky", "x"]


def test_the_proof_says_so(found):
    proof = found["proof"]
    assert [org["sector"] for org in proof["effect"]["touched"]] == [barring.BARRED] * 2
    assert len(proof["effect"]["untouched"]) == 10
    assert proof["claimed_after"] == []


def test_the_table_has_a_row_for_each(found):
    assert len(barring.markdown(found["rows"]).splitlines()) == 2 + len(barring.ORGANISATIONS)
