"""The event loops of one run of the benchmarks."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from importlib.util import find_spec
from typing import Any, TypeVar

__all__ = ["LOOPS", "Session", "installed"]

T = TypeVar("T")

#: The event loops; those that are not installed are left out.
LOOPS = ("asyncio", "uvloop")


class Session:
    """
    The event loops of a run: each is created at its first use and closed with the session.

    The session runs outside any loop, so that synchronous contenders are measured where they are used.
    """

    def __init__(self) -> None:
        self._opened = ExitStack()
        self._loops: dict[str, asyncio.AbstractEventLoop] = {}

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    def done(self, loop: str, result: Any) -> Any:
        """Return *result* or, if it is awaitable, the result of awaiting it on the named loop."""
        return self._loop(loop).run_until_complete(_of(result)) if inspect.isawaitable(result) else result

    @contextmanager
    def entered(self, loop: str, context: AbstractAsyncContextManager[T]) -> Iterator[T]:
        """Enter *context* on the named loop and leave it in the same task, as contexts with task groups require."""
        running = self._loop(loop)
        value: asyncio.Future[T] = running.create_future()
        leave = asyncio.Event()

        async def host() -> None:
            async with context as given:
                value.set_result(given)
                await leave.wait()

        task = running.create_task(host())
        both: list[asyncio.Future[Any]] = [task, value]
        running.run_until_complete(asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED))
        try:
            if task.done():
                task.result()  # raises the error of entering
            yield value.result()
        finally:
            leave.set()
            running.run_until_complete(task)

    def _loop(self, name: str) -> asyncio.AbstractEventLoop:
        if name not in self._loops:
            runner = self._opened.enter_context(asyncio.Runner(loop_factory=_factory(name)))
            self._loops[name] = runner.get_loop()
        return self._loops[name]


async def _of(awaitable: Awaitable[T]) -> T:
    return await awaitable


def _factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if name == "asyncio":
        return asyncio.new_event_loop
    import uvloop

    made: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return made


def installed(*packages: str) -> bool:
    """Return whether all of the packages can be imported."""
    return all(find_spec(package) for package in packages)
