"""ZipStore on archives made to cost memory or time: every expansion has a bound, and every wait can be ended."""

from __future__ import annotations

import asyncio
import os
import signal
import struct
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from zip_tools import archive_of, made

import storage.sync
from storage import ByteRange, CorruptObjectError, ZipStore
from storage.stores.zip import loading
from storage.stores.zip.archive import Archive
from storage.stores.zip.content import Content
from storage.stores.zip.decoders import DEFLATED
from storage.stores.zip.entry import Entry, entry_of
from storage.stores.zip.format import pack_central, pack_end, pack_local, parse_directory

MIB = 1 << 20


def zeros(size: int, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return an archive of a few bytes with an object of *size* bytes."""

    def fill(archive: zipfile.ZipFile) -> None:
        with archive.open("k", "w") as file:
            for _ in range(size // MIB):
                file.write(bytes(MIB))

    return made(fill, compression=method)


@pytest.mark.parametrize("compression", ["deflate", "stored"])
def test_no_more_than_max_size_is_read_at_once(path: Path, compression: str) -> None:
    """By `get`, `get_many`, or one `read` of a reader, which reads any object in pieces."""
    method = zipfile.ZIP_DEFLATED if compression == "deflate" else zipfile.ZIP_STORED
    path.write_bytes(zeros(4 * MIB, method))

    with storage.sync.ZipStore(path, max_size=MIB) as store:
        calls: list[Callable[[], object]] = [
            lambda: store.get("k"),
            lambda: store.get("k", byte_range=ByteRange(1, 2 * MIB)),
            lambda: store.open("k").read(),
        ]
        for call in calls:
            with pytest.raises(CorruptObjectError, match="max_size=1048576") as caught:
                call()
            assert "k" == caught.value.key
        assert isinstance(store.get_many(["k"])["k"], CorruptObjectError)
        assert bytes(100) == store.get("k", byte_range=ByteRange(MIB - 100, MIB))
        assert 4 * MIB == store.head("k").size == sum(info.size for info in store.scan())
        with store.open("k") as file:
            assert 4 * MIB == sum(len(piece) for piece in iter(lambda: file.read(100_000), b""))
    with storage.sync.ZipStore(path, max_size=4 * MIB) as store:
        assert bytes(4 * MIB) == store.get("k")


def test_range_of_compressed_data_may_not_decompress_more_than_max_size(path: Path) -> None:
    """Of uncompressed data only the range itself counts."""
    data = os.urandom(3 * MIB)
    with storage.sync.ZipStore(path, max_size=MIB) as store:
        store.put("stored", data)
        assert data[-100:] == store.get("stored", byte_range=ByteRange.suffix(100))
        store.put("deflated", bytes(3 * MIB))
        with pytest.raises(CorruptObjectError, match="max_size"):
            store.get("deflated", byte_range=ByteRange.suffix(100))


@pytest.mark.parametrize("max_size", [-1])
def test_max_size_is_checked(path: Path, max_size: int) -> None:
    """When the store is made."""
    with pytest.raises(ValueError, match="max_size"):
        ZipStore(path, max_size=max_size)


#: An object of 20 GiB in 20 MB: a block of deflate that does not refer to what is before it, again and again.
SLOW = 20 << 30


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an archive the only object of which takes many seconds to decompress."""
    path = tmp_path_factory.mktemp("slow") / "a.zip"
    compressor = zlib.compressobj(9, wbits=-15)
    block = compressor.compress(bytes(MIB)) + compressor.flush(zlib.Z_FULL_FLUSH)
    packed = block * (SLOW // MIB) + zlib.compress(b"", wbits=-15)
    path.write_bytes(archive_of([entry_of("k", method=DEFLATED, compressed_size=len(packed), size=SLOW)], packed))
    return path


async def test_get_that_takes_long_ends_when_it_is_cancelled(slow: Path) -> None:
    """Whole, in a range, and in pieces, at the latest after one piece."""
    async with ZipStore(slow, max_size=SLOW) as store:
        for call in (store.get("k"), store.get_many(["k"]), store.get("k", byte_range=ByteRange.suffix(1))):
            begun = time.monotonic()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(call, 0.1)
            assert 4 > time.monotonic() - begun
        async with store.open("k") as reader:
            await reader.seek(SLOW - 1)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.1)


def test_get_that_takes_long_ends_at_ctrl_c(slow: Path) -> None:
    """In the synchronous face, too."""
    with storage.sync.ZipStore(slow, max_size=SLOW) as store:
        timer = threading.Timer(0.1, signal.raise_signal, [signal.SIGINT])
        begun = time.monotonic()
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            store.get("k")
        assert 4 > time.monotonic() - begun
    timer.join()


@pytest.mark.parametrize("is_complete", [True, False])
def test_record_that_decompresses_for_long_is_not_decompressed_by_opening(
    path: Path, slow: Path, is_complete: bool
) -> None:
    """A killed writer's records are verified by a checksum of their compressed bytes."""
    with storage.sync.ZipStore(path) as store:
        store.put("a", b"1")
    packed = slow.read_bytes()
    crc = zlib.crc32(packed) if is_complete else 0
    entry = entry_of("boom", method=DEFLATED, compressed_size=len(packed), size=SLOW, compressed_crc=crc)
    with path.open("ab") as file:
        file.write(pack_local(entry) + packed)

    begun = time.monotonic()
    with storage.sync.ZipStore(path) as store:
        assert (["a", "boom"] if is_complete else ["a"]) == list(store.keys())
    assert 4 > time.monotonic() - begun


async def test_opening_that_takes_long_ends_when_it_is_cancelled(path: Path) -> None:
    """Of a file full of what look like end records; the file is not locked afterwards."""
    record = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, 46, 1 << 20, 0)
    path.write_bytes(b"PK\3\4" + record * (60 * MIB // len(record)))
    store = ZipStore(path)
    for _ in range(2):
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await store.__aenter__()
        assert 3 > time.monotonic() - begun


def test_holes_of_a_sparse_file_are_not_searched(path: Path) -> None:
    """A file of 1 TiB of zeros that takes no space is no archive, which is known at once."""
    with path.open("wb") as file:
        file.write(b"PK\3\4")
        try:
            file.truncate(1 << 40)
        except OSError:
            pytest.skip("the file system has no such large files")
    begun = time.monotonic()
    with pytest.raises(CorruptObjectError), storage.sync.ZipStore(path):
        pass  # pragma: no cover
    assert 10 > time.monotonic() - begun


def many_names(archive: zipfile.ZipFile) -> None:
    for number in range(40):
        entry = zipfile.ZipInfo(f"{number:02}" + "x" * 65_000)
        entry.comment = b"c" * 0xFFFF
        entry.extra = struct.pack("<HH", 0xCAFE, 60_000) + bytes(60_000)
        archive.writestr(entry, b"v")
    archive.comment = b"c" * 0xFFFF


def test_long_names_comments_and_extra_fields_are_read_and_kept(path: Path) -> None:
    """Headers of almost 200 KB each."""
    path.write_bytes(made(many_names))
    with storage.sync.ZipStore(path) as store:
        keys = list(store.keys())
        assert (40, b"v") == (len(keys), store.get(keys[-1]))
        store.put("k", b"v")
    with zipfile.ZipFile(path) as archive:
        assert (41, b"c" * 0xFFFF) == (len(archive.namelist()), archive.comment)


def test_entries_that_overlap_are_read_within_the_bound_and_not_compacted(path: Path) -> None:
    """Each copy of the same bytes would be written anew."""
    packed = zlib.compress(bytes(10 * MIB), wbits=-15)
    crc, names = zlib.crc32(bytes(10 * MIB)), [f"{number:04}" for number in range(1000)]
    entries = [entry_of(each, method=DEFLATED, compressed_size=len(packed), size=10 * MIB, crc=crc) for each in names]
    directory = b"".join(map(pack_central, entries))
    content = pack_local(entries[0]) + packed
    path.write_bytes(content + directory + pack_end(len(content), len(directory), len(entries)))
    before = path.read_bytes()

    with storage.sync.ZipStore(path) as store:
        assert 1000 == len(list(store.keys()))
        with pytest.raises(CorruptObjectError, match="overlap"):
            store.compact()

    assert before == path.read_bytes()
    assert [path] == list(path.parent.iterdir())


def _set(offset: int, layout: str, value: int) -> Callable[[bytearray, int], None]:
    return lambda data, at: struct.pack_into(layout, data, at + offset, value)


@pytest.mark.parametrize(
    "lie",
    [
        _set(20, "<I", 0xFFFFFFFF),  # compressed size, without zip64
        _set(24, "<I", 0xFFFFFFFF),
        _set(28, "<H", 0xFFFF),  # of the name
        _set(30, "<H", 0xFFFF),
        _set(32, "<H", 0xFFFF),
        _set(42, "<I", 0xFFFFFFFE),  # offset
    ],
)
def test_headers_that_lie_are_corrupt(path: Path, lie: Callable[[bytearray, int], None]) -> None:
    """The file is not changed."""
    data = bytearray(made(lambda archive: archive.writestr("k", b"v")))
    lie(data, data.index(b"PK\1\2"))
    path.write_bytes(data)

    with pytest.raises(CorruptObjectError), storage.sync.ZipStore(path) as store:
        store.get("k")

    assert data == path.read_bytes()


def test_zip64_numbers_that_lie_are_corrupt_and_cost_nothing(path: Path) -> None:
    """Of a directory of 2**60 bytes, and of 2**60 entries."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("k", b"v")
    whole = path.read_bytes()
    start = whole.index(b"PK\1\2")
    size = whole.index(b"PK\5\6") - start
    for length, directory_size, at in ((1, 1 << 60, start), (1, size, 1 << 60), (1 << 60 | 2, size, start)):
        end64 = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, length, length, directory_size, at)
        locator = struct.pack("<4sIQI", b"PK\6\7", 0, start + size, 1)
        path.write_bytes(whole[: start + size] + end64 + locator + whole[start + size :])
        with pytest.raises(CorruptObjectError), storage.sync.ZipStore(path):
            pass  # pragma: no cover


def test_data_that_decodes_to_nothing_for_long_is_read_in_slices(path: Path) -> None:
    """Empty blocks of deflate, 5 bytes each: 10 MB of them before the only byte."""
    empty = b"\0\0\0\xff\xff" * (2 * MIB)
    packed = empty + zlib.compress(b"v", wbits=-15)
    entry = entry_of("k", method=DEFLATED, compressed_size=len(packed), size=1, crc=zlib.crc32(b"v"))
    path.write_bytes(archive_of([entry], packed))

    archive = Archive(os.fspath(path), sync=False)
    pieces = list(Content(*archive.objects["k"]).pieces(0, 1))

    assert b"v" == b"".join(pieces)
    assert 100 < len(pieces)


async def test_opening_of_many_entries_ends_in_the_middle_when_it_is_cancelled(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory is read in steps: of 200,000 entries most are not parsed."""
    count = 200_000
    entry = entry_of("k")
    local, header = pack_local(entry), pack_central(entry)
    path.write_bytes(local + header * count + pack_end(len(local), len(header) * count, count))
    loop, parsed = asyncio.get_running_loop(), 0

    def parsing(*arguments: Any) -> Iterator[Entry]:
        nonlocal parsed
        for each in parse_directory(*arguments):
            parsed += 1
            if parsed == 1000:
                loop.call_soon_threadsafe(opening.cancel)
            yield each

    monkeypatch.setattr(loading, "parse_directory", parsing)
    opening = asyncio.create_task(ZipStore(path).__aenter__())
    with pytest.raises(asyncio.CancelledError):
        await opening

    assert 1000 <= parsed < count
