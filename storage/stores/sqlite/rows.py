"""What the rows of a `SqliteStore` say, checked: any program may have written them, and disks fail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from storage._core.keys import check_key
from storage._core.left_out import LeftOut
from storage._core.stored_descriptions import stored_info, stored_key, stored_size
from storage.errors import CorruptObjectError, InvalidKeyError
from storage.stores.sqlite.schema import LONGEST_KEY
from storage.types import ByteRange, ObjectInfo

__all__ = ["TOO_LONG", "checked_data", "decoded_key", "decoded_keys", "decoded_text", "encoded_key", "info_of"]

#: What is wrong with a row that `pages.read_page` gives without its values.
TOO_LONG = "the row lacks a value, has one that is larger than any that a store writes, or another key than the index"


def encoded_key(key: str, store: object) -> bytes:
    """
    Return a key as it is stored.

    Raises:
        InvalidKeyError: it is none, or has more than `LONGEST_KEY` bytes.
        TypeError: it is not a ``str``.
    """
    name = check_key(key, store).encode()
    if len(name) > LONGEST_KEY:
        shown = key[:100] + "..."
        raise InvalidKeyError(
            f"the key has more than {LONGEST_KEY:,} bytes: take a shorter one", key=shown, store=store
        )
    return name


def decoded_key(name: object, store: object, left_out: LeftOut) -> str | None:
    """Return the key in a row, or note that its object is left out of a listing, and return None."""
    try:
        return stored_key(name, store)
    except CorruptObjectError as error:
        left_out.add(str(error.key), error)
        return None


def decoded_keys(rows: Sequence[Sequence[Any]], store: object, left_out: LeftOut) -> Sequence[str | None]:
    """Do the same as `decoded_key` for rows whose first column is the key, at a fifth of the cost."""
    try:
        keys = [row[0].decode() for row in rows]
    except UnicodeDecodeError:
        keys = [""]
    return keys if all(keys) else [decoded_key(row[0], store, left_out) for row in rows]


class _DamagedText(str):
    """A TEXT that is not UTF-8; no check of a stored value takes it for text."""

    __slots__ = ()


def decoded_text(stored: bytes) -> str:
    """Return a TEXT: a ``text_factory`` that raises no error, as Python's own does."""
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return _DamagedText(stored.decode(errors="surrogateescape"))


def info_of(key: str, row: Sequence[Any], store: object) -> ObjectInfo:
    """
    Return the description of an object from the columns `statements.INFO_COLUMNS`.

    Raises:
        CorruptObjectError: one of them is not what a store writes.
    """
    etag, size, modified, attributes = row
    if modified is None:
        what = "the stored time is missing" if etag is not None else TOO_LONG
        raise CorruptObjectError(what, key=key, store=store)
    return stored_info(key, size, etag, modified, attributes, store)


def checked_data(data: object, size: object, byte_range: ByteRange | None, key: str, store: object) -> bytes:
    """
    Return the bytes of a small object, or a range of them, that a row has.

    Raises:
        CorruptObjectError: they are no bytes, or not as many as the object's size says.
        RangeNotSatisfiableError: the range starts after the end.
    """
    length = stored_size(size, key=key, store=store)
    if byte_range is not None:
        start, stop = byte_range.within(length, key)
        length = stop - start
    if not isinstance(data, bytes) or len(data) != length:
        raise CorruptObjectError("the row has other bytes than its size says", key=key, store=store)
    return data
