"""Shared by the tests of `ExpiringStore`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from doubles import HandClock

from storage import DictStore, FilesystemStore, ObjectStore, SqliteStore


@pytest.fixture(params=["dict", "filesystem", "sqlite"])
async def base(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    made: dict[str, Callable[[], ObjectStore]] = {
        "dict": DictStore,
        "filesystem": lambda: FilesystemStore(tmp_path),
        "sqlite": lambda: SqliteStore(tmp_path / "objects.db"),
    }
    async with made[request.param]() as store:
        yield store


@pytest.fixture
def clock() -> HandClock:
    return HandClock()
