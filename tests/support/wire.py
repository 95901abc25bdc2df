"""The two ways to wait for a connection, and pools over them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar

from servers.scripted import ScriptedServer
from servers.tls import Certificate

from storage._concurrency.stepping import step
from storage.stores.network import Timeouts
from storage.stores.s3.transport.connection import Address, Driver
from storage.stores.s3.transport.in_thread import ThreadDriver
from storage.stores.s3.transport.on_loop import LoopDriver
from storage.stores.s3.transport.pool import Pool, Proxy

__all__ = ["Encryption", "Everyway", "Way", "closed"]

T = TypeVar("T")


class Way:
    """
    How the requests of a test are waited for: awaited on the test's event loop, or stepped in threads.

    Args:
        stepped: whether they are stepped.
    """

    def __init__(self, stepped: bool) -> None:
        self.stepped = stepped

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Wait for one; stepped, it blocks the event loop of the test, which has nothing else to do."""
        return step(coroutine) if self.stepped else await coroutine

    async def beside(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Wait for one beside others that the event loop waits for."""
        return await (asyncio.to_thread(step, coroutine) if self.stepped else coroutine)

    async def gather(self, coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
        """Wait for several concurrently."""
        if not self.stepped:
            return await asyncio.gather(*coroutines)
        made = list(coroutines)
        with ThreadPoolExecutor(len(made)) as threads:
            return list(threads.map(step, made))

    def driver(self, connect: float = 5, read: float = 5, limit: int = 64) -> Driver:
        """Return a driver with these timeouts in seconds."""
        return (ThreadDriver if self.stepped else LoopDriver)(Timeouts(connect, read, 0), limit)

    @asynccontextmanager
    async def pool(
        self,
        server: ScriptedServer,
        tls: ssl.SSLContext | None = None,
        *,
        host: str = "127.0.0.1",
        proxy: Proxy | None = None,
        **limits: Any,
    ) -> AsyncIterator[Pool]:
        """Open a pool of connections to a server."""
        pool = Pool(self.driver(**limits), Address(host, server.port, tls), proxy)
        try:
            yield pool
        finally:
            await self.run(pool.close())


class Encryption:
    """What both sides need for TLS, or for none."""

    def __init__(self, certificate: Certificate | None) -> None:
        self.shown: ssl.SSLContext | None = None if certificate is None else certificate.shown()
        self.trusted: ssl.SSLContext | None = None if certificate is None else certificate.trusted()


#: Each way to wait, with each kind of connection.
Everyway: TypeAlias = list[tuple[Way, Encryption]]


async def closed(server: ScriptedServer) -> bool:
    """Return whether all connections to a server end; the event loop goes on meanwhile."""
    return await asyncio.to_thread(server.wait_closed)
