"""Deleting many objects of a bucket with one request, and a result for each."""

from __future__ import annotations

import re
from collections.abc import Iterable

from storage._concurrency.tasks import for_each
from storage.errors import StorageError
from storage.stores.s3.retrying_client import RetryingBucket

__all__ = ["delete_page"]


async def delete_page(bucket: RetryingBucket, keys: Iterable[str]) -> dict[str, StorageError]:
    """
    Delete up to 1,000 objects, and return the errors of those that could not be deleted.

    The server answers for each key, and only those that failed for the moment are sent again. A key that XML cannot
    contain would make the server reject the whole request, so it is deleted with a request of its own.
    """
    together, apart = list[str](), list[str]()
    for key in keys:
        (apart if _NOT_IN_XML.search(key) else together).append(key)
    errors = await _delete_together(bucket, together) if together else {}

    async def delete(key: str) -> None:
        try:
            await bucket.delete(key, None)
        except StorageError as error:
            errors[key] = error

    await for_each(apart, delete)
    return errors


#: Characters that XML 1.0 cannot contain (section 2.2).
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


async def _delete_together(bucket: RetryingBucket, keys: list[str]) -> dict[str, StorageError]:
    """Delete the keys with one request, and send those that failed again."""
    errors: dict[str, StorageError] = {}
    left = keys

    async def attempt() -> None:
        nonlocal left
        failed = await bucket.once.delete_many(left)
        for key in left:
            errors.pop(key, None)
        errors.update(failed)
        left = [key for key, error in failed.items() if error.retryable]
        if left:
            raise failed[left[0]]

    try:
        await bucket.retry(attempt)
    except StorageError as error:
        errors = dict.fromkeys(left, error) | errors
    return errors
