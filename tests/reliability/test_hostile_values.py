"""Whatever a back end returns in place of what was stored: every decoder reads it, or raises an error of its own."""

from __future__ import annotations

import json
import math
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import ConfigError, DictStore, JsonStore, StorageError, TextEncodingStore
from storage._core.deadlines import deadline_of, last_deadline, without_deadline
from storage._core.header_values import header_size, header_time
from storage._core.stored_attributes import checked_attributes, decode_attributes
from storage._core.stored_descriptions import stored_etag, stored_info, stored_key, stored_size, stored_time
from storage.config.files import load
from storage.decorators.caching.entry import Entry
from storage.decorators.encrypting.bound_attributes import SEAL, AttributeKey, Binding
from storage.decorators.retrying.nonce import NAME, hidden, nonce_of
from storage.stores.http.autoindex import parse_listing
from storage.stores.http.responses import describe_response, offset_and_size
from storage.stores.redis.layout import info_of
from storage.stores.s3.attributes import META, SIZE, describe, is_packed
from storage.stores.s3.errors import ErrorResponse, parse_error, time_of
from storage.stores.s3.gzip_upload import size_inside
from storage.stores.s3.listing import PageParser
from storage.stores.s3.resumable import _Begun
from storage.types import ObjectInfo

#: Pieces of text of which hostile values are made.
PIECES = [
    *('{"a":', "[", "]", "}", '"', ",", ":", "{", "null", "true", "NaN", "-Infinity", "1e999", '"\\ud800"', "\\"),
    *("9" * 30, "9" * 5000, "-1", "²", "٣", "0x10", "1_0", " ", "\0", "\n", "\ufeff", "ü", "😀", "a", "name", "type"),
    *(
        "[" * 3000,
        '{"a":' * 3000,
        "<a>" * 3000,
        "<ListBucketResult>",
        "<Key>",
        "&amp;",
        "<!DOCTYPE a [",
        "- ",
        "!!int ",
    ),
    *("Mon, 01 Jan 99999 00:00:00 GMT", "Sun, 06 Nov 1994 08:49:37", "-0000", "+9999", "bytes 0-1/", "2026-01-01", "Z"),
    *("bytes 9-5/3", "9999-12-31T23:59:59-23:59", '"etag"', "W/", "gzip", "put-nonce", "inside", "&x *x", "yes: no"),
]

TEXTS = st.lists(st.sampled_from(PIECES), max_size=6).map("".join) | st.text(max_size=40)
VALUES = (
    TEXTS
    | TEXTS.map(lambda text: text.encode("utf-8", "replace"))
    | st.binary(max_size=40)
    | st.integers()
    | st.sampled_from([10**5000, -(1 << 63), 1 << 63, math.nan, math.inf, None, True, [], {}, [1], {"a": 1}])
)

ATTRIBUTE_DECODERS: dict[str, Callable[[Any], object]] = {
    "stored attributes": decode_attributes,
    "attributes of a mapping": checked_attributes,
    "size": stored_size,
    "etag": stored_etag,
    "time": stored_time,
    "key": stored_key,
    "size in a row": lambda value: stored_info("k", value, "e", 0, ""),
    "etag in a row": lambda value: stored_info("k", 1, value, 0, ""),
    "time in a row": lambda value: stored_info("k", 1, "e", value, ""),
    "attributes in a row": lambda value: stored_info("k", 1, "e", 0, value),
}

FIELDS = ("content-length", "content-range", "last-modified", "date", "etag", "expires", "content-encoding")


def _headers(text: str) -> dict[str, str]:
    return {**dict.fromkeys(FIELDS, text), META + SIZE: text, META + "a": "utf-8''" + text}


def _refusal(text: str) -> ErrorResponse:
    return ErrorResponse(403, date=text)


def _text_as(encoding: str) -> Callable[[str], object]:
    store = TextEncodingStore(DictStore(), encoding)
    return lambda text: store.decode(text.encode("utf-8", "surrogatepass"))


def _cached(text: str) -> object:
    """Read an entry of a cache whose checksum is right."""
    line = b'{"key": "k", ' + text.encode("utf-8", "surrogatepass") + b"\n"
    for mark in (b"storage-cache 1 ", b"storage-cache 2 "):
        entry = Entry.unpack("k", mark + b"%08x " % zlib.crc32(line) + line)
        if entry is not None and entry.is_described():
            return entry.info
    return None


def _seal(text: str) -> object:
    return (
        Binding({SEAL: text, "a": text}).holds(AttributeKey(bytes(32)), "k", 1)
        if Binding({SEAL: text}).random
        else None
    )


def _page(text: str) -> object:
    parser = PageParser()
    for at in range(0, len(text), 100):
        parser.feed(text[at : at + 100].encode("utf-8", "replace"))
    return parser.page()


def _deadlines(text: str) -> object:
    below = {"expires-at": text}
    return deadline_of(below), last_deadline(below), without_deadline(ObjectInfo("k", 1, "e", None, below))


TEXT_DECODERS: dict[str, Callable[[str], object]] = {
    "time in a header": header_time,
    "size in a header": header_size,
    "headers of a web server": lambda text: describe_response(_headers(text), "k", 1),
    "a part of a web server": lambda text: offset_and_size(206, _headers(text), "k", "s"),
    "the whole of a web server": lambda text: offset_and_size(200, _headers(text), "k", "s"),
    "headers of a bucket": lambda text: describe(_headers(text), "k"),
    "compression of a bucket": lambda text: is_packed({**_headers(text), "content-encoding": "gzip"}),
    "size in a gzip header": lambda text: size_inside(text.encode("utf-8", "replace"), "k"),
    "clock of a bucket": lambda text: time_of(_refusal(text), 0.0),
    "error of a bucket": lambda text: parse_error(400, text.encode("utf-8", "replace")),
    "page of a bucket": _page,
    "listing of a web server": lambda text: parse_listing(text.encode("utf-8", "surrogatepass"), "", "s"),
    "hash of Redis": lambda text: info_of("k", [text.encode("utf-8", "replace")] * 5, "s"),
    "entry of a cache": _cached,
    "seal of attributes": _seal,
    "deadlines": _deadlines,
    "nonce": lambda text: (nonce_of(_info({NAME: text})), hidden(_info({NAME: text}))),
    "JSON": lambda text: JsonStore(DictStore()).decode(text.encode("utf-8", "surrogatepass")),
    "JSON, indented": lambda text: JsonStore(DictStore(), indent=1).decode(text.encode("utf-8", "surrogatepass")),
    **{
        f"text as {encoding}": _text_as(encoding)
        for encoding in ("utf-8", "utf-16", "utf-32", "utf-7", "idna", "cp037", "shift_jis", "iso2022_jp")
    },
}


def _info(attributes: dict[str, str]) -> ObjectInfo:
    return ObjectInfo("k", 1, "e", None, attributes)


@given(st.sampled_from(sorted(ATTRIBUTE_DECODERS)), VALUES)
@settings(max_examples=300)
def test_any_value_is_read_or_an_error_of_ours(name: str, value: Any) -> None:
    """Attributes and descriptions, of any type and form."""
    try:
        ATTRIBUTE_DECODERS[name](value)
    except StorageError as error:
        assert len(str(error)) < 1000  # noqa: PT017 - either outcome is right


@given(st.sampled_from(sorted(TEXT_DECODERS)), TEXTS)
@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
def test_any_text_is_read_or_an_error_of_ours(name: str, text: str) -> None:
    """Headers, listings, entries of caches, attributes of decorators and what codecs decode."""
    try:
        TEXT_DECODERS[name](text)
    except StorageError:
        pass


@given(TEXTS)
def test_any_token_of_an_upload_is_read_or_refused(text: str) -> None:
    """A token is what the caller kept: a wrong one is a ValueError in our words."""
    try:
        _Begun.of(text)
    except ValueError as error:
        assert "begin_upload" in str(error)  # noqa: PT017 - either outcome is right


@given(st.sampled_from(["c.json", "c.yaml"]), TEXTS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_of_a_configuration_is_read_or_refused(tmp_path: Path, name: str, text: str) -> None:
    """Deep nesting, huge numbers and bytes of any kind."""
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        load(tmp_path / name)
    except ConfigError as error:
        assert name in str(error)  # noqa: PT017 - either outcome is right


DEEP = "[" * 200_000


@pytest.mark.parametrize("name", sorted(TEXT_DECODERS))
@pytest.mark.parametrize("text", [DEEP, '{"a":' * 100_000, "9" * 200_000, json.dumps("x" * 200_000)])
def test_long_text_is_read_or_refused_soon(name: str, text: str) -> None:
    """Neither the depth nor the length leads to another error, or to seconds."""
    began = time.process_time()

    try:
        TEXT_DECODERS[name](text)
    except StorageError:
        pass

    assert time.process_time() - began < 2
