"""`stored_callback`: a synchronous callback that an async store keeps for longer than one call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

from storage._concurrency.offload import offload_foreign
from storage._concurrency.stepping import is_stepping
from storage._sync.caller import Caller

__all__ = ["CALLING", "stored_callback"]

P = ParamSpec("P")
T = TypeVar("T")

#: On the background loop: the call that the current task runs for.
CALLING: ContextVar[Caller | None] = ContextVar("calling", default=None)


def stored_callback(callback: Callable[P, T] | None) -> Callable[P, Awaitable[T]] | None:
    """
    Return an async function that calls a synchronous *callback*, for an async store to keep.

    The callback runs in the thread that made the current call; in a thread of its own if no thread is waiting.
    """
    if callback is None:
        return None

    async def answer(*args: P.args, **kwargs: P.kwargs) -> T:
        caller = CALLING.get()
        if is_stepping() or caller is None or not caller.serving:
            return await offload_foreign(callback, *args, **kwargs)
        return await caller.ask(callback, *args, **kwargs)

    vars(answer)["_steppable"] = True  # it is async in form only: when stepped it is a plain call
    return answer
