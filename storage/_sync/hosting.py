"""`HostedContext`: an async context manager that a synchronous ``with`` holds open on the background loop."""

from __future__ import annotations

import asyncio
import os
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from storage._concurrency.background_loop import keep, post
from storage._sync.caller import Caller, EnteredContext

__all__ = ["HostedContext"]

T = TypeVar("T")


class HostedContext(EnteredContext[T]):
    """A context manager that one task of the loop enters and leaves, as cancel scopes and task groups require."""

    def __init__(self, manager: AbstractAsyncContextManager[T], caller: Caller) -> None:
        self._manager = manager
        self._caller = caller
        self._process = os.getpid()  # and not `PROCESS`: code in C may fork without Python's hooks
        self.value = caller.run(self._enter())

    def leave(self) -> None:
        if self._process == os.getpid():  # after a fork, the task is in the parent, which leaves by itself
            self._caller.run(self._leave())

    def abandon(self) -> None:
        if self._process == os.getpid():
            post(self._leave())

    async def _enter(self) -> T:
        loop = asyncio.get_running_loop()
        self._may_leave = loop.create_future()
        entered: asyncio.Future[T] = loop.create_future()
        self._host = keep(self._live(entered))
        try:
            await asyncio.wait((self._host, entered), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._host.cancel()
            await asyncio.wait([self._host])
            raise
        if not entered.done():
            await self._host  # raises what entering raised
        return entered.result()

    async def _live(self, entered: asyncio.Future[T]) -> None:
        async with self._manager as value:
            entered.set_result(value)
            await self._may_leave

    async def _leave(self) -> None:
        if not self._may_leave.done():
            self._may_leave.set_result(None)
        await self._host
