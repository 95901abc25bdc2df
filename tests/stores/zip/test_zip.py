"""ZipStore: archives for other programs, the cost of writes, keys and attributes."""

from __future__ import annotations

import asyncio
import os
import time
import zipfile
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest
from zip_tools import INCOMPRESSIBLE, read_by_zipfile, unzip_complaints

import storage.sync
from storage import (
    ConfigError,
    InvalidKeyError,
    UnsupportedOperationError,
    ZipStore,
)
from storage._concurrency.stepping import step
from storage.stores.zip.entry import entry_of
from storage.stores.zip.file import OpenFile
from storage.stores.zip.format import End, pack_central, pack_end, pack_local, parse_directory, parse_record
from storage.testing import NASTY_KEYS


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows with every fsync of an archive."""
    done: list[int] = []
    sync = OpenFile.sync

    def counted(file: OpenFile) -> None:
        done.append(file.descriptor)
        sync(file)

    monkeypatch.setattr(OpenFile, "sync", counted)
    return done


@pytest.fixture
def _slow_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a sync take 20 ms, on any disk."""
    sync = OpenFile.sync

    def slow(file: OpenFile) -> None:
        time.sleep(0.02)
        sync(file)

    monkeypatch.setattr(OpenFile, "sync", slow)


# -- what other programs see -------------------------------------------------------------------------------------------


@pytest.mark.process
@pytest.mark.parametrize("compression", ["deflate", "stored"])
async def test_other_programs_read_the_archive_after_flush_and_close(path: Path, compression: Any) -> None:
    """After puts, overwrites, deletes, streams and copies unzip and zipfile see what the store has, and do not warn."""
    async with ZipStore(path, compression=compression) as store:
        await store.put("text", b"old")
        await store.put("text", b"new " * 1000, attributes={"content-type": "text/plain", "größe".encode().hex(): "ö"})
        await store.put("random", [INCOMPRESSIBLE[:5000], INCOMPRESSIBLE[5000:]])
        await store.put("empty", b"")
        await store.put("nothing streamed", [])
        await store.put("gone", b"x")
        await store.delete("gone")
        await store.copy("text", "d/copy")
        await store.rename("random", "d/renamed")
        expected = await store.get_many(store.keys())

        await store.flush()

        assert "" == unzip_complaints(path)
        assert expected == read_by_zipfile(path)

        await store.put("later", b"after the flush")
        await store.delete("empty")
        expected = await store.get_many(store.keys())

    assert "" == unzip_complaints(path)
    assert expected == read_by_zipfile(path)


@pytest.mark.process
async def test_other_programs_read_any_key(path: Path) -> None:
    """Every key of the store is a name that unzip and zipfile accept."""
    put = []
    async with ZipStore(path, durability="atomic") as store:
        for key in NASTY_KEYS.values():
            try:
                await store.put(key, b"v")
            except InvalidKeyError:
                continue
            put.append(key)

    assert "" == unzip_complaints(path)
    assert sorted(put) == sorted(read_by_zipfile(path))


async def test_other_programs_see_when_an_object_was_written(path: Path) -> None:
    """The time is in the entry, in steps of two seconds."""
    async with ZipStore(path) as store:
        await store.put("k", b"v")
        modified = (await store.head("k")).modified

    with zipfile.ZipFile(path) as archive:
        year, month, day, hour, minute, second = archive.getinfo("k").date_time
    assert modified is not None
    local = modified.astimezone()
    assert (year, month, day, hour, minute) == (local.year, local.month, local.day, local.hour, local.minute)
    assert 0 <= local.second - second < 2


async def test_new_archive_is_a_valid_empty_one(path: Path) -> None:
    """When the store is open, the file is an archive and starts like one."""
    async with ZipStore(path):
        assert {} == read_by_zipfile(path)
        assert path.read_bytes().startswith(b"PK\3\4")


async def test_offsets_beyond_32_bits(path: Path) -> None:
    """Entries after 4 GiB are found, by zip64 fields."""
    async with ZipStore(path, durability="atomic") as store:
        await store.put("before", b"it")
        archive = store._archive
        assert archive is not None
        os.truncate(path, 5 << 30)  # a hole, as if a large object had been here and were deleted
        archive._tail.end = archive._tail._size = 5 << 30
        await store.put("behind", b"too")

    expected = {"before": b"it", "behind": b"too"}
    assert expected == read_by_zipfile(path)
    async with ZipStore(path) as store:
        assert expected == await store.get_many(expected)
        await store.compact()
        assert path.stat().st_size < 1000
        assert expected == await store.get_many(expected)


async def test_more_entries_than_16_bits_count(path: Path) -> None:
    """65,536 entries need the zip64 end record."""
    entry = entry_of("k")
    record = pack_local(entry)
    directory = pack_central(entry) * 0x10000
    path.write_bytes(record + directory + pack_end(len(record), len(directory), 0x10000))

    with zipfile.ZipFile(path) as other:
        assert ["k"] * 0x10000 == other.namelist()
    async with ZipStore(path) as store:
        assert ["k"] == [key async for key in store.keys()]


def test_sizes_beyond_32_bits() -> None:
    """A record of 5 GiB has zip64 fields, before its data and in the directory."""
    entry = entry_of("k", compressed_size=5 << 30, size=6 << 30)._replace(offset=7 << 30)

    assert entry == parse_record(pack_local(entry), 7 << 30)
    header, at = pack_central(entry), 20 << 30
    end = End(at, len(header), 1, at + len(header), at + len(header), 0)
    assert [entry] == list(parse_directory(lambda size, offset: header[offset - at :][:size], end))


# -- what is written ---------------------------------------------------------------------------------------------------


async def test_put_writes_its_own_entry_only(path: Path) -> None:
    """A put costs the same for any number of objects."""
    async with ZipStore(path, durability="atomic") as store:
        costs = []
        for count in (1, 5000):
            await store.put_many({f"{count}/{number:04}": b"v" for number in range(count)})
            await store.flush()
            before = path.stat().st_size
            await store.put("some key", INCOMPRESSIBLE[:100])
            costs.append(path.stat().st_size - before)

    assert costs[0] == costs[1]
    assert 100 < costs[0] < 300


async def test_flush_writes_nothing_when_nothing_changed(path: Path) -> None:
    """Neither do closing, a put whose condition failed, or a delete of a missing object."""
    async with ZipStore(path) as store:
        etag = await store.put("k", b"v")
        await store.flush()
        written = path.read_bytes()

        await store.flush()
        await store.delete("missing")
        with pytest.raises(FileExistsError):
            await store.put("k", b"w", if_absent=True)
        assert etag == await store.rename("k", "k")
        await store.flush()

    async with ZipStore(path):
        pass
    assert written == path.read_bytes()


async def test_incompressible_bytes_are_stored(path: Path) -> None:
    """Deflating them would make them larger."""
    async with ZipStore(path) as store:
        await store.put("k", INCOMPRESSIBLE)

    with zipfile.ZipFile(path) as archive:
        assert zipfile.ZIP_STORED == archive.getinfo("k").compress_type


@pytest.mark.usefixtures("_slow_disk")
async def test_concurrent_puts_share_their_syncs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts that arrive during a sync share the next one."""
    async with ZipStore(path) as store:
        archive = store._archive
        assert archive is not None
        syncs: list[int] = []
        sync = OpenFile.sync

        def held(file: OpenFile) -> None:
            syncs.append(file.descriptor)
            end = time.monotonic() + 20
            # The first sync ends when all puts wait, for it or for the next.
            while len(syncs) == 1 and len(archive._queue) < 4 and time.monotonic() < end:
                time.sleep(0.001)
            sync(file)

        monkeypatch.setattr(OpenFile, "sync", held)
        await asyncio.gather(*(store.put(f"k{number}", b"v") for number in range(4)))

        assert 1 <= len(syncs) <= 2
        assert 4 == len([key async for key in store.keys()])


async def test_bulk_calls_sync_once(path: Path, syncs: list[int]) -> None:
    """300 objects are put with one sync and deleted with one; with durability="atomic" nothing is synced."""
    async with ZipStore(path) as store:
        counts = []
        for call in (
            lambda: store.put_many({f"k{number}": b"v" for number in range(300)}),
            lambda: store.delete_many([f"k{number}" for number in range(200)]),
            lambda: store.clear(),
        ):
            syncs.clear()
            await call()
            counts.append(len(syncs))
        assert [1, 1, 1] == counts

    async with ZipStore(path, durability="atomic") as store:
        syncs.clear()
        await store.put("k", b"v")
        await store.put("k", [b"v"])
        await store.delete("k")
        assert [] == syncs


async def test_what_is_not_on_the_disk_yet_is_not_seen(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A put becomes visible only after its sync."""
    async with ZipStore(path) as store:
        await store.put("k", b"old")
        seen: list[bytes] = []
        sync = OpenFile.sync

        def looking(file: OpenFile) -> None:
            seen.append(step(store.get("k")))
            sync(file)

        monkeypatch.setattr(OpenFile, "sync", looking)
        await store.put("k", b"longer")
        monkeypatch.undo()

        assert [b"old"] == seen
        assert b"longer" == await store.get("k")


# -- keys, attributes, versions ----------------------------------------------------------------------------------------

REFUSED = ["a\0b", "a/", "..", "../a", "a/../b", "a/..", "a\\..\\b", "/a", "\\a", "x" * 65_536, "é" * 32_768]


@pytest.mark.parametrize("key", REFUSED, ids=lambda key: repr(key[:10]))
async def test_key_that_is_no_name_of_an_entry_is_refused_everywhere(path: Path, key: str) -> None:
    """Every method refuses it, also those that only read."""
    async with ZipStore(path) as store:
        await store.put("a", b"v")
        calls: list[Awaitable[object]] = [
            *(store.get(key), store.put(key, b"v"), store.delete(key), store.exists(key), store.head(key)),
            *(store.open(key).__aenter__(), store.copy(key, "b"), store.copy("a", key), store.rename("a", key)),
        ]
        for call in calls:
            with pytest.raises(InvalidKeyError):
                await call
        found, deleted = await store.get_many([key]), await store.delete_many([key], raise_errors=False)

    assert isinstance(found[key], InvalidKeyError)
    assert isinstance(deleted[key], InvalidKeyError)


async def test_longest_key_and_odd_ones_are_kept(path: Path) -> None:
    """65,535 bytes, double slashes, single dots, backslashes and drive letters are accepted unchanged."""
    keys = sorted(["x" * 65_535, "a//b", "./a", "a/./b", ".", "a\\b", "C:\\x", "a", "a/b", "..."])
    async with ZipStore(path) as store:
        await store.put_many({key: key.encode() for key in keys})

    async with ZipStore(path) as store:
        assert keys == [key async for key in store.keys()]
        assert {key: key.encode() for key in keys} == await store.get_many(keys)


@pytest.mark.process
async def test_attributes_have_the_room_of_an_extra_field(path: Path) -> None:
    """60,000 bytes are stored and archive tools accept them; more is refused, and the old object stays."""
    large = {"note": "x" * 60_000}
    async with ZipStore(path) as store:
        await store.put("k", b"v", attributes=large)
        with pytest.raises(UnsupportedOperationError, match="65"):
            await store.put("k", b"w", attributes={"note": "x" * 65_500})

    assert "" == unzip_complaints(path)
    async with ZipStore(path) as store:
        assert (b"v", large) == (await store.get("k"), (await store.head("k")).attributes)


async def test_every_version_has_an_etag_of_its_own_that_lasts(path: Path) -> None:
    """Equal bytes written at the same time have different etags, which survive reopening and compacting."""
    async with ZipStore(path, durability="atomic") as store:
        etags = [await store.put("k", b"v") for _ in range(100)]
        info = await store.head("k")
    assert 100 == len(set(etags))

    for act in (ZipStore.flush, ZipStore.compact):
        async with ZipStore(path) as store:
            await act(store)
            assert info == await store.head("k")


def test_options_that_mean_nothing_are_refused(path: Path) -> None:
    """A misspelled option is an error."""
    mistakes: list[dict[str, Any]] = [{"compression": "bzip2"}, {"level": 10}, {"durability": "none"}]
    for options in mistakes:
        with pytest.raises(ValueError, match=next(iter(options))):
            ZipStore(path, **options)
    assert "ZipStore('a.zip')" == repr(ZipStore("a.zip"))


@pytest.mark.parametrize(("path", "named"), [("a\0b", "NUL"), ("\ud800.zip", "cannot be encoded")])
def test_path_that_no_file_can_have_is_refused(tmp_path: Path, path: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        storage.sync.ZipStore(f"{tmp_path}/{path}")


def test_path_may_be_bytes(tmp_path: Path) -> None:
    with storage.sync.ZipStore(os.fsencode(tmp_path / "a.zip")) as store:  # type: ignore[arg-type]
        store.put("k", b"1")
        store.compact()
    assert read_by_zipfile(tmp_path / "a.zip") == {"k": b"1"}
