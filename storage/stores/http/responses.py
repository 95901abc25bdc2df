"""`DescribedObject`: what the headers of a response say about an object."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from storage._core.header_values import header_size, header_time
from storage.errors import StorageError
from storage.types import ObjectInfo

__all__ = ["ATTRIBUTES", "DescribedObject", "attributes_of", "describe_response", "offset_and_size"]

#: The headers that are attributes of the object.
ATTRIBUTES = ("cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires")

#: Age from which the time of an object identifies its version: times are in whole seconds, and two clocks may differ.
_MIN_AGE = timedelta(seconds=2)

#: The types that servers send for an object of unknown type.
_NO_TYPE = ("application/octet-stream", "binary/octet-stream")

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})", re.ASCII)


class DescribedObject(NamedTuple):
    """
    An object as the headers of a response describe it.

    Attributes:
        info: its description.
        condition: headers with which a later request succeeds only for this version; None if no header identifies the
            version for sure.
    """

    info: ObjectInfo
    condition: Mapping[str, str] | None


def describe_response(headers: Mapping[str, str], key: str, size: int | None) -> DescribedObject | None:
    """
    Return the object whose response has these *headers*, with names in lower case.

    Return None if they have no size, or nothing that tells versions apart: then the object must be read.
    """
    modified, now = _time(headers, "last-modified"), _time(headers, "date")
    said = headers.get("etag", "").strip()
    if size is None or not (said or modified):
        return None
    settled = modified is not None and now is not None and now - modified >= _MIN_AGE
    by_time = "" if modified is None else f"{int(modified.timestamp()):x}-{size:x}"
    condition = None
    if said.startswith("W/"):  # two equivalent versions may share it
        etag = said
    elif said:
        etag = said.strip('"')
        if settled or etag != by_time:  # nginx computes its etags from the time
            condition = {"if-match": said}
    else:
        etag = by_time
        if settled:
            condition = {"if-unmodified-since": headers["last-modified"]}
    return DescribedObject(ObjectInfo(key, size, etag, modified, attributes_of(headers)), condition)


def attributes_of(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the attributes of an object from its headers."""
    found = {name: headers[name] for name in ATTRIBUTES if name in headers}
    if found.get("content-type") in _NO_TYPE:
        del found["content-type"]
    return found


def offset_and_size(status: int, headers: Mapping[str, str], key: str, store: object) -> tuple[int, int | None]:
    """
    Return the offset of the response's body in the object, and the object's size, or None if that is not sent.

    Raises:
        StorageError: the response is a part of the object, but does not say which.
    """
    if status != 206:
        return 0, header_size(headers.get("content-length", ""))
    found = _CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
    if found is None or not int(found[1]) <= int(found[2]) < int(found[3]):
        raise StorageError("the server sent a part of the object without a valid Content-Range", key=key, store=store)
    return int(found[1]), int(found[3])


def _time(headers: Mapping[str, str], name: str) -> datetime | None:
    """Return the time in a header, or None if it has no valid time."""
    text = headers.get(name)
    return None if text is None else header_time(text)
