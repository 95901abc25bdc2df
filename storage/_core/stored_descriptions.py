"""
Descriptions of objects as stores keep them: keys, sizes, etags and times that a back end returns, checked.

Whatever a row, a hash or a header has in their place is a right value or `CorruptObjectError`; no other error leaves
these functions. Attributes: `storage._core.stored_attributes`.

What a listing does with an entry that is damaged is the same in every store and decorator:

- `keys` yields every key that can be read, also those of objects whose description is damaged.
- `scan` leaves out an object whose description is damaged, goes on over all others, and raises one
  `IncompleteListingError` at its end, which has the keys that were left out. One damaged object hides no other, and
  nobody who reads a listing to its end takes it for whole: a copy that deletes what is not in the listing must not
  delete what was only left out.
- A key that cannot be read is left out in the same way, by both.

`storage._core.left_out.LeftOut` does it.
"""

from __future__ import annotations

from datetime import UTC, datetime

from storage._core.keys import is_key
from storage._core.stored_attributes import decode_attributes
from storage.errors import CorruptObjectError
from storage.types import ObjectInfo

__all__ = ["LONGEST_ETAG", "stored_etag", "stored_info", "stored_key", "stored_size", "stored_time", "whole_number"]

#: The largest size and time, and the most digits of a number: they fit 64 bits with a sign, as in every back end.
_LARGEST, _DIGITS = (1 << 63) - 1, 19

#: The most characters of a wrong value in an error.
_SHOWN = 100

#: The most characters of an etag; no store of ours makes one of a tenth of it.
LONGEST_ETAG = 1024


def stored_info(
    key: str, size: object, etag: object, nanoseconds: object, attributes: object, store: object = None
) -> ObjectInfo:
    """
    Return the description of an object that is stored as these values; *nanoseconds* since 1970, or None.

    1.5 us, of which creating the `ObjectInfo` and its time take 1.1.

    Raises:
        CorruptObjectError: one of them is not what a store writes; the error has *key* and *store*.
    """
    if type(size) is not int or not 0 <= size <= _LARGEST:
        size = stored_size(size, key=key, store=store)
    if type(etag) is not str or not 0 < len(etag) <= LONGEST_ETAG:
        etag = stored_etag(etag, key=key, store=store)
    modified = None if nanoseconds is None else stored_time(nanoseconds, key=key, store=store)
    return ObjectInfo(key, size, etag, modified, decode_attributes(attributes, key=key, store=store))


def stored_key(stored: object, store: object = None) -> str:
    """
    Return the key in a name that a back end has stored, as text or in UTF-8.

    Raises:
        CorruptObjectError: it is none; the error has what can be read of it as its key.
    """
    try:
        key = stored.decode() if isinstance(stored, bytes) else stored
    except UnicodeDecodeError:
        key = None
    if isinstance(key, str) and is_key(key):
        return key
    shown = stored[:_SHOWN].decode(errors="backslashreplace") if isinstance(stored, bytes) else _shown(stored)
    raise CorruptObjectError("the stored key is damaged: it is no UTF-8 text", key=shown, store=store)


def stored_size(stored: object, *, key: str | None = None, store: object = None) -> int:
    """
    Return the size in bytes that a back end has stored, as a number or in decimal digits.

    Raises:
        CorruptObjectError: it is no whole number from 0 to 2**63 - 1.
    """
    found = whole_number(stored)
    if found is None:
        raise CorruptObjectError(f"the stored size is damaged: {_shown(stored)}", key=key, store=store)
    return found


def stored_etag(stored: object, *, key: str | None = None, store: object = None) -> str:
    """
    Return the etag that a back end has stored, as text or in UTF-8.

    Raises:
        CorruptObjectError: it is empty, no text, or longer than `LONGEST_ETAG`.
    """
    try:
        found = stored.decode() if isinstance(stored, bytes) and len(stored) <= 4 * LONGEST_ETAG else stored
    except UnicodeDecodeError:
        found = None
    if not isinstance(found, str) or not is_key(found) or len(found) > LONGEST_ETAG:
        raise CorruptObjectError(f"the stored etag is damaged: {_shown(stored)}", key=key, store=store)
    return found


def stored_time(stored: object, *, unit: int = 1, key: str | None = None, store: object = None) -> datetime:
    """
    Return the time that a back end has stored, as a number since 1970 or in decimal digits.

    Args:
        stored: the number.
        unit: the nanoseconds that it counts.
        key: for the error.
        store: for the error.

    Raises:
        CorruptObjectError: it is no whole number, or lies outside the years 1 to 9999.
    """
    found = stored if type(stored) is int else whole_number(stored)
    try:
        if found is not None:
            return datetime.fromtimestamp(found * unit // 1000 / 1e6, UTC)  # a float represents microseconds exactly
    except (ValueError, OverflowError, OSError):
        pass
    raise CorruptObjectError(f"the stored time is damaged: {_shown(stored)}", key=key, store=store)


def whole_number(stored: object) -> int | None:
    """Return the whole number, 0 or more, that fits 64 bits; None if it is none."""
    if type(stored) is int:
        return stored if 0 <= stored <= _LARGEST else None
    if isinstance(stored, bytes | str) and len(stored) <= _DIGITS and stored.isdigit() and stored.isascii():
        found = int(stored)
        return found if found <= _LARGEST else None
    return None


def _shown(stored: object) -> str:
    """Return the beginning of a wrong value, for errors; the text of a huge number would be an error of Python's."""
    if isinstance(stored, bytes | str):
        return repr(stored[:_SHOWN])
    return (
        repr(stored)
        if type(stored) is float or (type(stored) is int and stored.bit_length() < 100)
        else (f"a value of the type {type(stored).__name__}")
    )
