"""Times and sizes in the headers of HTTP responses: right values, or None; no header leads to another error."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache

from storage._core.stored_descriptions import whole_number

__all__ = ["header_size", "header_time"]


def header_size(text: str) -> int | None:
    """Return the size in a header, in decimal digits; None if it is none, or does not fit 64 bits."""
    return whole_number(text)


@lru_cache(maxsize=1024)  # many responses have the same time; parsing two takes as long as all else about headers
def header_time(text: str) -> datetime | None:
    """Return the time in a header, with a time zone; None if it is none, or outside the calendar."""
    try:
        said = parsedate_to_datetime(text[:100])
    except (ValueError, TypeError, IndexError, OverflowError):  # the parser lets all of these out
        return None
    return said if said.tzinfo else said.replace(tzinfo=UTC)
