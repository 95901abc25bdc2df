"""The XML documents of S3's protocol, those that are sent and those that answer (Amazon S3 API reference)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from xml.etree.ElementTree import Element, ParseError, XMLParser
from xml.sax.saxutils import escape

from storage.errors import StoreUnavailableError
from storage.stores.s3.errors import ErrorResponse

__all__ = [
    "PageOfParts",
    "Part",
    "completion",
    "deletion",
    "etag_in",
    "failures_in",
    "location",
    "page_of_parts",
    "parsed",
    "upload_in",
]

_SPACE = "http://s3.amazonaws.com/doc/2006-03-01/"

#: The name space of a document: without it, its tags need not be stripped of it one by one.
_DEFAULT_SPACE = re.compile(rb' xmlns="[^"]*"')

#: What the parser raises for bytes that are not XML; the last two are for an encoding that expat cannot take. Newer
#: versions of expat raise it only when the document is closed.
_NOT_XML = (ParseError, LookupError, ValueError)

#: Line ends would become others, or blanks, when they are read (XML 1.0, section 2.11).
_LINE_ENDS = {"\r": "&#13;", "\n": "&#10;", "\t": "&#9;"}


class Part(NamedTuple):
    """A part of an upload that the server has."""

    number: int
    size: int
    etag: str


class PageOfParts(NamedTuple):
    """Parts of an upload, and the number after which the next page begins; ``""`` if there is none."""

    parts: list[Part]
    following: str


def deletion(keys: Iterable[str]) -> bytes:
    """Return the request to delete objects."""
    named = "".join(f"<Object><Key>{escape(key, _LINE_ENDS)}</Key></Object>" for key in keys)
    return f'<Delete xmlns="{_SPACE}"><Quiet>true</Quiet>{named}</Delete>'.encode()


def completion(etags: Iterable[str]) -> bytes:
    """Return the request to make one object of the parts with these etags."""
    named = "".join(
        f'<Part><PartNumber>{number}</PartNumber><ETag>"{escape(etag)}"</ETag></Part>'
        for number, etag in enumerate(etags, start=1)
    )
    return f'<CompleteMultipartUpload xmlns="{_SPACE}">{named}</CompleteMultipartUpload>'.encode()


def location(region: str) -> bytes:
    """Return the request for a bucket in a region."""
    where = f"<LocationConstraint>{escape(region)}</LocationConstraint>"
    return f'<CreateBucketConfiguration xmlns="{_SPACE}">{where}</CreateBucketConfiguration>'.encode()


def parsed(body: bytes, name: str) -> Element:
    """
    Return the root of an answer's document, without the name space of its tags.

    Entities that an answer defines do no harm: expat limits what they expand to, and fetches nothing.

    Raises:
        ErrorResponse: the answer is an error, although its status was not.
        StoreUnavailableError: it was cut short, or is no document with this root.
    """
    parser: XMLParser[Element] = XMLParser()
    try:
        parser.feed(_DEFAULT_SPACE.sub(b"", body, count=1))
        root = parser.close()
    except _NOT_XML as cause:
        raise StoreUnavailableError(f"the server's answer is no {name}") from cause
    if "}" in root.tag:
        for each in root.iter():
            each.tag = each.tag.rpartition("}")[2]
    if root.tag == "Error":
        raise ErrorResponse(200, root.findtext("Code", ""), root.findtext("Message", ""), root.findtext("RequestId"))
    if not name.startswith(root.tag):  # some servers leave out the "Result" at the end
        raise StoreUnavailableError(f"the server's answer is no {name}")
    return root


def etag_in(root: Element) -> str:
    """Return the etag in the answer to a write."""
    return _text(root, "ETag").strip('"')


def upload_in(root: Element) -> str:
    """Return the id in the answer to the beginning of an upload."""
    return _text(root, "UploadId")


def failures_in(root: Element) -> Iterator[tuple[str, ErrorResponse]]:
    """Yield the keys that were not deleted, and why not."""
    for each in root.iterfind("Error"):
        yield _text(each, "Key"), ErrorResponse(0, each.findtext("Code", ""), each.findtext("Message", ""))


def page_of_parts(root: Element) -> PageOfParts:
    """Return a page of the parts of an upload."""
    try:
        parts = [
            Part(int(_text(each, "PartNumber")), int(_text(each, "Size")), _text(each, "ETag").strip('"'))
            for each in root.iterfind("Part")
        ]
    except ValueError as cause:
        raise StoreUnavailableError("the server's answer has a part without a number or a size") from cause
    return PageOfParts(parts, _text(root, "NextPartNumberMarker") if root.findtext("IsTruncated") == "true" else "")


def _text(root: Element, name: str) -> str:
    """Return the text of an element, which there must be."""
    found = root.findtext(name)
    if not found:
        raise StoreUnavailableError(f"the server's answer has no {name}")
    return found
