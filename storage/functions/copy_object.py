"""`copy_object`: one object of one store into another."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack

from storage._core.data import CHUNK
from storage._core.deadlines import WrongLifetimeError, copied_attributes
from storage.base import ObjectStore
from storage.errors import KeyExistsError, KeyNotFoundError
from storage.functions.damaged import reading_source
from storage.types import Attributes, Capabilities, Data, ObjectInfo

__all__ = ["copy_object"]


async def copy_object(
    source: ObjectStore,
    target: ObjectStore,
    able: Capabilities,
    key: str,
    overwrite: bool = True,
    *,
    note: Callable[[ObjectInfo], Attributes] | None = None,
) -> int | None:
    """
    Copy one object and return its size, or None if it is skipped; *note* makes the attributes of the copy.

    Raises:
        CorruptObjectError: the object is damaged, or has an attribute with which the target cannot put it.
    """
    if not overwrite and await target.exists(key):
        return None
    try:
        async with AsyncExitStack() as opened:
            with reading_source():
                reader = await opened.enter_async_context(source.open(key))
                size = reader.info.size
                data: Data = await reader.read() if size <= CHUNK else reader
            attributes = copied_attributes(reader.info) if note is None else note(reader.info)
            await target.put(
                key,
                data,
                if_absent=not overwrite and able.conditional_put,
                attributes=attributes if able.attributes else None,
            )
    except WrongLifetimeError as error:
        raise error.of_copy(key, source) from error
    except (KeyNotFoundError, KeyExistsError):  # deleted since it was listed, or created in the target since the check
        return None
    return size
