"""The synchronous `open` returns a file, for all code that reads files."""

from __future__ import annotations

import csv
import gc
import gzip
import io
import shutil
import tarfile
import time
import zipfile
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

import storage
import storage.sync
from storage._sync.object_file import BUFFER
from storage._sync.on_loop import LoopCaller
from storage.reader import ObjectReader


class Watched(storage.DictStore):
    """A store that counts the readers that are open, and what is read."""

    _steppable = True

    def __init__(self) -> None:
        super().__init__()
        self.opened = 0
        self.reads: list[int] = []

    @asynccontextmanager
    async def open(self, key: str, *, byte_range: storage.ByteRange | None = None) -> AsyncIterator[ObjectReader]:
        async with super().open(key, byte_range=byte_range) as reader:
            self.opened += 1
            try:
                yield _Counting(reader, self.reads)
            finally:
                self.opened -= 1


class _Counting(ObjectReader):
    def __init__(self, reader: ObjectReader, reads: list[int]) -> None:
        super().__init__(reader.info)
        self._reader = reader
        self._reads = reads

    async def read(self, size: int = -1, /) -> bytes:
        self._reads.append(size)
        return await self._reader.read(size)

    def seekable(self) -> bool:
        return self._reader.seekable()

    async def seek(self, offset: int, /) -> None:
        await self._reader.seek(offset)


@pytest.fixture(params=[True, False], ids=["stepped", "loop"])
def store(request: pytest.FixtureRequest) -> storage.sync.ObjectStore:
    store = storage.sync.ObjectStore(Watched(), stepped=request.param)
    store.put("k", b"0123456789", attributes={"content-type": "text/plain"})
    return store


def watched(store: storage.sync.ObjectStore) -> Watched:
    """Return the async store below."""
    assert isinstance(store.async_store, Watched)
    return store.async_store


def test_file_reads_like_one(store: storage.sync.ObjectStore) -> None:
    """read, readinto, read1, iteration by lines, and the end."""
    store.put("lines", b"one\ntwo\nthree")
    with store.open("lines") as file:
        first, buffer = file.readline(), bytearray(3)
        count = file.readinto(buffer)
        rest = [*file]

    assert (b"one\n", 3, b"two", [b"\n", b"three"]) == (first, count, bytes(buffer), rest)


def test_file_describes_the_object(store: storage.sync.ObjectStore) -> None:
    """`info` is that of the async reader."""
    with store.open("k", byte_range=storage.ByteRange(2, 4)) as file:
        info = file.info

    assert store.head("k") == info
    assert "k" == file.name


def test_file_seeks_within_the_object(store: storage.sync.ObjectStore) -> None:
    """From the start, from the position and from the end; after the end there is nothing."""
    with store.open("k") as file:
        found = [
            (file.seek(3), file.tell(), file.read(2)),
            (file.seek(1, io.SEEK_CUR), file.tell(), file.read(2)),
            (file.seek(-3, io.SEEK_END), file.tell(), file.read()),
            (file.seek(99), file.tell(), file.read()),
            (file.seek(0), file.tell(), file.read()),
        ]

    assert [(3, 3, b"34"), (6, 6, b"67"), (7, 7, b"789"), (99, 99, b""), (0, 0, b"0123456789")] == found


def test_file_of_a_range_counts_from_its_start(store: storage.sync.ObjectStore) -> None:
    """The end is the range's end, clamped to the object."""
    with store.open("k", byte_range=storage.ByteRange(4, 99)) as file:
        found = (file.seek(-1, io.SEEK_END), file.read(), file.seek(0), file.read())
    with store.open("k", byte_range=storage.ByteRange.suffix(3)) as file:
        suffix = (file.seek(0, io.SEEK_END), file.seek(1), file.read())

    assert (5, b"9", 0, b"456789") == found
    assert (3, 1, b"89") == suffix


def test_file_refuses_a_position_before_the_start(store: storage.sync.ObjectStore) -> None:
    """It raises as every file does, and can still be read."""
    with store.open("k") as file:
        with pytest.raises(ValueError, match="negative"):
            file.seek(-11, io.SEEK_END)
        assert b"0" == file.read(1)


def test_file_that_cannot_seek_says_so() -> None:
    """A compressed stream is read from front to back; code that checks `seekable`, like `tarfile`, works."""
    store = storage.sync.GzipStore(storage.sync.DictStore())
    store.put("k", b"data")

    with store.open("k") as file:
        assert not file.seekable()
        with pytest.raises(io.UnsupportedOperation, match="not seekable"):
            file.seek(1)
        assert b"data" == file.read()


def test_missing_object_fails_at_open(store: storage.sync.ObjectStore) -> None:
    """`open` raises, not the first read."""
    with pytest.raises(storage.KeyNotFoundError) as caught:
        store.open("missing")
    assert "missing" == caught.value.key
    with pytest.raises(storage.RangeNotSatisfiableError):
        store.open("k", byte_range=storage.ByteRange(11))


def test_file_is_closed_once_and_then_refuses(store: storage.sync.ObjectStore) -> None:
    """Closing the file leaves the async reader, also without `with`."""
    file = store.open("k")
    opened = watched(store).opened
    file.close()
    file.close()

    assert (1, 0) == (opened, watched(store).opened)
    with pytest.raises(ValueError, match="closed"):
        file.read()


class Left(storage.StoreDecorator):
    """A store that counts how often its readers are left."""

    _steppable = True
    left = 0

    def open(
        self, key: str, *, byte_range: storage.ByteRange | None = None
    ) -> AbstractAsyncContextManager[ObjectReader]:
        return _Leaving(self, super().open(key, byte_range=byte_range))


class _Leaving(AbstractAsyncContextManager[ObjectReader]):
    def __init__(self, store: Left, inner: AbstractAsyncContextManager[ObjectReader]) -> None:
        self._store = store
        self._inner = inner

    async def __aenter__(self) -> ObjectReader:
        return await self._inner.__aenter__()

    async def __aexit__(self, *raised: object) -> None:
        self._store.left += 1


@pytest.mark.parametrize("stepped", [True, False])
def test_unbuffered_file_is_closed_once_too(stepped: bool) -> None:
    """A detached raw file is closed once, too."""
    inner = Left(storage.DictStore())
    store = storage.sync.ObjectStore(inner, stepped=stepped)
    store.put("k", b"v")
    raw = store.open("k").detach()
    raw.close()
    raw.close()

    assert 1 == inner.left


def test_file_keeps_its_version(store: storage.sync.ObjectStore) -> None:
    """An overwrite while the file is read changes nothing for the reader."""
    with store.open("k") as file:
        store.put("k", b"other")

        assert b"0123456789" == file.read()


def test_large_object_is_read_in_few_large_pieces(store: storage.sync.ObjectStore) -> None:
    """Small reads share a hop, and reading all is one hop."""
    store.put("big", b"x" * (4 * BUFFER))
    with store.open("big") as file:
        while file.read(100):
            pass
    small = len(watched(store).reads)
    with store.open("big") as file:
        file.read()

    assert small <= 6
    assert len(watched(store).reads) - small <= 2


def test_seeking_alone_reads_nothing(store: storage.sync.ObjectStore) -> None:
    """Where a read is a network request, a seek costs only the bytes that are read."""
    with store.open("k") as file:
        file.seek(5)
        file.seek(0, io.SEEK_END)
        file.seek(2)

    assert [] == watched(store).reads


def test_archives_are_read_in_place(store: storage.sync.ObjectStore) -> None:
    """`zipfile` seeks, `tarfile` and `gzip` read from front to back."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.txt", "in a zip")
    store.put("a.zip", packed.getvalue())
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        member = tarfile.TarInfo("b.txt")
        member.size = 8
        tar.addfile(member, io.BytesIO(b"in a tar"))
    store.put("b.tar.gz", packed.getvalue())

    with store.open("a.zip") as file, zipfile.ZipFile(file) as archive:
        assert b"in a zip" == archive.read("a.txt")
    with store.open("b.tar.gz") as file, tarfile.open(fileobj=file) as tar:
        assert ["b.txt"] == tar.getnames()
    with store.open("b.tar.gz") as file, gzip.open(file) as unpacked:
        assert packed.getvalue() == store.get("b.tar.gz")
        assert b"in a tar" in unpacked.read()


def test_text_and_tables_are_read_in_place(store: storage.sync.ObjectStore) -> None:
    """`io.TextIOWrapper` makes it a text file, which `csv` reads."""
    store.put("t.csv", "name,size\nölfaß,3\n".encode())
    with store.open("t.csv") as file, io.TextIOWrapper(file, encoding="utf-8", newline="") as text:
        rows = list(csv.reader(text))

    assert [["name", "size"], ["ölfaß", "3"]] == rows


def test_file_is_copied_by_shutil(store: storage.sync.ObjectStore) -> None:
    """`shutil.copyfileobj` is how a script saves an object."""
    target = io.BytesIO()
    with store.open("k") as file:
        shutil.copyfileobj(file, target)

    assert b"0123456789" == target.getvalue()


async def test_abandoned_file_is_closed(store: storage.sync.ObjectStore) -> None:
    """A file that nobody closed leaves no descriptor open. When stepped it is closed at once, without an event loop."""
    file = store.open("k")
    file.read(1)
    del file

    assert closed(store)


async def test_abandoned_file_in_a_cycle_is_closed(store: storage.sync.ObjectStore) -> None:
    """The garbage collector finalizes a cycle in any order and in any thread, also in that of the loop."""
    file = store.open("k")
    file.itself = file  # type: ignore[attr-defined]
    del file
    gc.collect()

    assert closed(store)


@pytest.mark.parametrize("cycle", [True, False])
def test_file_may_be_abandoned_in_the_loops_own_thread(cycle: bool) -> None:
    """Code on the loop that drops the last reference, or starts the collector, must not wait for itself."""
    store = storage.sync.ObjectStore(Watched(), stepped=False)
    store.put("k", b"v")
    files = [store.open("k")]
    if cycle:
        files[0].raw.itself = files[0]  # type: ignore[attr-defined]

    async def drop() -> None:
        files.clear()
        gc.collect()

    LoopCaller().run(drop())

    assert closed(store)


def closed(store: storage.sync.ObjectStore) -> bool:
    """Return whether no reader is open; on the loop a finalizer's work ends a moment later."""
    deadline = time.monotonic() + (0 if store._stepped else 5)
    while watched(store).opened and time.monotonic() < deadline:
        time.sleep(0.005)
    return not watched(store).opened
