"""Every decorator forwards the contract and hides nothing, and the suite runs on it."""

from __future__ import annotations

import inspect
from typing import Any, TypeAlias

import pytest
from stacks import DECORATORS, DEEP, Over

import storage
from storage import DictStore, KeyTransform, ObjectStore, StoreDecorator
from storage._core.lifecycle import Lifecycle
from storage._core.subclassing import DERIVED_FROM

PUBLIC = {name for name in vars(ObjectStore) if not name.startswith("_")}

Kind: TypeAlias = type[ObjectStore[Any, Any]]

#: Every public store and decorator, bases for others included.
STORES: list[Kind] = [
    kind
    for kind in (getattr(storage, name) for name in storage.__all__)
    if isinstance(kind, type) and issubclass(kind, ObjectStore)
]
KINDS = [kind for kind in STORES if kind.__module__.startswith("storage.decorators.")]

every_decorator = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
every_store = pytest.mark.parametrize("kind", STORES, ids=lambda kind: kind.__name__)


def parameters(owner: Any, name: str) -> list[inspect.Parameter]:
    found = inspect.signature(getattr(owner, name)).parameters.values()
    return [parameter.replace(annotation=inspect.Parameter.empty) for parameter in found]


def test_all_decorators_are_looked_at() -> None:
    """The tests here run on all decorators that exist."""
    assert {StoreDecorator, KeyTransform, storage.GzipStore, storage.RoutingStore} < set(KINDS)
    assert not {ObjectStore, DictStore} & set(KINDS)


def test_decorator_forwards_every_method() -> None:
    """A method added to ObjectStore and forgotten here would bypass the inner store."""
    assert set() == PUBLIC - set(vars(StoreDecorator))


@every_decorator
def test_every_decorator_has_every_method(kind: Kind) -> None:
    """Each method is defined, forwarded, or a default over one that the decorator changes."""
    own = {name for base in kind.__mro__[: kind.__mro__.index(ObjectStore)] for name in vars(base)}
    defaults = {name for name in DERIVED_FROM if getattr(kind, name) is getattr(ObjectStore, name)}

    assert set() == PUBLIC - own
    assert set() == {name for name in defaults if not _changed(kind) & set(DERIVED_FROM[name])}


def _changed(kind: Kind) -> set[str]:
    """Return the methods that are not simply forwarded."""
    return {name for name in PUBLIC if getattr(kind, name) is not getattr(StoreDecorator, name)}


@every_decorator
def test_nothing_that_a_decorator_changes_is_bypassed(kind: Kind) -> None:
    """No forwarded method is derived from one that is changed: a copy does not bypass the checks of `put`."""
    changed = _changed(kind)

    assert {} == {
        name: changed & set(primitives)
        for name, primitives in DERIVED_FROM.items()
        if name not in changed and changed & set(primitives)
    }


@every_store
def test_signatures_are_those_of_the_contract(kind: Kind) -> None:
    """Renamed or missing parameters would fail only for callers who name them; added ones must be optional."""
    for name in PUBLIC - {"capabilities"}:
        contract, found = parameters(ObjectStore, name), parameters(kind, name)
        more = found[len(contract) :]

        assert contract == found[: len(contract)], name
        assert [] == [
            parameter for parameter in more if (parameter.kind, parameter.default) != (parameter.KEYWORD_ONLY, None)
        ]


def test_life_cycle_is_the_bases() -> None:
    """A store or decorator overrides how it opens and closes, never the counting of enters."""
    counted = {"__aenter__", "__aexit__", "aclose"}

    assert [] == [kind for kind in STORES if counted & set(vars(kind))]
    assert counted <= set(vars(Lifecycle))


# -- the suite runs on all of them -----------------------------------------------------------------------------------


def test_suite_runs_on_every_decorator() -> None:
    """Each is in the table of stacks.py, over a store in memory, one on files and SQLite."""
    over: dict[Kind, set[str]] = {kind: set() for kind in KINDS if not inspect.isabstract(kind)}
    for each in DECORATORS.values():
        bases = {base.removeprefix("safe-") for base in each.bases}
        over.setdefault(type(each.make(DictStore())), set()).update(bases)

    assert [] == [kind.__name__ for kind, bases in over.items() if kind in KINDS and set(Over.bases) - bases]


def test_suite_runs_on_deep_stacks() -> None:
    """At least ten stacks have three or more decorators."""
    assert 10 <= len([chain for chain in DEEP if len(chain.split()) > 3])
