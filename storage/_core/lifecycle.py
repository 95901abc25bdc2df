"""`Lifecycle`: the first ``async with`` opens a store, the end of the last one closes it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Self

from storage._concurrency.stepping import is_stepping

if TYPE_CHECKING:
    import asyncio

__all__ = ["Lifecycle", "enter_all"]


class Lifecycle:
    """
    ``async with`` and `aclose` for a store, which may override `_open` and `_close`.

    It has no ``__init__``, so that a user's store need not call one.
    """

    _users: int = 0
    _gate: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None

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

    def _alone(self) -> AbstractAsyncContextManager[object]:
        """Prevent two tasks from opening the store twice. A stepped call never suspends and needs no lock."""
        if is_stepping():
            return nullcontext()
        import asyncio

        loop = asyncio.get_running_loop()
        if self._gate is None or self._gate[0] is not loop:
            self._gate = (loop, asyncio.Lock())
        return self._gate[1]


async def enter_all(stores: Sequence[Lifecycle]) -> AsyncExitStack:
    """Enter every store in order and return the stack that leaves them in reverse; if one fails, leave the others."""
    async with AsyncExitStack() as entered:
        for store in stores:
            await entered.enter_async_context(store)
        return entered.pop_all()
