"""`rename_by_copy`: renames an object by a copy and a delete, and loses no version that is put in between."""

from __future__ import annotations

from typing import Any

from storage._core.deadlines import WrongLifetimeError, copied_attributes
from storage.errors import (
    KeyExistsError,
    KeyNotFoundError,
    PreconditionFailedError,
    StoreUnavailableError,
    UnsupportedOperationError,
)

__all__ = ["rename_by_copy"]


async def rename_by_copy(store: Any, source: str, target: str, if_absent: bool, attempts: int) -> str:
    """
    Rename an object of *store*, an `ObjectStore`, as `ObjectStore.rename` does.

    A source that changes between its copy and its delete is copied again, so that its last version is renamed. With
    *if_absent* only our own copy is replaced then.

    Raises:
        KeyNotFoundError: there is no object *source*.
        KeyExistsError: *if_absent*, and there is an object *target*.
        StoreUnavailableError: the source changed during each of the attempts.
    """
    conditional = store.capabilities.conditional_delete
    etag: str | None = None
    for _ in range(attempts):
        try:
            copied = (await store.head(source)).etag
            if etag is None or not if_absent:
                etag = str(await store.copy(source, target, if_absent=if_absent))
            else:
                etag = await _replace_copy(store, source, target, etag)
            if conditional:
                await store.delete(source, if_match=copied)
                return etag
            if copied == (await store.head(source)).etag:
                await store.delete(source)
                return etag
        except UnsupportedOperationError:  # as a server may turn out to do: see `BucketStore.probe`
            if etag is None or not conditional:
                raise
            conditional = False
        except (PreconditionFailedError, KeyNotFoundError):
            if etag is None:
                raise
            if not await store.exists(source):  # deleted after it was copied
                return etag
    raise StoreUnavailableError(
        f"the object changed during each of {attempts} attempts to rename it; try again", key=source, store=store
    )


async def _replace_copy(store: Any, source: str, target: str, etag: str) -> str:
    """
    Copy the source in place of the copy that has this etag.

    Raises:
        KeyExistsError: somebody has replaced the copy.
        KeyNotFoundError: there is no object *source*.
    """
    async with store.open(source) as reader:
        try:
            return str(await store.put(target, reader, if_match=etag, attributes=copied_attributes(reader.info)))
        except PreconditionFailedError as error:
            raise KeyExistsError(target, store=store) from error
        except WrongLifetimeError as error:
            raise error.of_copy(source, store) from error
