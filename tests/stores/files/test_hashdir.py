"""`HashdirStore`: the files of keys next to those of objects, and leftovers of either."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import threading
from pathlib import Path

import pytest
from file_tools import files, listed

from storage import (
    HashdirStore,
    IncompleteListingError,
    InvalidKeyError,
    KeyConflictError,
    ObjectStore,
    PermissionDeniedError,
    PrefixStore,
)
from storage._core.descriptors import Descriptor
from storage.stores import hashdir
from storage.stores.files.key_files import MAX_KEY
from storage.stores.files.root import Root


async def test_hashdir_writes_a_key_anew_that_was_cut_short(tmp_path: Path) -> None:
    """A loss of power can leave the key's file empty; the next put of the object lists it again."""
    store = HashdirStore(tmp_path)
    await store.put("some key", b"v")
    (written,) = tmp_path.rglob("*.key")
    written.write_bytes(b"")
    await store.put("some key", b"w")

    assert ["some key"] == await listed(store)


async def test_hashdir_keeps_exactly_the_bytes_under_the_hash(tmp_path: Path) -> None:
    """The layout that other programs find: aa/bb/cc/rest of the sha-256, and the key next to it."""
    await HashdirStore(tmp_path).put("ключ/with any name", b"bytes")
    await HashdirStore(tmp_path, width=3, depth=1).put("k", b"2")
    digest = hashlib.sha256("ключ/with any name".encode()).hexdigest()
    path = tmp_path / digest[:2] / digest[2:4] / digest[4:6] / digest[6:]
    wide = hashlib.sha256(b"k").hexdigest()

    assert b"bytes" == path.read_bytes()
    assert "ключ/with any name" == path.with_name(f"{path.name}.key").read_text()
    assert b"2" == (tmp_path / wide[:3] / wide[3:]).read_bytes()


async def test_hashdir_ignores_and_reclaims_a_key_without_its_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer killed between the two files leaves no object; files that need not be the store's stay untouched."""
    store = HashdirStore(tmp_path)
    await store.put("k", b"v")
    (kept,) = [name for name in files(tmp_path) if not name.endswith(".key")]
    (tmp_path / kept).unlink()
    await store.put("empty", b"v")
    (kept,) = [name for name in files(tmp_path) if not name.endswith(".key")]
    (tmp_path / kept).unlink()
    (tmp_path / f"{kept}.key").write_bytes(b"")
    zeros = f"{kept[:-1]}{'1' if kept[-1] == '0' else '0'}.key"
    (tmp_path / zeros).write_bytes(bytes(9))
    (tmp_path / "foreign.key").write_bytes(b"\xff")
    (tmp_path / "foreign").write_bytes(b"")

    assert [] == await listed(store)
    monkeypatch.setattr(hashdir, "ORPHAN_AGE", -1.0)
    async with store:
        pass
    assert sorted([f"{kept}.key", zeros, "foreign", "foreign.key"]) == files(tmp_path)


async def test_hashdir_keeps_the_key_of_an_object_that_is_being_restored(tmp_path: Path) -> None:
    """A program that copies the tree may come to the key's file first, and set an old time on it."""
    store = HashdirStore(tmp_path)
    await store.put("k", b"v")
    (kept,) = [name for name in files(tmp_path) if not name.endswith(".key")]
    (tmp_path / kept).rename(tmp_path / "not yet there")
    os.utime(tmp_path / f"{kept}.key", (1, 1))
    async with store:
        assert [] == await listed(store)
    (tmp_path / "not yet there").rename(tmp_path / kept)

    assert ["k"] == await listed(store)


async def listed_short(store: ObjectStore, method: str, *args: str) -> tuple[list[object], IncompleteListingError]:
    """Return what a listing that leaves out objects yields, and the error at its end."""
    found: list[object] = []
    try:
        async for item in getattr(store, method)(*args):
            found.append(getattr(item, "key", item))  # noqa: PERF401  # those before the error
    except IncompleteListingError as error:
        return found, error
    raise AssertionError("the listing does not say that it is incomplete")


async def test_hashdir_listing_says_that_it_leaves_out_objects_whose_keys_are_lost(tmp_path: Path) -> None:
    """All others come first; whoever knows the key can still read, put and delete the object."""
    store = HashdirStore(tmp_path)
    for key in ("a/1", "a/2", "a/emptied", "a/gone", "a/overwritten"):
        await store.put(key, key.encode())
    (tmp_path / f"{store._path('a/emptied')}.key").write_bytes(b"")
    (tmp_path / f"{store._path('a/gone')}.key").unlink()
    (tmp_path / f"{store._path('a/overwritten')}.key").write_bytes(b"a/1")

    for method in ("keys", "scan", "children"):
        for listing in (store, PrefixStore(store, "a/")):
            found, error = await listed_short(listing, method, "a/" if listing is store else "")
            assert ["1", "2"] == [str(key).removeprefix("a/") for key in found]
            assert 3 == error.count == len(error.unnamed)
            assert "left out 3 objects" in str(error)
            assert store._path("a/gone") in " ".join(each.message for each in error.unnamed)
    assert b"a/gone" == await store.get("a/gone")
    await store.put("a/gone", b"new")
    await store.delete("a/emptied")
    await store.delete("a/overwritten")
    assert ["a/1", "a/2", "a/gone"] == await listed(store)


async def test_hashdir_listing_during_puts_and_deletes_misses_no_key(tmp_path: Path) -> None:
    """Between the two files of an object, a listing takes neither for damage."""
    store, other = HashdirStore(tmp_path, depth=0), HashdirStore(tmp_path, depth=0)
    done = False

    async def write(number: int) -> None:
        while not done:
            await store.put(f"{number}", b"v")
            await store.rename(f"{number}", f"{number}-new")
            await store.delete(f"{number}-new")

    writers = [asyncio.create_task(write(number)) for number in range(8)]
    for _ in range(100):
        await listed(other)
    done = True
    await asyncio.gather(*writers)

    assert [] == await listed(other)


async def test_hashdir_leaves_all_alone_that_its_layout_does_not_name(tmp_path: Path) -> None:
    """Entering, listing, clearing and deleting touch no file whose name is not the hash of its key."""
    store = HashdirStore(tmp_path)
    await store.put("own", b"v")
    (own,) = [tmp_path / name for name in files(tmp_path) if name.endswith(".key")]
    digits = hashlib.sha256(b"other").hexdigest()
    foreign = {
        "id.key": b"private",
        "tls/private/server.key": b"private",
        f"{digits[:2]}/{digits[2:4]}/{digits[4:6]}/server.key": b"private",
        f"{digits[:2]}/{digits[2:4]}/{digits[4:6]}/{digits[6:]}.key": b"a lie",
        f"{digits[:2]}/{digits[2:4]}/{digits[4:6]}/{digits[6:].upper()}.key": b"other",
        f"{digits[:2]}/{digits[6:]}.key": b"other",
        f"elsewhere/{own.name}": b"own",
        f"elsewhere/{own.name.removesuffix('.key')}": b"data",
        "elsewhere/.~storage-0123456789abcdef": b"",
        f"{digits[:2]}/.~storage-notes": b"",
    }
    for name, content in foreign.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)

    async with store:
        assert ["own"] == await listed(store)
        await store.delete("other")
        await store.clear()
    assert sorted(foreign) == files(tmp_path)
    assert foreign == {name: (tmp_path / name).read_bytes() for name in foreign}


async def test_hashdir_lists_over_damaged_key_files_and_directories_of_others(tmp_path: Path) -> None:
    """No listing breaks on them, and no object is listed under a key of another object."""
    store = HashdirStore(tmp_path, depth=1)
    for key in ("good", "swapped", "cut", "binary", "huge", "linked"):
        await store.put(key, key.encode())
    paths = {
        key: tmp_path / f"{store._path(key)}.key" for key in ("good", "swapped", "cut", "binary", "huge", "linked")
    }
    paths["swapped"].write_bytes(b"good")
    paths["cut"].write_bytes(b"c")
    paths["binary"].write_bytes(b"\xff\xfe")
    os.truncate(paths["huge"], 1 << 40)
    paths["linked"].rename(tmp_path / "target")
    paths["linked"].symlink_to(tmp_path / "target")
    (tmp_path / "lost+found").mkdir(mode=0)
    unread = []

    class Watched(Root):
        def open_directory(self, path: str) -> Descriptor:
            if path == "lost+found":
                unread.append(path)
                raise PermissionError(errno.EACCES, "no")
            return super().open_directory(path)

    store._root = Watched(str(tmp_path))

    async with store:
        for method in ("keys", "scan"):
            found, error = await listed_short(store, method)
            assert (["good"], 5) == (found, error.count)
    assert [] == unread
    for key in ("swapped", "cut", "binary", "huge"):
        assert key.encode() == await store.get(key)
        await store.put(key, b"new")
    found, error = await listed_short(store, "keys")
    assert (["binary", "cut", "good", "huge", "swapped"], 1) == (found, error.count)
    with pytest.raises(KeyConflictError, match="no regular file: move it away"):
        await store.put("linked", b"new")
    await store.delete("linked")
    assert paths["linked"].is_symlink()


async def test_hashdir_refuses_a_key_too_long_to_be_read_back(tmp_path: Path) -> None:
    """A listing reads no more than this of any file."""
    store = HashdirStore(tmp_path)
    await store.put("k" * MAX_KEY, b"v")
    with pytest.raises(InvalidKeyError, match="choose a shorter one"):
        await store.put("k" * (MAX_KEY + 1), b"v")

    assert ["k" * MAX_KEY] == await listed(store)


async def test_hashdir_object_whose_key_was_lost_can_be_deleted_and_renamed(tmp_path: Path) -> None:
    """A missing key file is no error."""
    store = HashdirStore(tmp_path)
    for key in ("a", "b"):
        await store.put(key, b"v")
    for path in tmp_path.rglob("*.key"):
        path.unlink()
    await store.delete("a")
    await store.rename("b", "c")

    assert ["c"] == await listed(store)


async def test_hashdir_listing_leaves_the_loop_free_and_maps_errors(tmp_path: Path) -> None:
    """A worker thread walks the directories, and the system's errors there become ours."""
    loop_thread = threading.get_ident()
    walkers = set()

    class Watched(HashdirStore):
        def _read_key(self, directory: int, name: str, path: str) -> str | None:
            walkers.add(threading.get_ident())
            raise OSError(errno.EACCES, "no")

    store = Watched(tmp_path)
    await store.put("k", b"v")
    with pytest.raises(PermissionDeniedError):
        await listed(store)

    assert walkers
    assert loop_thread not in walkers


async def test_hashdir_delete_leaves_nothing(tmp_path: Path) -> None:
    """The object, its key and its directories are removed together."""
    store = HashdirStore(tmp_path)
    await store.put("k", b"v")
    await store.delete("k")

    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(("width", "depth"), [(0, 1), (2, -1), (8, 8)])
def test_hashdir_refuses_a_layout_that_leaves_no_name(width: int, depth: int, tmp_path: Path) -> None:
    """A hash has only 64 digits."""
    with pytest.raises(ValueError, match="width"):
        HashdirStore(tmp_path, width=width, depth=depth)
