"""
A mirror is compared with a model, while its children fail in every way and at any time.

The model has, for each key, the values that it may have: one after a write that succeeded, or succeeded on some
children; the old and the new one after a write that failed, until a read shows which. None stands for no object.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import pytest
from doubles import ScriptedStore, scripted
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import (
    BulkError,
    CorruptObjectError,
    KeyExistsError,
    KeyNotFoundError,
    MirrorError,
    MirroringStore,
    StorageError,
    StoreFullError,
    StoreTimeoutError,
    StoreUnavailableError,
)

KEYS = ("a", "b", "c")

Value: TypeAlias = bytes | None


class Trouble(NamedTuple):
    """The failure of a child during one step: an action that fails, or one whose result is lost."""

    action: str
    error: type[StorageError]
    done: bool


class Step(NamedTuple):
    """One call, and the failure of each child during it."""

    action: str
    key: str
    other: str
    troubles: list[Trouble | None]


_failing = st.builds(
    Trouble,
    st.sampled_from(["*", "put", "delete", "copy", "rename", "get", "open", "head", "exists", "keys"]),
    st.sampled_from([StoreUnavailableError, StoreFullError, CorruptObjectError]),
    st.just(False),
)
_lost = st.builds(
    Trouble, st.sampled_from(["put", "delete", "copy", "rename"]), st.just(StoreTimeoutError), st.just(True)
)
_writes = ["put", "stream", "create", "delete", "delete_many", "copy", "rename"]
_reads = ["get", "open", "get_many", "exists", "keys"]
_steps = st.builds(
    Step,
    st.sampled_from([*_writes, *_reads]),
    st.sampled_from(KEYS),
    st.sampled_from(KEYS),
    st.lists(st.none() | st.none() | _failing | _lost, min_size=3, max_size=3),
)


class Model:
    """A mirror, and the values that it may have."""

    def __init__(self, require: Any, count: int, repair: bool) -> None:
        self.children = scripted(count)
        self.store = MirroringStore(self.children, require=require, repair=repair)
        self.values: dict[str, set[Value]] = {key: {None} for key in KEYS}

    async def take(self, number: int, step: Step) -> None:
        """Make one call and compare its result with the model."""
        for child, its in zip(self.children, step.troubles, strict=False):
            child.heal()
            if its is not None:
                child.fail(its.action, after=its.done, error=partial(its.error, "trouble"))
        if step.action in _writes:
            await self._write(step, b"%d" % number)
        else:
            await self._read(step)

    async def _write(self, step: Step, value: bytes) -> None:
        store, key, target = self.store, step.key, step.other
        large = b"x" * (1 << 20)
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "put": lambda: store.put(key, value),
            "stream": lambda: store.put(key, [large, large, value]),
            "create": lambda: store.put(key, value, if_absent=True),
            "delete": lambda: store.delete(key),
            "delete_many": lambda: store.delete_many([key]),
            "copy": lambda: store.copy(key, target),
            "rename": lambda: store.rename(key, target),
        }
        done = some = False
        try:
            await calls[step.action]()
            done = some = True
        except KeyExistsError:
            self._saw(key, present=True)
            return
        except KeyNotFoundError:
            self._saw(key, present=False)
            return
        except BulkError as error:
            result = error.results[key]
            some = isinstance(result, MirrorError) and bool(result.succeeded)
        except StorageError as error:
            some = isinstance(error, MirrorError) and bool(error.succeeded)

        if step.action in ("put", "stream", "create"):
            if done and step.action == "create":
                self._saw(key, present=False)
            self._wrote(key, {large * 2 + value if step.action == "stream" else value}, some)
        elif step.action in ("delete", "delete_many"):
            self._wrote(key, {None}, some)
        elif key != target:
            if some:
                self._saw(key, present=True)
            self._wrote(target, self.values[key], some)
            if step.action == "rename":
                self._wrote(key, {None}, some)

    async def _read(self, step: Step) -> None:
        store, key = self.store, step.key
        value: Value = None
        try:
            if step.action == "get":
                value = await store.get(key)
            elif step.action == "open":
                async with store.open(key) as reader:
                    value = await reader.read()
            elif step.action == "get_many":
                result = (await store.get_many([key]))[key]
                if isinstance(result, StorageError):
                    raise result
                value = result
            elif step.action == "exists":
                self._saw(key, present=await store.exists(key))
                return
            else:
                listed = [each async for each in store.keys()]
                for each in KEYS:
                    self._saw(each, present=each in listed)
                return
        except KeyNotFoundError:
            pass
        except StorageError:  # it cannot be told
            return
        assert value in self.values[key], f"{key} is one of {self.values[key]}"
        self.values[key] = {value}

    def _wrote(self, key: str, values: set[Value], some: bool) -> None:
        self.values[key] = set(values) if some else self.values[key] | values

    def _saw(self, key: str, *, present: bool) -> None:
        fitting = {value for value in self.values[key] if (value is not None) is present}
        assert fitting, f"{key} is one of {self.values[key]}, not {'present' if present else 'missing'}"
        self.values[key] = fitting


async def _run(require: Any, count: int, repair: bool, steps: list[Step]) -> None:
    model = Model(require, count, repair)
    for number, step in enumerate(steps):
        await model.take(number, step)
    for child in model.children:
        child.heal()

    _ = [difference async for difference in model.store.verify(repair=True)]

    assert [] == [difference async for difference in model.store.verify()]
    for key in KEYS:
        await model._read(Step("get", key, key, []))
        held = {await _held(child, key) for child in model.children}
        assert held == model.values[key]
    assert not model.store._stale
    assert {asyncio.current_task()} == asyncio.all_tasks()


async def _held(child: ScriptedStore, key: str) -> Value:
    return await child.base.get(key) if await child.base.exists(key) else None


@pytest.mark.slow
@settings(deadline=None)
@given(
    st.sampled_from(["all", "quorum", "any"]),
    st.integers(1, 3),
    st.booleans(),
    st.lists(_steps, min_size=5, max_size=40),
)
def test_mirror_is_never_older_than_what_it_said(require: str, count: int, repair: bool, steps: list[Step]) -> None:
    """
    However its children fail, a mirror returns what was written last, or raises an error.

    And when all children work again, `verify` makes them equal.
    """
    asyncio.run(_run(require, count, repair, steps))
