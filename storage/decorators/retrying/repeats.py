"""
`repeat`: further attempts of a put or delete without a condition, which undo no write that came after the first one.

Perhaps only the answer to the first attempt was lost. Made again as it was, the write would take effect twice: it would
replace what another writer has put meanwhile, or delete what was created after the delete. So the object is looked up
right after the failure, and the next attempt has the condition that the object is still the version that was found. If
it is not, another write came later, and nothing is left to do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from storage._core.conditions import UNCONDITIONAL, WriteConditions
from storage._core.retry import Attempts
from storage.errors import KeyExistsError, KeyNotFoundError, PreconditionFailedError, StorageError
from storage.types import ObjectInfo

__all__ = ["repeat"]

T = TypeVar("T")


async def repeat(
    attempts: Attempts,
    error: StorageError,
    head: Callable[[], Awaitable[ObjectInfo]],
    write: Callable[[WriteConditions], Awaitable[T]],
    superseded: T,
    repeatable: Callable[[], bool] = lambda: True,
) -> T:
    """
    Return the result of *write* after a first attempt that failed.

    Args:
        attempts: the attempts of the call.
        error: the error of the first attempt.
        head: describes the object as it is now.
        write: writes under these conditions; without conditions where the object cannot be described.
        superseded: the result if another writer's write came after the first attempt.
        repeatable: whether the write can be made again: a stream that was read from cannot be put again.
    """
    while error.retryable and repeatable():
        seen = await _look_up(head)
        if not await attempts.another(error):
            break
        if seen is None:
            continue
        try:
            return await write(seen)
        except (KeyExistsError, PreconditionFailedError):
            if not seen:
                raise
            return superseded
        except StorageError as later:
            error = later
    raise error


async def _look_up(head: Callable[[], Awaitable[ObjectInfo]]) -> WriteConditions | None:
    """Return the conditions under which the object is still what it is now; None if that cannot be found out yet."""
    try:
        return WriteConditions(if_match=(await head()).etag)
    except KeyNotFoundError:
        return WriteConditions(if_absent=True)
    except StorageError as error:
        return None if error.retryable else UNCONDITIONAL
