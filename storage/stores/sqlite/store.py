"""`SqliteStore`: objects in one SQLite database, shared by many tasks and processes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

from storage._concurrency.tasks import stream
from storage._core.bulk import pages, pairs_of, raise_failures, result_of
from storage._core.conditions import Target, WriteConditions
from storage._core.data import as_bytes, is_stream
from storage._core.left_out import LeftOut
from storage._core.opened import opened
from storage.base import ObjectStore
from storage.errors import ConfigError, CorruptObjectError, InvalidKeyError, KeyNotFoundError, StorageError
from storage.reader import BytesReader, ObjectReader
from storage.stores.sqlite import statements
from storage.stores.sqlite.check import findings
from storage.stores.sqlite.connection import uncancelled
from storage.stores.sqlite.errors import error_per_key, naming_key
from storage.stores.sqlite.group_commit import MAX_BYTES, MAX_REQUESTS
from storage.stores.sqlite.index_check import refuse_disorder
from storage.stores.sqlite.large_objects import put_stream
from storage.stores.sqlite.pages import clear_page, read_page
from storage.stores.sqlite.paths import MEMORY, checked_path
from storage.stores.sqlite.reader import ChunkReader
from storage.stores.sqlite.rows import checked_data, decoded_key, decoded_keys, encoded_key, info_of
from storage.stores.sqlite.schema import CHUNK
from storage.stores.sqlite.session import Session
from storage.types import Attributes, ByteRange, Capabilities, Data, Finding, Items, Keys, ObjectInfo, check_attributes

__all__ = ["SqliteStore"]

#: Keys or descriptions that a listing reads with one query: about 100 kB.
PAGE = 1000

#: Keys that `children` reads with one query. It reads at most so many keys of a sub-prefix before it skips the rest.
CHILDREN_PAGE = 100


class SqliteStore(ObjectStore):
    """
    Objects in one SQLite database: a file that several processes may use concurrently, or memory.

    When a write returns, its data is on the disk and survives a power loss. Writes that arrive while another one is
    running share a transaction. Objects over 1 MiB are kept in chunks and streamed. Needs
    ``pip install 'stackstore[sqlite]'``.

    A store object belongs to the process and the event loop in which it was opened.

    Args:
        path: the file of the database, which is created if it is missing, or ``":memory:"``. It is never a URI.
        busy_timeout: seconds to wait for the lock of another process before `StoreUnavailableError` is raised.
    """

    def __init__(self, path: str | os.PathLike[str], *, busy_timeout: float = 5.0) -> None:
        self.path: str = checked_path(path)
        if not busy_timeout >= 0:
            raise ConfigError(f"busy_timeout must be 0 or more seconds, not {busy_timeout!r}")
        self.busy_timeout = busy_timeout
        self._session: Session | None = None

    # -- life cycle --------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        # Absolute, because "file:x" is a URI for SQLite where "/d/file:x" is a path.
        path = self.path if self.path == MEMORY else os.path.abspath(self.path)
        self._session = Session(path, repr(self), self.busy_timeout)
        try:
            await uncancelled(self._session.open(), self._session.give_up)
        except BaseException:
            await self._close()
            raise

    async def _close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await uncancelled(session.close())

    def _opened(self) -> Session:
        """
        Return what the store holds while it is open.

        Raises:
            StoreClosedError: it is not open, or not here.
        """
        return opened(self._session, self)

    # -- one object --------------------------------------------------------------------------------------------------

    async def get(self, key: str, *, byte_range: ByteRange | None = None) -> bytes:
        session = self._opened()
        name = encoded_key(key, self)
        if byte_range is None:
            row = await naming_key(key, session.contents.run(name))
        else:
            row = await naming_key(key, session.reader.run(statements.read_range, name, byte_range))
        if row is None:
            raise KeyNotFoundError(key, store=self)
        _, size, data = row
        if byte_range is None and type(data) is bytes and len(data) == size:
            return data  # 0.4 us sooner
        if data is None:
            async with self._reading(key, byte_range) as reader:
                return await reader.read()
        return checked_data(data, size, byte_range, key, self)

    async def put(
        self,
        key: str,
        data: Data,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        session = self._opened()
        encoded_key(key, self)
        conditions = WriteConditions.of(if_absent, if_match)
        kept = check_attributes(attributes) if attributes else {}
        target = Target(key, kept, conditions, session.store)
        content = data if is_stream(data) else as_bytes(data)
        if not isinstance(content, bytes) or len(content) > CHUNK:
            return await naming_key(key, put_stream(session.writer, session.leases, target, content))
        put = partial(statements.put, target=target, data=content)
        etag: str = await naming_key(key, session.writer.run(put, len(content)))
        return etag

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        session = self._opened()
        encoded_key(key, self)
        target = Target(key, None, WriteConditions.of(False, if_match), session.store)
        await naming_key(key, session.writer.run(partial(statements.delete, target=target)))

    async def exists(self, key: str) -> bool:
        session = self._opened()
        name = encoded_key(key, self)
        return await naming_key(key, session.infos.run(name)) is not None

    async def head(self, key: str) -> ObjectInfo:
        session = self._opened()
        name = encoded_key(key, self)
        row = await naming_key(key, session.infos.run(name))
        if row is None:
            raise KeyNotFoundError(key, store=self)
        return info_of(key, row[1:], self)

    def open(self, key: str, *, byte_range: ByteRange | None = None) -> AbstractAsyncContextManager[ObjectReader]:
        return self._reading(key, byte_range)

    @asynccontextmanager
    async def _reading(self, key: str, byte_range: ByteRange | None) -> AsyncIterator[ObjectReader]:
        session = self._opened()
        name = encoded_key(key, self)
        columns = f"{statements.INFO_COLUMNS}, data, version"
        found = await naming_key(key, session.reader.run(statements.read_row, columns, name))
        if found is None:
            raise KeyNotFoundError(key, store=self)
        *described, data, version = found
        info = info_of(key, described, self)
        if version is None:
            yield BytesReader(info, checked_data(data, info.size, None, key, self), byte_range)
        elif not isinstance(version, int) or data is not None:
            raise CorruptObjectError("the row of the object is damaged", key=key, store=self)
        else:
            with session.leases.holding(version):
                yield ChunkReader(info, byte_range, session.reader, version, session.store)

    async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        return await self._copy_or_rename(statements.copy, source, target, if_absent)

    async def rename(self, source: str, target: str, *, if_absent: bool = False) -> str:
        return await self._copy_or_rename(statements.rename, source, target, if_absent)

    async def _copy_or_rename(self, work: Callable[..., str], source: str, target: str, if_absent: bool) -> str:
        session = self._opened()
        encoded_key(source, self)
        encoded_key(target, self)
        to = Target(target, None, WriteConditions(if_absent), session.store)
        etag: str = await naming_key(target, session.writer.run(partial(work, source=source, target=to)))
        return etag

    # -- many objects ------------------------------------------------------------------------------------------------

    async def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        with LeftOut(self) as left_out:
            async for page in self._pages("key", prefix, start_after):
                for key in decoded_keys(page, self, left_out):
                    if key is not None:
                        yield key
            if not prefix:
                self._opened().index_check.leave_out(left_out)

    async def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        with LeftOut(self) as left_out:
            async for page in self._pages(f"key, {statements.INFO_COLUMNS}", prefix, start_after):
                for key, row in zip(decoded_keys(page, self, left_out), page, strict=True):
                    if key is None:
                        continue
                    try:
                        info = info_of(key, row[1:], self)
                    except CorruptObjectError as error:
                        left_out.add(key, error)
                    else:
                        yield info
            if not prefix:
                self._opened().index_check.leave_out(left_out)

    async def _pages(self, columns: str, prefix: str, start_after: str) -> AsyncIterator[list[tuple[Any, ...]]]:
        """Yield lists of rows whose first column is the key; no cursor stays open between two of them."""
        lower, upper = statements.key_bounds(prefix, start_after)
        index_check = self._opened().index_check
        await index_check.begin()
        while True:
            found = await self._opened().reader.run(read_page, columns, lower, upper, PAGE)
            await index_check.look(lower if prefix else None)
            if not found:
                break
            names = [row[0] for row in found]
            refuse_disorder(names, lower, self)
            yield found
            lower = names[-1] + b"\0"
        if not prefix:
            await index_check.end()

    async def children(self, prefix: str = "", delimiter: str = "/") -> AsyncIterator[str]:
        if not delimiter:
            raise ValueError("the delimiter is empty")
        mark = delimiter.encode("utf-8", "surrogatepass")
        lower, upper = statements.key_bounds(prefix)
        begin = len(prefix.encode("utf-8", "surrogatepass"))
        index_check = self._opened().index_check
        await index_check.begin()
        with LeftOut(self) as left_out:
            while True:
                found = await self._opened().reader.run(read_page, "key", lower, upper, CHILDREN_PAGE)
                await index_check.look(lower)
                if not found:
                    break
                refuse_disorder([name for (name,) in found], lower, self)
                for (name,) in found:
                    if name < lower:
                        continue  # it starts with a sub-prefix that was yielded
                    at = name.find(mark, begin)
                    child = name if at < 0 else name[: at + len(mark)]
                    lower = child + b"\0" if at < 0 else statements.successor(child)
                    key = decoded_key(child, self, left_out)
                    if key is not None:
                        yield key

    async def get_many(self, keys: Keys) -> dict[str, bytes | StorageError]:
        results: dict[str, bytes | StorageError] = {}
        async for page in pages(stream(keys), MAX_REQUESTS):
            asked = {key: key.encode() for key in page if self._is_valid(key, results)}
            found = await self._opened().reader.run(statements.find_by_key("size, data"), list(asked.values()))
            for key, row in zip(asked, found, strict=True):
                if row is None:
                    results[key] = KeyNotFoundError(key, store=self)
                elif type(row) is tuple and type(row[2]) is bytes and len(row[2]) == row[1]:
                    results[key] = row[2]
                else:  # it is large, or damaged
                    results[key] = await result_of(self.get(key))
        return results

    async def put_many(
        self,
        items: Items[Data],
        *,
        raise_errors: bool = True,
    ) -> dict[str, str | StorageError]:
        results: dict[str, str | StorageError] = {}
        batch: dict[str, bytes] = {}
        size = 0
        async for key, data in stream(pairs_of(items)):
            if not self._is_valid(key, results):
                continue
            content = data if is_stream(data) else as_bytes(data)
            if not isinstance(content, bytes) or len(content) > CHUNK:
                results.update(await self._put_in_one_transaction(batch))
                batch, size = {}, 0
                results[key] = await result_of(self.put(key, content))
                continue
            batch[key] = content
            size += len(content)
            if size >= MAX_BYTES or len(batch) >= PAGE:
                results.update(await self._put_in_one_transaction(batch))
                batch, size = {}, 0
        results.update(await self._put_in_one_transaction(batch))
        return raise_failures(results, self, raise_errors)

    async def _put_in_one_transaction(self, items: dict[str, bytes]) -> dict[str, str | StorageError]:
        """Put small objects in one transaction: all of them, or none."""
        if not items:
            return {}
        size = sum(map(len, items.values()))
        session = self._opened()
        put = partial(statements.put_many, items=[(key, data, {}) for key, data in items.items()], store=session.store)
        etags = await result_of(session.writer.run(put, size))
        return error_per_key(items, etags) if isinstance(etags, StorageError) else dict(zip(items, etags, strict=True))

    async def _get_small(self, keys: Sequence[str]) -> list[tuple[bytes, Attributes] | None]:
        return await self._opened().reader.run(statements.find_small, [key.encode() for key in keys])

    async def _put_small(self, items: Sequence[tuple[str, bytes, Attributes | None]]) -> list[str | StorageError]:
        session = self._opened()
        for key, _, _ in items:
            encoded_key(key, self)
        checked = [(key, data, check_attributes(kept)) for key, data, kept in items]
        put = partial(statements.put_many, items=checked, store=session.store)
        try:
            etags: list[str | StorageError] = await session.writer.run(put, sum(len(data) for _, data, _ in items))
        except StorageError:  # one bad object fails them all: put them one by one to find it
            return [await result_of(self.put(key, data, attributes=kept)) for key, data, kept in items]
        return etags

    async def delete_many(self, keys: Keys, *, raise_errors: bool = True) -> dict[str, None | StorageError]:
        results: dict[str, None | StorageError] = {}
        async for page in pages(stream(keys), MAX_REQUESTS):
            taken = [key for key in page if self._is_valid(key, results)]
            failure = await result_of(self._opened().writer.run(partial(statements.delete_many, keys=taken)))
            if failure is not None:
                results.update(error_per_key(taken, failure))
        return raise_failures(results, self, raise_errors)

    def _is_valid(self, key: str, results: dict[str, Any]) -> bool:
        """Return whether *key* is valid, and reserve its place in *results*, with the error if it is not."""
        results[key] = None
        try:
            encoded_key(key, self)
        except InvalidKeyError as error:
            results[key] = error
        return results[key] is None

    async def clear(self, prefix: str = "") -> None:
        lower: bytes | None
        lower, upper = statements.key_bounds(prefix)
        while lower is not None:
            lower = await self._opened().writer.run(
                partial(clear_page, lower=lower, upper=upper, limit=PAGE), size=MAX_BYTES
            )

    # -- the database ------------------------------------------------------------------------------------------------

    async def backup(self, path: str | os.PathLike[str]) -> None:
        """
        Copy the database to another file, while this store and others go on reading and writing.

        The copy has one state of the database, with all that was acknowledged before the call. It is complete and on
        the disk before it gets its name; a call that fails or is cancelled leaves no file. An older backup of that name
        is replaced, and the draft of a killed backup to it removed, and nothing else: no other file, and no database
        that is in use.

        Args:
            path: the file to write.

        Raises:
            StorageError: something else is there, or the file cannot be written.
        """
        session = self._opened()
        await session.backup(os.path.abspath(checked_path(path)))

    async def check(self) -> AsyncIterator[Finding]:
        """
        Look for damage in the whole database, and yield what is found.

        It finds damaged pages, rows that no store writes, large objects whose chunks are missing or too many, chunks
        that belong to no object, and tables of others. It changes nothing, takes bounded memory, and reads everything
        once, beside all other work.
        """
        session = self._opened()
        async with session.another() as connection:
            async for finding in findings(connection, session.store):
                yield finding

    # -- about itself ------------------------------------------------------------------------------------------------

    @property
    def capabilities(self) -> Capabilities:
        lacking = ("steppable", "multi_process") if self.path == MEMORY else ("steppable",)
        return self._supported(Capabilities.all_but(*lacking))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"
