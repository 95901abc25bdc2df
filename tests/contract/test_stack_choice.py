"""The stacks that the suite runs on: what is left out of all of them leaves no meeting of two parts out."""

from __future__ import annotations

import pytest
from stack_choice import Combination, all_stacks, chain, enough, meetings, quick
from stacks import ALONE, DECORATORS, STACKS, STORES


def _alone() -> set[str]:
    """Return the decorators that run alone over some store."""
    return {name for name, each in DECORATORS.items() if each.bases}


def _among(combinations: list[Combination], names: object) -> set[Combination]:
    return {(name, view) for name, view in combinations if name in names}  # type: ignore[operator]


def test_every_two_parts_that_meet_anywhere_meet_in_the_usual_run() -> None:
    """Each decorator and what is directly below it, each of them and each view: all that ``make exhaustive`` has."""
    assert set() == meetings(all_stacks()) - meetings(enough())


def test_stores_and_deep_stacks_are_run_in_all_views() -> None:
    """Only decorators alone are left out, in some views over some stores."""
    names = STACKS.keys() - ALONE.keys()

    assert _among(all_stacks(), names) == _among(enough(), names)
    assert STORES.keys() <= names


def test_every_decorator_is_run_over_a_dict_in_all_views() -> None:
    """Awaited and through the synchronous face, whatever else is left out."""
    names = {name for name in ALONE if chain(name)[-1] == "dict"}

    assert _among(all_stacks(), names) == _among(enough(), names)
    assert _alone() == {chain(name)[0] for name in names}


@pytest.mark.parametrize("choice", [enough, quick])
def test_no_stack_is_in_a_choice_alone(choice: object) -> None:
    """``make exhaustive`` runs all that anything else does, and nothing is run twice."""
    assert callable(choice)
    chosen = choice()

    assert set() == set(chosen) - set(all_stacks())
    assert len(chosen) == len(set(chosen))


def test_quick_run_has_every_store_and_every_decorator_awaited() -> None:
    """What a change breaks it mostly breaks there."""
    parts = {part for name, _ in quick() for part in chain(name)}

    assert STORES.keys() | _alone() == parts
    assert {"awaited"} == {view for _, view in quick()}


def test_every_decorator_of_the_table_is_in_a_stack() -> None:
    """One that runs alone over no store is at least part of a deep stack."""
    assert set() == DECORATORS.keys() - {part for name in STACKS for part in chain(name)}
