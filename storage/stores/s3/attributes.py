"""Attributes as headers and user metadata of an S3 object, and the description of an object from its headers."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

from storage._core.header_values import header_size, header_time
from storage.errors import CorruptObjectError
from storage.types import Attributes, ObjectInfo

__all__ = [
    "INSIDE",
    "META",
    "NONCE",
    "SIZE",
    "attributes_of",
    "decoded_size",
    "describe",
    "guessed_type",
    "headers_for",
    "is_packed",
    "packed_headers",
    "stored_length",
]

#: Attributes that are stored as headers; all others are user metadata.
HEADERS = ("cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires")

META = "x-amz-meta-"
_OURS = META + "-"

#: The metadata by which a writer recognizes its own object after a lost answer. No attribute's name begins like it.
NONCE = "-nonce"

#: The metadata with the size of an object before compression; only
#: `storage.stores.s3.gzip_objects` sets it.
SIZE = "-size"

#: The value of that metadata for an object that was a stream: the size is in the gzip header (`gzip_upload`).
INSIDE = "inside"

#: The content types that a server reports if none was given.
_NO_TYPE = ("", "application/octet-stream", "binary/octet-stream")

#: A value that all servers and proxies pass on unchanged; other values are percent-encoded, after a marker.
_PLAIN = re.compile(r"[!-~]([ -~]*[!-~])?")
_MARK = "utf-8''"


def guessed_type(key: str) -> str:
    """Return the content type of the key's extension, ``""`` if there is none."""
    name = key.rpartition("/")[2]
    return (mimetypes.guess_type(f"./{name}", strict=False)[0] or "") if "." in name else ""


def headers_for(attributes: Attributes, key: str) -> dict[str, str]:
    """Return the headers of a put: the attributes, and a guessed content type if they have none."""
    headers: dict[str, str] = {}
    for name, value in attributes.items():
        plain = _PLAIN.fullmatch(value) is not None and not value.startswith(_MARK)
        if name in HEADERS and plain:
            headers[name] = value
            if name == "content-type":  # repeated in the metadata, to tell it from a guess
                headers[META + name] = value
        else:
            headers[META + name] = value if plain else _MARK + quote(value, safe="")
    if "content-type" not in headers:
        headers["content-type"] = guessed_type(key) or "application/octet-stream"
    return headers


def attributes_of(headers: Mapping[str, str], key: str) -> dict[str, str]:
    """Return the attributes in an object's headers, whose names are in lower case."""
    found = {name: headers[name] for name in HEADERS if name in headers}
    if found.get("content-type", "") in (*_NO_TYPE, guessed_type(key)):
        found.pop("content-type", None)
    for name, value in headers.items():
        if name.startswith(META) and not name.startswith(_OURS):
            found[name[len(META) :]] = unquote(value[len(_MARK) :]) if value.startswith(_MARK) else value
    if META + SIZE in headers:
        found.pop("content-encoding", None)  # our own compression, which readers do not see
    return dict(sorted(found.items()))


def is_packed(headers: Mapping[str, str]) -> bool:
    """Return whether a `BucketStore` compressed the object."""
    return decoded_size(headers) is not None or (
        headers.get("content-encoding") == "gzip" and headers.get(META + SIZE) == INSIDE
    )


def packed_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that mark a copy of an object as compressed, if the object is."""
    return {"content-encoding": "gzip", META + SIZE: headers[META + SIZE]} if is_packed(headers) else {}


def decoded_size(headers: Mapping[str, str]) -> int | None:
    """Return the size before compression; None if the object is not compressed, or its size is in the gzip header."""
    return header_size(headers.get(META + SIZE, "")) if headers.get("content-encoding") == "gzip" else None


def describe(headers: Mapping[str, str], key: str, size: int | None = None) -> ObjectInfo:
    """Return an object's description from the headers of a GET, of a range as well, or HEAD; *size* if it is known."""
    if size is None:
        size = decoded_size(headers)
    if size is None:
        size = stored_length(headers, key)
    return ObjectInfo(
        key,
        size,
        headers.get("etag", "").strip('"'),
        header_time(headers.get("last-modified", "")),
        attributes_of(headers, key),
    )


def stored_length(headers: Mapping[str, str], key: str) -> int:
    """
    Return the bytes that are stored, from the headers of a GET, of a range as well, or HEAD.

    Raises:
        CorruptObjectError: the header that says so has no number.
    """
    _, _, whole = headers.get("content-range", "").rpartition("/")
    said = headers.get("content-length", "0")
    found = header_size(whole)
    if found is None:
        found = header_size(said)
    if found is None:
        raise CorruptObjectError(f"the server says that the object has {said[:100]!r} bytes", key=key)
    return found
