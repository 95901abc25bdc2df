"""Files that cannot be opened or read, as in /proc, of another user, or on a bad sector: they hide no others."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from file_tools import listed
from fuse.behaviour import Behaviour
from fuse.mount import mounted

from storage import (
    BulkError,
    DictStore,
    FilesystemStore,
    HashdirStore,
    IncompleteListingError,
    PermissionDeniedError,
    StorageError,
    copy_store,
    sync_stores,
)

pytestmark = pytest.mark.process


async def outcome(listing: AsyncIterator[Any]) -> tuple[list[str], IncompleteListingError | None]:
    """Return the keys that a scan yields, and the error at its end."""
    found: list[str] = []
    try:
        async for info in listing:
            found.append(info.key)  # noqa: PERF401 - what comes before the error is wanted
    except IncompleteListingError as error:
        return found, error
    return found, None


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.EINVAL, errno.ESRCH], ids=errno.errorcode.get)
async def test_file_that_cannot_be_read_hides_no_other(number: int) -> None:
    """A scan goes on and tells at its end; so do copies, which delete nothing for it; other listings have its key."""
    with mounted(Behaviour(unreadable=("k",), read_error=number)) as root:
        for name in ("a", "k", "z"):
            (root / name).write_bytes(b"v")
        store = FilesystemStore(root)
        refusal = PermissionDeniedError if number == errno.EACCES else StorageError

        found, error = await outcome(store.scan())
        assert ["a", "z"] == found
        assert error is not None
        assert (["k"], 1, [repr(store)]) == (
            list(error.errors),
            error.count,
            [str(each.store) for each in error.errors.values()],
        )
        assert [refusal] == [type(each.__cause__) for each in error.errors.values()]
        assert ["a", "k", "z"] == await listed(store)
        assert ["a", "k", "z"] == [child async for child in store.children()]
        assert [bytes, refusal, bytes] == [type(each) for each in (await store.get_many("akz")).values()]
        assert [True, False] == [await store.exists("k"), await store.exists("n")]

        copied, synced = DictStore(), DictStore()
        for key in "kx":
            await synced.put(key, b"copy")
        with pytest.raises(BulkError) as failed:
            await copy_store(store, copied)
        assert (["k"], ["a", "z"]) == (list(failed.value.results), await listed(copied))
        with pytest.raises(BulkError) as failed:
            await sync_stores(store, synced, delete=True)
        assert (["k"], ["a", "k", "z"]) == (list(failed.value.results), await listed(synced))


async def test_target_that_cannot_be_written_still_ends_a_copy(tmp_path: Path) -> None:
    """Only an object of the source is passed over."""

    class Failing(DictStore):
        puts = 0

        async def put(self, key: str, data: Any, **options: Any) -> str:
            self.puts += 1
            raise StorageError("the disk fails", key=key)

    source, target = DictStore(), Failing()
    for number in range(100):
        await source.put(f"{number:03}", b"v")

    with pytest.raises(StorageError, match="the disk fails"):
        await copy_store(source, target, concurrency=1)
    assert target.puts < 100


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
async def test_files_of_proc_are_listed_to_their_end() -> None:
    """Some may not be opened, some fail when they are read, some are endless, and none ends the scan."""
    store = FilesystemStore(f"/proc/{os.getpid()}")
    found, error = await outcome(store.scan("s"))

    assert {"smaps", "stat", "status"} <= set(found)
    assert sorted(found) == found
    keys = {key async for key in store.keys("s")}
    assert keys == {*found, *(error.errors if error else ())}


async def test_key_file_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    """Its object is told at the end of a listing."""
    with mounted(Behaviour()) as root:
        store = HashdirStore(root)
        for key in ("a", "k", "z"):
            await store.put(key, b"v")
        (file,) = (path for path in root.rglob("*.key") if path.read_bytes() == b"k")
        name = file.name
        kept = {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    with mounted(Behaviour(unreadable=(name,), read_error=errno.EIO)) as root:
        for path, data in kept.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data)
        found: list[str] = []
        with pytest.raises(IncompleteListingError) as caught:
            found += [key async for key in HashdirStore(root).keys()]
        assert 1 == len(caught.value.unnamed) == caught.value.count
