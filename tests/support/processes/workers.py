"""
Workers in processes of their own, on a stack named in stacks.py: some compete, some write until they are killed.

Processes come from a server that has everything imported already, and are at work after milliseconds.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from threading import Barrier
from typing import Any
from unittest.mock import patch

from processes.forking import context
from processes.players import Player
from stacks import CRASHING, STACKS

from storage import KeyExistsError, ObjectStore, StorageError
from storage.stores import hashdir
from storage.testing.history import History
from storage.testing.stores.recording import RecordingStore
from storage.testing.suite.conditions import count_up

__all__ = ["CREATED", "SIZES", "Killed", "compete", "content", "in_processes", "killed", "play", "prepared", "verified"]

#: Seconds that a process may take before something is wrong with it.
TIMEOUT = 60

#: Keys that the competing processes all want to create.
CREATED = [f"new/k{number}" for number in range(20)]


# -- processes that compete ------------------------------------------------------------------------------------------


def compete(name: str, root: Path, steps: int, start: Barrier, results: Connection) -> None:
    """Create each of `CREATED` if it is absent, count *steps* up in ``count``, and send the keys that were won."""

    async def main() -> list[str]:
        won = []
        async with STACKS[name].adapted(root) as store:
            start.wait(TIMEOUT)

            async def create(key: str) -> None:
                with suppress(KeyExistsError):
                    await store.put(key, key.encode(), if_absent=True)
                    won.append(key)

            await asyncio.gather(*map(create, CREATED))
            await count_up(store, "count", steps)
        return won

    results.send(asyncio.run(main()))


def play(name: str, root: Path, steps: int, start: Barrier, results: Connection) -> None:
    """Have two players of a process make so many calls each, and send their history."""

    async def main() -> History:
        async with RecordingStore(STACKS[name].adapted(root)) as store:
            start.wait(TIMEOUT)
            names = [f"{root}-{os.getpid()}-{number}" for number in range(2)]
            await asyncio.gather(*(Player(store, each, tasks=True).play(steps) for each in names))
        return store.history

    results.send(asyncio.run(main()))


def in_processes(work: Callable[..., None], count: int, name: str, root: Path, steps: int) -> list[Any]:
    """Have *count* processes work on a stack at the same time, and return what each of them sent."""
    start = context().Barrier(count)
    pipes = [context().Pipe(duplex=False) for _ in range(count)]
    processes = [context().Process(target=work, args=(name, root, steps, start, sender)) for _, sender in pipes]
    for process in processes:
        process.start()
    for _, sender in pipes:
        sender.close()
    try:
        return [receiver.recv() for receiver, _ in pipes]
    finally:
        for process in processes:
            process.join(TIMEOUT)
            process.kill()


# -- processes that are killed ---------------------------------------------------------------------------------------

#: Bytes of the objects that are overwritten: a small one, one that is no longer small, one that comes in pieces.
SIZES = {"small": 1000, "large": 2_200_000, "streamed": 5_300_000}

KNOWN = {**STACKS, **CRASHING}

#: Files that a store leaves of the three objects when it is closed: one each, if it is none of these.
FILES = {"hashdir": 6, "sqlite": 1, "zip": 1}


def content(size: int, number: int) -> bytes:
    """Return an object's *number*-th version: any mixture of two of them is none."""
    return b"%08d" % number + bytes([number % 251]) * (size - 8)


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 300_000):
        yield data[start : start + 300_000]


def write_until_killed(name: str, root: Path, begin: int, acknowledged: Connection) -> None:
    """
    Overwrite, create and delete, and tell of everything that has returned: when, the key, and the version or None.

    An error ends it, and is reported too.
    """

    def tell(key: str, number: int | None) -> None:
        acknowledged.send((time.monotonic(), key, number))

    async def overwrite(store: ObjectStore, key: str) -> None:
        number = begin
        while True:
            data = content(SIZES[key], number)
            await store.put(key, _pieces(data) if key == "streamed" else data)
            tell(key, number)
            number += 1

    async def come_and_go(store: ObjectStore) -> None:
        number = begin
        while True:
            await store.put(f"new/{number}", content(100, number), attributes={"number": f"{number}"})
            tell(f"new/{number}", number)
            if number % 2:
                await store.delete(f"new/{number}")
                tell(f"new/{number}", None)
            number += 1

    async def main() -> None:
        async with KNOWN[name].make(root) as store:
            await asyncio.gather(come_and_go(store), *(overwrite(store, key) for key in SIZES))

    try:
        asyncio.run(main())
    except StorageError as error:
        acknowledged.send(error)


class Killed:
    """
    What a writer told before it was killed.

    Attributes:
        last: per key the last version of which it said that it is there, None where it said that it is deleted.
        beyond: per key the last version of which it said so too late, when its disk was gone.
    """

    def __init__(self, last: dict[str, int | None], beyond: dict[str, int] | None = None) -> None:
        self.last = last
        self.beyond = beyond or {}

    def possible(self, key: str, begin: int) -> set[bytes | None]:
        """Return what the object may be: what was acknowledged last, or what the writer was about to make of it."""
        if key in SIZES:
            last = self.last.get(key)
            assert last is not None
            first = max(last + 1, begin)
            numbers = [last, *range(first, self.beyond.get(key, first - 1) + 2)]
            return {content(SIZES[key], number) for number in numbers}
        number = int(key.removeprefix("new/"))
        there = content(100, number)
        if key not in self.last:
            return {None, there}  # the last put may or may not have taken place
        if self.last[key] is None:
            return {None}
        return {there, None} if number % 2 else {there}


@contextmanager
def _writer(name: str, root: Path, begin: int) -> Iterator[tuple[ForkServerProcess, Connection]]:
    acknowledged, sender = context().Pipe(duplex=False)
    process = context().Process(target=write_until_killed, args=(name, root, begin, sender))
    process.start()
    sender.close()
    try:
        yield process, acknowledged
    finally:
        process.kill()
        process.join(TIMEOUT)
        acknowledged.close()


def killed(
    name: str,
    root: Path,
    begin: int,
    before: Killed,
    chances: random.Random,
    cut: Callable[[], None] | None = None,
) -> Killed:
    """
    Let a writer begin with version *begin*, kill it at a random moment, and return what it had told.

    With *cut*, which takes the disk away from it, that is called just before. The writer may fail then; or be told that
    all is well, by a system that knows better, and what it told after that moment is no promise.
    """
    last = dict(before.last)
    beyond: dict[str, int] = {}
    end = float("inf")
    with _writer(name, root, begin) as (process, acknowledged):
        assert acknowledged.poll(TIMEOUT), "the writer has not written anything"
        process.join(chances.uniform(0, 0.05))
        if cut is not None:
            end = time.monotonic()
            cut()
        process.kill()
        process.join(TIMEOUT)
        with suppress(EOFError):
            while True:
                told = acknowledged.recv()
                if isinstance(told, StorageError):
                    assert cut is not None, told
                    continue
                when, key, number = told
                if when < end:
                    last[key] = number
                elif number is not None:
                    beyond[key] = number
    return Killed(last, beyond)


async def prepared(name: str, root: Path) -> Killed:
    """Put the objects that writers overwrite, and return that as told."""
    async with KNOWN[name].make(root) as store:
        for key, size in SIZES.items():
            await store.put(key, content(size, 0))
    return Killed(dict.fromkeys(SIZES, 0))


async def verified(name: str, root: Path, told: Killed, begin: int) -> tuple[Killed, int]:
    """
    Assert that the store works, has what the writer that began with *begin* told, and nothing else.

    It is opened as if an hour had passed: a key file is not removed sooner, because it may belong to a restore.

    Returns:
        What is there for the next writer, and the version with which it begins.
    """
    stack = KNOWN[name]
    last = dict(told.last)
    with patch.object(hashdir, "ORPHAN_AGE", -60.0):
        async with stack.make(root) as store:
            keys = [key async for key in store.keys()]
            assert sorted(set(keys)) == keys
            told_of = {key for key, number in told.last.items() if number is not None}
            for key in sorted({*keys, *told_of}):
                found = await store.get(key) if key in keys else None
                assert found in told.possible(key, begin), key
                if found is not None:
                    assert len(found) == (await store.head(key)).size
                    if key.startswith("new/"):
                        assert {"number": key[4:]} == (await store.head(key)).attributes
                    last[key] = int(found[:8])
                if stack.raw is not None:
                    assert found == stack.read(store, root, key), key
            await store.clear("new/")
            await store.put("after", b"works")
            await store.delete("after")
    assert FILES.get(name.partition("-")[0], len(SIZES)) == sum(path.is_file() for path in root.rglob("*"))
    return Killed({key: last[key] for key in SIZES}), 1 + max(number or 0 for number in last.values())
