"""Each rule of access is held by a test: broken, it is noticed. ``python -m tests.mutants`` prints by what."""

import pytest

from tests import mutants


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_is_noticed(mutant: mutants.Mutant) -> None:
    assert mutants.noticed(mutant) is not None
