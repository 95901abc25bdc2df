"""Stores that several processes use concurrently, and stores whose process is killed."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest
from processes.workers import CREATED, compete, in_processes, killed, prepared, verified
from stacks import ALONE, STACKS

from storage import Capabilities

pytestmark = pytest.mark.process

#: Processes that compete, and the steps that each counts.
PROCESSES, STEPS = 5, 10

#: Writers that are killed, one after the other, per stack; STORAGE_KILLS=300 makes it a long run of hundreds.
KILLS = int(os.environ.get("STORAGE_KILLS", "40"))


def _shared(able: Capabilities) -> bool:
    return able.multi_process and able.conditional_put and able.readable and able.writable


#: What passes conditions on to files passes them on to SQLite: of those two, decorators alone are over files here.
SHARED = [
    name
    for name, stack in STACKS.items()
    if _shared(stack.capabilities) and not (name in ALONE and name.endswith("-sqlite"))
]
LASTING = ["filesystem", "filesystem-fsync", "safe-filesystem", "hashdir", "sqlite", "zip", "zip-atomic", "deep-fsync"]


@pytest.mark.parametrize("name", SHARED)
async def test_conditions_hold_among_processes(name: str, tmp_path: Path) -> None:
    """Of 5 processes that create the same key exactly one wins, and none of their 50 increments is lost."""
    async with STACKS[name].adapted(tmp_path) as store:
        await store.put("count", b"0")

    won = await asyncio.to_thread(in_processes, compete, PROCESSES, name, tmp_path, STEPS)

    assert sorted(CREATED) == sorted(key for keys in won for key in keys)
    async with STACKS[name].adapted(tmp_path) as store:
        assert b"%d" % (PROCESSES * STEPS) == await store.get("count")
        assert {key: key.encode() for key in CREATED} == await store.get_many(CREATED)


@pytest.mark.timeout(30 + 2 * KILLS)
@pytest.mark.parametrize("name", LASTING)
async def test_killed_writer_leaves_whole_objects(name: str, tmp_path: Path) -> None:
    """
    After each kill -9 the store opens and works, what was acknowledged is there, and nothing half-written or left over.

    An object may be one version further than acknowledged: the writer was killed before it could tell.
    """
    chances = random.Random(name)
    told = await prepared(name, tmp_path)

    begin = 1
    for _ in range(KILLS):
        told = await asyncio.to_thread(killed, name, tmp_path, begin, told, chances)

        told, begin = await verified(name, tmp_path, told, begin)
