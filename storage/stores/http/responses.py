"""What the answers of a web server mean: the object that they describe, or the error that they are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from storage.errors import (
    InvalidKeyError,
    KeyConflictError,
    KeyNotFoundError,
    PermissionDeniedError,
    PreconditionFailedError,
    RangeNotSatisfiableError,
    StorageError,
    StoreFullError,
    StoreTimeoutError,
    StoreUnavailableError,
    UnsupportedOperationError,
)
from storage.types import ObjectInfo

__all__ = ["ATTRIBUTES", "Described", "attributes_of", "described", "error_of", "extent", "foreign", "was_sent"]

Kind: TypeAlias = "type[StorageError]"

#: The headers that are attributes of the object.
ATTRIBUTES = ("cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires")

#: How old an object must be for its time to tell its version: HTTP's times are whole seconds, and clocks are two.
_SETTLED = timedelta(seconds=2)

#: What a server says of an object of which it knows no type.
_NO_TYPE = ("application/octet-stream", "binary/octet-stream")

_BY_STATUS: dict[int, Kind] = {
    401: PermissionDeniedError,
    403: PermissionDeniedError,
    404: KeyNotFoundError,
    405: UnsupportedOperationError,
    407: PermissionDeniedError,
    408: StoreTimeoutError,
    409: KeyConflictError,
    410: KeyNotFoundError,
    412: PreconditionFailedError,
    413: StoreFullError,
    414: InvalidKeyError,
    416: RangeNotSatisfiableError,
    423: StoreUnavailableError,
    425: StoreUnavailableError,
    429: StoreUnavailableError,
    501: UnsupportedOperationError,
    505: UnsupportedOperationError,
    507: StoreFullError,
}

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})")


class Described(NamedTuple):
    """
    An object as an answer describes it.

    Attributes:
        info: its description.
        condition: headers that let a later request succeed for this very version only; None where nothing that the
            server says tells it apart for sure.
    """

    info: ObjectInfo
    condition: Mapping[str, str] | None


def described(headers: Mapping[str, str], key: str, size: int | None) -> Described | None:
    """
    Return the object whose answer has these *headers*, names in lower case.

    None if they do not say how large it is, or nothing by which versions could be told apart: one has to read it.
    """
    modified, now = _time(headers, "last-modified"), _time(headers, "date")
    said = headers.get("etag", "").strip()
    if size is None or not (said or modified):
        return None
    settled = modified is not None and now is not None and now - modified >= _SETTLED
    by_time = "" if modified is None else f"{int(modified.timestamp()):x}-{size:x}"
    condition = None
    if said.startswith("W/"):  # two versions that are as good as each other may share it
        etag = said
    elif said:
        etag = said.strip('"')
        if settled or etag != by_time:  # nginx makes its etags of the time
            condition = {"if-match": said}
    else:
        etag = by_time
        if settled:
            condition = {"if-unmodified-since": headers["last-modified"]}
    return Described(ObjectInfo(key, size, etag, modified, attributes_of(headers)), condition)


def attributes_of(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the attributes that an object's headers are."""
    found = {name: headers[name] for name in ATTRIBUTES if name in headers}
    if found.get("content-type") in _NO_TYPE:
        del found["content-type"]
    return found


def extent(status: int, headers: Mapping[str, str], key: str, store: object) -> tuple[int, int | None]:
    """
    Return the offset at which the answer's body begins in the object, and the object's size, None where it is not said.

    Raises:
        StorageError: the answer is a part of the object, and does not say which.
    """
    if status != 206:
        length = headers.get("content-length", "")
        return 0, int(length) if length.isdecimal() else None
    found = _CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
    if found is None or not int(found[1]) <= int(found[2]) < int(found[3]):
        raise StorageError("the server sends a part and does not say which one of how many bytes", key=key, store=store)
    return int(found[1]), int(found[3])


def error_of(status: int, headers: Mapping[str, str], key: str, store: object) -> StorageError:
    """Return the error that an answer of this *status* is to the caller, about *key*."""
    kind = _BY_STATUS.get(status) or (StoreUnavailableError if status >= 500 else StorageError)
    error: StorageError
    if kind is KeyNotFoundError:
        error = KeyNotFoundError(key, store=store)
    elif kind is PreconditionFailedError:
        error = PreconditionFailedError(key, store=store)
    else:
        error = kind(f"the server answers with status {status}", key=key, store=store)
    error.request_id = headers.get("x-request-id")
    return error


@contextmanager
def foreign(key: str, store: object) -> Iterator[None]:
    """Turn what aiohttp raises into errors of ours; its own messages have URLs in them, so they stay out."""
    import aiohttp

    try:
        yield
    except aiohttp.ClientSSLError as cause:
        raise StorageError(
            f"no encrypted connection can be made: {type(cause).__name__}; ca_bundle= names certificates to trust",
            key=key,
            store=store,
        ) from cause
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as cause:
        raise StorageError("the server redirects to what is no URL", key=key, store=store) from cause
    except TimeoutError as cause:
        raise StoreTimeoutError("the server did not answer in time", key=key, store=store) from cause
    except (aiohttp.ClientError, OSError) as cause:
        raise StoreUnavailableError(f"the connection failed: {type(cause).__name__}", key=key, store=store) from cause


def was_sent(error: StorageError) -> bool:
    """Return whether a request may have reached the server, of which `foreign` has made this error."""
    import aiohttp

    return not isinstance(error.__cause__, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)


def _time(headers: Mapping[str, str], name: str) -> datetime | None:
    """Return the time that a header says, None where it says none."""
    text = headers.get(name)
    return None if text is None else _parsed(text)


@lru_cache(maxsize=1024)  # the time of an answer is that of many; parsing two takes as long as all else about headers
def _parsed(text: str) -> datetime | None:
    try:
        said = parsedate_to_datetime(text)
    except ValueError:
        return None
    return said if said.tzinfo else said.replace(tzinfo=UTC)
