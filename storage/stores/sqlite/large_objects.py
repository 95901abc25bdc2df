"""
Large objects: how they are written in chunks, and the leases that keep their versions.

A version is written in several short transactions and published by the last one. While no object refers to it - before
that, and after it was replaced or deleted - it has an expiry time. Processes that still write or read the version
renew this lease (`Leases`). The versions of killed processes are not renewed: any process with an open store deletes
them.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from storage._core.conditions import Target
from storage._core.data import chunks
from storage.errors import StorageError, StoreClosedError
from storage.stores.sqlite import statements
from storage.stores.sqlite.chunks import (
    MAX_FREED_BYTES,
    claim_expired,
    delete_chunks,
    extend_lease,
    leases,
    store_chunks,
)
from storage.stores.sqlite.connection import Connection
from storage.stores.sqlite.group_commit import Writer
from storage.stores.sqlite.schema import CHUNK, LEASE
from storage.types import Data

__all__ = ["Leases", "put_stream"]

#: Seconds between two checks of the leases, while there are any.
CHECK_INTERVAL = 1.0

#: Chunks that a streamed put writes in one transaction: fewer mean more syncs of the disk, more take more memory.
CHUNKS_PER_COMMIT = 4

_log = logging.getLogger("storage")


class Leases:
    """Renews the leases of versions in use here, and deletes expired versions; it runs only while there are leases."""

    def __init__(self, reader: Connection, writer: Writer) -> None:
        self._reader = reader
        self._writer = writer
        self._in_use: Counter[int] = Counter()
        self._abandoned: set[int] = set()
        self._task: asyncio.Task[None] | None = None
        self._start_timer: asyncio.TimerHandle | None = None
        self._stopped = False

    @contextmanager
    def holding(self, version: int) -> Iterator[None]:
        """Keep a version while the block runs."""
        self._in_use[version] += 1
        self.start()
        try:
            yield
        finally:
            self._in_use[version] -= 1
            if not self._in_use[version]:
                del self._in_use[version]

    def abandon(self, version: int) -> None:
        """Delete a version that will not be published without waiting for the end of its lease."""
        self._abandoned.add(version)

    def start(self) -> None:
        """Start to check the leases, unless that is running."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    def start_later(self) -> None:
        """Start after `CHECK_INTERVAL`: a write, here or elsewhere, may have replaced large objects."""
        if self._start_timer is None and not self._stopped:
            self._start_timer = asyncio.get_running_loop().call_later(CHECK_INTERVAL, self._start)

    def _start(self) -> None:
        self._start_timer = None
        self.start()

    async def stop(self) -> None:
        """Stop to check the leases."""
        self._stopped = True
        if self._start_timer is not None:
            self._start_timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            try:
                if not await self._renew_and_reclaim() and not self._in_use:
                    self._abandoned.clear()
                    return
            except StoreClosedError:
                return
            except StorageError as error:  # busy or read-only: the next check, or another process, may succeed
                _log.debug("the leases of large objects were not checked: %s", error)
            await asyncio.sleep(CHECK_INTERVAL)

    async def _renew_and_reclaim(self) -> bool:
        """Renew and delete what is due; return whether any version has a lease."""
        leased = await self._reader.run(leases)
        now = time.time()
        for version, expires in leased:
            if version in self._in_use:
                if 0 < expires < now + LEASE / 2:
                    await self._writer.run(partial(extend_lease, version=version))
                continue
            until = expires if version in self._abandoned else now
            if expires <= until and await self._writer.run(partial(claim_expired, version=version, until=until)):
                while await self._writer.run(partial(delete_chunks, version=version), size=MAX_FREED_BYTES):
                    pass
        return bool(leased)


async def put_stream(writer: Writer, leases: Leases, target: Target, data: Data) -> str:
    """Put data of any size in bounded memory and return the etag; no lock is held while the caller produces data."""
    version = secrets.randbits(62)
    pending: list[bytes] = []
    written = size = 0
    with leases.holding(version):
        try:
            async for piece in chunks(data, CHUNK):
                if len(pending) == CHUNKS_PER_COMMIT:
                    store = partial(store_chunks, store=target.store, version=version, first=written, pieces=pending)
                    await writer.run(store, size=CHUNKS_PER_COMMIT * CHUNK)
                    written += CHUNKS_PER_COMMIT
                    pending = []
                pending.append(piece)
                size += len(piece)
            if size <= CHUNK:
                publish = partial(statements.put, target=target, data=b"".join(pending))
            else:
                publish = partial(
                    statements.put_large, target=target, version=version, first=written, last_pieces=pending, size=size
                )
            etag: str = await writer.run(publish, size=len(pending) * CHUNK)
        except BaseException:
            leases.abandon(version)
            raise
    return etag
