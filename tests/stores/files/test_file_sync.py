"""Durable stores where files cannot be synced, or where that fails."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
from fuse.behaviour import Behaviour
from fuse.mount import mounted

from storage import (
    FilesystemStore,
    HashdirStore,
    ObjectStore,
    SqliteStore,
    StorageError,
    UnsupportedOperationError,
    ZipStore,
)
from storage.stores.files.durability import Durability

pytestmark = pytest.mark.process

#: How each store that has a durability is made below a directory.
MAKE: dict[str, Callable[[Path, Durability], ObjectStore]] = {
    "filesystem": lambda root, durability: FilesystemStore(root, durability=durability),
    "hashdir": lambda root, durability: HashdirStore(root, durability=durability),
    "zip": lambda root, durability: ZipStore(root / "a.zip", durability=durability),
}


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("refusal", [errno.EINVAL, errno.EOPNOTSUPP], ids=errno.errorcode.get)
async def test_store_that_cannot_be_durable_says_so_and_works_without(name: str, refusal: int) -> None:
    """The error names the setting; with it all calls work, and what was there before is as it was."""
    with mounted(Behaviour(file_sync_error=refusal)) as root:
        async with MAKE[name](root, "atomic") as store:
            await store.put("k", b"v")
            await store.rename("k", "l")
            await store.copy("l", "k")
            if isinstance(store, ZipStore):
                await store.flush()
                await store.compact()

        with pytest.raises(UnsupportedOperationError, match="durability='atomic'") as caught:
            async with MAKE[name](root, "fsync") as store:
                await store.put("k", b"w")
        assert ("k", repr(MAKE[name](root, "fsync"))) == (caught.value.key, caught.value.store)
        assert not caught.value.retryable
        async with MAKE[name](root, "atomic") as store:
            assert {"k": b"v", "l": b"v"} == await store.get_many([key async for key in store.keys()])


async def test_new_archive_that_cannot_be_durable_says_so() -> None:
    """Its first bytes are synced when it is opened."""
    unable = mounted(Behaviour(file_sync_error=errno.EINVAL))
    with unable as root, pytest.raises(UnsupportedOperationError, match="durability='atomic'"):
        await ZipStore(root / "a.zip").__aenter__()


async def test_backup_that_cannot_be_durable_says_so_and_leaves_nothing() -> None:
    """There is no setting for it: a backup is always synced."""
    with mounted(Behaviour(file_sync_error=errno.EINVAL)) as root:
        async with SqliteStore(":memory:") as store:
            with pytest.raises(UnsupportedOperationError, match="make the backup on another one"):
                await store.backup(root / "copy.db")
        assert [] == list(root.iterdir())


async def test_database_that_cannot_be_durable_says_so() -> None:
    """SQLite does not say why a sync failed."""
    unable = mounted(Behaviour(file_sync_error=errno.EINVAL))
    with unable as root, pytest.raises(StorageError, match="use a local disk"):
        await SqliteStore(root / "data.db").__aenter__()


@pytest.mark.parametrize("name", MAKE)
async def test_failed_sync_of_a_file_is_a_fault_of_the_disk(name: str) -> None:
    """A file system that cannot sync is told from a disk that fails, which "atomic" would only hide."""
    with mounted(Behaviour(file_sync_error=errno.EIO)) as root:
        with pytest.raises(StorageError, match="Input/output error") as caught:
            async with MAKE[name](root, "fsync") as store:
                await store.put("k", b"v")
        assert type(caught.value) is StorageError
