"""What back ends return as attributes and descriptions: right values or `CorruptObjectError`, whatever it is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import CorruptObjectError, IncompleteListingError, ObjectInfo, UnsupportedOperationError
from storage._core.left_out import LeftOut
from storage._core.stored_attributes import LONGEST, checked_attributes, decode_attributes, encode_attributes
from storage._core.stored_descriptions import stored_etag, stored_info, stored_key, stored_size, stored_time
from storage.types import check_attributes

NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}", fullmatch=True)
VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)

NONE = {"nothing": None, "no text": "", "no bytes": b"", "an empty object": "{}", "its bytes": b"{}"}

DAMAGED = {
    "cut": '{"a": ',
    "a list": "[]",
    "a string": '"a"',
    "null": "null",
    "a number": '{"a":1}',
    "a number of a megabyte": '{"a":' + "9" * 1_000_000 + "}",
    "NaN": '{"a":NaN}',
    "true": '{"a":true}',
    "deep": "[" * 100_000,
    "deep objects": '{"a":' * 100_000,
    "no UTF-8": b'{"a":"\xff"}',
    "a lone surrogate": '{"a":"\\ud800"}',
    "a lone surrogate as text": '{"a":"\ud800"}',
    "UTF-16": '{"a":"b"}'.encode("utf-16"),
    "a name that occurs twice": '{"a":"1","a":"2"}',
    "a capital": '{"A":"1"}',
    "an empty name": '{"":"1"}',
    "more behind it": '{"a":"1"} {}',
    "a byte order mark": "\ufeff{}",
    "too long": '{"a":"' + "x" * LONGEST + '"}',
    "too long, as bytes": b'{"a":"' + b"x" * LONGEST + b'"}',
    "an integer": 0,
    "a float": 0.0,
    "a list of Python": [],
    "a dict of Python": {"a": "b"},
}


@given(st.dictionaries(NAMES, VALUES, max_size=5))
@settings(max_examples=50)
def test_what_is_encoded_is_decoded(attributes: dict[str, str]) -> None:
    """Text and its bytes give back what was put."""
    text = encode_attributes(attributes)

    assert attributes == decode_attributes(text) == decode_attributes(text.encode())
    assert attributes == checked_attributes(dict(attributes))


def test_text_is_compact_utf_8() -> None:
    """Attributes take no more room than they need: what a store can keep of them depends on it."""
    assert '{"a":"é😀","b":"1"}' == encode_attributes({"a": "é😀", "b": "1"})
    assert "" == encode_attributes({}) == encode_attributes(None)


def test_text_of_earlier_versions_is_decoded() -> None:
    """Spaces and escapes, as they were once written, are read as ever."""
    assert {"a": "é", "b": "\n"} == decode_attributes('{"a": "\\u00e9", "b": "\\n"}')


@pytest.mark.parametrize("stored", NONE.values(), ids=list(NONE))
def test_no_attributes_have_several_forms(stored: object) -> None:
    """Each back end has its own."""
    assert {} == decode_attributes(stored)


@pytest.mark.parametrize("stored", DAMAGED.values(), ids=list(DAMAGED))
def test_damaged_attributes_are_our_error_and_quickly(stored: object) -> None:
    """Neither Python's own errors leave the decoder, nor does it take long."""
    began = time.process_time()

    with pytest.raises(CorruptObjectError) as raised:
        decode_attributes(stored, key="k", store="S()")

    assert ("k", "S()") == (raised.value.key, raised.value.store)
    assert time.process_time() - began < 0.5


@given(st.binary() | st.text() | st.integers() | st.floats() | st.none() | st.lists(st.text()))
@settings(max_examples=100)
def test_anything_is_attributes_or_our_error(stored: object) -> None:
    """The decoder is total, and what it returns could have been put."""
    for decode in (decode_attributes, checked_attributes):
        try:
            found = decode(stored)
        except CorruptObjectError:
            continue
        assert found == check_attributes(found)


def test_attributes_that_could_not_be_read_again_are_not_stored() -> None:
    """The encoder has the bound of the decoder."""
    with pytest.raises(UnsupportedOperationError, match="1,048,576"):
        encode_attributes({"a": "é" * (LONGEST // 2)}, key="k")


ANY = st.binary(max_size=30) | st.text(max_size=30) | st.integers() | st.floats() | st.none() | st.booleans()
HUGE = 10**5000  # its text is a ValueError of Python's


@given(st.tuples(ANY, ANY, ANY, ANY))
@settings(max_examples=200)
def test_any_row_is_a_description_or_our_error(row: tuple[Any, Any, Any, Any]) -> None:
    """No value of any type in any column leads to another error."""
    info = ObjectInfo("k", 0, "e")
    error = CorruptObjectError(key="k", store="S()")

    try:
        info = stored_info("k", *row, "S()")
    except CorruptObjectError as raised:
        error = raised

    assert 0 <= info.size < 1 << 63
    assert info.etag
    assert ("k", "S()") == (error.key, error.store)


WRONG: dict[str, tuple[Callable[..., Any], list[Any]]] = {
    "size": (stored_size, [-1, 1 << 63, HUGE, 1.0, math.nan, b"-1", b"1_0", b" 1", "²", "1" * 20, b"", None, True]),
    "etag": (stored_etag, ["", b"", b"\xff", "\ud800", 17, None, "x" * 2000, b"x" * 10_000_000]),
    "time": (stored_time, [1 << 80, -(1 << 80), HUGE, 1.5, math.nan, "yesterday", None, b"-5"]),
    "key": (stored_key, [b"", b"\xff", "", "\ud800", 17, None, HUGE]),
}


@pytest.mark.parametrize(("check", "values"), WRONG.values(), ids=list(WRONG))
def test_wrong_values_are_our_error(check: Callable[..., Any], values: list[Any]) -> None:
    """Sizes, etags, times and keys are right ones or `CorruptObjectError`."""
    for value in values:
        with pytest.raises(CorruptObjectError):
            check(value)


def test_right_values_are_read_in_each_form() -> None:
    """Numbers come as such or in digits, text as such or in UTF-8."""
    when = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
    micro = (when - datetime(1970, 1, 1, tzinfo=UTC)).days * 86_400 * 10**6 + 11045678901

    assert ObjectInfo("k", 5, "e", when, {"a": "b"}) == stored_info("k", 5, "e", micro * 1000, '{"a":"b"}')
    assert ObjectInfo("k", 5, "é", None, {}) == stored_info("k", b"5", "é".encode(), None, None)
    assert when == stored_time(b"%d" % micro, unit=1000)
    assert "é" == stored_key("é".encode()) == stored_key("é")


def test_listing_reports_what_it_left_out_at_its_end() -> None:
    """One error has the damaged keys, under the caller's names, and of all listings below."""

    def listed() -> None:
        with LeftOut("outer", lambda key: key.removeprefix("p/") if key.startswith("p/") else None) as left_out:
            left_out.add("mine", CorruptObjectError("bad", key="mine"))
            raise IncompleteListingError({key: CorruptObjectError("bad", key=key) for key in ("p/a", "q")}, 2)

    with pytest.raises(IncompleteListingError, match=r"left out 2 objects, .* \('mine', 'a'\)") as raised:
        listed()

    assert {"mine": "mine", "a": "a"} == {key: error.key for key, error in raised.value.errors.items()}
    assert "outer" == raised.value.store


def test_listing_keeps_a_bounded_number_of_errors() -> None:
    """A million damaged objects do not take the memory of a million errors."""
    left_out = LeftOut("s")
    for number in range(1000):
        left_out.add(f"{number}", CorruptObjectError("bad"))

    with pytest.raises(IncompleteListingError) as raised, left_out:
        pass

    assert (100, 1000) == (len(raised.value.errors), raised.value.count)


def test_listing_that_left_out_nothing_of_the_callers_is_complete() -> None:
    """Damage below that is none of the caller's is not reported."""
    with LeftOut("s", lambda _: None):
        raise IncompleteListingError({"q": CorruptObjectError("bad", key="q")}, 1)
