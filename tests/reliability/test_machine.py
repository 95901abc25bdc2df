"""
Every store, and stacks of decorators drawn at random, under arbitrary sequences of calls, against a dict.

STORAGE_EXAMPLES=50 makes it a long run: so many times as many sequences.
"""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test
from servers.buckets import bucket_store
from servers.redis import RedisServer, redis_server
from servers.s3 import Servers
from small_pages import small_pages
from stacks import DECORATORS, STORES, Stack, over
from wrong_stores.suite_must_fail import WRONG

import storage.sync
from storage import ConfigError, ObjectStore, RedisStore, StackWarning, StorageError
from storage._core.keys import is_key
from storage.testing import StoreMachine

#: How many times as many sequences of calls are tried, and how many of each store and of all stacks that are drawn.
LONGER = int(os.environ.get("STORAGE_EXAMPLES", "1"))
OF_A_STORE, OF_STACKS, OF_A_SERVER = 8 * LONGER, 60 * LONGER, 4 * LONGER

#: Calls in a sequence.
STEPS = 25

#: Keys on a page of a listing, so that a few objects need several pages.
PAGE = 3

#: The file system in memory, where there is one; what is kept on a disk is tested elsewhere.
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None

VIEWS = ["awaited", "sync", "on-loop"]

#: What goes over what: all but those that cannot be read or written.
DRAWN = sorted(set(DECORATORS) - {"readonly", "writeonly"})
UNDER = ["dict", "minimal", "filesystem", "safe-filesystem", "hashdir", "sqlite", "zip"]

#: Over these an object cannot be copied from one route to another one.
VALUES = {"buffer", "json", "text"}

#: What is gone when a stack is made anew: the objects themselves, or one of the copies that make up an object.
FORGETFUL = {"dict", "minimal", "sqlite-memory", "mirroring", "mirrored", "fallback"}


class StackMachine(StoreMachine):
    """A stack named in stacks.py, in a directory of its own."""

    stack: Stack
    view: str
    names: tuple[str, ...]

    def make_store(self) -> ObjectStore | storage.sync.ObjectStore:
        self.root = Path(self.resources.enter_context(tempfile.TemporaryDirectory(dir=MEMORY)))
        return self._made()

    def make_another(self) -> ObjectStore | storage.sync.ObjectStore | None:
        return None if FORGETFUL.intersection(self.names) else self._made()

    def _made(self) -> ObjectStore | storage.sync.ObjectStore:
        store = self.stack.adapted(self.root)
        if self.view == "awaited":
            return store
        return storage.sync.ObjectStore(store, stepped=self.view == "sync")


def fitting(base: str, names: list[str]) -> list[str]:
    """Return the given decorators, outermost first, that can be stacked on each other and on that store."""
    chain: list[str] = []
    for name in reversed(names):
        if name.startswith("routing") and VALUES.intersection(chain):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("error", StackWarning)
            try:
                over(base, name, *chain).make(Path("nowhere"))
            except (ConfigError, StackWarning):
                continue
        chain.insert(0, name)
    return chain


class DrawnMachine(StackMachine):
    """Up to 5 decorators over any store, in any view."""

    def make_store(self) -> ObjectStore | storage.sync.ObjectStore:
        base = self.draw(st.sampled_from(UNDER))
        chain = self.draw(
            st.lists(st.sampled_from(DRAWN), min_size=1, max_size=5).map(partial(fitting, base)).filter(bool)
        )
        self.names = (*chain, base)
        self.stack = over(base, *chain)
        self.view = self.draw(st.sampled_from(VIEWS))
        return super().make_store()

    def may_conflict(self, key: str, other: str) -> bool:
        """Return whether one key below is a directory of another one; some decorators add an ending to keys."""
        if not (is_key(key) and is_key(other)):  # it is refused, and has no name below
            return False
        return super().may_conflict(self.stack.name(key), self.stack.name(other))


def run(machine: type[StoreMachine], examples: int, like: settings | None = None) -> None:
    """Run a machine."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            like,
            max_examples=examples,
            stateful_step_count=STEPS,
            report_multiple_bugs=False,
            deadline=None,
            suppress_health_check=list(HealthCheck),  # a busy machine is slow
        ),
    )


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    """Log nothing: a stack that logs would write a line for every call."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    for stack in STORES.values():  # their modules must be there
        stack.make(Path("nowhere"))
    small_pages(PAGE, monkeypatch)


@pytest.mark.timeout(60 + 60 * LONGER)
@pytest.mark.parametrize("view", ["awaited", "sync"])
@pytest.mark.parametrize("name", STORES)
def test_store_is_what_a_dict_is(name: str, view: str) -> None:
    """Any calls in any order give the same results."""

    class Machine(StackMachine):
        stack = STORES[name]
        names = (name,)
        keeps = name != "sqlite-memory"

    Machine.view = view
    run(Machine, OF_A_STORE)


@pytest.mark.timeout(120 + 120 * LONGER)
def test_any_stack_is_what_a_dict_is() -> None:
    """Any decorators over any store, in any order, awaited, stepped or on the loop."""
    run(DrawnMachine, OF_STACKS)


@pytest.mark.timeout(60 + 60 * LONGER)
@pytest.mark.parametrize("view", ["awaited", "sync"])
@pytest.mark.server
def test_redis_is_what_a_dict_is(view: str) -> None:
    """Each sequence has its own prefix."""
    numbers = count()

    class Machine(StackMachine):
        server: RedisServer

        def make_store(self) -> ObjectStore | storage.sync.ObjectStore:
            self.prefix = f"t{next(numbers)}/"
            return self._made()

        def make_another(self) -> ObjectStore | storage.sync.ObjectStore:
            return self._made()

        def _made(self) -> ObjectStore | storage.sync.ObjectStore:
            store = RedisStore(self.server.url, prefix=self.prefix)
            return store if view == "awaited" else storage.sync.ObjectStore(store)

    with redis_server() as server:
        Machine.server = server
        run(Machine, OF_A_SERVER)


@pytest.mark.timeout(120 + 120 * LONGER)
def test_bucket_is_what_a_dict_is(servers: Servers) -> None:
    """Each sequence has its own prefix. test_s3_conformance.py lists the faults of the other servers."""
    numbers = count()
    running = servers.get("ministack")

    class Machine(StackMachine):
        def make_store(self) -> ObjectStore | storage.sync.ObjectStore:
            self.prefix = f"m{next(numbers)}/"
            return self._made()

        def make_another(self) -> ObjectStore | storage.sync.ObjectStore:
            return self._made()

        def _made(self) -> ObjectStore | storage.sync.ObjectStore:
            return bucket_store(running, prefix=self.prefix)

    run(Machine, OF_A_SERVER)


@pytest.mark.parametrize(
    "name",
    [
        *("EmptyIsMissing", "EtagOfSize", "ForgetsAttributes", "IgnoresConditions", "StartsAtStart"),
    ],
)
def test_store_that_is_wrong_is_found(name: str) -> None:
    """The machine also finds the wrong stores of the suite that are wrong by themselves."""

    class Machine(StoreMachine):
        def make_store(self) -> ObjectStore:
            return WRONG[name]()

    wrong = settings(derandomize=True, phases=[Phase.generate])
    with pytest.raises((AssertionError, StorageError)):
        run(Machine, 200, wrong)
