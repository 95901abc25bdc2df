"""Durable stores where directories cannot be synced, or where that fails."""

from __future__ import annotations

import errno
import os

import pytest
from file_tools import FILE_STORES, listed
from fuse.behaviour import Behaviour
from fuse.mount import mounted

from storage import FilesystemStore, SqliteStore, StorageError, ZipStore
from storage.stores.files.file_store import FileStore

pytestmark = pytest.mark.process


@pytest.mark.parametrize("store_class", FILE_STORES)
@pytest.mark.parametrize("refusal", [errno.EINVAL, errno.EOPNOTSUPP], ids=errno.errorcode.get)
async def test_durable_store_works_where_directories_cannot_be_synced(
    store_class: type[FileStore], refusal: int
) -> None:
    """As on some CIFS and FUSE mounts: it is nothing that a key could change, and what is made is removed again."""
    with mounted(Behaviour(sync_error=refusal)) as root:
        store = store_class(root / "new" / "root", durability="fsync")
        await store.put("d/k", b"v")
        await store.rename("d/k", "e/k")
        await store.copy("e/k", "f/k")

        assert ["e/k", "f/k"] == await listed(store)
        await store.clear()
        assert [] == os.listdir(root / "new" / "root")


async def test_archives_and_backups_are_made_where_directories_cannot_be_synced() -> None:
    """They sync directories too."""
    with mounted(Behaviour(sync_error=errno.EINVAL)) as root:
        async with ZipStore(root / "a.zip") as archive:
            await archive.put("k", b"v")
            await archive.flush()
        async with SqliteStore(":memory:") as database:
            await database.put("k", b"v")
            await database.backup(str(root / "copy"))
        async with SqliteStore(root / "copy") as copied:
            assert b"v" == await copied.get("k")


async def test_failed_sync_of_a_directory_is_no_invalid_key() -> None:
    """And the directory that was made for it is known as the store's own, which may remove it."""
    with mounted(Behaviour(sync_error=errno.EIO)) as root:
        with pytest.raises(StorageError, match="Input/output error") as caught:
            await FilesystemStore(root, durability="fsync").put("d/k", b"v")
        assert type(caught.value) is StorageError
        await FilesystemStore(root).put("d", b"v")

        assert ["d"] == os.listdir(root)
