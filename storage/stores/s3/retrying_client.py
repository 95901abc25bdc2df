"""`RetryingBucket`: the operations of a bucket, each of which is retried."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from functools import partial, wraps
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from storage.stores.network import Timeouts
from storage.stores.s3.client import Body, ClientBucket

__all__ = ["RetryingBucket"]

P = ParamSpec("P")
T = TypeVar("T")


def _retried(
    operation: Callable[Concatenate[ClientBucket, P], Awaitable[T]],
) -> Callable[Concatenate[RetryingBucket, P], Coroutine[Any, Any, T]]:
    """Return the method of `RetryingBucket` that retries an operation of the wrapped bucket."""
    name = operation.__name__

    @wraps(operation)
    def retried(self: RetryingBucket, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        return self.retry(partial(getattr(self.once, name), *args, **kwargs))

    return retried


class RetryingBucket:
    """
    A bucket whose operations are retried after errors that are ``retryable``.

    Operations that must not take effect twice are not here: `storage.stores.s3.conditions` has its own rules for them.

    Attributes:
        once: the wrapped bucket, whose operations are single attempts.
        timeouts: how long to wait and to retry.
    """

    def __init__(self, once: ClientBucket, timeouts: Timeouts) -> None:
        self.once = once
        self.timeouts = timeouts
        self._policy = timeouts.policy

    def retry(self, attempt: Callable[[], Awaitable[T]]) -> Coroutine[Any, Any, T]:
        """Return what *attempt*, one or more operations of `once`, returns, and retry it."""
        return self._policy.retry(attempt)

    async def open(
        self, key: str, headers: Mapping[str, str], opened: AsyncExitStack
    ) -> tuple[Mapping[str, str], Body]:
        """Begin to read an object: return the response's headers and its body, which *opened* closes."""
        return await self.retry(lambda: opened.enter_async_context(self.once.get(key, headers)))

    get_bytes: Final = _retried(ClientBucket.get_bytes)
    head: Final = _retried(ClientBucket.head)
    put: Final = _retried(ClientBucket.put)
    delete: Final = _retried(ClientBucket.delete)
    copy: Final = _retried(ClientBucket.copy)
    page: Final = _retried(ClientBucket.page)
    create: Final = _retried(ClientBucket.create)
    set_acl: Final = _retried(ClientBucket.set_acl)
    parts: Final = _retried(ClientBucket.parts)
    create_upload: Final = _retried(ClientBucket.create_upload)
    upload_part: Final = _retried(ClientBucket.upload_part)
    copy_part: Final = _retried(ClientBucket.copy_part)
    abort_upload: Final = _retried(ClientBucket.abort_upload)
