"""What is compared: each operation says how often a side is called for it, with what, and what is done before."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.harness import Contender, Work
from benchmarks.sides import Calls, Side

__all__ = ["OPERATIONS", "contender", "each", "filled"]

#: One call on an object, with its key and whatever belongs to it.
Call = Callable[..., Any]


def each(call: Call, things: list[tuple[Any, ...]], tasks: int, face: str) -> Work:
    """Return the work that goes through *things* over and over, calling with each, in so many tasks or threads."""
    if face == "sync":
        return _in_threads(call, things, tasks) if tasks > 1 else _in_turn(call, things)
    return _in_tasks(call, things, tasks) if tasks > 1 else _in_one_task(call, things)


def _in_turn(call: Call, things: list[tuple[Any, ...]]) -> Work:
    def work(count: int) -> None:
        for thing in itertools.islice(itertools.cycle(things), count):
            call(*thing)

    return work


def _in_threads(call: Call, things: list[tuple[Any, ...]], tasks: int) -> Work:
    def work(count: int) -> None:
        rest = itertools.islice(itertools.cycle(things), count)

        def thread() -> None:
            for thing in _shared(rest):
                call(*thing)

        with ThreadPoolExecutor(tasks) as pool:
            for done in [pool.submit(thread) for _ in range(tasks)]:
                done.result()

    return work


def _shared(rest: Any) -> Any:
    """Yield from an iterator that other threads take from too: `next` of these is one step under the GIL."""
    while (thing := next(rest, None)) is not None:
        yield thing


def _in_one_task(call: Call, things: list[tuple[Any, ...]]) -> Work:
    async def work(count: int) -> None:
        for thing in itertools.islice(itertools.cycle(things), count):
            await call(*thing)

    return work


def _in_tasks(call: Call, things: list[tuple[Any, ...]], tasks: int) -> Work:
    async def work(count: int) -> None:
        rest = itertools.islice(itertools.cycle(things), count)

        async def task() -> None:
            for thing in rest:
                await call(*thing)

        async with asyncio.TaskGroup() as group:
            for _ in range(tasks):
                group.create_task(task())

    return work


def repeated(call: Call, size: int, face: str) -> Work:
    """Return the work of a *call* that does *size* operations at once."""
    if face == "sync":

        def work(count: int) -> None:
            for _ in range(count // size):
                call()

        return work

    async def awaited(count: int) -> None:
        for _ in range(count // size):
            await call()

    return awaited


def filled(side: Side, calls: Calls, objects: Mapping[str, bytes]) -> Callable[[], Any]:
    """Return what puts the *objects* where the side keeps them."""
    if calls.put_many is not None:
        put_many = calls.put_many
        return lambda: put_many(dict(objects))
    work = each(calls.put, list(objects.items()), 1 if side.face == "sync" else 16, side.face)
    return lambda: work(len(objects))


#: An operation's contender for a side, its calls, the objects and the tasks; None where the side has no call for it.
Operation = Callable[[Side, Calls, Mapping[str, bytes], int], Contender | None]


def _by_key(name: str) -> Operation:
    """Return the operation that calls a side's *name* with one key after the other, in all tasks."""

    def operation(side: Side, calls: Calls, objects: Mapping[str, bytes], tasks: int) -> Contender | None:
        call = getattr(calls, name)
        if call is None:
            return None
        things: list[tuple[Any, ...]] = list(objects.items()) if name == "put" else [(key,) for key in objects]
        return Contender(work=each(call, things, tasks, side.face), step=tasks)

    return operation


def _keys(side: Side, calls: Calls, objects: Mapping[str, bytes], tasks: int) -> Contender | None:
    """List them all; told for one key."""
    if calls.keys is None:
        return None
    return Contender(work=repeated(calls.keys, len(objects), side.face), step=len(objects))


def _bulk(name: str, one: str) -> Operation:
    """Return the operation that calls a side's *name* with all objects, or its *one* in as many tasks."""

    def operation(side: Side, calls: Calls, objects: Mapping[str, bytes], tasks: int) -> Contender | None:
        many, single = getattr(calls, name), getattr(calls, one)
        given = dict(objects) if name == "put_many" else list(objects)
        things: list[tuple[Any, ...]] = list(objects.items()) if name == "put_many" else [(key,) for key in objects]
        before = filled(side, calls, objects) if name == "delete_many" else None
        if many is not None:
            work = repeated(lambda: many(given), len(objects), side.face)
            return Contender(work=work, step=len(objects), before=before)
        if single is None:
            return None
        less = f"has no such call: {one} in {tasks} tasks" if tasks > 1 else f"has no such call: {one} in turn"
        return Contender(work=each(single, things, tasks, side.face), step=len(objects), before=before, less=less)

    return operation


#: By name, as the command line has them.
OPERATIONS: dict[str, Operation] = {
    "get": _by_key("get"),
    "put": _by_key("put"),
    "head": _by_key("head"),
    "keys": _keys,
    "get_many": _bulk("get_many", "get"),
    "put_many": _bulk("put_many", "put"),
    "delete_many": _bulk("delete_many", "delete"),
}


def contender(
    operation: str, side: Side, calls: Calls, objects: Mapping[str, bytes], tasks: int, loop: str
) -> Contender | None:
    """Return a side's contender in an operation; None where it has no call for it."""
    made = OPERATIONS[operation](side, calls, objects, tasks)
    if made is None:
        return None
    less = "; ".join(part for part in (side.less, made.less) if part)
    return Contender(work=made.work, step=made.step, before=made.before, less=less, loop=loop)
