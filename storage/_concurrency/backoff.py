"""Pauses before another attempt: how long they are, and how to wait with and without an event loop."""

from __future__ import annotations

import random
import time

from storage._concurrency.stepping import is_stepping

__all__ = ["full_jitter", "pause"]


def full_jitter(attempt: int, base: float, most: float) -> float:
    """
    Return how many seconds to wait before another attempt: a random time up to *base*, 2 *base*, 4 *base* ... *most*.

    The whole wait is random ("full jitter"), because clients that failed together would otherwise retry together;
    of the usual methods this one causes the least work (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015).

    Args:
        attempt: the number of the attempt that failed; the first is 0.
        base: the longest first wait in seconds.
        most: the longest wait in seconds.
    """
    return random.uniform(0, min(most, base * 2.0 ** min(attempt, 100)))  # 2.0 ** 1024 is too large for a float


async def pause(seconds: float) -> None:
    """Wait; a stepped coroutine blocks its thread."""
    if is_stepping():
        time.sleep(seconds)  # noqa: ASYNC251  # there is no event loop that this could block
    else:
        import anyio

        await anyio.sleep(seconds)
