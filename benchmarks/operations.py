"""`OPERATIONS`: what is compared. Each defines the calls of a contender, their arguments and the preparation."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.contenders import Calls, Contender
from benchmarks.harness import Work, Workload

__all__ = ["NO_SUCH_CALL", "OPERATIONS", "Opened", "each", "filled", "workload"]

#: How the note on a contender begins that has no call for many objects.
NO_SUCH_CALL = "no such call"

#: One call for an object, with its key and other arguments.
Call = Callable[..., Any]


def each(call: Call, things: list[tuple[Any, ...]], tasks: int, face: str) -> Work:
    """
    Return the work that calls *call* with each of *things*, over and over, in so many tasks or threads.

    It continues where it stopped, so that no bytes are put twice in a row: SQLite would not even write them.
    """
    turning = itertools.cycle(things)
    if face == "sync":
        return _in_threads(call, turning, tasks) if tasks > 1 else _in_turn(call, turning)
    return _in_tasks(call, turning, tasks) if tasks > 1 else _in_one_task(call, turning)


def _in_turn(call: Call, things: Iterator[tuple[Any, ...]]) -> Work:
    def work(count: int) -> None:
        for thing in itertools.islice(things, count):
            call(*thing)

    return work


def _in_threads(call: Call, things: Iterator[tuple[Any, ...]], tasks: int) -> Work:
    def work(count: int) -> None:
        rest = itertools.islice(things, count)

        def thread() -> None:
            for thing in rest:
                call(*thing)

        with ThreadPoolExecutor(tasks) as pool:
            for done in [pool.submit(thread) for _ in range(tasks)]:
                done.result()

    return work


def _in_one_task(call: Call, things: Iterator[tuple[Any, ...]]) -> Work:
    async def work(count: int) -> None:
        for thing in itertools.islice(things, count):
            await call(*thing)

    return work


def _in_tasks(call: Call, things: Iterator[tuple[Any, ...]], tasks: int) -> Work:
    async def work(count: int) -> None:
        rest = itertools.islice(things, count)

        async def task() -> None:
            for thing in rest:
                await call(*thing)

        async with asyncio.TaskGroup() as group:
            for _ in range(tasks):
                group.create_task(task())

    return work


def repeated(call: Call, size: int, face: str) -> Work:
    """Return the work of a *call* that does *size* operations in one."""
    if face == "sync":

        def work(count: int) -> None:
            for _ in range(count // size):
                call()

        return work

    async def awaited(count: int) -> None:
        for _ in range(count // size):
            await call()

    return awaited


def filled(contender: Contender, calls: Calls, objects: Mapping[str, bytes]) -> Callable[[], Any]:
    """Return the work that puts the *objects* into the contender's store."""
    if calls.put_many is not None:
        put_many = calls.put_many
        return lambda: put_many(dict(objects))
    work = each(calls.put, list(objects.items()), 1 if contender.face == "sync" else 16, contender.face)
    return lambda: work(len(objects))


@dataclass(frozen=True)
class Opened:
    """An open contender, the objects that are in it, how many tasks use it, and another store of it to copy to."""

    contender: Contender
    calls: Calls
    objects: Mapping[str, bytes]
    tasks: int
    target: Calls | None = None

    @property
    def keys(self) -> list[tuple[Any, ...]]:
        """The arguments of calls with a key."""
        return [(key,) for key in self.objects]

    @property
    def items(self) -> list[tuple[Any, ...]]:
        """The arguments of calls with a key and data: first one version of all objects, then another one."""
        return [*self.objects.items(), *self.changed.items()]

    @property
    def changed(self) -> dict[str, bytes]:
        """Another version of the objects, with a different first byte."""
        return {key: bytes([data[0] ^ 1]) + data[1:] for key, data in self.objects.items()}

    def at_once(self, call: Callable[[], Any], before: Callable[[], Any] | None = None) -> Workload:
        """Return the workload of a *call* for all objects; it is measured per object."""
        return Workload(
            work=repeated(call, len(self.objects), self.contender.face), step=len(self.objects), before=before
        )

    def one_by_one(
        self, call: Call, things: list[tuple[Any, ...]], name: str, before: Callable[[], Any] | None = None
    ) -> Workload:
        """Return the workload without a call for all objects: as many calls run concurrently as there are tasks."""
        workers = "threads" if self.contender.face == "sync" else "tasks"
        less = f"{NO_SUCH_CALL}: {name} in {f'{self.tasks} {workers}' if self.tasks > 1 else 'turn'}"
        work = each(call, things, self.tasks, self.contender.face)
        return Workload(work=work, step=len(self.objects), before=before, less=less)


#: A contender's workload in an operation; None where the contender has no call for it.
Operation = Callable[[Opened], Workload | None]


def _by_key(name: str) -> Operation:
    """Return the operation that calls a contender's *name* with one key after the other, in all tasks."""

    def operation(opened: Opened) -> Workload | None:
        call = getattr(opened.calls, name)
        if call is None:
            return None
        things = opened.items if name == "put" else opened.keys
        return Workload(work=each(call, things, opened.tasks, opened.contender.face), step=opened.tasks)

    return operation


def _keys(opened: Opened) -> Workload | None:
    """List all keys."""
    return None if opened.calls.keys is None else opened.at_once(opened.calls.keys)


def _bulk(name: str, one: str) -> Operation:
    """Return the operation that calls a contender's *name* with all objects, or its *one* in as many tasks."""

    def operation(opened: Opened) -> Workload | None:
        many, single = getattr(opened.calls, name), getattr(opened.calls, one)
        before = filled(opened.contender, opened.calls, opened.objects) if name == "delete_many" else None
        if many is not None:
            versions = (dict(opened.objects), opened.changed)
            given = itertools.cycle(versions if name == "put_many" else (list(opened.objects),))
            return opened.at_once(lambda: many(next(given)), before)
        things = opened.items if name == "put_many" else opened.keys
        return None if single is None else opened.one_by_one(single, things, one, before)

    return operation


def _copy(opened: Opened) -> Workload | None:
    """Copy all objects into another store of the same contender."""
    get, copy, target = opened.calls.get, opened.calls.copy, opened.target
    assert target is not None
    put = target.put
    if copy is not None:
        return opened.at_once(lambda: copy(target))
    if opened.contender.face == "sync":
        return opened.one_by_one(lambda key: put(key, get(key)), opened.keys, "get and put")

    async def moved(key: str) -> None:
        await put(key, await get(key))

    return opened.one_by_one(moved, opened.keys, "get and put")


#: The operations, by their names on the command line.
OPERATIONS: dict[str, Operation] = {
    "get": _by_key("get"),
    "put": _by_key("put"),
    "head": _by_key("head"),
    "keys": _keys,
    "get_many": _bulk("get_many", "get"),
    "put_many": _bulk("put_many", "put"),
    "delete_many": _bulk("delete_many", "delete"),
    "copy_store": _copy,
}


def workload(operation: str, opened: Opened, loop: str) -> Workload | None:
    """Return a contender's workload in an operation; None where it has no call for it."""
    made = OPERATIONS[operation](opened)
    if made is None:
        return None
    less = "; ".join(part for part in (opened.contender.less, made.less) if part)
    return replace(made, less=less, limit=opened.contender.limit, loop=loop)
