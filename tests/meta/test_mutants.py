"""Each rule of access is held by a test: broken, it is noticed. ``python -m tests.mutants`` prints by what."""

from dataclasses import replace

import pytest

from tests import mutants

MODULES = {mutant.module: mutant for mutant in mutants.MUTANTS}.values()


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_is_noticed(mutant: mutants.Mutant) -> None:
    assert mutants.noticed(mutant) is not None


@pytest.mark.parametrize("mutant", MODULES, ids=lambda mutant: mutant.module)
def test_a_module_in_its_own_place_is_not_noticed(mutant: mutants.Mutant) -> None:
    assert mutants.noticed(replace(mutant, new=mutant.old), seeds=range(5)) is None
