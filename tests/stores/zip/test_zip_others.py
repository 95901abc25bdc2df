"""ZipStore beside other programs: what they move, replace, append and plant stays theirs."""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from zip_tools import read_by_zipfile

import storage.sync
from storage import CorruptObjectError, StoreUnavailableError, UnsupportedOperationError
from storage.stores.zip import drafts
from storage.stores.zip.archive import Archive
from storage.stores.zip.drafts import Draft
from storage.stores.zip.exchange import exchange
from storage.stores.zip.file import OpenFile


def their_archive(path: Path, name: str = "theirs") -> bytes:
    """Write an archive of another program, and return its bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, "precious")
    return path.read_bytes()


# -- moved and replaced archives ---------------------------------------------------------------------------------------


def moved(path: Path) -> None:
    path.rename(path.with_name("moved.zip"))


def linked(path: Path) -> None:
    os.link(path, path.with_name("moved.zip"))


@pytest.mark.parametrize("kept", [moved, linked])
def test_archive_that_was_moved_takes_no_writes_and_the_new_one_is_not_touched(
    path: Path, kept: Callable[[Path], None]
) -> None:
    """Not by a put, not by a compaction and not on closing; nor is the archive changed where it is now."""
    with storage.sync.ZipStore(path) as store:
        store.put("old", b"1")
        store.flush()
        before = path.read_bytes()
        kept(path)
        theirs = their_archive(path.with_name("new.zip"))
        path.with_name("new.zip").rename(path)

        for write in (lambda: store.put("mine", b"x"), lambda: store.put("mine", [b"x"]), store.compact, store.clear):
            with pytest.raises(StoreUnavailableError, match="replaced"):
                write()
        assert b"1" == store.get("old")

    assert theirs == path.read_bytes()
    assert before == path.with_name("moved.zip").read_bytes()
    assert {"a.zip", "moved.zip"} == {each.name for each in path.parent.iterdir()}


def test_close_of_an_archive_that_was_moved_says_that_its_directory_is_not_written(path: Path) -> None:
    """What was acknowledged before is in the moved file, and is found there."""
    store = storage.sync.ZipStore(path)
    store.__enter__()
    store.put("k", b"acknowledged")
    moved(path)
    theirs = their_archive(path)
    with pytest.raises(StoreUnavailableError):
        store.__exit__(None, None, None)

    assert theirs == path.read_bytes()
    with storage.sync.ZipStore(path.with_name("moved.zip")) as store:
        assert b"acknowledged" == store.get("k")


def test_link_that_leads_to_another_archive_takes_no_writes(path: Path) -> None:
    """As after a deployment that points a link to a new directory."""
    new = path.with_name("new.zip")
    link = path.with_name("current.zip")
    link.symlink_to(path)
    with storage.sync.ZipStore(link) as store:
        store.put("k", b"v")
        store.flush()
        theirs = their_archive(new)
        link.unlink()
        link.symlink_to(new)
        with pytest.raises(StoreUnavailableError):
            store.put("k", b"w")

    assert theirs == new.read_bytes()


def test_archive_that_is_moved_during_a_write_takes_it_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The put is not acknowledged, and the archive is as it was, where it is now."""
    sync = OpenFile.sync

    def moving(file: OpenFile) -> None:
        sync(file)
        moved(path)
        their_archive(path)

    with storage.sync.ZipStore(path) as store:
        store.put("k", b"v")
        store.flush()
        before = path.read_bytes()
        monkeypatch.setattr(OpenFile, "sync", moving)
        with pytest.raises(StoreUnavailableError):
            store.put("k", b"w")
        monkeypatch.undo()

    assert before == path.with_name("moved.zip").read_bytes()


@pytest.mark.parametrize("exchanges", [True, False])
def test_archive_that_comes_right_before_the_rename_is_not_replaced(
    path: Path, monkeypatch: pytest.MonkeyPatch, exchanges: bool
) -> None:
    """It was not there when the compaction looked for the last time; one more look after the exchange finds it."""
    theirs = b""

    def late(directory: int, one: str, other: str) -> bool:
        nonlocal theirs
        if not theirs:
            theirs = their_archive(path.with_name("new.zip"))
            path.with_name("new.zip").rename(path)
        return exchanges and exchange(directory, one, other)

    with storage.sync.ZipStore(path) as store:
        store.put("k", b"v")
        store.flush()
        monkeypatch.setattr(drafts, "exchange", late)
        with pytest.raises(StoreUnavailableError, match="replaced"):
            store.compact()

    assert theirs == path.read_bytes()
    assert [path] == list(path.parent.iterdir())


def test_archive_that_another_program_writes_into_takes_no_more_writes(path: Path) -> None:
    """Its bytes are not overwritten, and those of an archive that it cut short are an error, not a shorter object."""
    with storage.sync.ZipStore(path, durability="atomic", compression="stored") as store:
        store.put("k", b"v" * 1000)
        store.flush()
        with path.open("ab") as file:
            file.write(b"appended")
        with pytest.raises(StoreUnavailableError, match="changed by another program"):
            store.put("l", b"w")
        assert path.read_bytes().endswith(b"appended")

        os.truncate(path, 300)
        with pytest.raises(CorruptObjectError):
            store.get("k")
        with pytest.raises(StoreUnavailableError, match="changed by another program"):
            store.compact()
        assert 300 == path.stat().st_size


# -- drafts ------------------------------------------------------------------------------------------------------------


def test_compaction_follows_no_link_and_removes_no_file_of_others(path: Path) -> None:
    """Neither one with the name that drafts once had, nor one with a name that a draft could have."""
    victim = path.with_name("victim")
    victim.write_bytes(b"a key")
    planted = [f".a.zip.{middle}compacting" for middle in ("", "0" * 32 + ".", "f" * 32 + ".")]
    path.with_name(planted[0]).symlink_to(victim)
    path.with_name(planted[1]).write_bytes(b"theirs")
    path.with_name(planted[2]).symlink_to(victim)

    for _ in range(2):
        with storage.sync.ZipStore(path) as store:
            store.put("k", b"v")
            store.compact()

    assert b"a key" == victim.read_bytes()
    assert not path.is_symlink()
    assert {"a.zip", "victim", *planted} == {each.name for each in path.parent.iterdir()}


@pytest.mark.parametrize(
    ("owner", "call"),
    [(OpenFile, "append"), (Draft, "publish"), (os, "unlink")],
    ids=["before the first byte", "before the exchange", "after the exchange"],
)
def test_leftover_of_a_killed_compaction_is_removed_by_the_next_opening(
    path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, call: str
) -> None:
    """A copy of it under another such name, which proves nothing, stays."""

    def killed(*_: object, **_options: object) -> None:
        raise KeyboardInterrupt

    archive = Archive(os.fspath(path), sync=False)
    with monkeypatch.context() as broken:
        broken.setattr(Draft, "close", lambda draft: None)
        broken.setattr(owner, call, killed)
        with pytest.raises(KeyboardInterrupt):
            archive.compact()
    del archive
    [leftover] = [each for each in path.parent.iterdir() if each != path]
    copy = path.with_name(f".a.zip.{'0' * 32}.compacting")
    copy.write_bytes(leftover.read_bytes() or b"x")

    with storage.sync.ZipStore(path):
        assert {path, copy} == set(path.parent.iterdir())


@pytest.mark.skipif(not hasattr(os, "setxattr") or os.geteuid() != 0, reason="needs root, and Linux")
def test_compaction_keeps_owner_permissions_and_extended_attributes(path: Path) -> None:
    """Until it is complete nobody else can read the new file."""
    seen: list[int] = []
    with storage.sync.ZipStore(path) as store:
        store.put("k", b"v")
        os.chown(path, 12345, 23456)
        path.chmod(0o604)
        os.setxattr(path, "user.theirs", b"kept")
        archive = store.async_store._archive
        assert archive is not None
        for _ in archive.compaction():
            seen += [stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir() if each != path]

    status = path.stat()
    assert (12345, 23456, 0o604) == (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode))
    assert b"kept" == os.getxattr(path, "user.theirs")
    assert {0o600} == set(seen)


# -- bytes before and after the archive --------------------------------------------------------------------------------


def reading_changes_nothing(path: Path) -> dict[str, bytes]:
    """Read all objects, and assert that the file is as it was."""
    before, status = path.read_bytes(), path.stat()
    with storage.sync.ZipStore(path) as store:
        found = {key: store.get(key) for key in store.keys()}
        assert [info.size for info in store.scan()] == [len(found[key]) for key in sorted(found)]
    assert before == path.read_bytes()
    assert (status.st_mtime_ns, status.st_ino) == (path.stat().st_mtime_ns, path.stat().st_ino)
    return found


@pytest.mark.parametrize("ours", [(False, False), (True, True), (False, True), (True, False)])
def test_the_last_of_joined_archives_counts(path: Path, ours: tuple[bool, bool]) -> None:
    """As for other programs, whoever wrote them; the file is not changed, and cannot be."""
    parts = []
    for place, is_ours in enumerate(ours):
        part = path.with_name(f"{place}.zip")
        objects = {"a.txt": b"%d" % place, f"only {place}": b"x" * 100}
        if is_ours:
            with storage.sync.ZipStore(part) as store:
                store.put("gone", b"x")
                store.flush()
                store.put_many(objects)
                store.delete("gone")
        else:
            with zipfile.ZipFile(part, "w") as archive:
                for name, data in objects.items():
                    archive.writestr(name, data)
                archive.comment = b"of %d" % place
        parts.append(part.read_bytes())
    path.write_bytes(b"".join(parts))

    assert {"a.txt": b"1", "only 1": b"x" * 100} == reading_changes_nothing(path)
    with storage.sync.ZipStore(path) as store:
        for write in (lambda: store.put("k", b"v"), lambda: store.delete("a.txt"), store.compact):
            with pytest.raises(UnsupportedOperationError, match="zip -A"):
                write()
    assert b"".join(parts) == path.read_bytes()


def test_two_archives_with_other_bytes_between_them_are_not_guessed_at(path: Path) -> None:
    """Which one counts is not known."""
    theirs = their_archive(path)
    content = theirs + b"between" + their_archive(path, "others")
    path.write_bytes(content)

    with pytest.raises(CorruptObjectError, match="two archives"), storage.sync.ZipStore(path):
        pass  # pragma: no cover

    assert content == path.read_bytes()


@pytest.mark.parametrize("after", [b"trailing", bytes(5000), b"PK\3\4", b"PK\5\6" + bytes(17)])
def test_bytes_after_the_archive_stay_and_do_not_stand_in_the_way(path: Path, after: bytes) -> None:
    """A first put writes after them, and what is put then is there, also after a crash."""
    theirs = their_archive(path)
    path.write_bytes(theirs + after)
    assert {"theirs": b"precious"} == reading_changes_nothing(path)

    torn = path.with_name("torn.zip")
    with storage.sync.ZipStore(path) as store:
        store.put("k", b"v")
        torn.write_bytes(path.read_bytes())
    for each in (path, torn):
        assert each.read_bytes().startswith(theirs + after)
        with storage.sync.ZipStore(each) as store:
            assert {"theirs": b"precious", "k": b"v"} == store.get_many(store.keys())


@pytest.mark.parametrize("adjusted", [True, False])
def test_program_before_the_archive_stays(path: Path, adjusted: bool) -> None:
    """Also when it is compacted; if the offsets do not count from the start of the file it is not written into."""
    program = b"#!/usr/bin/env python3\n"
    path.write_bytes(program if adjusted else b"")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__main__.py", "print('ours')")
        archive.writestr("other.py", "")
    if not adjusted:
        path.write_bytes(program + path.read_bytes())
    assert {"__main__.py": b"print('ours')", "other.py": b""} == reading_changes_nothing(path)

    with storage.sync.ZipStore(path) as store:
        if not adjusted:
            with pytest.raises(UnsupportedOperationError):
                store.put("k", b"v")
            return
        store.delete("__main__.py")
        for _ in range(3):
            store.put("__main__.py", b"print(1)")
            store.compact()
            store.compact()

    assert path.read_bytes().startswith(program + b"PK\3\4")
    assert 800 > path.stat().st_size
    assert {"__main__.py": b"print(1)", "other.py": b""} == read_by_zipfile(path)
