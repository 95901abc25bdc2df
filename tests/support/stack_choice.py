"""
On which stacks the suite runs, and in which views: on all of them, on enough of them, or on a few that tell soonest.

A failure has its reason in a decorator, in what is directly below it, in the view, or in two of these together. So of
the stacks that differ in these three only so many are needed that each two of them that meet anywhere meet.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import TypeAlias

from stacks import ALONE, STACKS, STORES

from storage import Capabilities

__all__ = ["CHOICES", "DEFAULT", "Combination", "able", "all_stacks", "chain", "enough", "meetings", "quick"]

#: The name of a stack in `STACKS`, and a view.
Combination: TypeAlias = tuple[str, str]

#: Views in which a decorator alone runs over each store. Over a dict it is awaited and stepped; over files it meets
#: worker threads, which only awaited calls use; over SQLite the background loop of the synchronous face.
ENOUGH = {"dict": ("awaited", "sync"), "filesystem": ("awaited",), "safe-filesystem": ("awaited",), "sqlite": ("sync",)}


@cache
def able(name: str) -> Capabilities:
    """Return what a stack can do."""
    return STACKS[name].capabilities


def chain(name: str) -> tuple[str, ...]:
    """Return what a stack is made of: its decorators, the outermost first, and its store."""
    return STACKS[name].chain or (name,)


def all_stacks() -> list[Combination]:
    """Return every stack in all its views."""
    return [(name, view) for name in STACKS for view in _views(name, STACKS[name].views)]


def enough() -> list[Combination]:
    """Return stores and deep stacks in all their views, and each decorator alone in those of `ENOUGH`."""
    return [
        (name, view)
        for name, stack in STACKS.items()
        for view in _views(name, ENOUGH[chain(name)[-1]] if name in ALONE else stack.views)
    ]


def quick() -> list[Combination]:
    """Return each store, and each decorator over a dict, awaited."""
    return [(name, "awaited") for name in STACKS if name in STORES or (name in ALONE and chain(name)[-1] == "dict")]


def meetings(combinations: list[Combination]) -> set[tuple[str, str]]:
    """Return what meets in these: each two neighbours, and each decorator and store with each view."""
    neighbours = {pair for name, _ in combinations for pair in pairwise(chain(name))}
    return neighbours | {(part, view) for name, view in combinations for part in chain(name)}


def _views(name: str, views: tuple[str, ...]) -> list[str]:
    """Return how the stack is used: one that cannot step is on the loop by itself, and once."""
    by_itself = "stepped" if able(name).steppable else "on-loop"
    return list(dict.fromkeys(by_itself if view == "sync" else view for view in views))


#: What the option ``--stacks`` takes.
CHOICES: dict[str, Callable[[], list[Combination]]] = {"all": all_stacks, "enough": enough, "quick": quick}

DEFAULT = "enough"
