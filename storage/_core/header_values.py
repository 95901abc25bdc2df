"""Times and sizes in the headers of HTTP responses: right values, or None; no header leads to another error."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache

__all__ = ["header_size", "header_time"]

#: The largest size that fits 64 bits with a sign, and its digits.
_LARGEST, _DIGITS = (1 << 63) - 1, 19


def header_size(text: str) -> int | None:
    """Return the size in a header, in decimal digits; None if it is none, or does not fit 64 bits."""
    if not 0 < len(text) <= _DIGITS or not text.isascii() or not text.isdigit():
        return None
    size = int(text)
    return size if size <= _LARGEST else None


@lru_cache(maxsize=1024)  # many responses have the same time; parsing two takes as long as all else about headers
def header_time(text: str) -> datetime | None:
    """Return the time in a header, with a time zone; None if it is none, or outside the calendar."""
    try:
        said = parsedate_to_datetime(text[:100])
    except (ValueError, TypeError, IndexError, OverflowError):  # the parser lets all of these out
        return None
    return said if said.tzinfo else said.replace(tzinfo=UTC)
