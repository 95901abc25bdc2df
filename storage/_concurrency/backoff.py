"""Waiting before another attempt: how long, and in a way that works with and without an event loop."""

from __future__ import annotations

import random
import time

from storage._concurrency.stepping import is_stepping

__all__ = ["full_jitter", "pause"]


def full_jitter(attempt: int, base: float, most: float) -> float:
    """
    Return for how many seconds to wait before another attempt: at random up to *base*, 2 *base*, 4 *base* ... *most*.

    All of the wait is random ("full jitter"), because those who were refused together would else come again together;
    of the usual ways this one makes the least work (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015).

    Args:
        attempt: how many were made since the first, which is number 0.
        base: seconds that the first wait takes at most.
        most: seconds that any wait takes at most.
    """
    return random.uniform(0, min(most, base * 2.0 ** min(attempt, 100)))  # 2.0 ** 1024 is too large for a float


async def pause(seconds: float) -> None:
    """Wait; a stepped coroutine lets its thread sleep."""
    if is_stepping():
        time.sleep(seconds)  # noqa: ASYNC251  # there is no event loop that this could block
    else:
        import anyio

        await anyio.sleep(seconds)
