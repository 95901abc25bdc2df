"""What else is in the file of an archive: a compaction keeps it, or refuses; what the archive once had it drops."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest
from zip_tools import made, read_by_zipfile

import storage.sync
from storage import UnsupportedOperationError
from storage.stores.zip.format import END, END_SIGNATURE

OBJECTS = {"a": b"A" * 300, "b": b"B" * 300}


def theirs() -> bytes:
    def fill(archive: zipfile.ZipFile) -> None:
        for name, data in OBJECTS.items():
            archive.writestr(name, data)

    return made(fill)


def behind(before: bytes) -> bytes:
    """Return an archive behind these bytes, whose offsets count from the start of the file."""
    path = Path("/dev/shm" if os.path.isdir("/dev/shm") else ".") / f"{os.getpid()}.zip"
    path.write_bytes(before)
    try:
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("behind", b"x" * 100)
        return path.read_bytes()
    finally:
        path.unlink()


def signed() -> bytes:
    """Return an archive with bytes between the entries and the directory, as a signed Android application has them."""
    archive = theirs()
    at = archive.rfind(END_SIGNATURE)
    fields = list(END.unpack_from(archive, at))
    block = b"signing block" * 10
    end = END.pack(*fields[:6], fields[6] + len(block), 0)
    return archive[: fields[6]] + block + archive[fields[6] : at] + end


@pytest.mark.parametrize(
    "content", [theirs() + b"trailer" * 20, theirs() + b"x", signed()], ids=["trailer", "a byte", "signed"]
)
def test_compaction_that_would_drop_bytes_of_others_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    refused = pytest.raises(UnsupportedOperationError, match=r"of the archive.*copy the objects into a new")
    with storage.sync.ZipStore(path) as store, refused:
        store.compact()
    assert path.read_bytes() == content
    for key in ("new", "newer"):  # nor is that forgotten after a write
        with storage.sync.ZipStore(path) as store:
            store.put(key, b"1")
            with pytest.raises(UnsupportedOperationError, match="of the archive"):
                store.compact()
        assert path.read_bytes().startswith(content)
        with storage.sync.ZipStore(path) as store, pytest.raises(UnsupportedOperationError, match="of the archive"):
            store.compact()
    assert read_by_zipfile(path) == OBJECTS | {"new": b"1", "newer": b"1"}


@pytest.mark.parametrize(
    "before",
    [b"#!/bin/sh\n", theirs(), theirs()[: theirs().find(b"PK\1\2")], b"PK\3\4" * 9],
    ids=["program", "archive", "records", "signatures"],
)
def test_what_is_before_the_archive_is_kept_and_what_was_deleted_is_not(path: Path, before: bytes) -> None:
    content = before + behind(b"") if before[:1] == b"P" else behind(before)
    if before[:1] == b"P":  # zipfile would add to it: correct the offsets, as 'zip -A' does
        at = content.rfind(END_SIGNATURE)
        fields = list(END.unpack_from(content, at))
        directory = bytearray(content[len(before) + fields[6] : at])
        directory[42:46] = len(before).to_bytes(4, "little")
        content = content[: len(before) + fields[6]] + bytes(directory) + END.pack(
            *fields[:6], fields[6] + len(before), 0
        )  # fmt: skip
    path.write_bytes(content)
    for _ in range(3):
        with storage.sync.ZipStore(path) as store:
            assert "new" in store.keys() or list(store.keys()) == ["behind"]
            store.delete("behind")
            store.put("new", b"1" * 50)
        with storage.sync.ZipStore(path) as store:
            store.put("gone", b"1" * 50)
            store.delete("gone")
            store.compact()
            assert store.get("new") == b"1" * 50
        assert path.read_bytes().startswith(before)
        assert path.stat().st_size < len(before) + 500
        assert b"x" * 100 not in path.read_bytes()


def test_entries_of_others_that_were_replaced_are_dropped(path: Path) -> None:
    path.write_bytes(theirs())
    for number in range(3):
        with storage.sync.ZipStore(path, compression="stored") as store:
            store.put("b", b"%d" % number * 9)
            store.flush()
            store.put("c", b"C")
            store.delete("a")
    with storage.sync.ZipStore(path) as store:
        store.compact()
    assert path.stat().st_size < 700
    assert read_by_zipfile(path) == {"b": b"2" * 9, "c": b"C"}


def test_archive_with_several_names_is_not_compacted(path: Path) -> None:
    """That would leave each name with another archive."""
    with storage.sync.ZipStore(path) as store:
        store.put("k", b"1")
        store.put("k", b"2")
        os.link(path, path.with_name("backup.zip"))
        with pytest.raises(UnsupportedOperationError, match=r"2 names.*copy it, and rename"):
            store.compact()
        assert os.path.samefile(path, path.with_name("backup.zip"))
        path.with_name("backup.zip").unlink()
        store.compact()
    assert read_by_zipfile(path) == {"k": b"2"}
