"""Who may read and write the files of objects that replace others, or are copies of them."""

from __future__ import annotations

import os
import stat
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from file_tools import FILE_STORES

from storage import FilesystemStore
from storage.stores.files.draft import Draft
from storage.stores.files.entries import status_of
from storage.stores.files.file_store import FileStore
from storage.sync import FilesystemStore as SyncStore

_ACL = "system.posix_acl_access"


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """Let new files be readable by all."""
    old = os.umask(0o022)
    yield
    os.umask(old)


def _mode(path: Path) -> str:
    return oct(stat.S_IMODE(path.stat().st_mode))


def _file(store: FileStore, key: str) -> Path:
    return Path(store.root, store._path(key))


def _acl(user: int, group: int, mask: int) -> bytes:
    """Return an ACL: the owner reads and writes, user 1234 and the group as given, all others nothing."""
    none = 0xFFFFFFFF
    entries = [(1, 6, none), (2, user, 1234), (4, group, none), (0x10, mask, none), (0x20, 0, none)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


@pytest.mark.parametrize("make", FILE_STORES)
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o660, 0o666, 0o755, 0o444, 0o400])
async def test_a_replaced_file_keeps_its_mode(make: type[FileStore], mode: int, tmp_path: Path) -> None:
    """A secret stays one, and a script can still be run."""
    store = make(tmp_path)
    await store.put("k", b"1")
    await store.put("other", b"3")
    _file(store, "k").chmod(mode)

    await store.put("k", b"2")
    assert oct(mode) == _mode(_file(store, "k"))
    await store.put("k", [b"2", b"3"])
    assert oct(mode) == _mode(_file(store, "k"))
    await store.copy("other", "k")
    assert oct(mode) == _mode(_file(store, "k"))
    await store.put_many({"k": b"4"})
    assert oct(mode) == _mode(_file(store, "k"))


async def test_set_id_bits_go_not_onto_new_bytes(tmp_path: Path) -> None:
    """Whoever may put an object must not thereby act as the owner of the old one."""
    store = FilesystemStore(tmp_path)
    (tmp_path / "tool").write_bytes(b"1")
    (tmp_path / "tool").chmod(0o6755)
    await store.copy("tool", "copy")
    await store.put("tool", b"2")

    assert ("0o755", "0o755") == (_mode(tmp_path / "tool"), _mode(tmp_path / "copy"))


@pytest.mark.parametrize("make", FILE_STORES)
async def test_a_copy_is_readable_by_no_more(make: type[FileStore], tmp_path: Path) -> None:
    """Neither a new one, nor one that replaces a file that all may read."""
    store = make(tmp_path)
    for key in ("secret", "open", "tool"):
        await store.put(key, b"1")
    _file(store, "secret").chmod(0o600)
    _file(store, "tool").chmod(0o755)
    for source, target in (("secret", "copy"), ("secret", "open"), ("tool", "copied tool")):
        await store.copy(source, target)

    assert ["0o600", "0o600", "0o755"] == [_mode(_file(store, key)) for key in ("copy", "open", "copied tool")]


@pytest.mark.parametrize("how", ["put", "stream", "copy"])
async def test_no_draft_of_a_secret_is_readable(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mode is set before the bytes are written."""
    store, modes = FilesystemStore(tmp_path), []
    await store.put("k", b"1")
    await store.put("open", b"1")
    (tmp_path / "k").chmod(0o600)
    write, copy = Draft.write, Draft.copy_from

    def seen(method: Callable[..., None]) -> Callable[..., None]:
        def work(draft: Draft, *args: object) -> None:
            modes.append(_mode(next(tmp_path.glob(".~storage-*"))))
            method(draft, *args)

        return work

    monkeypatch.setattr(Draft, "write", seen(write))
    monkeypatch.setattr(Draft, "copy_from", seen(copy))
    if how == "copy":
        await store.copy("k", "new")
        await store.copy("k", "open")
        await store.copy("open", "k")
    else:
        await store.put("k", b"2" if how == "put" else [b"2", b"3"])

    assert {"0o600"} == set(modes)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root may give files to others")
@pytest.mark.parametrize("make", FILE_STORES)
async def test_owner_group_and_acl_are_kept(make: type[FileStore], tmp_path: Path) -> None:
    """So are the extended attributes of other programs."""
    store = make(tmp_path)
    await store.put("k", b"1", attributes={"a": "b"})
    os.chown(_file(store, "k"), 1234, 4321)
    os.setxattr(_file(store, "k"), "user.theirs", b"1")
    os.setxattr(_file(store, "k"), _ACL, _acl(4, 0, 4))
    acl = os.getxattr(_file(store, "k"), _ACL)
    await store.put("k", b"2")

    status = _file(store, "k").stat()
    assert (1234, 4321) == (status.st_uid, status.st_gid)
    assert acl == os.getxattr(_file(store, "k"), _ACL)
    assert b"1" == os.getxattr(_file(store, "k"), "user.theirs")
    assert {} == (await store.head("k")).attributes


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root may give files to others")
async def test_the_default_acl_of_a_directory_widens_no_replaced_file(tmp_path: Path) -> None:
    """It is for new files: the old one had none."""
    store = FilesystemStore(tmp_path)
    await store.put("k", b"1")
    (tmp_path / "k").chmod(0o640)
    os.setxattr(tmp_path, "system.posix_acl_default", _acl(6, 6, 6))
    await store.put("k", b"2")

    assert _ACL not in os.listxattr(tmp_path / "k")
    assert "0o640" == _mode(tmp_path / "k")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root may give files to others")
async def test_the_mask_of_an_acl_is_not_taken_for_the_group_of_a_copy(tmp_path: Path) -> None:
    """With an ACL, the group's bits of a mode are those of the mask: the group itself may have less."""
    store = FilesystemStore(tmp_path)
    await store.put("k", b"1")
    os.setxattr(tmp_path / "k", _ACL, _acl(6, 0, 6))
    await store.copy("k", "copy")

    assert ("0o660", "0o600") == (_mode(tmp_path / "k"), _mode(tmp_path / "copy"))


@pytest.mark.process
@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root may act as others")
def test_what_a_group_had_goes_to_no_other_group() -> None:
    """A process that may not keep the owner and the group gives its own group no more than everybody has."""
    with tempfile.TemporaryDirectory() as name:  # pytest's own directories are closed to others
        place = Path(name)
        place.chmod(0o777)
        for key, mode in (("k", 0o660), ("source", 0o640), ("open", 0o664)):
            (place / key).write_bytes(b"1")
            os.chown(place / key, 1111, 2222)
            (place / key).chmod(mode)
        if not (child := os.fork()):
            try:
                os.setgroups([])
                os.setgid(4444)
                os.setuid(3333)
                store = SyncStore(place)
                store.put("k", b"2")
                store.put("open", b"2")
                os._exit(0)
            finally:
                os._exit(1)
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        SyncStore(place).copy("source", "copy")

        assert (b"2", b"2") == ((place / "k").read_bytes(), (place / "open").read_bytes())
        assert ["0o600", "0o644", "0o600"] == [_mode(place / key) for key in ("k", "open", "copy")]
        assert (3333, 4444) == ((place / "k").stat().st_uid, (place / "k").stat().st_gid)


def test_a_mode_that_changes_within_a_tick_of_the_clock_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time of the change is the same as before: kernels count it in steps of up to 4 ms."""
    store = SyncStore(tmp_path)
    store.put("k", b"1")
    first = os.stat(tmp_path / "k")

    def in_one_tick(directory: int, name: bytes, expected: bool) -> os.stat_result | None:
        status = status_of(directory, name, expected)
        assert status is not None
        return os.stat_result(tuple(status)[:10], {"st_ctime_ns": first.st_ctime_ns})

    def begun(self: Draft, *args: object) -> None:
        begin(self)
        (tmp_path / "k").chmod(0o600)

    begin = Draft.begin
    monkeypatch.setattr("storage.stores.files.draft.status_of", in_one_tick)
    monkeypatch.setattr(Draft, "begin", begun)
    store.put("k", b"2")

    assert "0o600" == _mode(tmp_path / "k")
