"""`update`: replaces an object's bytes by a function of them, with compare-and-swap."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from storage._concurrency.backoff import full_jitter, pause
from storage._core.deadlines import WrongLifetimeError
from storage.base import ObjectStore
from storage.errors import (
    KeyExistsError,
    KeyNotFoundError,
    PreconditionFailedError,
    StorageError,
)

__all__ = ["update"]


async def update(
    store: ObjectStore, key: str, fn: Callable[[bytes | None], bytes | Awaitable[bytes]], *, attempts: int = 100
) -> bytes:
    """
    Replace the object's bytes with ``fn(bytes)`` and return them; no concurrent writer's change is lost.

    This is a compare-and-swap loop: if another writer changes the object between the read and the write, *fn* is called
    again with the new bytes, after a short random pause. The object keeps its attributes.

    Args:
        store: one whose capabilities have ``conditional_put``.
        key: the key of the object; if there is no object, *fn* gets None and the object is created.
        fn: a function, or async function, from the old bytes to the new; an exception that it raises is raised as it
            is, and nothing is written.
        attempts: the most attempts.

    Raises:
        PreconditionFailedError: other writers changed the object during each attempt.
        UnsupportedOperationError: the store has no conditional put.
        ValueError: *attempts* is less than 1.
    """
    if attempts < 1:
        raise ValueError(f"attempts must be at least 1, not {attempts}")
    conflict: StorageError | None = None
    for attempt in range(attempts):
        if conflict is not None:
            await pause(full_jitter(attempt, base=0.001, most=1))  # else writers in step conflict every time
        try:
            async with store.open(key) as reader:
                current, info = await reader.read(), reader.info
        except KeyNotFoundError:
            current, info = None, None
        made = fn(current)
        changed = await made if isinstance(made, Awaitable) else made
        try:
            if info is None:
                await store.put(key, changed, if_absent=True)
            else:
                await store.put(key, changed, if_match=info.etag, attributes=info.attributes or None)
            return changed
        except WrongLifetimeError as error:
            raise error.of_copy(key, store) from error
        except (PreconditionFailedError, KeyExistsError) as error:
            conflict = error
    raise PreconditionFailedError(
        key, store=store, message=f"other writers changed the object during each of {attempts} attempts"
    ) from conflict
