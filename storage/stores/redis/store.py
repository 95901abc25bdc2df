"""`RedisStore`: objects in the memory of a Redis server, shared by many processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from copy import copy
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from storage._core.bulk import raise_failures, result_of
from storage._core.conditions import WriteConditions
from storage._core.data import CHUNK, as_bytes, is_stream
from storage._core.keys import check_key
from storage._core.left_out import LeftOut
from storage._core.opened import opened
from storage._core.retry import RETRY_TIMEOUT
from storage._core.stored_descriptions import stored_key, stored_size
from storage._core.traits import Trait
from storage.base import ObjectStore
from storage.errors import (
    CorruptObjectError,
    KeyExistsError,
    KeyNotFoundError,
    StorageError,
    StoreClosedError,
)
from storage.reader import ObjectReader
from storage.stores.network import CONNECT_TIMEOUT, READ_TIMEOUT, Timeouts
from storage.stores.redis.bulk import MAX_OBJECTS, pages_of, put_many, run_commands
from storage.stores.redis.errors import foreign_value
from storage.stores.redis.layout import DESCRIPTION, KeySpace, info_of, text_of, without_secrets
from storage.stores.redis.reader import open_reader
from storage.stores.redis.scripts import COPY_OR_RENAME, DELETE, FIELDS, LIST
from storage.stores.redis.session import Command, Session
from storage.stores.redis.writes import Put, new_etag
from storage.types import Attributes, ByteRange, Capabilities, Data, Items, Keys, ObjectInfo, check_attributes

if TYPE_CHECKING:
    from storage.config.urls import StoreUrl

__all__ = ["RedisStore"]

#: Keys that one request lists or deletes.
PAGE = 1000


class RedisStore(ObjectStore):
    """
    Objects in the memory of a Redis server (6.2 or later, or Valkey), shared by many processes, optionally with expiry.

    Use it inside ``async with``; entering sends no request. One store belongs to one event loop.

    Redis itself removes an object that was put with ``ttl=``, or through an `ExpiringStore`, when it expires.

    Args:
        url: ``redis://user:password@host:port/database``, ``rediss://`` with TLS, or ``unix:///path/to/socket``; its
            query may have the options of redis-py.
        prefix: separates the objects of this store from others in the same database; text without braces.
        client: a client of ``redis.asyncio`` to use instead, also of a cluster; the store does not close it.
        connect_timeout: seconds, or a timedelta, until a connection must be established.
        read_timeout: seconds for a reply of the server, of at most 1 MiB, after which an attempt fails.
        retry_timeout: seconds within which all attempts of one call must begin.

    Raises:
        ValueError: the URL is not one of Redis, or the prefix has braces.
    """

    _traits = frozenset({Trait.FORGETS, Trait.DATES})

    def __init__(
        self,
        url: str = "redis://localhost:6379/0",
        *,
        prefix: str = "",
        client: Any = None,
        connect_timeout: float | timedelta = CONNECT_TIMEOUT,
        read_timeout: float | timedelta = READ_TIMEOUT,
        retry_timeout: float | timedelta = RETRY_TIMEOUT,
    ) -> None:
        self.url: str = without_secrets(url)
        self.prefix = prefix
        self._address = url
        self._client = client
        self._keyspace = KeySpace(prefix)
        self._timeouts = Timeouts(connect_timeout, read_timeout, retry_timeout)
        self._session: Session | None = None

    @classmethod
    def _from_url(cls, url: StoreUrl) -> ObjectStore[Any, Any]:
        return url.make(cls, url=url.address)

    # -- life cycle --------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        self._session = Session(self._address, self._client, self._timeouts, repr(self))

    async def _close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _opened(self) -> Session:
        return opened(self._session, self)

    def _name(self, key: str) -> bytes:
        return self._keyspace.object(check_key(key, self))

    # -- reading -----------------------------------------------------------------------------------------------------

    async def get(self, key: str, *, byte_range: ByteRange | None = None) -> bytes:
        name, session = self._name(key), self._opened()
        if byte_range is not None:
            async with self.open(key, byte_range=byte_range) as reader:
                return await reader.read()
        size, data = await session.query(("HMGET", name, "size", "0"), key)
        if size is None:
            size, data = await self._existing(key, "size", "0")
        return await self._complete(key, size, data)

    async def _complete(self, key: str, size: bytes | None, first: bytes | None) -> bytes:
        """Return the object whose size and *first* chunk are known; without a size it is damaged."""
        length = stored_size(size, key=key, store=self)
        if length <= CHUNK:
            data = first or b""
            if len(data) != length:
                raise CorruptObjectError(f"{len(data)} bytes are stored, not {length}", key=key, store=self)
            return data
        async with self.open(key) as reader:
            return await reader.read()

    async def _existing(self, key: str, *fields: str) -> Sequence[bytes | None]:
        """
        Return these fields of an object of which the first one was not found.

        Raises:
            KeyNotFoundError: there is no such object; else it is damaged, or was put a moment ago.
        """
        found: Sequence[bytes | None] = await self._opened().query((FIELDS, [self._name(key)], fields), key)
        if not found:
            raise KeyNotFoundError(key, store=self)
        return found

    async def exists(self, key: str) -> bool:
        found: int = await self._opened().query(("EXISTS", self._name(key)), key)
        return bool(found)

    async def head(self, key: str) -> ObjectInfo:
        fields: Any = await self._opened().query(("HMGET", self._name(key), *DESCRIPTION), key)
        if fields[0] is None:
            fields = await self._existing(key, *DESCRIPTION)
        return info_of(key, fields, self)

    @asynccontextmanager
    async def open(self, key: str, *, byte_range: ByteRange | None = None) -> AsyncIterator[ObjectReader]:
        check_key(key, self)
        async with open_reader(self._opened(), self._keyspace, key, self, byte_range) as reader:
            yield reader

    async def expires(self, key: str) -> datetime | None:
        """
        Return the time at which Redis removes the object, or None if it does not expire.

        Raises:
            KeyNotFoundError: there is no such object.
        """
        left: int = await self._opened().query(("PTTL", self._name(key)), key)
        if left == -2:  # PTTL returns -2 for a missing key, and -1 for one without expiry
            raise KeyNotFoundError(key, store=self)
        return None if left < 0 else datetime.now(UTC) + timedelta(milliseconds=left)

    # -- writing -----------------------------------------------------------------------------------------------------

    async def put(
        self,
        key: str,
        data: Data,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
        ttl: float | timedelta | None = None,
    ) -> str:
        """
        Store *data* as every store does, optionally with expiry.

        Args:
            key: the name of the object.
            data: its bytes, or an iterable or async iterable of them.
            if_absent: create only.
            if_match: replace only the version of this etag.
            attributes: text to store with the object.
            ttl: seconds or a timedelta after which Redis removes the object. With None the deadline of an
                `ExpiringStore` or the attribute ``expires-in`` (seconds as text) applies, and else it never expires.
        """
        check_key(key, self)
        session = self._opened()
        conditions = WriteConditions.of(if_absent, if_match)
        kept = check_attributes(attributes)
        put = Put(self._keyspace, key, self, conditions=conditions, attributes=kept, ttl=ttl)
        whole = None if is_stream(data) else as_bytes(data)
        if whole is not None and len(whole) <= CHUNK:
            await put.put_bytes(session, whole)
        else:
            await put.put_stream(session, data if whole is None else whole)
        return put.etag

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        name, session = self._name(key), self._opened()

        async def attempt() -> None:
            names, arguments = [self._keyspace.index, name], ["" if if_match is None else if_match, key.encode()]
            outcome, *more = await session.run_once((DELETE, names, arguments), key)
            if outcome == b"refused":
                etag = text_of(more[0]) if more and more[0] else None
                WriteConditions.of(False, if_match).enforce(key, etag, self)
            elif more[0]:
                raise foreign_value(key, self)

        await session.modify(attempt, key)

    async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        return await self._move(source, target, if_absent, "copy")

    async def rename(self, source: str, target: str, *, if_absent: bool = False) -> str:
        return await self._move(source, target, if_absent, "rename")

    async def _move(self, source: str, target: str, if_absent: bool, how: Literal["copy", "rename"]) -> str:
        names = [self._name(source), self._name(target), self._keyspace.index]
        session = self._opened()
        arguments = [source.encode(), target.encode(), new_etag(), "absent" if if_absent else "", how]

        async def attempt() -> str:
            outcome, *etag = await session.run_once((COPY_OR_RENAME, names, arguments), source)
            if outcome == b"missing":
                raise KeyNotFoundError(source, store=self)
            if outcome == b"damaged":
                raise CorruptObjectError("the stored etag or size is damaged", key=source, store=self)
            if outcome == b"occupied":
                raise foreign_value(target, self)
            if outcome == b"refused":
                raise KeyExistsError(target, store=self)
            return text_of(etag[0])

        return await session.modify(attempt, source)

    # -- many objects ------------------------------------------------------------------------------------------------

    async def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        with LeftOut(self) as left_out:
            async for names in self._pages(prefix, start_after, ""):
                for name in names:
                    try:
                        key = stored_key(name, self)
                    except CorruptObjectError as error:
                        left_out.add(error.key or "", error)
                    else:
                        yield key

    async def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        with LeftOut(self) as left_out:
            async for found in self._pages(prefix, start_after, "describe"):
                for name, *fields in found:
                    try:
                        info = info_of(stored_key(name, self), fields, self)
                    except CorruptObjectError as error:
                        left_out.add(error.key or "", error)
                    else:
                        yield info

    async def _pages(self, prefix: str, start_after: str, how: Literal["", "describe"]) -> AsyncIterator[list[Any]]:
        """Yield the existing objects in pages, and remove the names of expired ones from the index."""
        session, page = self._opened(), PAGE
        first, last = self._keyspace.bounds(prefix, start_after)
        count = page
        while count == page:
            count, end, existing = await session.query(
                (LIST, [self._keyspace.index], [self._keyspace.start, first, last, page, how])
            )
            yield existing
            first = b"(" + end

    async def get_many(self, keys: Keys) -> dict[str, bytes | StorageError]:
        session, results = self._opened(), dict[str, bytes | StorageError]()
        async for page in pages_of(keys, self._name, results, MAX_OBJECTS):
            commands: dict[str, Command] = {key: ("HMGET", name, "size", "0") for key, name in page.items()}
            replies = await run_commands(session, commands, change=False)
            empty = [key for key, reply in replies.items() if not isinstance(reply, StorageError) and reply[0] is None]
            if empty:
                commands = {key: (FIELDS, [page[key]], ("size", "0")) for key in empty}
                replies |= await run_commands(session, commands, change=False)
            for key, reply in replies.items():
                if not reply:
                    results[key] = KeyNotFoundError(key, store=self)
                elif isinstance(reply, StorageError):
                    results[key] = reply
                else:
                    results[key] = await result_of(self._complete(key, *reply))
        return results

    async def put_many(
        self,
        items: Items[Data],
        *,
        raise_errors: bool = True,
    ) -> dict[str, str | StorageError]:
        def prepared(key: str) -> Put:
            return Put(self._keyspace, check_key(key, self), self)

        return raise_failures(await put_many(self._opened(), items, prepared, self.put), self, raise_errors)

    async def delete_many(self, keys: Keys, *, raise_errors: bool = True) -> dict[str, None | StorageError]:
        session, results = self._opened(), dict[str, None | StorageError]()
        async for page in pages_of(keys, self._name, results, PAGE):
            command = DELETE, [self._keyspace.index, *page.values()], ["", *(key.encode() for key in page)]
            try:
                _, kept = await session.modify(lambda command=command: session.run_once(command))  # type: ignore[misc]
                deleted = list(page)
                results.update({key: foreign_value(key, self) for key in (deleted[number] for number in kept)})
            except StoreClosedError:
                raise
            except StorageError as error:
                results.update({key: copy(error).with_key(key) for key in page})
        return raise_failures(results, self, raise_errors)

    # -- about itself ------------------------------------------------------------------------------------------------

    @property
    def capabilities(self) -> Capabilities:
        return self._supported(Capabilities.all_but("steppable"))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r}{self.prefix and f', prefix={self.prefix!r}'})"
