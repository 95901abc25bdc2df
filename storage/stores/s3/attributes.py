"""Attributes as the headers and user metadata of an S3 object, and an object's description from its headers."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from urllib.parse import quote, unquote

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
]

#: Attributes that are headers of their own; every other one is user metadata.
HEADERS = ("cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires")

META = "x-amz-meta-"
_OURS = META + "-"

#: The metadata by which a writer knows its own object when the answer to a put was lost. No attribute begins like it.
NONCE = "-nonce"

#: The metadata that says how large an object was before it was compressed; set by
#: `storage.stores.s3.gzip_objects` only.
SIZE = "-size"

#: That metadata of an object which was a stream: its size is inside (`storage.stores.s3.gzip_upload`).
INSIDE = "inside"

#: What a server says of an object whose type nobody gave.
_NO_TYPE = ("", "application/octet-stream", "binary/octet-stream")

#: A value that every server and proxy hands on as it is; what is not is sent percent-encoded, behind a mark.
_PLAIN = re.compile(r"[!-~]([ -~]*[!-~])?")
_MARK = "utf-8''"


def guessed_type(key: str) -> str:
    """Return the content type that the key's extension stands for, ``""`` for none."""
    name = key.rpartition("/")[2]
    return (mimetypes.guess_type(f"./{name}", strict=False)[0] or "") if "." in name else ""


def headers_for(attributes: Attributes, key: str) -> dict[str, str]:
    """Return the headers of a put: those that the attributes are, and the guessed content type where none is given."""
    headers: dict[str, str] = {}
    for name, value in attributes.items():
        plain = _PLAIN.fullmatch(value) is not None and not value.startswith(_MARK)
        if name in HEADERS and plain:
            headers[name] = value
            if name == "content-type":  # told apart from a guess by standing in the metadata too
                headers[META + name] = value
        else:
            headers[META + name] = value if plain else _MARK + quote(value, safe="")
    if "content-type" not in headers:
        headers["content-type"] = guessed_type(key) or "application/octet-stream"
    return headers


def attributes_of(headers: Mapping[str, str], key: str) -> dict[str, str]:
    """Return the attributes that an object's headers, with names in lower case, stand for."""
    found = {name: headers[name] for name in HEADERS if name in headers}
    if found.get("content-type", "") in (*_NO_TYPE, guessed_type(key)):
        found.pop("content-type", None)
    for name, value in headers.items():
        if name.startswith(META) and not name.startswith(_OURS):
            found[name[len(META) :]] = unquote(value[len(_MARK) :]) if value.startswith(_MARK) else value
    if META + SIZE in headers:
        found.pop("content-encoding", None)  # it is ours, and undone when the object is read
    return dict(sorted(found.items()))


def is_packed(headers: Mapping[str, str]) -> bool:
    """Return whether it was we who compressed an object."""
    return decoded_size(headers) is not None or (
        headers.get("content-encoding") == "gzip" and headers.get(META + SIZE) == INSIDE
    )


def packed_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers by which a copy of an object is known to be packed, if it is."""
    return {"content-encoding": "gzip", META + SIZE: headers[META + SIZE]} if is_packed(headers) else {}


def decoded_size(headers: Mapping[str, str]) -> int | None:
    """Return the size that an object had before we compressed it; None for any other object, or if it is inside."""
    said = headers.get(META + SIZE, "")
    return int(said) if headers.get("content-encoding") == "gzip" and said.isascii() and said.isdigit() else None


def describe(headers: Mapping[str, str], key: str, size: int | None = None) -> ObjectInfo:
    """Return an object's description from the headers of a GET or HEAD of it, or of a range of it; *size* if known."""
    _, _, whole = headers.get("content-range", "").rpartition("/")
    if size is None:
        size = decoded_size(headers)
    if size is None:
        size = int(whole) if whole.isdigit() else int(headers.get("content-length", "0"))
    modified = headers.get("last-modified")
    return ObjectInfo(
        key,
        size,
        headers.get("etag", "").strip('"'),
        parsedate_to_datetime(modified) if modified else None,
        attributes_of(headers, key),
    )
