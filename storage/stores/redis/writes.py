"""One put into Redis: its command, what the answer means, and how a large object gets there in pieces."""

from __future__ import annotations

import os
import random
import re
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta

import anyio

from storage._core.clock import CLOCK
from storage._core.conditions import UNCONDITIONAL, WriteConditions
from storage._core.data import chunks
from storage._core.deadlines import DEADLINE, LIFETIME, last_deadline, lifetime
from storage.errors import StorageError, StoreUnavailableError
from storage.stores.redis.layout import KeySpace, attributes_as_json
from storage.stores.redis.scripts import ADD_CHUNK, PUBLISH, PUT
from storage.stores.redis.session import GRACE, Command, Session
from storage.types import Attributes, Data

__all__ = ["Put", "new_etag"]

_ETAG = re.compile("[0-9a-f]+")

#: Milliseconds that a stream which nobody goes on with takes room in the server.
DRAFT_LIFETIME = 3_600_000


#: What a program that seeds the random numbers of all cannot make twice the same, nor a fork.
_RANDOM = random.Random()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_RANDOM.seed)


def new_etag() -> str:
    """Return an etag that no other version has, whoever makes it: so a write finds out whether it was done already."""
    return f"{_RANDOM.getrandbits(96):024x}"


class Put:
    """
    One put, which may be sent again and again: it has its etag from the beginning.

    Attributes:
        key: of the object.
        etag: of the version that is put.
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

    def command(self, data: bytes) -> Command:
        """Return the command that puts *data*, up to 1 MiB, at once."""
        return PUT, [self._keyspace.object(self.key), self._keyspace.index], [self._header(len(data)), data]

    async def put_bytes(self, session: Session, data: bytes) -> None:
        """Put *data*, up to 1 MiB."""

        async def attempt() -> None:
            self._enforce(await session.run_once(self.command(data), self.key))

        await session.modify(attempt, self.key)

    async def put_stream(self, session: Session, data: Data) -> None:
        """Put *data* beside the object, 1 MiB at a time, and then in its place; if it is no more than that, at once."""
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
                answer = await session.run_once((PUBLISH, names, [self._header(size), count]), self.key)
                self._enforce(answer)
                return bool(answer[0] == b"lost")

            if await session.modify(publish, self.key):
                raise StoreUnavailableError(
                    "the server lost the uploaded data: put the object again", key=self.key, store=self._store
                )

    @asynccontextmanager
    async def _draft(self, session: Session) -> AsyncIterator[bytes]:
        """Give the name of a draft, which does not outlive what fails; that of a process which is killed expires."""
        draft = self._keyspace.draft(self.etag)
        try:
            yield draft
        except BaseException:
            with anyio.CancelScope(shield=True), anyio.move_on_after(GRACE):
                try:
                    await session.run_once(("UNLINK", draft))
                except StorageError:
                    pass  # it expires
            raise

    def _header(self, size: int) -> bytes:
        """Return all that a script is told of the put, in one word."""
        if_absent, if_match = self._conditions
        condition = "-" if if_absent else ""
        if if_match is not None:  # no object has an etag that is none of ours
            condition = f"={if_match if _ETAG.fullmatch(if_match) else '?'}"
        return f"{self.etag} {condition} {self._milliseconds()} {size} {attributes_as_json(self._attributes)}".encode()

    def _lifetime_of(self, ttl: float | timedelta | None) -> timedelta | None:
        """Return how long the object lives, by the words that an `ExpiringStore` has for it too."""
        if ttl is None and LIFETIME in self._attributes and DEADLINE not in self._attributes:
            return lifetime(f"the attribute {LIFETIME!r}", self._attributes[LIFETIME])
        return lifetime("ttl", ttl)

    def _milliseconds(self) -> int | str:
        """Return for how long Redis keeps the object, ``""`` for ever: until no store above takes it for alive."""
        deadline = last_deadline(self._attributes)
        life = self._lifetime if self._lifetime is not None or deadline is None else deadline - CLOCK.now()
        return "" if life is None else max(1, round(life / timedelta(milliseconds=1)))

    def _enforce(self, answer: list[bytes | None]) -> None:
        if answer[0] == b"refused":
            current = answer[1].decode() if len(answer) > 1 and answer[1] else None
            self._conditions.enforce(self.key, current, self._store)
