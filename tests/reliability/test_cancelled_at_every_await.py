"""
Every operation of every stack, cancelled at every await in turn.

After each cancellation: every object is old or new and whole, no other object is touched, listing and reading agree,
nothing that the operation began goes on, and everything can be written, which also shows that no lock is held. In the
end no task, file descriptor or file is left.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from cancelling import interrupted
from stacks import STACKS

from storage import ByteRange, KeyNotFoundError, ObjectStore
from storage.testing.suite.harness import listed

#: What each object holds before an operation, and what writes put. The large one comes in several pieces everywhere.
OLD: dict[str, bytes] = {"a": b"old a", "b": b"old b" * 30_000, "other": b"other"}
NEW = b"new"
LARGE = b"n" * 1_200_000

#: Seconds after which a store is taken to hang.
HANGS = 30

#: What an object may hold after an operation was cut off, beside what it held before; None for no object.
Allowed: TypeAlias = Mapping[str, set[bytes | None]]

Operation: TypeAlias = Callable[[ObjectStore], Coroutine[Any, Any, object]]


async def _pieces() -> AsyncIterator[bytes]:
    for begin in range(0, len(LARGE), 300_000):
        yield LARGE[begin : begin + 300_000]


async def _replace(store: ObjectStore) -> object:
    return await store.put("a", NEW, if_match=(await store.head("a")).etag)


async def _delete_version(store: ObjectStore) -> None:
    await store.delete("a", if_match=(await store.head("a")).etag)


async def _half(store: ObjectStore) -> bytes:
    async with store.open("b") as reader:
        return await reader.read(1000)


async def _stream(store: ObjectStore) -> list[bytes]:
    async with store.open("b") as reader:
        return [piece async for piece in reader]


OPERATIONS: dict[str, tuple[Operation, Allowed]] = {
    "get": (lambda store: store.get("b"), {}),
    "range": (lambda store: store.get("b", byte_range=ByteRange(10, 20)), {}),
    "exists": (lambda store: store.exists("a"), {}),
    "head": (lambda store: store.head("a"), {}),
    "half": (_half, {}),
    "stream": (_stream, {}),
    "keys": (lambda store: listed(store.keys()), {}),
    "scan": (lambda store: listed(store.scan()), {}),
    "children": (lambda store: listed(store.children()), {}),
    "get_many": (lambda store: store.get_many(["a", "b", "missing"]), {}),
    "put": (lambda store: store.put("a", NEW), {"a": {NEW}}),
    "put-stream": (lambda store: store.put("a", _pieces()), {"a": {LARGE}}),
    "put-large": (lambda store: store.put("new", LARGE), {"new": {LARGE}}),
    "create": (lambda store: store.put("new", NEW, if_absent=True), {"new": {NEW}}),
    "replace": (_replace, {"a": {NEW}}),
    "put_many": (
        lambda store: store.put_many({"a": NEW, "b": LARGE, "new": NEW}),
        {"a": {NEW}, "b": {LARGE}, "new": {NEW}},
    ),
    "delete": (lambda store: store.delete("a"), {"a": {None}}),
    "delete-version": (_delete_version, {"a": {None}}),
    "delete_many": (lambda store: store.delete_many(["a", "b"]), {"a": {None}, "b": {None}}),
    "copy": (lambda store: store.copy("a", "new"), {"new": {OLD["a"]}}),
    "rename": (lambda store: store.rename("a", "new"), {"a": {None}, "new": {OLD["a"]}}),
    "clear": (lambda store: store.clear("a"), {"a": {None}}),
}

#: Operations that need more than reading and writing, and the capability that says whether it is there.
NEEDS = {"replace": "conditional_put", "create": "conditional_put", "delete-version": "conditional_delete"}


#: Tasks that a store may have for itself while it is open: the one that keeps the leases of a SqliteStore.
KEEPERS = 1

#: Whatever runs in the store besides the operation may take so many seconds to come to its end.
SOON = 5

USABLE = [
    name
    for name, stack in STACKS.items()
    if stack.capabilities.readable and stack.capabilities.writable and stack.capabilities.listable
]


async def _found(store: ObjectStore) -> dict[str, bytes | None]:
    """Return the bytes of each object, and compare reads with listings."""
    found: dict[str, bytes | None] = {}
    for key in (*OLD, "new"):
        try:
            found[key] = await store.get(key)
        except KeyNotFoundError:
            found[key] = None
        assert (found[key] is not None) is await store.exists(key), key
    assert sorted(key for key, data in found.items() if data is not None) == await listed(store.keys())
    return found


async def _reset(store: ObjectStore) -> None:
    await store.delete("new")
    for key, data in OLD.items():
        await store.put(key, data)


async def _wait_until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON):
        while not reached():  # noqa: ASYNC110 a thread closes a file and tells nobody
            await asyncio.sleep(0.001)


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def _files(root: Path) -> set[Path]:
    return {path for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", USABLE)
async def test_cancelled_at_every_await(name: str, tmp_path: Path) -> None:
    """Objects are whole, nothing is left over and the store is usable; the module's docstring has the details."""
    outside = asyncio.all_tasks()
    async with STACKS[name].adapted(tmp_path) as store:
        able = store.capabilities
        await _reset(store)
        files, tasks = _files(tmp_path), asyncio.all_tasks()
        for operation, (call, written) in OPERATIONS.items():
            if operation in NEEDS and not getattr(able, NEEDS[operation]):
                continue
            allowed = {key: {OLD.get(key), *written.get(key, ())} for key in (*OLD, "new")}
            number, reached = 1, True
            while reached:
                what = f"{operation}, await {number}"
                async with asyncio.timeout(HANGS):
                    reached = await interrupted(call(store), number)
                    found = await _found(store)
                    assert {} == {key: data for key, data in found.items() if data not in allowed[key]}, what
                    if operation == "rename":
                        assert OLD["a"] in (found["a"], found["new"]), what
                    await _reset(store)
                number += 1
            await _wait_until(lambda: len(asyncio.all_tasks() - tasks) <= KEEPERS)
        descriptors = _descriptors()
        async with asyncio.timeout(HANGS):
            await store.clear()
        await _wait_until(lambda: _descriptors() <= descriptors)
        assert _files(tmp_path) <= files
    assert asyncio.all_tasks() <= outside


async def test_cancellation_is_delivered_at_the_await_that_is_named() -> None:
    """The tool itself cancels at each await in turn, and not at all after the last one."""
    log: list[int] = []

    async def operation() -> None:
        for number in range(3):
            await asyncio.sleep(0)
            log.append(number)

    reached = [await interrupted(operation(), number) for number in (1, 2, 3, 4)]

    assert [True, True, True, False] == reached
    assert [0, 0, 1, 0, 1, 2] == log
