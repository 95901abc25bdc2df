"""`Lifecycle`: the first ``async with`` opens a store, the end of the last one closes it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from storage._concurrency.mutex import Mutex
from storage._concurrency.per_loop import PerLoop
from storage._concurrency.stepping import is_stepping

if TYPE_CHECKING:
    import asyncio

__all__ = ["Lifecycle", "enter_all"]


class _ThreadGate(Mutex):
    __slots__ = ()
    runs_users_code = True  # `_open` and `_close`


class Lifecycle:
    """
    ``async with`` and `aclose` for a store, which may override `_open` and `_close`.

    It has no ``__init__``, so that a user's store need not call one.
    """

    _users: int = 0
    _task_gate: PerLoop[asyncio.Lock] | None = None
    _thread_gate: Mutex | None = None

    async def _open(self) -> None:
        """Open what the store needs (connections, files, tasks), or nothing if it raises. No network I/O."""

    async def _close(self) -> None:
        """
        Close all that `_open` opened, so that the store can be opened again.

        It may run in a cancelled task or scope, and must finish there: shield what it awaits.
        """

    async def __aenter__(self) -> Self:
        async with self._alone():
            if self._users == 0:
                await self._open()
            self._users += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        async with self._alone():
            if self._users > 1:
                self._users -= 1
            elif self._users == 1:
                self._users = 0
                await self._close()

    async def aclose(self) -> None:
        """Close the store now, even if others have entered it. What it did not open stays open. May be repeated."""
        async with self._alone():
            if self._users:
                self._users = 0
                await self._close()

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """
        Prevent two tasks, and two threads that step, from opening the store twice.

        Each store has its own gate, so that one that takes long to open does not keep others waiting. A stack passes
        the gates from its top down, so that stacks which share a store do not wait for each other.
        """
        if is_stepping():
            with self._thread_gate or vars(self).setdefault("_thread_gate", _ThreadGate()):
                yield
            return
        import asyncio

        if self._task_gate is None:
            self._task_gate = PerLoop(asyncio.Lock)
        async with self._task_gate.get():
            yield


async def enter_all(stores: Sequence[Lifecycle]) -> AsyncExitStack:
    """Enter every store in order and return the stack that leaves them in reverse; if one fails, leave the others."""
    async with AsyncExitStack() as entered:
        for store in stores:
            await entered.enter_async_context(store)
        return entered.pop_all()
