"""`ZipStore`: objects as the entries of one zip archive."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Generator, Iterable
from contextlib import aclosing, asynccontextmanager, closing
from functools import partial
from typing import Literal, ParamSpec, TypeVar

from storage._concurrency.offload import offload
from storage._concurrency.tasks import stream
from storage._core.bulk import PAGE, pages, pairs_of, raise_failures, result_of
from storage._core.conditions import Target, WriteConditions
from storage._core.data import as_bytes, chunks, is_stream
from storage._core.left_out import LeftOut
from storage._core.opened import opened
from storage.base import ObjectStore
from storage.errors import ConfigError, CorruptObjectError, InvalidKeyError, KeyNotFoundError, StorageError
from storage.reader import ObjectReader
from storage.stores.files.durability import Durability, check_durability
from storage.stores.files.os_names import encoded_root
from storage.stores.zip.archive import Archive
from storage.stores.zip.changes import Change, SpooledData, put_change
from storage.stores.zip.content import Content, StoredEntry
from storage.stores.zip.entry import STORED, Entry
from storage.stores.zip.errors import error_of
from storage.stores.zip.names import check_zip_key
from storage.stores.zip.reader import ZipReader
from storage.stores.zip.slices import collected, in_slices
from storage.types import Attributes, ByteRange, Capabilities, Data, Items, Keys, ObjectInfo, check_attributes

__all__ = ["ZipStore"]

P = ParamSpec("P")
T = TypeVar("T")

#: Bytes of objects that `put_many` collects for one write.
MAX_BATCH_BYTES = 1 << 23

#: Bytes of an object that is read in one step.
_SMALL = 1 << 20


class ZipStore(ObjectStore):
    """
    Objects in one zip archive, which other programs can read after `flush` and after the store is closed.

    A put or delete appends to the file; overwritten and deleted data occupies space until `compact`. After a crash the
    next opening restores every acknowledged write. Only one store in one process can open the archive at a time.

    Args:
        path: the archive, which is created if it is missing. Archives of other programs can be used.
        compression: ``"deflate"``, or ``"stored"`` for uncompressed data: ranges of such objects are read directly.
        level: of deflate, 0 to 9; a higher level is slower and compresses better.
        durability: ``"fsync"``: a put or delete that has returned survives a power loss; ``"atomic"``: it survives the
            end of the process, and after a power loss the writes since `flush` are there up to some point.
        max_size: the most bytes that one `get`, or one `read` of a reader, returns, and for which it decompresses:
            an archive of a few bytes can declare any size. Larger objects are read in pieces with `open`.

    Raises:
        ConfigError: no file can have the path: it has a NUL, or characters that the locale's encoding lacks.
    """

    _steppable = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        compression: Literal["deflate", "stored"] = "deflate",
        level: int = 6,
        durability: Durability = "fsync",
        max_size: int = 1 << 30,
    ) -> None:
        if compression not in ("deflate", "stored"):
            raise ValueError(f"compression must be 'deflate' or 'stored', not {compression!r}")
        if level not in range(10):
            raise ValueError(f"level must be 0 to 9, not {level!r}")
        if max_size < 0:
            raise ValueError(f"max_size must not be negative, and is {max_size!r}")
        self.path: str = os.fsdecode(path)
        if "\0" in self.path:
            raise ConfigError(f"path {self.path!r} has a NUL character: name a file without it")
        encoded_root(self.path)  # raises, if no file can have this name under the locale
        self.max_size = max_size
        self.durability: Durability = check_durability(durability)
        self._level = level if compression == "deflate" else None
        self._archive: Archive | None = None

    # -- life cycle ----------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        archive = await self._do(None, Archive, self.path, sync=self.durability == "fsync", load=False)
        try:
            await in_slices(self._do, None, archive.load())
        except BaseException:
            archive.abandon()
            raise
        self._archive = archive

    async def _close(self) -> None:
        archive, self._archive = self._archive, None
        if archive is not None and archive.state.in_this_process:  # else it is the parent's to close
            await self._do(None, archive.close)

    async def flush(self) -> None:
        """Write the archive's directory, if anything has changed, so that other programs see all objects."""
        await self._do(None, self._opened().flush)

    async def compact(self) -> None:
        """
        Free the space of overwritten and deleted data: a new archive is written, and replaces this one atomically.

        It takes the time and the space of a copy of all objects. Reads and writes go on, except that a write waits for
        the last step. A cancelled one leaves the archive as it was.

        Raises:
            CorruptObjectError: an entry is not where the archive's directory says, or entries overlap; the archive is
                not changed.
            StoreUnavailableError: another program has moved or replaced the archive, which is not touched.
            UnsupportedOperationError: the file has other names (hard links), or bytes that are not the archive's
                between or after its entries, as a signature has: the new file would not have them.
            StoreFullError: there is no space for both archives.
        """
        await in_slices(self._do, None, self._opened().compaction())

    def _opened(self) -> Archive:
        """
        Return the open archive.

        Raises:
            StoreClosedError: it is not open, or not in this process.
        """
        return opened(self._archive, self)

    async def _do(self, key: str | None, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work that blocks; its errors get *key*."""
        try:
            return await offload(work, *args, **kwargs)
        except (OSError, StorageError) as error:
            ours = error_of(error, key, self)
            raise ours from ours.__cause__

    # -- one object ----------------------------------------------------------------------------------------------

    async def get(self, key: str, *, byte_range: ByteRange | None = None) -> bytes:
        found = self._find(key)
        size = found.entry.size
        start, stop = (0, size) if byte_range is None else byte_range.within(size, key)
        if stop > self.max_size:
            self._check_bound(key, found.entry, start, stop)
        if size <= _SMALL >= found.entry.compressed_size:
            return await self._do(key, _read, found, start, stop)
        return await in_slices(self._do, key, _reading(found, start, stop))

    async def put(
        self,
        key: str,
        data: Data,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        archive = self._opened()
        check_zip_key(key, self)
        conditions = WriteConditions.of(if_absent, if_match)
        target = Target(key, check_attributes(attributes), conditions)
        if not is_stream(data):
            return await self._do(key, _put, archive, target, as_bytes(data), self._level)
        with closing(SpooledData(archive.directory, self._level)) as spool:
            async with aclosing(chunks(data)) as pieces:
                async for piece in pieces:
                    await self._do(key, spool.write, piece)
            return await self._do(key, lambda: archive.commit_one(spool.change(target)))

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        archive = self._opened()
        target = Target(check_zip_key(key, self), None, WriteConditions.of(False, if_match))
        await self._do(key, archive.commit_one, Change(target))

    async def exists(self, key: str) -> bool:
        return check_zip_key(key, self) in self._opened().objects

    async def head(self, key: str) -> ObjectInfo:
        return self._describe(key, self._find(key).entry)

    @asynccontextmanager
    async def open(self, key: str, *, byte_range: ByteRange | None = None) -> AsyncIterator[ObjectReader]:
        found = self._find(key)
        info = self._describe(key, found.entry)
        content = await self._do(key, Content, found.file, found.entry)
        yield ZipReader(info, content, byte_range, self._do, partial(self._check_bound, key, found.entry))

    async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        return await self._copy(source, target, if_absent, move=False)

    async def rename(self, source: str, target: str, *, if_absent: bool = False) -> str:
        if source == target and not if_absent:
            return (await self.head(source)).etag
        return await self._copy(source, target, if_absent, move=True)

    async def _copy(self, source: str, target: str, if_absent: bool, *, move: bool) -> str:
        archive = self._opened()
        check_zip_key(source, self)
        check_zip_key(target, self)
        return await self._do(source, archive.copy, source, target, if_absent=if_absent, move=move)

    def _find(self, key: str) -> StoredEntry:
        found = self._opened().objects.get(check_zip_key(key, self))
        if found is None:
            raise KeyNotFoundError(key, store=self)
        return found

    def _check_bound(self, key: str, entry: Entry, start: int, stop: int) -> None:
        """
        Raise if more than `max_size` bytes are to be read, or decoded: a range of compressed data needs all before it.

        Raises:
            CorruptObjectError: there are more.
        """
        if (stop if entry.method != STORED else stop - start) > self.max_size:
            raise CorruptObjectError(
                f"the object has {entry.size} bytes, and reading this part of it takes more than "
                f"max_size={self.max_size}; increase max_size, or read in pieces with open()",
                key=key,
                store=self,
            )

    def _describe(self, key: str, entry: Entry) -> ObjectInfo:
        try:
            return entry.describe(key)
        except CorruptObjectError as error:
            raise error_of(error, key, self) from error.__cause__

    # -- many objects --------------------------------------------------------------------------------------------

    async def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        archive = self._opened()
        await self._do(None, archive.listing.all)  # sorting a million keys takes a second
        for key in archive.listing.select(prefix, start_after):
            yield key

    async def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        archive = self._opened()
        with LeftOut(self) as left_out:
            async for key in self.keys(prefix, start_after=start_after):
                found = archive.objects.get(key)
                if found is None:
                    continue
                try:
                    info = self._describe(key, found.entry)
                except CorruptObjectError as error:
                    left_out.add(key, error)
                else:
                    yield info

    async def get_many(self, keys: Keys) -> dict[str, bytes | StorageError]:
        results: dict[str, bytes | StorageError] = {}
        async for page in pages(stream(keys)):
            results.update(await in_slices(self._do, None, self._get_page(self._opened(), page)))
        return results

    def _get_page(self, archive: Archive, keys: list[str]) -> Generator[None, None, dict[str, bytes | StorageError]]:
        results: dict[str, bytes | StorageError] = {}
        for key in keys:
            try:
                found = archive.find(check_zip_key(key, self))
                self._check_bound(key, found.entry, 0, found.entry.size)
                if max(found.entry.size, found.entry.compressed_size) <= _SMALL:
                    results[key] = _read(found, 0, found.entry.size)
                    yield
                else:
                    results[key] = yield from _reading(found, 0, found.entry.size)
            except (OSError, StorageError) as error:
                results[key] = error_of(error, key, self)
        return results

    async def put_many(
        self,
        items: Items[Data],
        *,
        raise_errors: bool = True,
    ) -> dict[str, str | StorageError]:
        results: dict[str, str | StorageError] = {}
        page: list[tuple[str, bytes]] = []
        size = 0
        async for key, data in stream(pairs_of(items)):
            streamed = is_stream(data)
            if not streamed:
                page.append((key, as_bytes(data)))
                size += len(page[-1][1])
            if streamed or size >= MAX_BATCH_BYTES or len(page) >= PAGE:
                results.update(await self._do(None, self._put_page, self._opened(), page))
                page, size = [], 0
            if streamed:
                results[key] = await result_of(self.put(key, data))
        results.update(await self._do(None, self._put_page, self._opened(), page))
        return raise_failures(results, self, raise_errors)

    def _put_page(self, archive: Archive, items: list[tuple[str, bytes]]) -> dict[str, str | StorageError]:
        return self._commit(archive, [(key, partial(put_change, data=data, level=self._level)) for key, data in items])

    def _commit(
        self, archive: Archive, items: Iterable[tuple[str, Callable[[Target], Change]]]
    ) -> dict[str, str | StorageError]:
        """Make a change of each item with a valid key, commit them together, and return the result of each item."""
        results: dict[str, str | StorageError] = {}
        changes = []
        for key, change in items:
            try:
                changes.append(change(Target(check_zip_key(key, self))))
            except InvalidKeyError as error:
                results[key] = error
        archive.commit(changes)
        return results | {change.target.key: self._result_of(change) for change in changes}

    def _result_of(self, change: Change) -> str | StorageError:
        return change.result() if change.error is None else error_of(change.error, change.target.key, self)

    async def delete_many(self, keys: Keys, *, raise_errors: bool = True) -> dict[str, None | StorageError]:
        results: dict[str, None | StorageError] = {}
        async for page in pages(stream(keys)):
            done = await self._do(None, self._commit, self._opened(), [(key, Change) for key in page])
            results.update((key, error if isinstance(error, StorageError) else None) for key, error in done.items())
        return raise_failures(results, self, raise_errors)

    async def clear(self, prefix: str = "") -> None:
        archive = self._opened()
        changes = await self._do(None, archive.clear, prefix)
        raise_failures({change.target.key: self._result_of(change) for change in changes}, self, raise_errors=True)

    # -- about itself --------------------------------------------------------------------------------------------

    @property
    def capabilities(self) -> Capabilities:
        return self._supported(Capabilities.all_but("multi_process"))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"


def _put(archive: Archive, target: Target, data: bytes, level: int | None) -> str:
    return archive.commit_one(put_change(target, data, level))


def _read(found: StoredEntry, start: int, stop: int) -> bytes:
    return Content(found.file, found.entry).read(start, stop - start)


def _reading(found: StoredEntry, start: int, stop: int) -> Generator[None, None, bytes]:
    content = Content(*found)
    return (yield from collected(content.pieces(start, stop - start)))
