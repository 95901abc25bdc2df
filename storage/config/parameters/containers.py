"""The kinds of parameters that contain other values, stores and objects of the program."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from storage.base import ObjectStore
from storage.config.interpolation import Expanded
from storage.config.parameters.kind import Anything, Building, Holds, Kind, MismatchError, Schema, plain
from storage.config.parameters.scalars import Binary, FilePath, Nothing, Number, Seconds, Text

__all__ = ["ListOf", "LoggerName", "MappingOf", "ObjectReference", "Store", "TupleOf", "UnionOf"]


class ListOf(Kind):
    """A list, for any parameter that takes several values."""

    repeatable: bool = True

    def __init__(self, item: Kind, make: Callable[[list[object]], object] = list) -> None:
        self._item = item
        self._make = make
        self.expects: str = "a list" if isinstance(item, Anything) else f"a list, each item {item.expects}"
        self.holds: Holds = "several" if item.holds else None

    def convert(self, value: Any, building: Building) -> object:
        if not isinstance(value, list | tuple):
            raise self._wrong(value)
        items = [_at(f"item {at}", self._item, each, building) for at, each in enumerate(value, 1)]
        try:
            return self._make(items)
        except TypeError:
            raise MismatchError(f"expected {self.expects}; in a set, every item must be hashable") from None

    def schema(self) -> Schema:
        return {"type": "array", "items": self._item.schema()}


class TupleOf(Kind):
    """A list of a fixed number of items, for a tuple."""

    def __init__(self, parts: Sequence[Kind]) -> None:
        self._parts = parts
        self.expects: str = f"a list of {len(parts)} items ({', '.join(part.expects for part in parts)})"
        self.holds: Holds = next((part.holds for part in parts if part.holds), None)

    def convert(self, value: Any, building: Building) -> object:
        if not isinstance(value, list | tuple):
            raise self._wrong(value)
        if len(value) != len(self._parts):
            raise MismatchError(f"expected {self.expects}, not of {len(value)}")
        pairs = enumerate(zip(self._parts, value, strict=True), 1)
        return tuple(_at(f"item {at}", part, each, building) for at, (part, each) in pairs)

    def schema(self) -> Schema:
        parts = [part.schema() for part in self._parts]
        return {"type": "array", "items": parts, "minItems": len(parts), "maxItems": len(parts)}


class MappingOf(Kind):
    """A mapping."""

    def __init__(self, key: Kind, value: Kind) -> None:
        self._key = key
        self._value = value
        self.expects: str = "a mapping" if isinstance(value, Anything) else f"a mapping, each value {value.expects}"
        self.holds: Holds = "named" if value.holds else None

    def convert(self, value: Any, building: Building) -> object:
        if not isinstance(value, Mapping):
            raise self._wrong(value)
        made = {}
        for name, each in value.items():
            where = name.source if isinstance(name, Expanded) else repr(name)
            key: Any = _at("a key", self._key, name, building)
            made[key] = _at(where, self._value, each, building)
        return made

    def schema(self) -> Schema:
        return {"type": "object", "additionalProperties": self._value.schema()}


class Store(Kind):
    """A store: its name in the configuration, or a definition."""

    expects: str = "the name of a store"
    holds: Holds = "one"

    def __init__(self, cls: type[ObjectStore[Any, Any]] = ObjectStore) -> None:
        self._class = cls

    def convert(self, value: Any, building: Building) -> object:
        store = building.store(value)
        if not isinstance(store, self._class):
            raise MismatchError(f"expected a store of the class {self._class.__name__}, not {type(store).__name__}")
        return store

    def schema(self) -> Schema:
        return {"$ref": "#/definitions/below"}


class ObjectReference(Kind):
    """An object that text cannot express (a function, a client): the name of one that the program passes in."""

    def __init__(self, what: str) -> None:
        self.expects: str = f"the name of a {what} in StoreFactory(objects={{name: object}})"

    def convert(self, value: Any, building: Building) -> object:
        if not isinstance(value, str):
            raise self._wrong(value)
        if value not in building.objects:
            known = ", ".join(sorted(map(repr, building.objects))) or "none"
            raise MismatchError(f"expected {self.expects}; available: {known}")
        return building.objects[value]

    def schema(self) -> Schema:
        return {"type": "string"}


class UnionOf(Kind):
    """The first of several kinds that accepts the value. Plain text comes last, after kinds that text can name."""

    def __init__(self, kinds: Sequence[Kind]) -> None:
        paths = any(isinstance(kind, FilePath) for kind in kinds)
        times = any(isinstance(kind, Seconds) for kind in kinds)
        kept = [kind for kind in kinds if not (paths and isinstance(kind, Text))]
        ranked = sorted(kept, key=lambda kind: (isinstance(kind, Text | Binary), isinstance(kind, Binary)))
        self._real = [kind for kind in ranked if not isinstance(kind, Nothing)]
        self._optional = len(self._real) < len(ranked)
        said = [kind.expects for kind in self._real if not (times and isinstance(kind, Number))]
        self.expects: str = " or ".join([*dict.fromkeys(said), *(["null"] if self._optional else [])])
        self.holds: Holds = next((kind.holds for kind in kinds if kind.holds), None)
        self.repeatable: bool = any(kind.repeatable for kind in kinds)

    def convert(self, value: Any, building: Building) -> object:
        textual = any(isinstance(kind, Text | FilePath) for kind in self._real)
        if self._optional and (value is None or not textual):  # where text is allowed, empty text is text
            with suppress(MismatchError):
                return Nothing().convert(value, building)
        if len(self._real) == 1:
            return self._real[0].convert(value, building)  # its error is more specific
        for kind in self._real:
            with suppress(MismatchError):
                return kind.convert(value, building)
        raise self._wrong(value)

    def schema(self) -> Schema:
        found: list[Schema] = []
        for kind in [*self._real, *([Nothing()] if self._optional else [])]:
            each = kind.schema()
            found += [part for part in each.get("anyOf", [each]) if part not in found]
        return found[0] if len(found) == 1 else {"anyOf": found}


class LoggerName(Kind):
    """A logger: its name."""

    expects: str = "the name of a logger"

    def convert(self, value: Any, building: Building) -> object:
        if not isinstance(value, str):
            raise self._wrong(value)
        handed = building.objects.get(value)
        return handed if isinstance(handed, logging.Logger) else logging.getLogger(plain(value))

    def schema(self) -> Schema:
        return {"type": "string"}


def _at(where: str, kind: Kind, value: object, building: Building) -> object:
    try:
        return kind.convert(value, building)
    except MismatchError as error:
        raise MismatchError(f"{where}: {error}") from None
