"""Many objects of a bucket deleted with one request, and an outcome for each."""

from __future__ import annotations

from collections.abc import Iterable

from storage.errors import StorageError
from storage.network import Patience
from storage.stores.s3_client import ClientBucket

__all__ = ["delete_page"]


async def delete_page(bucket: ClientBucket, patience: Patience, keys: Iterable[str]) -> dict[str, StorageError]:
    """
    Delete up to 1,000 objects, and return the errors of those that were not.

    A server answers for each: those that it could not delete just now are asked for again, and no others.
    """
    errors: dict[str, StorageError] = {}
    left = list(keys)

    async def attempt() -> None:
        nonlocal left
        failed = await bucket.delete_many(left)
        for key in left:
            errors.pop(key, None)
        errors.update(failed)
        left = [key for key, error in failed.items() if error.retryable]
        if left:
            raise failed[left[0]]

    try:
        await patience.persist(attempt)
    except StorageError as error:
        errors = dict.fromkeys(left, error) | errors
    return errors
