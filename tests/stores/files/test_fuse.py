"""The file systems that the tests mount behave as their switches say; else tests on them show nothing."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from file_tools import FILE_STORES, listed
from fuse.behaviour import Behaviour
from fuse.mount import mounted

from storage.stores.files.file_store import FileStore

pytestmark = pytest.mark.process


@pytest.mark.parametrize("make", FILE_STORES)
async def test_a_store_works_on_a_mounted_file_system(make: type[FileStore]) -> None:
    """Without a switch, a mounted file system is a directory like any other."""
    with mounted(Behaviour()) as root:
        store = make(root / "objects")
        await store.put("a/b", b"1" * 300_000, attributes={"content-type": "text/plain"})
        await store.copy("a/b", "c")
        await store.rename("a/b", "d")

        assert ["c", "d"] == await listed(store)
        assert b"1" * 300_000 == await store.get("d")
        assert {"content-type": "text/plain"} == (await store.head("c")).attributes
        await store.clear()
        assert [] == await listed(store)


def _refusal(call: Callable[..., object], *args: object) -> int:
    """Return the number of the error with which a call fails, 0 if it does not."""
    try:
        call(*args)
    except OSError as refusal:
        return refusal.errno or 0
    return 0


def test_open_files_are_not_renamed_and_times_not_set() -> None:
    """What some shares refuse is refused."""
    with mounted(Behaviour(renames_open_files=False, sets_times=False, lock_error=errno.ENOLCK, quota=3)) as root:
        path = root / "file"
        file = path.open("wb", buffering=0)
        file.write(b"1234")
        assert errno.EOPNOTSUPP == _refusal(os.rename, path, root / "other")
        assert errno.ENOLCK == _refusal(fcntl.flock, file, fcntl.LOCK_EX)
        assert errno.EDQUOT == _refusal(file.close)
        assert errno.EPERM == _refusal(lambda: os.utime(path, (1, 1)))
        os.rename(path, root / "other")
        os.utime(root / "other")


def test_what_a_status_says() -> None:
    """Times are coarse, sizes and link counts untrue, reads short."""
    behaviour = Behaviour(granularity=2 * 10**9, hides_sizes=True, link_count=0, short_reads=3)
    with mounted(behaviour) as root:
        (root / "file").write_bytes(b"12345")
        os.utime(root / "file", ns=(1, 3_999_999_999))

        status = os.stat(root / "file")
        with open(root / "file", "rb", buffering=0) as file:
            assert b"123" == file.read(100)
        assert (2 * 10**9, 0, 0) == (status.st_mtime_ns, status.st_size, status.st_nlink)


def test_inodes_are_numbered_anew_by_each_mount(tmp_path: Path) -> None:
    """The number of a file is another after a remount."""
    tmp_path.chmod(0o777)
    (tmp_path / "file").write_bytes(b"")
    inodes = []
    for _ in range(2):
        with mounted(Behaviour(renumbers_inodes=True), tmp_path) as root:
            inodes.append(os.stat(root / "file").st_ino)

    assert 2 == len(set(inodes))


@pytest.mark.parametrize(
    ("behaviour", "name", "also", "listing"),
    [
        (Behaviour(ignores_case=True), "Name", "nAME", ["Name"]),
        (Behaviour(normalises="NFD"), "\u00e4", "a\u0308", ["a\u0308"]),
        (Behaviour(normalises="NFC", keeps_form=True), "a\u0308", "\u00e4", ["a\u0308"]),
    ],
)
def test_two_names_are_one(behaviour: Behaviour, name: str, also: str, listing: list[str]) -> None:
    """Names that the file system takes for the same are found by each other."""
    with mounted(behaviour) as root:
        (root / name).write_bytes(b"1")

        assert b"1" == (root / also).read_bytes()
        assert listing == os.listdir(root)


def test_names_are_refused_and_directories_not_read() -> None:
    """Creating fails with the given error; a directory cannot be listed, not even by root."""
    with mounted(Behaviour(refused_characters=":?", refusal=errno.ENOENT, unreadable=("lost+found",))) as root:
        (root / "lost+found").mkdir()

        assert errno.ENOENT == _refusal((root / "a:b").write_bytes, b"")
        assert errno.EACCES == _refusal(os.listdir, root / "lost+found")


@pytest.mark.parametrize("hidden", [".fuse_hidden", ".nfs"])
def test_a_removed_file_that_is_open_stays_under_another_name(hidden: str) -> None:
    """It goes when it is closed."""
    with mounted(Behaviour(hides_removed=hidden)) as root:
        (root / "file").write_bytes(b"1")
        with open(root / "file", "rb") as file:
            os.unlink(root / "file")
            assert [True] == [name.startswith(hidden) for name in os.listdir(root)]
            assert b"1" == file.read()
        limit = time.monotonic() + 10  # the kernel tells the server of the close a moment later
        while os.listdir(root) and time.monotonic() < limit:
            time.sleep(0.001)
        assert [] == os.listdir(root)


def test_copies_end_early_and_attributes_do_not_fit() -> None:
    """copy_file_range gives less than it was asked for; extended attributes have a limit."""
    with mounted(Behaviour(copied_at_once=100, copied_at_all=150, xattr_limit=100)) as root:
        (root / "source").write_bytes(b"1" * 200)
        with open(root / "source", "rb") as source, open(root / "target", "wb") as target:
            copied = [os.copy_file_range(source.fileno(), target.fileno(), 200) for _ in range(3)]

        assert [100, 50, 0] == copied
        assert errno.ENOSPC == _refusal(os.setxattr, root / "source", "user.test", b"1" * 100)
    with mounted(Behaviour(xattrs=False)) as root:
        assert errno.EOPNOTSUPP == _refusal(os.setxattr, root, "user.test", b"1")
