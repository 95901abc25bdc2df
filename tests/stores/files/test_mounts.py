"""Stores on file systems that refuse, forget or round what they are asked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from file_tools import FILE_STORES, files
from fuse.behaviour import Behaviour
from fuse.mount import mounted
from processes.disks import disk

from storage import CachingStore, DictStore, FilesystemStore, PreconditionFailedError, StoreFullError
from storage.errors import ConfigError
from storage.stores.files.file_store import FileStore

pytestmark = pytest.mark.process

#: File systems whose times do not tell versions apart, and whether there are etags all the same.
_COARSE = {
    "seconds": (Behaviour(granularity=10**9), True),
    "times of FAT": (Behaviour(granularity=2 * 10**9), True),
    "times of exFAT": (Behaviour(granularity=10**7), True),
    "times cannot be set": (Behaviour(sets_times=False), True),
    "seconds, no xattrs": (Behaviour(granularity=10**9, xattrs=False), False),
    "times of exFAT, no xattrs": (Behaviour(granularity=10**7, xattrs=False), False),
    "times cannot be set, no xattrs": (Behaviour(sets_times=False, xattrs=False), False),
}


@pytest.mark.parametrize("make", FILE_STORES)
async def test_a_draft_is_closed_before_it_is_renamed(make: type[FileStore]) -> None:
    """Some mounts do not rename an open file."""
    with mounted(Behaviour(renames_open_files=False)) as root:
        store = make(root / "s")
        await store.put("k", b"1")
        await store.put("k", b"2", attributes={"a": "b"})
        await store.copy("k", "c")
        await store.rename("c", "d")

        assert (b"2", b"2") == (await store.get("k"), await store.get("d"))


@pytest.mark.parametrize("make", FILE_STORES)
async def test_an_error_of_the_close_leaves_the_old_object(make: type[FileStore]) -> None:
    """NFS tells of a quota when a file is closed; the new one must not have its name by then."""
    with mounted(Behaviour(quota=100)) as root:
        store = make(root / "s")
        await store.put("k", b"old")
        with pytest.raises(StoreFullError):
            await store.put("k", b"n" * 101)

        assert b"old" == await store.get("k")
        assert [] == [name for name in files(root) if ".~storage-" in name]


@pytest.mark.parametrize(
    ("make", "name"),
    [(FilesystemStore, name) for name in _COARSE]
    + [(make, name) for make in FILE_STORES[1:] for name in list(_COARSE)[:5:4]],
)
async def test_different_bytes_never_share_an_etag(make: type[FileStore], name: str) -> None:
    """Where times are coarse or not the store's to set, a mark tells versions apart, or else their bytes."""
    behaviour, has_etags = _COARSE[name]
    with mounted(behaviour) as root:
        store = make(root / "s")
        etags = [await store.put("k", b"version%d" % i) for i in range(4)]
        able, other = store.capabilities, make(root / "s")

        assert 4 == len(set(etags))
        assert etags[-1] == (await store.head("k")).etag == (await other.head("k")).etag
        assert (has_etags, has_etags) == (able.etags, able.cheap_head)
        assert able == other.capabilities
        with pytest.raises(PreconditionFailedError):
            await other.put("k", b"version9", if_match=etags[0])
        etags.append(await other.put("k", b"version5", if_match=etags[-1]))
        await store.delete("k")
        etags.append(await store.put("k", b"version6"))
        assert 6 == len(set(etags))


@pytest.mark.parametrize("name", _COARSE)
async def test_a_cache_over_coarse_times_is_right_or_refused(name: str) -> None:
    """It compares etags; where these are hashes of the bytes, comparing costs as much as reading."""
    behaviour, has_etags = _COARSE[name]
    with mounted(behaviour) as root:
        store = FilesystemStore(root / "s")
        if not has_etags:
            with pytest.raises(ConfigError, match="head"):
                async with CachingStore(store, DictStore(), revalidate=0):
                    pass
            cache = CachingStore(store, DictStore(), revalidate=0)
            await cache.put("k", b"1")
            assert b"1" == await cache.get("k")  # now it is cached
            with pytest.raises(ConfigError, match="head"):
                await cache.get("k")
            return
        cache = CachingStore(store, DictStore(), revalidate=0)
        for data in (b"one", b"two", b"six"):
            await store.put("k", data)
            assert data == await cache.get("k")


@pytest.mark.slow
async def test_ext4_with_seconds_has_marks() -> None:
    """Small inodes have no room for more than seconds."""
    with disk("ext4", "-I", "128") as made:
        store = FilesystemStore(made.root / "s")
        etags = [await store.put("k", b"version%d" % i) for i in range(6)]
        (made.root / "s" / "foreign").write_bytes(b"1")

        assert 6 == len(set(etags))
        assert store.capabilities.etags
        assert etags[-1] == (await FilesystemStore(made.root / "s").head("k")).etag
        with pytest.raises(PreconditionFailedError):
            await store.put("k", b"version6", if_match=etags[0])
        foreign = (await store.head("foreign")).etag
        await store.put("foreign", b"2", if_match=foreign)


@pytest.mark.parametrize("xattrs", [True, False])
async def test_an_etag_outlasts_a_remount(xattrs: bool, tmp_path: Path) -> None:
    """Inodes that are numbered anew by each mount are no part of it."""
    tmp_path.chmod(0o777)
    behaviour = Behaviour(renumbers_inodes=True, xattrs=xattrs)
    with mounted(behaviour, tmp_path) as root:
        etag = await FilesystemStore(root / "s").put("k", b"1")
    with mounted(behaviour, tmp_path) as root:
        store = FilesystemStore(root / "s")

        assert etag == (await store.head("k")).etag
        assert store.capabilities.etags
        await store.put("k", b"2", if_match=etag)


@pytest.mark.parametrize("make", FILE_STORES)
@pytest.mark.parametrize("copied", [0, 1000])
async def test_a_copy_goes_on_where_the_kernel_ends(make: type[FileStore], copied: int) -> None:
    """copy_file_range may give less than it was asked for, or say that there is no more."""
    with mounted(Behaviour(copied_at_once=400, copied_at_all=copied)) as root:
        store = make(root / "s")
        data = os.urandom(3000)
        await store.put("a", data)
        await store.copy("a", "b")

        assert data == await store.get("b")


async def test_a_file_that_tells_no_size_is_copied_whole() -> None:
    """Some file systems say 0 of a file that has bytes, as /proc does."""
    with mounted(Behaviour(hides_sizes=True, short_reads=1000)) as root:
        store = FilesystemStore(root / "s")
        data = os.urandom(5000)
        await store.put("a", data)
        await store.copy("a", "b")

        assert data == await store.get("b")


@pytest.mark.parametrize("make", FILE_STORES)
async def test_links_are_not_counted(make: type[FileStore]) -> None:
    """A link count of 0 is no proof that a draft is gone."""
    with mounted(Behaviour(link_count=0)) as root:
        store = make(root / "s")
        await store.put("k", b"1")
        await store.rename("k", "l")

        assert b"1" == await store.get("l")


@pytest.mark.parametrize("xattrs", [True, False])
async def test_directories_that_the_store_made_are_removed(xattrs: bool) -> None:
    """Also where there are no extended attributes, in the process that made them."""
    with mounted(Behaviour(xattrs=xattrs)) as root:
        store = FilesystemStore(root / "s")
        (root / "s" / "theirs").mkdir(parents=True)
        await store.put("a/b/c", b"1")
        await store.put("theirs/c", b"1")
        await store.delete("a/b/c")
        await store.delete("theirs/c")

        assert ["theirs"] == os.listdir(root / "s")
        await store.put("a", b"1")


async def test_attributes_that_do_not_fit_are_named_and_the_disk_is_not_full() -> None:
    """The capability says that not all fit; those that do are kept."""
    with mounted(Behaviour(xattr_limit=1000)) as root:
        store = FilesystemStore(root / "s")
        await store.put("k", b"1", attributes={"small": "1"})

        assert not store.capabilities.attributes
        assert {"small": "1"} == (await store.head("k")).attributes
        with pytest.raises(NotImplementedError, match="the longest is 'large'"):
            await store.put("k", b"2", attributes={"small": "1", "large": "2" * 1000})
        assert b"1" == await store.get("k")


async def test_the_mark_of_a_version_has_room_before_attributes() -> None:
    """Attributes that leave none for it are refused, and where there is none at all, bytes tell versions apart."""
    with mounted(Behaviour(xattr_limit=60, granularity=10**9)) as root:
        store = FilesystemStore(root / "s")
        etags = [await store.put("k", b"%d" % i) for i in range(3)]
        with pytest.raises(NotImplementedError):
            await store.put("k", b"3", attributes={"a": "b" * 60})
        assert 3 == len(set(etags))
        assert etags[-1] == (await store.head("k")).etag
    with mounted(Behaviour(xattr_limit=10, granularity=10**9)) as root:
        store = FilesystemStore(root / "s")
        assert 3 == len({await store.put("k", b"%d" % i) for i in range(3)})
        assert not store.capabilities.etags
