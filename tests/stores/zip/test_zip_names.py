"""ZipStore on names, numbers and attributes of other programs: no UTF-8 flag, backslashes, numbers modulo 2**32."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from zip_tools import archive_of, made

import storage.sync
from storage import CorruptObjectError, KeyConflictError
from storage.stores.zip.entry import Entry, _checksum, entry_of

WINDOWS, UNIX, MACOS = 0, 3, 19

NAME = "naïve.txt"


def their_entry(name: bytes, system: int, flags: int = 0, data: bytes = b"") -> Entry:
    """Return the entry of another program."""
    entry = entry_of("x", crc=zlib.crc32(data), compressed_size=len(data), size=len(data))
    return entry._replace(name=name, made_by=system << 8 | 20, flags=flags, extra=b"")


@pytest.mark.parametrize(
    ("name", "system", "flags", "key"),
    [
        (NAME.encode(), UNIX, 0, NAME),
        (NAME.encode(), MACOS, 0, NAME),
        (NAME.encode(), WINDOWS, 0, NAME.encode().decode("cp437")),
        (NAME.encode("cp437"), WINDOWS, 0, NAME),
        (NAME.encode("cp437"), UNIX, 0, NAME),
        (NAME.encode(), WINDOWS, 0x800, NAME),
        (b"a\\b", WINDOWS, 0, "a\\b"),
    ],
)
def test_name_is_decoded_as_other_programs_do(path: Path, name: bytes, system: int, flags: int, key: str) -> None:
    """What was made on Unix or macOS and is valid UTF-8 is UTF-8; no name stands twice after a put."""
    path.write_bytes(archive_of([their_entry(name, system, flags, b"old")], b"old"))

    with storage.sync.ZipStore(path) as store:
        assert {key: b"old"} == store.get_many(store.keys())
        store.put(key, b"new")

    with zipfile.ZipFile(path) as archive:
        assert [key] == archive.namelist()


@pytest.mark.parametrize(
    ("name", "system", "data", "is_object"),
    [
        (b"folder\\sub\\", WINDOWS, b"", False),
        (b"folder\\sub\\", 11, b"", False),
        (b"folder\\sub\\", UNIX, b"", True),
        (b"folder\\sub\\", WINDOWS, b"data", True),
    ],
)
def test_empty_entry_that_ends_in_a_backslash_is_a_directory_if_made_on_windows(
    path: Path, name: bytes, system: int, data: bytes, is_object: bool
) -> None:
    """It is kept for other programs, and no object takes its name."""
    path.write_bytes(archive_of([their_entry(name, system, 0, data)], data))

    with storage.sync.ZipStore(path) as store:
        assert ([name.decode()] if is_object else []) == list(store.keys())
        if not is_object:
            with pytest.raises(KeyConflictError):
                store.put(name.decode(), b"v")
        store.put("k", b"v")

    with zipfile.ZipFile(path) as archive:
        assert [name.decode(), "k"] == archive.namelist()


def test_object_that_our_store_named_so_is_no_directory(path: Path) -> None:
    """Its entry says that it was made on Unix."""
    with storage.sync.ZipStore(path) as store:
        store.put("folder\\", b"")
    with storage.sync.ZipStore(path) as store:
        assert ["folder\\"] == list(store.keys())


def test_no_two_entries_get_the_same_name_in_two_encodings(path: Path) -> None:
    """The error names the key that is in the way; when that is gone, the put works."""
    path.write_bytes(archive_of([their_entry(NAME.encode(), WINDOWS)]))
    other = NAME.encode().decode("cp437")

    with storage.sync.ZipStore(path) as store:
        puts: list[Callable[[], object]] = [
            lambda: store.put(NAME, b"v"),
            lambda: store.copy(other, NAME),
        ]
        for put in puts:
            with pytest.raises(KeyConflictError, match="encoding") as caught:
                put()
            assert repr(other) in str(caught.value)
        assert isinstance(store.put_many({NAME: b"v"}, raise_errors=False)[NAME], KeyConflictError)
        store.delete(other)
        store.put(NAME, b"v")

    with zipfile.ZipFile(path) as archive:
        assert [NAME] == archive.namelist()


def test_of_two_entries_with_one_name_the_last_counts(path: Path) -> None:
    """As for programs that extract the archive."""

    def fill(archive: zipfile.ZipFile) -> None:
        archive.writestr("k", b"first")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("k", b"second")

    path.write_bytes(made(fill))
    with storage.sync.ZipStore(path) as store:
        assert {"k": b"second"} == store.get_many(store.keys())


# -- macOS -------------------------------------------------------------------------------------------------------------

WRAP = 1 << 32


def macos_archive(path: Path, sizes: list[int]) -> None:
    """Write an archive as macOS' Archive Utility does: without zip64, all numbers modulo 2**32, zeros as holes."""
    central = b""
    with path.open("wb") as file:
        for number, size in enumerate(sizes):
            name, at, crc = b"%d.txt" % number, file.tell(), zlib.crc32(bytes(size)) if size < 1 << 20 else 1
            file.write(struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, 8, 0, 0, 33, 0, 0, 0, len(name), 0) + name)
            file.seek(size, os.SEEK_CUR)
            file.write(struct.pack("<4sIII", b"PK\7\x08", crc, size % WRAP, size % WRAP))
            numbers = (crc, size % WRAP, size % WRAP, len(name), 0, 0, 0, 0, 0o100644 << 16, at % WRAP)
            central += struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", 0x1314, 20, 8, 0, 0, 33, *numbers) + name
        at = file.tell()
        file.write(
            central + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, len(sizes), len(sizes), len(central), at % WRAP, 0)
        )


@pytest.mark.parametrize("sizes", [[5, WRAP + 1000, 7], [3 * WRAP, 5], [5, WRAP - 60, 100, 2 * WRAP + 7]])
def test_archive_of_macos_over_4_gib_is_read(path: Path, sizes: list[int]) -> None:
    """What was taken off the numbers is found again, and a first write makes an archive that all programs read."""
    macos_archive(path, sizes)
    keys = [f"{number}.txt" for number in range(len(sizes))]
    last = keys[-1]

    with storage.sync.ZipStore(path) as store:
        assert dict(zip(keys, sizes, strict=True)) == {info.key: info.size for info in store.scan()}
        if sizes[-1] < 1000:
            assert bytes(sizes[-1]) == store.get(last)
        store.put("k", b"v")

    with zipfile.ZipFile(path) as archive:
        assert sizes == [info.file_size for info in archive.infolist()][:-1]
        assert b"v" == archive.read("k")


def test_archive_whose_numbers_lead_nowhere_is_corrupt(path: Path) -> None:
    """And is not changed."""
    macos_archive(path, [5, WRAP + 1000, 7])
    with path.open("r+b") as file:
        file.seek(WRAP + 1000 + 5 + 35 + 16 + 35 + 16)
        assert b"PK\3\4" == file.read(4)
        file.seek(-4, os.SEEK_CUR)
        file.write(b"KP")
    before = path.stat()

    with pytest.raises(CorruptObjectError, match="modulo"), storage.sync.ZipStore(path):
        pass  # pragma: no cover

    assert (before.st_size, before.st_mtime_ns) == (path.stat().st_size, path.stat().st_mtime_ns)


@pytest.mark.parametrize("offset", [2**32 + 5, 2**63 - 1, 2**63 + 5, 2**64 - 1])
def test_zip64_offset_in_such_an_archive_that_leads_out_of_the_file_is_corrupt(path: Path, offset: int) -> None:
    extra = struct.pack("<HHQ", 1, 8, offset)
    central = struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", 45, 45, 0, 0, 0, 33, 0, 0, 0, 1, 12, 0, 0, 0, 0, WRAP - 1)
    with path.open("wb") as file:
        file.seek(WRAP)
        file.write(central + b"k" + extra)
        file.write(struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, len(central) + 1 + len(extra), 0, 0))

    with pytest.raises(CorruptObjectError, match="modulo"), storage.sync.ZipStore(path):
        pass  # pragma: no cover


# -- metadata ----------------------------------------------------------------------------------------------------------


def with_attributes(attributes: bytes) -> Entry:
    """Return an entry of ours, with its checksum, that has these bytes as its attributes."""
    private = struct.pack("<HH4sBI16sqI", 0x736F, 37 + len(attributes), b"obj2", 0, 0, bytes(16), 0, 0) + attributes
    entry = entry_of("damaged")._replace(extra=private)
    return entry._replace(extra=private[:9] + _checksum(entry) + private[13:])


@pytest.mark.parametrize(
    "attributes",
    [b"[" * 50_000, b"\xff", b'{"a":1}', b'{"a":"1","a":"2"}', b"nul", b'{"A b":"c"}'],
    ids=["deep", "no UTF-8", "a number", "a name twice", "no JSON", "no name"],
)
def test_attributes_that_are_none_are_corrupt_and_break_nothing_else(path: Path, attributes: bytes) -> None:
    """One such entry does not hide the others, and can be read and replaced."""
    path.write_bytes(archive_of([with_attributes(attributes), entry_of("fine", attributes={"a": "b"})]))

    with storage.sync.ZipStore(path) as store:
        with pytest.raises(CorruptObjectError):
            store.head("damaged")
        found: list[str] = []
        with pytest.raises(CorruptObjectError):
            found.extend(info.key for info in store.scan())
        assert ["fine"] == found
        assert b"" == store.get("damaged")
        store.put("damaged", b"mended")
        assert ["damaged", "fine"] == [info.key for info in store.scan()]
