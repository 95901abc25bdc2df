"""What is no object of the store is neither replaced nor removed."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from file_tools import FILE_STORES, listed

from storage import BulkError, FilesystemStore, KeyConflictError, KeyNotFoundError
from storage.stores.files import draft, entries
from storage.stores.files.file_store import FileStore


def _link(path: Path) -> None:
    path.symlink_to("elsewhere")


def _socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # a path of a socket has at most 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def _device(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may make a device")
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))


_OTHERS = {"link": _link, "pipe": os.mkfifo, "socket": _socket, "device": _device}

_WRITES: dict[str, Callable[[FileStore], Awaitable[object]]] = {
    "put": lambda store: store.put("k", b"1"),
    "stream": lambda store: store.put("k", [b"1", b"2"]),
    "if_absent": lambda store: store.put("k", b"1", if_absent=True),
    "if_match": lambda store: store.put("k", b"1", if_match="x"),
    "copy": lambda store: store.copy("source", "k"),
    "copy if_absent": lambda store: store.copy("source", "k", if_absent=True),
    "rename": lambda store: store.rename("source", "k"),
    "rename if_absent": lambda store: store.rename("source", "k", if_absent=True),
}


@pytest.mark.parametrize("make", FILE_STORES)
@pytest.mark.parametrize("other", _OTHERS)
async def test_other_files_of_the_key_are_a_conflict(make: type[FileStore], other: str, tmp_path: Path) -> None:
    """A link, a pipe, a socket or a device at the key's path is another program's; a delete leaves it as it is."""
    store = make(tmp_path)
    await store.put("source", b"source")
    await store.put("k", b"1")
    path = Path(store.root, store._path("k"))
    path.unlink()
    _OTHERS[other](path)
    before = path.lstat()
    for name, write in _WRITES.items():
        with pytest.raises(KeyConflictError) as caught:
            await write(store)
        assert ("k", name) == (caught.value.key, name)
    with pytest.raises(BulkError) as failed:
        await store.put_many({"k": b"1"})
    assert isinstance(failed.value.results["k"], KeyConflictError)
    await store.delete("k")
    await store.delete_many(["k"])
    with pytest.raises(KeyNotFoundError):
        await store.rename("k", "other")
    assert ["source"] == await listed(store)
    await store.clear()

    assert (before.st_ino, before.st_mode) == (path.lstat().st_ino, path.lstat().st_mode)


@pytest.mark.parametrize("renames", [True, False])
async def test_a_pipe_that_comes_in_the_last_moment_stays(
    renames: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rename itself fails where something has the name since the look at it."""
    if entries._renameat2 is None:
        pytest.skip("the C library has no renameat2")
    store = FilesystemStore(tmp_path)
    await store.put("source", b"1")
    move = entries.move

    def late(*args: object, **options: object) -> None:
        if not (tmp_path / "k").exists():
            os.mkfifo(tmp_path / "k")
        move(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(draft, "move", late)
    monkeypatch.setattr("storage.stores.files.renaming.move", late)
    with pytest.raises(KeyConflictError):
        await (store.rename("source", "k") if renames else store.put("k", b"1"))

    assert stat.S_ISFIFO((tmp_path / "k").lstat().st_mode)
    assert ["source"] == await listed(store)


async def test_an_object_that_comes_in_the_last_moment_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program may write the file of a key at any time; a put without a condition then overwrites it."""
    store, move = FilesystemStore(tmp_path), entries.move

    def late(*args: object, **options: object) -> None:
        if not (tmp_path / "k").exists():
            (tmp_path / "k").write_bytes(b"theirs")
        move(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(draft, "move", late)
    await store.put("k", b"ours")

    assert b"ours" == await store.get("k")


async def test_directories_of_others_stay(tmp_path: Path) -> None:
    """With their modes, when they are empty, and when an object is to have their name."""
    store = FilesystemStore(tmp_path)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs").chmod(0o2770)
    await store.put("theirs/ours/k", b"1")
    await store.delete("theirs/ours/k")
    await store.put("source", b"1")

    assert ["source", "theirs"] == sorted(os.listdir(tmp_path))
    assert [] == os.listdir(tmp_path / "theirs")
    assert "0o2770" == oct(stat.S_IMODE((tmp_path / "theirs").stat().st_mode))
    for write in (store.put("theirs", b"1"), store.copy("source", "theirs"), store.rename("source", "theirs")):
        with pytest.raises(KeyConflictError):
            await write
    async with store:
        assert ["source"] == await listed(store)
    await store.clear()
    assert ["theirs"] == os.listdir(tmp_path)


async def test_a_directory_is_known_as_the_stores_later(tmp_path: Path) -> None:
    """By an extended attribute, which outlasts the process."""
    await FilesystemStore(tmp_path).put("a/b", b"1")
    if not FilesystemStore(tmp_path).capabilities.attributes:
        pytest.skip("no extended attributes here")

    assert b"" == os.getxattr(tmp_path / "a", "user.storage.made")
    (tmp_path / "a" / "b").unlink()
    await FilesystemStore(tmp_path).put("a", b"1")
    assert b"1" == (tmp_path / "a").read_bytes()


@pytest.mark.parametrize("make", FILE_STORES)
async def test_two_names_of_one_file_become_one(make: type[FileStore], tmp_path: Path) -> None:
    """rename(2) does nothing where both names are hard links of one file, and says that it worked."""
    store = make(tmp_path)
    await store.put("a", b"1")
    await store.put("b", b"2")
    old, new = (Path(store.root, store._path(key)) for key in "ab")
    new.unlink()
    os.link(old, new)
    await store.rename("a", "b")

    assert (["b"], b"1") == (await listed(store), await store.get("b"))
    assert not old.exists()


async def test_a_second_name_of_a_file_keeps_the_old_bytes(tmp_path: Path) -> None:
    """Backups by hard links stay as they are."""
    store = FilesystemStore(tmp_path)
    await store.put("a", b"1")
    os.link(tmp_path / "a", tmp_path / "backup")
    await store.put("a", b"2")

    assert (b"2", b"1") == (await store.get("a"), await store.get("backup"))
