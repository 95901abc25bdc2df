"""`Page`: one page of a listing."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote_plus

from storage.stores.s3.documents import parsed

__all__ = ["Page", "page_of"]


class Page(NamedTuple):
    """One page of a listing, keys and common prefixes in order; *more* tells whether another page follows."""

    keys: list[str]
    prefixes: list[str]
    more: bool


def page_of(body: bytes) -> Page:
    """
    Return the page in an answer to ListObjectsV2. Measured: 10 us of processor time per key, 110 through aiobotocore.

    Raises:
        ErrorResponse: the answer is an error, although its status was not.
        StoreUnavailableError: it was cut short, or is not a listing.
    """
    root = parsed(body, "ListBucketResult")
    is_quoted = root.findtext("EncodingType") == "url"  # keys are quoted, as XML cannot contain all of them

    def texts(kind: str, part: str) -> list[str]:
        found = [each.findtext(part, "") for each in root.iterfind(kind)]
        return [unquote_plus(text) for text in found] if is_quoted else found

    return Page(texts("Contents", "Key"), texts("CommonPrefixes", "Prefix"), root.findtext("IsTruncated") == "true")
