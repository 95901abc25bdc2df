"""`JsonStore`: the values it takes, and that both libraries agree on them."""

from __future__ import annotations

import enum
import json
import math
import sys
import uuid
from collections import OrderedDict
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from storage import (
    CorruptObjectError,
    DictStore,
    JsonStore,
)


@pytest.fixture(params=["json", "orjson"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let stores use orjson, or behave as if it were not installed."""
    if request.param == "json":
        monkeypatch.setitem(sys.modules, "orjson", None)
    return str(request.param)


class Color(enum.Enum):
    RED = "red"
    UNKNOWN = math.nan


class Level(enum.IntEnum):
    LOW = 1


DOCUMENT = {"name": "sensor 7", "readings": [1, -2.5, 1e300, True, None, "°C"], "nested": {"": [[], {}]}}

#: Values, and what comes back of those that come back as another one.
VALUES: dict[str, tuple[Any, Any]] = {
    "document": (DOCUMENT, DOCUMENT),
    "without null": ({"a": [1, 2.5, "ü", True]}, {"a": [1, 2.5, "ü", True]}),
    "text": ("null", "null"),
    "empty text": ("", ""),
    "none": (None, None),
    "zero": (0, 0),
    "negative zero": (-0.0, -0.0),
    "large integer": (2**64, 2**64),
    "larger integer": (-(10**40), -(10**40)),
    "largest of 64 bits": ([2**63 - 1, -(2**63), 2**64 - 1], [2**63 - 1, -(2**63), 2**64 - 1]),
    "long float": (0.1234567890123456789, 0.1234567890123456789),
    "smallest float": (5e-324, 5e-324),
    "tuple": ((1, (2,)), [1, [2]]),
    "mapping": (MappingProxyType({"a": OrderedDict(b=1)}), {"a": {"b": 1}}),
    "numbers for keys": ({1: "a", None: "b", False: "c"}, {"1": "a", "null": "b", "false": "c"}),
    "enums": ([Color.RED, Level.LOW], ["red", 1]),
    "UUID": (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    "nested deeply": (json.loads("[" * 500 + "]" * 500), json.loads("[" * 500 + "]" * 500)),
    "control characters": ("\x00\x1f\x7f\u2028", "\x00\x1f\x7f\u2028"),
}


@pytest.mark.parametrize("name", VALUES)
async def test_values_come_back(name: str, parser: str) -> None:
    """With either library; any JSON parser can read the bytes below."""
    value, expected = VALUES[name]
    base = DictStore()
    store = JsonStore(base)

    await store.put("k", value)

    found = await store.get("k")
    assert (expected, type(expected)) == (found, type(found))
    assert expected == json.loads(await base.get("k"))


async def test_documents_are_dense_text(parser: str) -> None:
    """UTF-8, no spaces, no needless escapes; with sorted keys, equal values give equal bytes."""
    base = DictStore()
    await JsonStore(base).put("k", {"ü": [1, 2], "a": "\u20ac"})
    await JsonStore(base, sort_keys=True).put("sorted", {"ü": 1, "a": {"d": 2, "c": 3}})
    await JsonStore(base, indent=2).put("indented", {"a": [1]})

    assert '{"ü":[1,2],"a":"€"}'.encode() == await base.get("k")
    assert '{"a":{"c":3,"d":2},"ü":1}'.encode() == await base.get("sorted")
    assert b'{\n  "a": [\n    1\n  ]\n}' == await base.get("indented")


def circular() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


#: What JSON has no form for, and the error that says so.
REFUSED: dict[str, tuple[Any, type[Exception]]] = {
    "not a number": ({"a": math.nan}, ValueError),
    "infinity": ([None, -math.inf], ValueError),
    "enum of no number": (Color.UNKNOWN, ValueError),
    "lone surrogate": ("\ud800", ValueError),
    "circular": (circular(), ValueError),
    "nested too deeply": (deep(), ValueError),
    "object": (object(), TypeError),
    "bytes": (b"bytes", TypeError),
    "set": ({"a": {1}}, TypeError),
    "tuple for a key": ({(1, 2): 3}, TypeError),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_json_has_no_form_for_is_refused(name: str, parser: str) -> None:
    """Nothing is put, and the old object is kept; a number that is not finite does not become null."""
    value, kind = REFUSED[name]
    store = JsonStore(DictStore())
    await store.put("k", "old")

    with pytest.raises(kind):
        await store.put("k", value)

    assert "old" == await store.get("k")


@pytest.mark.parametrize(
    "below",
    [
        *(b"", b"{", b"nul", b"1 2", b"[1,]", b"{'a': 1}", b"NaN", b"[-Infinity]", b"\xff", b'"\xff"', b'"\t"', b"01"),
        *(b"1e999", b"-1E+999", b"[1e400]", b"2" * 400 + b".5", b"9" * 260 + b"e90", b'{"a": 1e0400}'),
        *(b'"\\ud800"', b'{"\\uDFFF": 1}', b'"\\ude00\\ud83d"', b'["\\ud83d \\ude00"]', b"-Infinity", b"Infinity"),
        *(b"\xef\xbb\xbf1", "1".encode("utf-16"), b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b"1" * 5000),
    ],
    ids=lambda below: repr(below[:12]),
)
async def test_what_is_no_json_is_corrupt(below: bytes, parser: str) -> None:
    """All kinds of damage raise one error, which names the key."""
    base = DictStore()
    await base.put("k", below)

    with pytest.raises(CorruptObjectError, match="not JSON: ") as caught:
        await JsonStore(base).get("k")

    assert "k" == caught.value.key


async def test_last_of_two_equal_keys_counts(parser: str) -> None:
    """As in json."""
    base = DictStore()
    await base.put("k", b'{"a": 1, "a": 2}')

    assert {"a": 2} == await JsonStore(base).get("k")


def stores() -> tuple[JsonStore, JsonStore]:
    """Return a store that uses orjson, and one that does not."""
    quick, plain = JsonStore(DictStore()), JsonStore(DictStore())
    assert quick._orjson is not None
    plain._orjson = None
    return quick, plain


def result(work: Any, argument: object) -> object:
    try:
        return work(argument)
    except (ValueError, TypeError) as error:
        return ValueError if isinstance(error, ValueError) else TypeError


numbers = st.integers() | st.floats() | st.booleans()
leaves = st.none() | numbers | st.text(st.characters(), max_size=5) | st.binary(max_size=2)
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=4)
        | st.tuples(inner)
    ),
    max_leaves=8,
)


@settings(deadline=None)  # a busy machine is no slow code
@given(value=trees)
async def test_orjson_takes_what_json_takes(value: Any) -> None:
    """It writes the same value, and accepts and refuses the same values."""
    quick, plain = stores()

    quickly, plainly = result(quick.encode, value), result(plain.encode, value)

    if isinstance(quickly, bytes) and isinstance(plainly, bytes):
        assert json.loads(plainly) == json.loads(quickly)
    else:
        assert plainly == quickly


likely = st.text(st.sampled_from('0123456789.eE+-[]{},:" nulltrue\\ud8'), max_size=30)


@settings(deadline=None)  # a busy machine is no slow code
@given(below=st.binary(max_size=20) | likely.map(str.encode))
@example(b"18446744073709551616")
@example(b"-1e400")
@example(b'"\\ud800"')
@example(b"1.2345678901234567890123")
@example(b"123456789012345678.5e-400")
async def test_orjson_gives_what_json_gives(below: bytes) -> None:
    """The same value of the same type, or an error from both."""
    quick, plain = stores()

    assert repr(result(plain.decode, below)) == repr(result(quick.decode, below))
