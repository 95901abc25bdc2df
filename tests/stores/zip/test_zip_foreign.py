"""ZipStore on archives of other programs: other methods, zip64, odd names and times, damage, random bytes."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import tempfile
import zipfile
import zlib
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zip_tools import archive_of, made

import storage.sync
from storage import ByteRange, CorruptObjectError, StorageError, UnsupportedOperationError
from storage.stores.zip.decoders import DEFLATED
from storage.stores.zip.entry import entry_of
from storage.stores.zip.format import pack_end

METHODS = {
    "stored": zipfile.ZIP_STORED,
    "deflate": zipfile.ZIP_DEFLATED,
    "bzip2": zipfile.ZIP_BZIP2,
    "lzma": zipfile.ZIP_LZMA,
}

#: Compressible, and more than a decoder gives or gets at once.
LARGE = b"".join(b"%07d\n" % (number * number) for number in range(150_000))


class Pipe(io.RawIOBase):
    """A file that cannot seek: a zip writer then puts the sizes after the data."""

    def __init__(self) -> None:
        self.written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self.written += data
        return len(data)


def write_all(archive: zipfile.ZipFile, names: Iterable[str]) -> None:
    for name in names:
        archive.writestr(name, b"x" * 50)


# -- what is read ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [0, 1, 10, len(LARGE)])
def test_every_method_is_read(path: Path, method: str, size: int) -> None:
    """Completely, in ranges, in pieces and from any offset; reading does not change the archive."""
    data = LARGE[:size]
    path.write_bytes(made(lambda archive: archive.writestr("d/k", data), compression=METHODS[method]))
    before = path.read_bytes()

    with storage.sync.ZipStore(path) as store:
        info = store.head("d/k")
        assert (size, {}) == (info.size, info.attributes)
        assert data == store.get("d/k")
        assert data[size // 2 : size // 2 + 100] == store.get("d/k", byte_range=ByteRange(size // 2, size // 2 + 100))
        assert data[-7:] == store.get("d/k", byte_range=ByteRange.suffix(7))
        with store.open("d/k") as file:
            for position in (size // 2, 0, size):
                file.seek(position)
                assert data[position : position + 1000] == file.read(1000)

    assert before == path.read_bytes()


@pytest.mark.process
@pytest.mark.parametrize("method", METHODS)
def test_archive_written_into_a_pipe_is_read(path: Path, method: str) -> None:
    """Its entries have their sizes after their data; other programs can read them after writes and compacting."""
    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", METHODS[method]) as archive:
        archive.writestr("k", LARGE[:5000])
        archive.writestr("l", b"")
    path.write_bytes(pipe.written)

    with storage.sync.ZipStore(path) as store:
        assert {"k": LARGE[:5000], "l": b""} == store.get_many(["k", "l"])
        store.put("m", b"new")
        store.copy("k", "copy")
        store.compact()
        assert LARGE[:5000] == store.get("k") == store.get("copy")

    with zipfile.ZipFile(path) as archive:
        assert None is archive.testzip()
        assert {"k", "l", "m", "copy"} == set(archive.namelist())
        how_packed = {archive.getinfo(name).flag_bits & 6 for name in ("k", "copy")}
        assert 1 == len(how_packed)
    assert "" == subprocess.run(["unzip", "-tqq", path], capture_output=True, text=True, check=False).stdout


def test_zip64_entry_is_read(path: Path) -> None:
    """A writer that does not know the size in advance makes a zip64 entry of a small object."""

    def fill(archive: zipfile.ZipFile) -> None:
        with archive.open("k", "w", force_zip64=True) as file:
            file.write(b"small")

    path.write_bytes(made(fill))

    with storage.sync.ZipStore(path) as store:
        assert b"small" == store.get("k")
        store.compact()
        assert b"small" == store.get("k")


def test_what_others_say_of_their_entries_is_kept(path: Path) -> None:
    """The archive's comment, and an entry's comment, permissions and time survive flush and compact."""

    def fill(archive: zipfile.ZipFile) -> None:
        entry = zipfile.ZipInfo("bin/run", (2001, 2, 3, 4, 5, 6))
        entry.external_attr, entry.comment = 0o100755 << 16, b"of the entry"
        archive.writestr(entry, b"#!/bin/sh")
        archive.comment = b"of the archive"

    path.write_bytes(made(fill))

    with storage.sync.ZipStore(path) as store:
        info = store.head("bin/run")
        assert datetime(2001, 2, 3, 4, 5, 6).astimezone(UTC) == info.modified
        store.put("other", b"v")
        store.flush()
        store.compact()
        assert info == store.head("bin/run")

    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("bin/run")
        assert (0o100755 << 16, b"of the entry") == (entry.external_attr, entry.comment)
        assert b"of the archive" == archive.comment


def test_names_in_other_encodings_are_read(path: Path) -> None:
    """UTF-8 if the entry is marked so, else code page 437, or the name in Info-ZIP's Unicode field."""
    cp437 = entry_of("caf?")._replace(name="café".encode("cp437"), extra=b"", flags=0)
    infozip = entry_of("x")._replace(name=b"nai#U00EFv", flags=0)
    field = struct.pack("<HHBI", 0x7075, 5 + 5, 1, zlib.crc32(infozip.name)) + "naïv".encode()
    entries = [
        cp437,
        infozip._replace(extra=field),
        entry_of("größe"),
        entry_of("y")._replace(name=b"\xff", flags=0x800),
    ]
    path.write_bytes(archive_of(entries))

    with storage.sync.ZipStore(path) as store:
        assert ["café", "größe", "naïv"] == list(store.keys())
        assert [b"", b"", b""] == [store.get(key) for key in store.keys()]


def test_names_that_are_no_keys_are_not_listed_and_not_lost(path: Path) -> None:
    """Directories, absolute names and names with '..' are not listed; other programs still find them."""
    hostile = ["d/", "../climbs", "/absolute", "a/../../b", "..\\climbs"]
    path.write_bytes(made(lambda archive: write_all(archive, [*hostile, "d/k"])))

    with storage.sync.ZipStore(path) as store:
        assert ["d/k"] == list(store.keys())
        store.put("e", b"v")
        store.flush()
        store.compact()
        store.clear()

    with zipfile.ZipFile(path) as archive:
        assert sorted(hostile) == sorted(archive.namelist())
        assert None is archive.testzip()


def test_last_of_several_entries_of_a_name_counts(path: Path) -> None:
    """As in every other program."""

    def fill(archive: zipfile.ZipFile) -> None:
        archive.writestr("k", b"old")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("k", b"new")

    path.write_bytes(made(fill))

    with storage.sync.ZipStore(path) as store:
        assert b"new" == store.get("k")


def test_object_of_others_is_overwritten_and_deleted(path: Path) -> None:
    """Conditions apply to it; its etag changes only with the object."""
    path.write_bytes(made(lambda archive: write_all(archive, "abc")))
    with storage.sync.ZipStore(path) as store:
        etag = store.head("a").etag
        store.compact()
        assert etag == store.head("a").etag
        store.put("a", b"new", if_match=etag)
        store.delete("b")

    with storage.sync.ZipStore(path) as store:
        assert {"a": b"new", "c": b"x" * 50} == store.get_many(store.keys())


def test_entry_that_others_have_changed_is_another_version(path: Path) -> None:
    """Even if our field is still in its header, with the old etag."""
    with storage.sync.ZipStore(path) as store:
        etag = store.put("k", b"v", attributes={"a": "b"})
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("k")
    path.write_bytes(made(lambda archive: archive.writestr(entry, b"w")))

    with storage.sync.ZipStore(path) as store:
        assert b"w" == store.get("k")
        assert etag != store.head("k").etag


# -- what is not read --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("change", "named"), [({"flags": 1}, "encrypted"), ({"method": 97}, "97")])
def test_what_cannot_be_read_says_why(path: Path, change: dict[str, Any], named: str) -> None:
    """An encrypted entry, or one with an unknown method, is listed, is an error to read, and is not changed."""
    entry = entry_of("k", size=3, compressed_size=3)._replace(**change)
    path.write_bytes(archive_of([entry, entry_of("l", size=3, compressed_size=3, crc=0x6567BCB8)], b"doc"))

    with storage.sync.ZipStore(path) as store:
        assert ["k", "l"] == list(store.keys())
        for call in (lambda: store.get("k"), lambda: store.open("k"), lambda: store.copy("k", "m")):
            with pytest.raises(UnsupportedOperationError, match=named) as caught:
                call()
            assert "k" == caught.value.key
        store.compact()
        assert 3 == store.head("k").size


@pytest.mark.parametrize("method", METHODS)
def test_flipped_bit_is_never_read_as_data(path: Path, method: str) -> None:
    """For each byte of an entry's data: an error of ours, or the right bytes."""
    data = LARGE[:300]
    whole = made(lambda archive: archive.writestr("k", data), compression=METHODS[method])
    begin, end = whole.index(b"k") + 1, whole.index(b"PK\1\2")

    found: set[bytes | StorageError] = set()
    for at in range(begin, end):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with storage.sync.ZipStore(path) as store:
            found.add(store.get_many(["k"])["k"])

    errors = {result for result in found if isinstance(result, CorruptObjectError) and result.key == "k"}
    assert errors
    assert found - errors <= {data}


@pytest.mark.parametrize("declared", [10, 0])
def test_no_more_comes_out_than_was_declared(path: Path, declared: int) -> None:
    """An entry that declares a small size but inflates to 10 MB is an error, and never 10 MB."""
    bomb = zlib.compress(bytes(10_000_000), wbits=-15)
    entry = entry_of("k", method=DEFLATED, compressed_size=len(bomb), size=declared, crc=zlib.crc32(bytes(declared)))
    path.write_bytes(archive_of([entry], bomb))

    with storage.sync.ZipStore(path) as store:
        if declared:
            with pytest.raises(CorruptObjectError):
                store.get("k")
        else:
            assert b"" == store.get("k")


# -- damage ------------------------------------------------------------------------------------------------------------


def survives(content: bytes) -> None:
    """Open *content* as an archive, call every operation, and allow only our errors."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "a.zip")
        Path(path).write_bytes(content)
        try:
            with storage.sync.ZipStore(path, durability="atomic") as store:
                for key in list(store.keys()):
                    for call in (store.get, store.head, store.delete):
                        try:
                            call(key)
                        except StorageError:
                            pass
                store.put("after", b"works")
                store.compact()
                assert b"works" == store.get("after")
        except StorageError:
            pass


def sample() -> bytes:
    def fill(archive: zipfile.ZipFile) -> None:
        for name, method in METHODS.items():
            archive.writestr(name, LARGE[:50], compress_type=method)
        with archive.open("zip64", "w", force_zip64=True) as file:
            file.write(b"small")
        archive.comment = b"comment"

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "a.zip"
        path.write_bytes(made(fill))
        with storage.sync.ZipStore(path, durability="atomic") as store:
            store.put("ours", b"x" * 50, attributes={"content-type": "text/plain"})
            store.flush()
            store.put("tail", b"y")
            return path.read_bytes()


SAMPLE = sample()


@given(st.binary(max_size=300))
def test_any_bytes_give_no_other_error_than_ours(content: bytes) -> None:
    """Random bytes."""
    survives(content)


@given(st.integers(0, len(SAMPLE)), st.integers(0, 40), st.binary(max_size=40))
def test_any_damage_gives_no_other_error_than_ours(at: int, gone: int, new: bytes) -> None:
    """An archive with a part removed or replaced."""
    survives(SAMPLE[:at] + new + SAMPLE[at + gone :])


@given(st.data())
def test_any_directory_gives_no_other_error_than_ours(data: st.DataObject) -> None:
    """A valid end record after a directory with random bytes."""
    start = SAMPLE.index(b"PK\1\2")
    stop = SAMPLE.index(b"PK\5\6", start)
    directory = bytearray(SAMPLE[start:stop])
    for at, byte in data.draw(st.lists(st.tuples(st.integers(0, len(directory) - 1), st.integers(0, 255)), max_size=5)):
        directory[at] = byte
    survives(SAMPLE[:start] + directory + pack_end(start, len(directory), directory.count(b"PK\1\2")))
