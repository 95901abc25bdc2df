"""`RetryingBucket`: the operations of a bucket, each tried again where that can help."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from storage.stores.network import Timeouts
from storage.stores.s3.client import Body, ClientBucket

__all__ = ["RetryingBucket"]

P = ParamSpec("P")
T = TypeVar("T")


def _retried(
    operation: Callable[Concatenate[ClientBucket, P], Awaitable[T]],
) -> Callable[Concatenate[RetryingBucket, P], Coroutine[Any, Any, T]]:
    """Return the method of `RetryingBucket` that retries an operation of the bucket below."""
    name = operation.__name__

    @wraps(operation)
    def retried(self: RetryingBucket, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        return self.retry(partial(getattr(self.once, name), *args, **kwargs))

    return retried


class RetryingBucket:
    """
    A bucket whose operations are tried again after errors that are ``retryable``.

    What must not take effect twice is not here: `storage.stores.s3.conditions` retries it by rules of its own.

    Attributes:
        once: the bucket below, of which every operation is a single attempt.
        timeouts: how long to wait, and to try again.
    """

    def __init__(self, once: ClientBucket, timeouts: Timeouts) -> None:
        self.once = once
        self.timeouts = timeouts
        self._policy = timeouts.policy

    def retry(self, attempt: Callable[[], Awaitable[T]]) -> Coroutine[Any, Any, T]:
        """Return what *attempt* returns in the end; it may be more than one operation."""
        return self._policy.retry(attempt)

    async def open(
        self, key: str, headers: Mapping[str, str], opened: AsyncExitStack
    ) -> tuple[Mapping[str, str], Body]:
        """Begin to read an object: return the answer's headers and its body, which *opened* closes."""
        return await self.retry(lambda: opened.enter_async_context(self.once.get(key, headers)))

    get_bytes = _retried(ClientBucket.get_bytes)
    head = _retried(ClientBucket.head)
    put = _retried(ClientBucket.put)
    delete = _retried(ClientBucket.delete)
    copy = _retried(ClientBucket.copy)
    page = _retried(ClientBucket.page)
    create = _retried(ClientBucket.create)
    set_acl = _retried(ClientBucket.set_acl)
    parts = _retried(ClientBucket.parts)
    create_upload = _retried(ClientBucket.create_upload)
    upload_part = _retried(ClientBucket.upload_part)
    copy_part = _retried(ClientBucket.copy_part)
    abort_upload = _retried(ClientBucket.abort_upload)
