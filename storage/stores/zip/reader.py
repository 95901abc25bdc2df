"""`ZipReader`: reads an object of an archive in pieces."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from storage.reader import SeekableReader
from storage.stores.zip.content import Content
from storage.stores.zip.slices import collected, in_slices
from storage.types import ByteRange, ObjectInfo

__all__ = ["ZipReader"]


class ZipReader(SeekableReader):
    """
    A reader of one entry, whose data is never overwritten and whose file stays open until the reader is gone.

    Args:
        info: the description of the object.
        content: its bytes.
        byte_range: the part to read.
        do: ``await do(key, work, *args)`` runs blocking work, and sets the key of its errors.
        check_bound: ``check_bound(start, stop)`` raises if these are too many bytes for one `read`.
    """

    def __init__(
        self,
        info: ObjectInfo,
        content: Content,
        byte_range: ByteRange | None,
        do: Callable[..., Awaitable[Any]],
        check_bound: Callable[[int, int], None],
    ) -> None:
        super().__init__(info, byte_range)
        self._content, self._do, self._check_bound = content, do, check_bound

    async def _read_at(self, offset: int, size: int) -> bytes:
        self._check_bound(0, size)
        return await in_slices(self._do, self.info.key, collected(self._content.pieces(offset, size)))
