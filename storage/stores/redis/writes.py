"""`Put`: one put into Redis, its command and reply, and the upload of a large object in pieces."""

from __future__ import annotations

import os
import random
import re
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import datetime, timedelta

import anyio

from storage._concurrency.forks import PROCESS
from storage._core.clock import CLOCK
from storage._core.conditions import UNCONDITIONAL, WriteConditions
from storage._core.data import chunks
from storage._core.deadlines import DEADLINE, LIFETIME, carried_deadline, last_deadline, lifetime, lifetime_of
from storage._core.stored_attributes import encode_attributes
from storage.errors import StorageError, StoreUnavailableError
from storage.stores.redis.layout import KeySpace, text_of
from storage.stores.redis.scripts import ADD_CHUNK, PUBLISH, PUT
from storage.stores.redis.session import GRACE, Command, Session
from storage.types import Attributes, Data

__all__ = ["Put", "new_etag"]

_ETAG = re.compile("[0-9a-f]+")

#: Milliseconds after which the server removes the draft of an abandoned stream.
DRAFT_LIFETIME = 3_600_000


#: Random numbers of its own, so that neither `random.seed` in the program nor a fork repeats them.
_RANDOM = random.Random()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_RANDOM.seed)


def new_etag() -> str:
    """Return a new unique etag, by which a repeated write recognizes that it was done already."""
    return f"{_RANDOM.getrandbits(96):024x}"


class Put:
    """
    One put, which can be sent repeatedly, because its etag is known from the beginning.

    Attributes:
        key: the key of the object.
        etag: the etag of the new version.
    """

    def __init__(
        self,
        keyspace: KeySpace,
        key: str,
        store: object,
        *,
        conditions: WriteConditions = UNCONDITIONAL,
        attributes: Attributes | None = None,
        ttl: float | timedelta | None = None,
    ) -> None:
        self.key = key
        self.etag: str = new_etag()
        self._keyspace = keyspace
        self._store = store
        self._conditions = conditions
        self._attributes = attributes or {}
        self._lifetime = self._lifetime_of(ttl)
        self._deadline = self._deadline_of(ttl)

    def command(self, data: bytes) -> Command:
        """Return the command that puts *data* of up to 1 MiB."""
        return PUT, [self._keyspace.object(self.key), self._keyspace.index], [self._header(len(data)), data]

    async def put_bytes(self, session: Session, data: bytes) -> None:
        """Put *data* of up to 1 MiB."""

        async def attempt() -> None:
            self._enforce(await session.run_once(self.command(data), self.key))

        await session.modify(attempt, self.key)

    async def put_stream(self, session: Session, data: Data) -> None:
        """Put *data* in pieces of 1 MiB into a draft, which then replaces the object; up to 1 MiB, put it directly."""
        async with aclosing(chunks(data)) as parts:
            first = await anext(parts, b"")
            second = await anext(parts, None)
            if second is None:
                await self.put_bytes(session, first)
            else:
                await self._put_draft(session, first, second, parts)

    async def _put_draft(self, session: Session, first: bytes, second: bytes, rest: AsyncIterator[bytes]) -> None:
        async with self._draft(session) as draft:
            count = size = 0

            async def send(part: bytes) -> None:
                nonlocal count, size
                await session.query((ADD_CHUNK, [draft], [count, part, DRAFT_LIFETIME]), self.key)
                count, size = count + 1, size + len(part)

            await send(first)
            await send(second)
            async for part in rest:
                await send(part)
            names = [self._keyspace.object(self.key), self._keyspace.index, draft]

            async def publish() -> bool:
                reply = await session.run_once((PUBLISH, names, [self._header(size), count]), self.key)
                self._enforce(reply)
                return bool(reply[0] == b"lost")

            if await session.modify(publish, self.key):
                raise StoreUnavailableError(
                    "the server lost the uploaded data: put the object again", key=self.key, store=self._store
                )

    @asynccontextmanager
    async def _draft(self, session: Session) -> AsyncIterator[bytes]:
        """Yield the name of a draft, which is deleted after a failure; the draft of a killed process expires."""
        draft, process = self._keyspace.draft(self.etag), PROCESS.number
        try:
            yield draft
        except BaseException:
            if process != PROCESS.number:  # forked meanwhile: the parent goes on with it, and with the connection
                raise
            with anyio.CancelScope(shield=True), anyio.move_on_after(GRACE):
                try:
                    await session.run_once(("UNLINK", draft))
                except StorageError:
                    pass  # it expires
            raise

    def _header(self, size: int) -> bytes:
        """Return the options of the put as one argument of a script."""
        if_absent, if_match = self._conditions
        condition = "-" if if_absent else ""
        if if_match is not None:  # no object has an etag of another form
            condition = f"={if_match if _ETAG.fullmatch(if_match) else '?'}"
        attributes = encode_attributes(self._attributes, key=self.key, store=self._store)
        return f"{self.etag} {condition} {self._milliseconds()} {size} {attributes}".encode()

    def _lifetime_of(self, ttl: float | timedelta | None) -> timedelta | None:
        """Return the lifetime of the object, from *ttl* or the attribute that `ExpiringStore` uses, too."""
        if ttl is None and LIFETIME in self._attributes and DEADLINE not in self._attributes:
            return lifetime_of(self._attributes)
        return lifetime("ttl", ttl)

    def _deadline_of(self, ttl: float | timedelta | None) -> datetime | None:
        """Return the moment that its attributes set, from an `ExpiringStore` or the original of a copy."""
        if ttl is not None or not self._attributes:
            return None
        if DEADLINE in self._attributes:
            return last_deadline(self._attributes)
        return carried_deadline(self._attributes)

    def _milliseconds(self) -> int | str:
        """Return how long Redis keeps the object, ``""`` for ever: no shorter than any `ExpiringStore` above does."""
        life = self._lifetime
        if self._deadline is not None:
            left = self._deadline - CLOCK.now()
            life = left if life is None else min(life, left)
        return "" if life is None else max(1, round(life / timedelta(milliseconds=1)))

    def _enforce(self, reply: list[bytes | None]) -> None:
        if reply[0] == b"refused":
            current = text_of(reply[1]) if len(reply) > 1 and reply[1] else None
            self._conditions.enforce(self.key, current, self._store)
