"""The words of the contract: ranges, attributes, keys and data."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from storage import ByteRange, Capabilities, Data, InvalidKeyError, ObjectInfo, RangeNotSatisfiableError
from storage._core.data import as_bytes, chunks, etag_of, is_stream, whole
from storage._core.keys import check_key, check_path, is_key
from storage.testing import NASTY_KEYS
from storage.types import check_attributes

# -- ranges ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("byte_range", "size", "expected"),
    [
        (ByteRange(0), 10, (0, 10)),
        (ByteRange(3, 7), 10, (3, 7)),
        (ByteRange(3, 70), 10, (3, 10)),
        (ByteRange(10), 10, (10, 10)),
        (ByteRange(10, 20), 10, (10, 10)),
        (ByteRange(0), 0, (0, 0)),
        (ByteRange.suffix(3), 10, (7, 10)),
        (ByteRange.suffix(30), 10, (0, 10)),
        (ByteRange.suffix(0), 10, (10, 10)),
        (ByteRange.suffix(3), 0, (0, 0)),
    ],
    ids=str,
)
def test_range_within_an_object(byte_range: ByteRange, size: int, expected: tuple[int, int]) -> None:
    """A range is clamped to the object."""
    assert expected == byte_range.within(size)


def test_range_behind_the_end_is_not_satisfiable() -> None:
    """A start behind the end is an error with the key on it."""
    with pytest.raises(RangeNotSatisfiableError) as caught:
        ByteRange(11).within(10, "k")

    assert "k" == caught.value.key


@pytest.mark.parametrize("make", [lambda: ByteRange(-1), lambda: ByteRange(5, 4), lambda: ByteRange.suffix(-1)])
def test_bad_range_is_a_value_error(make: Any) -> None:
    """Bounds count from 0 and do not go back."""
    with pytest.raises(ValueError, match="bounds"):
        make()


def test_capabilities_are_all_documented() -> None:
    """Each capability has its sentence in the record's docstring."""
    assert [] == [field.name for field in fields(Capabilities) if f"{field.name}:" not in (Capabilities.__doc__ or "")]


def test_records_are_frozen() -> None:
    """A description cannot be changed by one of those who got it."""
    info = ObjectInfo("k", 1, "e")

    with pytest.raises(FrozenInstanceError):
        info.size = 2  # type: ignore[misc]


# -- attributes ------------------------------------------------------------------------------------------------------


def test_attributes_are_copied() -> None:
    """The checked attributes are a dict of their own."""
    given = {"content-type": "text/plain", "x-1": "é"}

    checked = check_attributes(given)
    given.clear()

    assert {"content-type": "text/plain", "x-1": "é"} == checked
    assert {} == check_attributes(None)


@pytest.mark.parametrize("value", ["\ud800", "x\udfff"])
def test_attribute_value_must_have_a_utf8_form(value: str) -> None:
    """Lone surrogates cannot be stored."""
    with pytest.raises(ValueError, match="surrogates"):
        check_attributes({"name": value})


# -- keys ------------------------------------------------------------------------------------------------------------


def test_nasty_keys_are_all_different() -> None:
    """Two equal keys under two names would overwrite each other in the suite."""
    assert len(NASTY_KEYS) == len(set(NASTY_KEYS.values()))


def test_a_key_is_any_text_that_has_a_utf8_form() -> None:
    """Of the nasty keys only the empty one and those with lone surrogates are no keys."""
    refused = {"empty", "lone surrogate", "surrogates apart", "byte that is not UTF-8, as Python reads it"}

    assert refused == {name for name, key in NASTY_KEYS.items() if not is_key(key)}
    for name in refused:
        with pytest.raises(InvalidKeyError) as caught:
            check_key(NASTY_KEYS[name])
        assert NASTY_KEYS[name] == caught.value.key


@pytest.mark.parametrize(
    "key",
    [
        "a",
        "a/b",
        "...",
        ".hidden",
        "a/.b",
        "..a",
        "a..",
        "a.",
        " ",
        "a\nb",
        "~",
        "a\\b",
        "C:\\x",
        "é/🧺",
        "a/...",
        "\n",
    ],
)
def test_plain_paths_pass(key: str) -> None:
    """What looks special but is a plain name is one."""
    assert key == check_path(key)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "./a",
        "../a",
        "a/.",
        "a/..",
        "a/./b",
        "a/../b",
        "a\0",
        "\0",
        "..\0",
        "a/\0",
    ],
)
def test_other_paths_are_refused(key: str) -> None:
    """Whatever climbs, is absolute, has an empty segment or a NUL is no plain path."""
    with pytest.raises(InvalidKeyError):
        check_path(key)


# -- data ------------------------------------------------------------------------------------------------------------


async def _async(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def test_data_in_every_shape_becomes_the_same_bytes() -> None:
    """Buffers, iterables and async iterables are the same to a store that wants all of it."""
    wide = memoryview(b"abcd").cast("I")
    shapes: list[Data] = [
        b"abcd",
        bytearray(b"abcd"),
        memoryview(b"abcd"),
        wide,
        [b"ab", b"cd"],
        iter([b"abcd"]),
        _async(b"abcd"),
    ]

    assert [b"abcd"] * len(shapes) == [await whole(shape) for shape in shapes]
    assert [False] * 4 + [True] * 3 == [is_stream(shape) for shape in shapes]


@pytest.mark.parametrize("size", [1, 3, 4, 100])
async def test_chunks_are_of_one_size(size: int) -> None:
    """Pieces come out in the wanted size, whatever they went in as; only the last is shorter, and none is empty."""
    data = bytes(range(23))

    for pieces in ([data], [data[:1], b"", data[1:11], data[11:]], [bytes([byte]) for byte in data]):
        found = [piece async for piece in chunks(pieces, size)]

        assert [data[start : start + size] for start in range(0, 23, size)] == found


async def test_chunks_of_nothing_are_none() -> None:
    """No bytes, no pieces."""
    assert [] == [piece async for piece in chunks([b"", b""])]
    assert [] == [piece async for piece in chunks(b"")]


async def test_chunks_of_one_buffer_are_cut() -> None:
    """Also bytes that are there at once come in pieces."""
    assert [b"abc", b"de"] == [piece async for piece in chunks(b"abcde", 3)]


@pytest.mark.parametrize("wrong", ["text", 5, None])
def test_what_is_not_bytes_is_a_type_error(wrong: Any) -> None:
    """The error says what to give instead."""
    with pytest.raises(TypeError, match="data must be bytes"):
        as_bytes(wrong)
    with pytest.raises(TypeError, match="data must be bytes"):
        is_stream(wrong)


def test_etags_of_bytes_differ() -> None:
    """Where no versions are counted the bytes tell."""

    def of(pieces: Iterator[bytes]) -> set[str]:
        return {etag_of(piece) for piece in pieces}

    assert 1001 == len(of(b"%d" % number if number else b"" for number in range(1001)))
