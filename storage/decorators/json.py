"""`JsonStore`: objects that are JSON documents, put and read as dicts, lists, text and numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from math import isinf
from types import ModuleType
from typing import Any, NoReturn, TypeAlias, cast
from uuid import UUID

from storage.base import ObjectStore
from storage.decorators.bases.value_transform import ValueTransform
from storage.errors import CorruptObjectError

__all__ = ["Json", "JsonLike", "JsonStore"]

Json: TypeAlias = dict[str, "Json"] | list["Json"] | str | int | float | bool | None
"""What a `JsonStore` returns."""

JsonLike: TypeAlias = Mapping[str, "JsonLike"] | list[Any] | tuple["JsonLike", ...] | str | int | float | bool | None
"""What a `JsonStore` takes: what it returns, other mappings for dicts, and tuples for lists."""

#: orjson would round integers that do not fit into 64 bits; those have at least 19 digits in a row.
_DIGITS = bytes.maketrans(b"123456789", b"0" * 9)
_MANY_DIGITS = b"0" * 19


class JsonStore(ValueTransform[JsonLike, Json]):
    """
    `put` takes JSON values (dicts with text keys, lists, text, numbers, booleans, None), and `get` returns them.

    The store below keeps UTF-8 text (RFC 8259), without spaces unless it is indented. A number that is not finite, or a
    value that is nested too deeply, is a ``ValueError``; a value that JSON cannot represent is a ``TypeError``. Text in
    the store below that is not JSON, or has a number or text that cannot be put, is a `CorruptObjectError`.

    With orjson installed (``pip install 'stackstore[json]'``) it is faster; the values it takes and returns are the
    same.

    Args:
        base: the store below.
        indent: spaces of indentation, for people to read; None for one line.
        sort_keys: whether the keys of dicts are sorted, so that equal values give equal bytes.
    """

    def __init__(self, base: ObjectStore, *, indent: int | None = None, sort_keys: bool = False) -> None:
        super().__init__(base)
        self.indent = indent
        self.sort_keys = sort_keys
        self._encoder = json.JSONEncoder(
            ensure_ascii=False,
            allow_nan=False,
            indent=indent,
            separators=(",", ":" if indent is None else ": "),
            sort_keys=sort_keys,
            default=_to_json,
        )
        self._decoder = json.JSONDecoder(parse_float=_finite, parse_constant=_refuse)
        self._orjson = _orjson() if indent is None else None
        self._options = 0 if self._orjson is None else _strict_options(self._orjson, sort_keys)

    def encode(self, value: JsonLike) -> bytes:
        if self._orjson is not None:
            try:
                quick: bytes = self._orjson.dumps(value, option=self._options)
                if b"null" not in quick:  # orjson writes null for a number that is not finite
                    return quick
            except TypeError:  # larger integers, subclasses, keys that are not text: json may support them
                pass
        try:
            return self._encoder.encode(value).encode()
        except RecursionError as cause:
            raise ValueError("nested too deeply for JSON") from cause

    def decode(self, data: bytes) -> Json:
        if self._orjson is not None and _MANY_DIGITS not in data.translate(_DIGITS):
            try:
                return cast(Json, self._orjson.loads(data))
            except ValueError:
                pass
        try:
            value = cast(Json, self._decoder.decode(data.decode()))
            if b"\\" in data and (b"\\ud" in data or b"\\uD" in data):
                self._encoder.encode(value).encode()  # json decodes single surrogates, which cannot be put
            return value
        except (ValueError, RecursionError) as cause:
            raise CorruptObjectError(f"not JSON: {cause}") from cause


def _orjson() -> ModuleType | None:
    try:
        import orjson
    except ImportError:
        return None
    return orjson


def _strict_options(orjson: ModuleType, sort_keys: bool) -> int:
    """Return the options with which orjson takes the same values as json, and also enums and UUIDs."""
    options = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
    return int(options | (orjson.OPT_SORT_KEYS if sort_keys else 0))


def _to_json(value: object) -> object:
    """Return a JSON value for a value that json does not support; enums and UUIDs are written as by orjson."""
    if isinstance(value, Mapping):
        return dict(cast("Mapping[object, object]", value))
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"JSON cannot represent {type(value).__name__}")


def _finite(number: str) -> float:
    """Return a number as json does, but none that is too large, as 1e999: it would be infinity."""
    value = float(number)
    if isinf(value):
        raise ValueError("a number is too large")
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")
