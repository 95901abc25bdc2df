"""Reads of the stores on files: files that are cut while they are read, and what a file system says of their sizes."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from fuse.behaviour import Behaviour
from fuse.mount import mounted

from storage import (
    ByteRange,
    CorruptObjectError,
    DictStore,
    FilesystemStore,
    ObjectStore,
    RangeNotSatisfiableError,
    StorageError,
    StoreUnavailableError,
    UnsupportedOperationError,
    copy_store,
)
from storage.stores.files import reader

DATA = os.urandom(300_000)


async def opened(store: ObjectStore, byte_range: ByteRange | None = None) -> bytes:
    async with store.open("k", byte_range=byte_range) as object_reader:
        return await object_reader.read()


async def iterated(store: ObjectStore) -> bytes:
    async with store.open("k") as object_reader:
        return b"".join([piece async for piece in object_reader])


async def many(store: ObjectStore) -> bytes:
    result = (await store.get_many(["k"]))["k"]
    if isinstance(result, StorageError):
        raise result
    return result


async def copied(store: ObjectStore) -> bytes:
    target = DictStore()
    await copy_store(store, target)
    return await target.get("k")


async def ranges(store: ObjectStore) -> bytes:
    middle = await store.get("k", byte_range=ByteRange(5, 200_000))
    assert middle == await opened(store, ByteRange(5, 200_000))
    return DATA[:5] + middle + await store.get("k", byte_range=ByteRange.suffix(100_000))


READS: dict[str, Callable[[ObjectStore], Awaitable[bytes]]] = {
    "get": lambda store: store.get("k"),
    "open": opened,
    "iterated": iterated,
    "get_many": many,
    "copy_store": copied,
    "ranges": ranges,
}


@pytest.mark.process
async def test_reads_go_on_where_the_system_gives_a_part(tmp_path: Path) -> None:
    """A short read is not the end of an object."""
    with mounted(Behaviour(short_reads=7000)) as root:
        (root / "k").write_bytes(DATA)
        store = FilesystemStore(root)

        assert dict.fromkeys(READS, DATA) == {name: await read(store) for name, read in READS.items()}


@pytest.mark.process
async def test_files_that_say_they_are_empty_are_read_to_their_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in /proc and on cloud mounts; what `head` says is true too, and an empty file is empty."""
    with mounted(Behaviour(hides_sizes=True, short_reads=7000)) as root:
        (root / "k").write_bytes(DATA)
        (root / "e").write_bytes(b"")
        store = FilesystemStore(root)

        assert dict.fromkeys(READS, DATA) == {name: await read(store) for name, read in READS.items()}
        assert (len(DATA), 0) == ((await store.head("k")).size, (await store.head("e")).size)
        assert [0, len(DATA)] == [info.size async for info in store.scan()]
        async with store.open("k", byte_range=ByteRange(10, 20)) as object_reader:
            assert (len(DATA), DATA[10:20]) == (object_reader.info.size, await object_reader.read())
        assert b"" == await store.get("e")
        with pytest.raises(RangeNotSatisfiableError):
            await store.get("k", byte_range=ByteRange(len(DATA) + 1))
        monkeypatch.setattr(reader, "MAX_UNSIZED", 100_000)
        for call in (store.get("k"), store.head("k"), opened(store)):
            with pytest.raises(UnsupportedOperationError, match="copy it elsewhere"):
                await call


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="no /proc")
async def test_proc_is_readable() -> None:
    """The files of a real file system without sizes."""
    store = FilesystemStore("/proc/self")

    for _ in range(3):  # the later ones may be from memory
        assert (await store.get("status")).startswith(b"Name:")
    assert (await store.head("status")).size > 100


def cut_when_read(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Let another program cut the file to half its size when a first part of it was read."""
    pread = os.pread

    def cutting(descriptor: int, size: int, offset: int) -> bytes:
        data = pread(descriptor, min(size, 100_000), offset)
        if path.stat().st_size == len(DATA):
            os.truncate(path, len(DATA) // 2)
        return data

    monkeypatch.setattr(os, "pread", cutting)


@pytest.mark.parametrize("read", READS)
async def test_file_that_is_cut_while_it_is_read_is_an_error(
    read: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never a shorter object; the error says so, names key and store, and the same call may succeed."""
    (tmp_path / "k").write_bytes(DATA)
    store = FilesystemStore(tmp_path)
    cut_when_read(monkeypatch, tmp_path / "k")

    with pytest.raises(StoreUnavailableError, match="150,000 now; read it again") as caught:
        await READS[read](store)
    assert ("k", repr(store)) == (caught.value.key, caught.value.store)
    if read != "ranges":
        assert DATA[:150_000] == await READS[read](store)


async def test_file_that_grows_while_it_is_read_has_the_size_that_info_says(tmp_path: Path) -> None:
    """What is appended meanwhile belongs to no version that was opened."""
    (tmp_path / "k").write_bytes(b"begin")
    store = FilesystemStore(tmp_path)
    async with store.open("k") as object_reader:
        with (tmp_path / "k").open("ab") as file:
            file.write(b" and more")

        assert (5, b"begin", b"") == (object_reader.info.size, await object_reader.read(), await object_reader.read())


async def test_file_that_is_always_shorter_than_its_size_is_corrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To read it again would give the same, so the error is not retryable."""
    (tmp_path / "k").write_bytes(DATA)
    store = FilesystemStore(tmp_path)
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda file, size, offset: pread(file, min(size, max(1000 - offset, 0)), offset))

    with pytest.raises(CorruptObjectError, match="1,000 bytes, but has 300,000") as caught:
        await store.get("k")
    assert not caught.value.retryable
