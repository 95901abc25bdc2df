"""Directories with more names than fit into the memory that a listing may take."""

from __future__ import annotations

import asyncio
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_tools import listed
from hypothesis import given
from hypothesis import strategies as st

from storage import FilesystemStore, SafeFilesystemStore
from storage.stores.files import ordered_names, root
from storage.stores.files.file_store import FileStore
from storage.stores.files.file_systems import EXT4, XFS, type_of
from storage.stores.files.ordered_names import Ordered


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let few names be many."""
    monkeypatch.setattr(ordered_names, "RUN", 4)
    monkeypatch.setattr(ordered_names, "LIMIT", 100)


@given(st.sets(st.text(st.characters(exclude_categories=["Cs"])), max_size=60))
def test_names_come_in_order_whatever_they_are(names: set[str]) -> None:
    """Each once, also those that were left out of the first scans."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ordered_names, "RUN", 4)
        patch.setattr(ordered_names, "LIMIT", 100)
        packed = {name.encode() for name in names}

        assert sorted(names) == list(Ordered(lambda: iter(names)))
        assert sorted(packed) == list(Ordered(lambda: iter(packed)))


def test_names_in_memory_are_bounded(small: None) -> None:
    """However many there are; none is asked for while a name is held."""
    scans = 0
    names = [f"name-{number:05}" for number in range(2000)]
    random.Random(1).shuffle(names)

    def scan() -> Iterator[str]:
        nonlocal scans
        scans += 1
        return iter(names)

    listing = iter(Ordered(scan))
    held = [next(listing), next(listing)]
    (runs,) = [value for value in listing.gi_frame.f_locals.values() if isinstance(value, ordered_names._Runs)]  # type: ignore[attr-defined]
    assert sum(run.size for run in runs._packed) <= 200
    assert sorted(names) == [*held, *listing]
    assert 10 < scans < 1000


@pytest.mark.parametrize("store_class", [FilesystemStore, SafeFilesystemStore])
async def test_listings_of_a_huge_directory_are_those_of_a_small_one(
    store_class: type[FileStore], tmp_path: Path, small: None
) -> None:
    """Prefixes, pages, children and nested directories, with names of all kinds."""
    store = store_class(tmp_path)
    keys = sorted(
        [f"{a}{number}" for number in range(20) for a in ("k", "K", "é", "d/k", "d/e/k", "d.", "d0", "x" * 90)]
    )
    for key in keys:
        await store.put(key, b"")

    assert keys == await listed(store)
    for prefix in ("d", "d/", "d/e", "k1", "x" * 85):
        assert [key for key in keys if key.startswith(prefix)] == await listed(store, prefix)
    for key in ("d", "d/k3", "k", keys[7], "zz"):
        assert [other for other in keys if other > key] == [other async for other in store.keys(start_after=key)]
    assert ["d/e/", *(key for key in keys if key.startswith("d/k"))] == [child async for child in store.children("d/")]


async def test_put_does_not_wait_for_a_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file system leaves names in their places, a listing takes no lock that a put would have to wait for."""
    directory = os.open(tmp_path, os.O_RDONLY)
    kept_in_place = type_of(directory) in (EXT4, XFS)
    os.close(directory)
    if not kept_in_place:
        pytest.skip("neither ext4 nor XFS")
    store = FilesystemStore(tmp_path)
    await store.put("k", b"1")
    reading, written = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    waited = []

    def slow(name: str) -> str:
        loop.call_soon_threadsafe(reading.set)
        waited.append(written.wait(10))
        return name

    monkeypatch.setattr(root, "from_listing", slow)
    listing = asyncio.create_task(listed(store))
    await reading.wait()
    await store.put("k", b"2")
    written.set()

    assert ["k"] == await listing
    assert [True] == waited[:1]
