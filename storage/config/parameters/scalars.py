"""The kinds of parameters with one value: text, numbers, paths, durations, patterns, choices."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, ClassVar

from storage.config.interpolation import Expanded
from storage.config.parameters.kind import REFERENCE, Building, Kind, MismatchError, Schema, called, plain

__all__ = ["Binary", "Boolean", "Choice", "FilePath", "Integer", "Nothing", "Number", "Pattern", "Seconds", "Text"]


class Text(Kind):
    """Text. YAML reads ``2024-01-01`` as a date and ``no`` as false: these are refused."""

    expects: str = "text"

    def convert(self, value: Any, building: Building) -> object:
        if isinstance(value, str):
            return plain(value)
        if isinstance(value, list | dict) or value is None:
            raise self._wrong(value)
        raise MismatchError(f"expected text, not {called(value)}: put it in quotes")

    def schema(self) -> Schema:
        return {"type": "string"}


class FilePath(Kind):
    """A path; ``~`` is the user's home directory."""

    expects: str = "a path"

    def __init__(self, make: Callable[[str], object] = str) -> None:
        self._make = make

    def convert(self, value: Any, building: Building) -> object:
        if not isinstance(value, str):
            raise self._wrong(value)
        text = plain(value)
        with suppress(ValueError):  # no user has such a name
            text = os.path.expanduser(text)
        return self._make(text)

    def schema(self) -> Schema:
        return {"type": "string"}


class Number(Kind):
    """A number, also with a fraction."""

    expects: str = "a number"
    _form: ClassVar[re.Pattern[str]] = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)

    def convert(self, value: Any, building: Building) -> object:
        if isinstance(value, Expanded) and self._form.fullmatch(value):
            return float(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value
        raise self._wrong(value)

    def schema(self) -> Schema:
        return {"anyOf": [{"type": "number"}, REFERENCE]}


class Integer(Kind):
    """A whole number."""

    expects: str = "a whole number"
    _form: ClassVar[re.Pattern[str]] = re.compile(r"[+-]?\d{1,1000}", re.ASCII)  # Python refuses 4300 and more

    def convert(self, value: Any, building: Building) -> object:
        if isinstance(value, Expanded) and self._form.fullmatch(value):
            return int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        raise self._wrong(value)

    def schema(self) -> Schema:
        return {"anyOf": [{"type": "integer"}, REFERENCE]}


class Boolean(Kind):
    """A boolean."""

    expects: str = "true or false"
    _words: ClassVar[dict[str, bool]] = {"true": True, "yes": True, "on": True, "1": True} | {
        "false": False, "no": False, "off": False, "0": False
    }  # fmt: skip

    def convert(self, value: Any, building: Building) -> object:
        if isinstance(value, Expanded) and value.lower() in self._words:
            return self._words[value.lower()]
        if isinstance(value, bool):
            return value
        raise self._wrong(value)

    def schema(self) -> Schema:
        return {"anyOf": [{"type": "boolean"}, REFERENCE]}


class Nothing(Kind):
    """None; in a variable, empty text, ``null`` or ``~``."""

    expects: str = "null"

    def convert(self, value: Any, building: Building) -> object:
        if value is None or (isinstance(value, Expanded) and value in ("", "null", "~")):
            return None
        raise self._wrong(value)

    def schema(self) -> Schema:
        return {"type": "null"}


class Binary(Kind):
    """Bytes: YAML's ``!!binary``, or text in base64."""

    expects: str = "bytes in base64"

    def convert(self, value: Any, building: Building) -> object:
        if isinstance(value, bytes):
            return value
        try:
            return base64.b64decode(value, validate=True)
        except (TypeError, ValueError):
            raise self._wrong(value) from None

    def schema(self) -> Schema:
        return {"type": "string", "contentEncoding": "base64"}


class Seconds(Kind):
    """A duration, given as a number of seconds."""

    expects: str = "a number of seconds"

    def convert(self, value: Any, building: Building) -> object:
        number: Any = Number().convert(value, building)
        try:
            return timedelta(seconds=number)
        except (OverflowError, ValueError):
            raise MismatchError("expected a number of seconds in the range of a timedelta") from None

    def schema(self) -> Schema:
        return Number().schema()


class Pattern(Kind):
    """A compiled regular expression."""

    expects: str = "a regular expression"

    def convert(self, value: Any, building: Building) -> object:
        if not isinstance(value, str):
            raise self._wrong(value)
        try:
            return re.compile(plain(value))
        except (re.error, OverflowError, RecursionError) as error:
            raise MismatchError(f"not a valid regular expression: {error}") from None

    def schema(self) -> Schema:
        return {"type": "string", "format": "regex"}


class Choice(Kind):
    """One of the values of a ``Literal``."""

    def __init__(self, values: Sequence[Any]) -> None:
        self._values = values
        self.expects: str = " or ".join(repr(value) for value in values)

    def convert(self, value: Any, building: Building) -> object:
        for each in self._values:
            same = type(each) is type(value) and each == value
            if same or (isinstance(value, Expanded) and str(each) == value):
                return each
        raise self._wrong(value)

    def schema(self) -> Schema:
        return {"anyOf": [{"enum": list(self._values)}, REFERENCE]}
