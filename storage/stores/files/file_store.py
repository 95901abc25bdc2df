"""`FileStore`: the base of the stores on plain files, which differ in the path of a key's file and in listing."""

from __future__ import annotations

import itertools
import os
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, closing
from functools import partial
from typing import Any, TypeVar

from storage._concurrency.offload import offload, offload_copying
from storage._concurrency.stepping import is_stepping
from storage._core.bulk import raise_failures
from storage._core.claims import is_claiming
from storage._core.conditions import UNCONDITIONAL, WriteConditions
from storage._core.data import SMALL, as_bytes, chunks, is_stream
from storage._core.directory_sync import fsync_directory
from storage._core.left_out import LeftOut
from storage.base import ObjectStore
from storage.errors import IncompleteListingError, StorageError
from storage.reader import ObjectReader
from storage.stores.files.attributes import read_attributes
from storage.stores.files.blocking_reads import MISSING, BlockingReads
from storage.stores.files.bulk import for_each_key
from storage.stores.files.capabilities import missing_capabilities
from storage.stores.files.directory_marks import is_own_directory
from storage.stores.files.draft import Draft
from storage.stores.files.draft_names import is_draft
from storage.stores.files.durability import Durability, check_durability
from storage.stores.files.entries import file_status
from storage.stores.files.errors import from_os_error
from storage.stores.files.leftovers import reclaim, remove_leftovers
from storage.stores.files.locks import DirectoryLockedError, locked
from storage.stores.files.os_names import encoded, encoded_root
from storage.stores.files.page_cache import MAX_READS_IN_A_ROW, Deferred
from storage.stores.files.reader import FileReader, open_reader
from storage.stores.files.refused_names import raise_if_refused
from storage.stores.files.renaming import Renaming
from storage.stores.files.waiting import when_unlocked
from storage.types import Attributes, ByteRange, Capabilities, Data, Keys, ObjectInfo, check_attributes

__all__ = ["FileStore"]

T = TypeVar("T")

#: Keys that a listing fetches per hop to a worker thread.
PAGE = 1000


class FileStore(BlockingReads, ObjectStore):
    """
    A directory with one file for each object, which contains exactly the object's bytes.

    Args:
        root: the directory; the first put creates it when it is missing. It may be a symlink; symlinks in it are not
            followed.
        durability: ``"atomic"``: no reader, and no crash of a process, sees half an object; ``"fsync"``: in addition, a
            put or delete that has returned survives a loss of power.
    """

    _steppable = True

    def __init__(self, root: str | os.PathLike[str], *, durability: Durability = "atomic") -> None:
        self.root: str = os.fspath(root)
        self.durability: Durability = check_durability(durability)
        encoded_root(self.root)
        # The process may change its directory before the first use.
        self._given = self.root if os.path.isabs(self.root) else os.path.join(os.getcwd(), self.root)
        self._sync = durability == "fsync"
        self._reads_in_a_row = 0

    # -- for subclasses: where the file of a key is --------------------------------------------------------------

    @abstractmethod
    def _walk(self, prefix: str, start_after: str, delimiter: str | None = None) -> Iterator[str]:
        """
        Return an iterator, which blocks, over the keys in order, or over the children of the prefix.

        It goes on where it was after a `DirectoryLockedError`, as no generator does.
        """

    @abstractmethod
    def _is_own_directory(self, parent: str, name: str) -> bool:
        """Return whether the directory *name* in the directory *parent*, a relative path, may hold objects."""

    def _before_publish(self, key: str) -> Callable[[int, str, bool], None] | None:
        """Return a function to call before the key's file appears, see `Draft.publish`."""
        return None

    def _after_delete(self, directory: int, name: str) -> None:
        """Undo that after a file is deleted; its directory is locked."""

    # -- the contract --------------------------------------------------------------------------------------------

    async def get(self, key: str, *, byte_range: ByteRange | None = None) -> bytes:
        if is_stepping():
            return self._blocking(key, self._get, key, byte_range)
        found = self._read_cached(key, byte_range)
        if isinstance(found, bytes):
            self._reads_in_a_row = (self._reads_in_a_row + 1) % MAX_READS_IN_A_ROW
            if not self._reads_in_a_row:
                import asyncio

                await asyncio.sleep(0)
            return found
        if found is Deferred.COPY:
            return await offload_copying(self._blocking, key, self._get, key, byte_range)
        return await self._do(key, self._get, key, byte_range)

    async def put(
        self,
        key: str,
        data: Data,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        draft = Draft(self._root, self._path(key), self._etags, sync=self._sync, store=self)
        conditions = WriteConditions.of(if_absent, if_match)
        kept = check_attributes(attributes)

        def publish() -> str:
            before_publish = self._before_publish(key)
            return draft.publish(key, kept, conditions, before_publish=before_publish)

        if not is_stream(data):
            content = as_bytes(data)

            def fill() -> None:
                draft.begin()
                draft.write(content)

            return await self._publish(key, draft, fill, publish, keep=len(content) > SMALL)
        with closing(draft):
            await self._do(key, draft.begin)
            async for piece in chunks(data):
                await self._do(key, draft.write, piece)
            return await self._do(key, publish)

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        await self._do(key, self._delete, key, WriteConditions.of(False, if_match))

    async def exists(self, key: str) -> bool:
        return await self._do(key, self._exists, key)

    async def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        async for page in self._pages(self._walk(prefix, start_after)):
            for key in page:
                yield key

    async def head(self, key: str) -> ObjectInfo:
        return await self._do(key, self._head, key)

    @asynccontextmanager
    async def open(self, key: str, *, byte_range: ByteRange | None = None) -> AsyncIterator[ObjectReader]:
        with ExitStack() as opened:

            def begin() -> ObjectReader:
                file, status = self._opened(key)
                descriptor = opened.enter_context(file)
                reader = open_reader(self, key, descriptor, status, self._etags, byte_range)
                return opened.enter_context(closing(reader)) if isinstance(reader, FileReader) else reader

            yield await self._do(key, begin)

    async def get_many(self, keys: Keys) -> dict[str, bytes | StorageError]:
        return await for_each_key(keys, lambda key: self._blocking(key, self._get, key, None), self)

    async def delete_many(self, keys: Keys, *, raise_errors: bool = True) -> dict[str, None | StorageError]:
        results = await for_each_key(keys, lambda key: self._blocking(key, self._delete, key, UNCONDITIONAL), self)
        return raise_failures(results, self, raise_errors)

    async def children(self, prefix: str = "", delimiter: str = "/") -> AsyncIterator[str]:
        if delimiter != "/":
            async for child in super().children(prefix, delimiter):
                yield child
            return
        async for page in self._pages(self._walk(prefix, "", "/")):
            for child in page:
                yield child

    async def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        with LeftOut(self) as left_out:
            async for page in self._pages(self._heads(self._walk(prefix, start_after), left_out)):
                for info in page:
                    yield info

    async def _get_small(self, keys: Sequence[str]) -> list[tuple[bytes, Attributes] | None]:
        found = await for_each_key(keys, self._small, self)
        return [small if isinstance(small := found[key], tuple) else None for key in keys]

    async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        draft = Draft(self._root, self._path(target), self._etags, sync=self._sync, store=self)

        kept: dict[str, str] = {}

        def fill() -> None:
            file, status = self._blocking(source, self._opened, source)
            with file as descriptor:
                draft.begin(descriptor, status)
                draft.copy_from(descriptor, status, source)
                kept.update(self._blocking(source, read_attributes, descriptor))

        def publish() -> str:
            conditions, before_publish = WriteConditions(if_absent), self._before_publish(target)
            return draft.publish(target, kept, conditions, before_publish=before_publish)

        return await self._publish(target, draft, fill, publish, keep=True)

    async def rename(self, source: str, target: str, *, if_absent: bool = False) -> str:
        return await self._do(target, self._rename, source, target, if_absent)

    @property
    def capabilities(self) -> Capabilities:
        missing = () if is_claiming() else missing_capabilities(self._root.path, self._etags)
        return self._supported(Capabilities.all_but(*missing))

    async def _open(self) -> None:
        work = (self._root, self._is_own_directory, self._possible_leftovers, self._remove_leftover)
        try:
            await offload(remove_leftovers, *work)
        except StorageError as error:
            error.store = error.store or repr(self)
            raise

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.root!r})"

    # -- blocking work -------------------------------------------------------------------------------------------

    async def _do(self, key: str, work: Callable[..., T], *args: Any) -> T:
        """Run the blocking *work* for a key in a worker thread, in one hop; again, while a directory is locked."""
        if is_stepping():
            return self._blocking(key, work, *args)
        try:
            return await offload(self._blocking, key, work, *args)
        except DirectoryLockedError as error:
            found = error
        return await when_unlocked(found, lambda: offload(self._blocking, key, work, *args), self)

    async def _publish(
        self, key: str, draft: Draft, fill: Callable[[], None], publish: Callable[[], str], *, keep: bool
    ) -> str:
        """
        Write a draft and publish it, in one hop; with *keep*, it is written once, however often that is tried.

        A small draft is not kept: while many puts wait, each would have two files open.
        """
        if is_stepping():  # which waits for locks itself, so that there is one attempt
            try:
                return self._blocking(key, _written, fill, publish)
            finally:
                draft.close()
        filled = False

        def work() -> str:
            nonlocal filled
            try:
                if not filled:
                    fill()
                    filled = keep
                etag = publish()
            except DirectoryLockedError:
                if not filled:
                    draft.close()
                raise
            except BaseException:
                draft.close()
                raise
            draft.close()
            return etag

        try:
            return await self._do(key, work)
        finally:
            draft.close()

    def _delete(self, key: str, conditions: WriteConditions) -> None:
        path = self._path(key)
        parent, _, name = path.rpartition("/")
        raw = encoded(name)
        try:
            opened = self._root.open_directory(parent)
        except OSError as cause:
            if cause.errno not in MISSING:
                if parent:
                    raise_if_refused(cause, self)
                raise
            self._root.check(cause)
            conditions.enforce(key, None, self)
            return
        with opened as directory:
            with locked(directory, self, needed=bool(conditions)):
                current = file_status(directory, raw)
                if current is not None and not self._root.exact.known(path, current.st_dev):
                    current = current if self._root.exact.has(self._root, path, lock=False) else None
                if conditions:
                    etag = None if current is None else self._etags.of_entry(directory, name, current)
                    conditions.enforce(key, etag, self)
                if current is not None:
                    os.unlink(raw, dir_fd=directory)
                    self._after_delete(directory, name)
            if self._sync:  # also for what another writer has just deleted: that may not be on the disk yet
                fsync_directory(directory)
            if current is None or not parent or not is_own_directory(directory, parent):
                return
        self._root.prune(parent)

    def _rename(self, source: str, target: str, if_absent: bool) -> str:
        self._blocking(source, self._opened, source)[0].close()  # a missing source creates no directories
        old, new = self._path(source), self._path(target)
        return Renaming(self._root, old, new, self._etags, sync=self._sync, store=self).publish(
            source, target, if_absent, before_publish=self._before_publish(target), after_delete=self._after_delete
        )

    def _possible_leftovers(self, path: str, names: list[str]) -> Iterable[str]:
        """Return those of *names*, the files in the directory *path*, that may be leftovers of a killed writer."""
        return filter(is_draft, names)

    def _remove_leftover(self, directory: int, path: str, name: str) -> None:
        """Remove the file if it is a leftover; *directory* is *path*, and its lock is held."""
        reclaim(directory, name)

    async def _pages(self, found: Iterator[T]) -> AsyncIterator[list[T]]:
        """
        Yield the items of a blocking iterator in lists, each fetched in one hop.

        It is no generator: it goes on where it was after a `DirectoryLockedError`.
        """

        def fetch(page: list[T]) -> None:
            try:
                page.extend(itertools.islice(found, PAGE - len(page)))  # up to an error, if there is one
            except StorageError as error:  # before OSError, which some of these are too
                error.store = error.store or repr(self)
                raise
            except OSError as cause:
                raise from_os_error(cause, None, self) from cause

        async def again(page: list[T]) -> None:
            await offload(fetch, page)

        left_out: IncompleteListingError | None = None
        full = True
        while full and left_out is None:
            page: list[T] = []
            try:
                try:
                    await offload(fetch, page)
                except DirectoryLockedError as error:
                    await when_unlocked(error, partial(again, page), self)
            except IncompleteListingError as error:  # at the end: what was found is as good as ever
                left_out = error
            full = len(page) == PAGE
            if page:
                yield page
        if left_out is not None:
            raise left_out


def _written(fill: Callable[[], None], publish: Callable[[], str]) -> str:
    fill()
    return publish()
