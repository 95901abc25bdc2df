"""
Workers in processes of their own, on a stack named in stacks.py: some compete, some write until they are killed.

Processes come from a server that has everything imported already, and are at work after milliseconds.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from threading import Barrier

from stacks import STACKS

from storage import KeyExistsError, ObjectStore
from storage.testing.conditions import count_up

__all__ = ["CREATED", "Killed", "compete", "in_processes", "killed"]

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["stacks", "storage.testing.conditions"])

#: Seconds that a process may take before something is wrong with it.
PATIENCE = 60

#: Keys that the competing processes all want to create.
CREATED = [f"new/k{number}" for number in range(20)]


# -- processes that compete ------------------------------------------------------------------------------------------


def compete(name: str, root: Path, steps: int, start: Barrier, results: Connection) -> None:
    """Create each of `CREATED` if it is absent, count *steps* up in ``count``, and send the keys that were won."""

    async def main() -> list[str]:
        won = []
        async with STACKS[name].adapted(root) as store:
            start.wait(PATIENCE)

            async def create(key: str) -> None:
                with suppress(KeyExistsError):
                    await store.put(key, key.encode(), if_absent=True)
                    won.append(key)

            await asyncio.gather(*map(create, CREATED))
            await count_up(store, "count", steps)
        return won

    results.send(asyncio.run(main()))


def in_processes(count: int, name: str, root: Path, steps: int) -> list[list[str]]:
    """Have *count* processes compete, and return what each of them won."""
    start = CONTEXT.Barrier(count)
    pipes = [CONTEXT.Pipe(duplex=False) for _ in range(count)]
    processes = [CONTEXT.Process(target=compete, args=(name, root, steps, start, sender)) for _, sender in pipes]
    for process in processes:
        process.start()
    for _, sender in pipes:
        sender.close()
    try:
        return [receiver.recv() for receiver, _ in pipes]
    finally:
        for process in processes:
            process.join(PATIENCE)
            process.kill()


# -- processes that are killed ---------------------------------------------------------------------------------------

#: Bytes of the objects that are overwritten: a small one, one that is no longer small, one that comes in pieces.
SIZES = {"small": 1000, "large": 2_200_000, "streamed": 5_300_000}


def content(size: int, number: int) -> bytes:
    """Return an object's *number*-th version: any mixture of two of them is none."""
    return b"%08d" % number + bytes([number % 251]) * (size - 8)


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 300_000):
        yield data[start : start + 300_000]


def write_until_killed(name: str, root: Path, begin: int, acknowledged: Connection) -> None:
    """Overwrite, create and delete, and tell of everything when it has returned: the key and the version, or None."""

    async def overwrite(store: ObjectStore, key: str) -> None:
        number = begin
        while True:
            data = content(SIZES[key], number)
            await store.put(key, _pieces(data) if key == "streamed" else data)
            acknowledged.send((key, number))
            number += 1

    async def come_and_go(store: ObjectStore) -> None:
        number = begin
        while True:
            await store.put(f"new/{number}", content(100, number), attributes={"number": f"{number}"})
            acknowledged.send((f"new/{number}", number))
            if number % 2:
                await store.delete(f"new/{number}")
                acknowledged.send((f"new/{number}", None))
            number += 1

    async def main() -> None:
        async with STACKS[name].make(root) as store:
            await asyncio.gather(come_and_go(store), *(overwrite(store, key) for key in SIZES))

    asyncio.run(main())


class Killed:
    """
    What a writer told before it was killed.

    Attributes:
        last: per key the last version of which it said that it is there, None where it said that it is deleted.
    """

    def __init__(self, last: dict[str, int | None]) -> None:
        self.last = last

    def possible(self, key: str, begin: int) -> set[bytes | None]:
        """Return what the object may be: what was acknowledged last, or what the writer was about to make of it."""
        if key in SIZES:
            last = self.last.get(key)
            assert last is not None
            return {content(SIZES[key], number) for number in (last, max(last + 1, begin))}
        number = int(key.removeprefix("new/"))
        there = content(100, number)
        if key not in self.last:
            return {None, there}  # the last put may or may not have taken place
        if self.last[key] is None:
            return {None}
        return {there, None} if number % 2 else {there}


@contextmanager
def _writer(name: str, root: Path, begin: int) -> Iterator[tuple[ForkServerProcess, Connection]]:
    acknowledged, sender = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=write_until_killed, args=(name, root, begin, sender))
    process.start()
    sender.close()
    try:
        yield process, acknowledged
    finally:
        process.kill()
        process.join(PATIENCE)
        acknowledged.close()


def killed(name: str, root: Path, begin: int, before: Killed, chances: random.Random) -> Killed:
    """Let a writer begin with version *begin*, kill it at a random moment, and return what it had told."""
    last = dict(before.last)
    with _writer(name, root, begin) as (process, acknowledged):
        assert acknowledged.poll(PATIENCE), "the writer has not written anything"
        process.join(chances.uniform(0, 0.05))
        process.kill()
        with suppress(EOFError):
            while True:
                key, number = acknowledged.recv()
                last[key] = number
    return Killed(last)
