"""
`Kind`: what a constructor's parameter takes, as its annotation says.

Each kind of annotation has one class, in which is all that follows from it: how a value of a configuration becomes the
argument, the words of an error, and the JSON schema.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Literal, Protocol, TypeAlias

from storage.base import ObjectStore
from storage.config.interpolation import Expanded

__all__ = ["REFERENCE", "Anything", "Building", "Holds", "Kind", "MismatchError", "Schema", "called", "plain"]

Schema: TypeAlias = dict[str, Any]

#: How a parameter takes stores: one, a list of them, or a mapping to them.
Holds: TypeAlias = Literal["one", "several", "named"] | None

#: Text that stands for a value of any type.
REFERENCE: Schema = {"type": "string", "pattern": r"\$\{"}


class MismatchError(ValueError):
    """A value is not of the kind; the text says what it should be, and never the value."""


class Building(Protocol):
    """Who asks for the conversion: it knows the other stores, and the objects that the program handed over."""

    @property
    def objects(self) -> Mapping[str, object]:
        """What the program handed over, by name."""
        ...

    def store(self, value: object) -> ObjectStore[Any, Any]:
        """Return the store of this name or definition; `MismatchError` if *value* is neither."""
        ...


class Kind(ABC):
    """
    One kind of parameter.

    Attributes:
        expects: what it takes, as an error says it.
        holds: how it takes stores, None if it does not.
        repeatable: whether a URL may say it several times, for a list.
    """

    expects: str = "a value"
    holds: Holds = None
    repeatable: bool = False

    @abstractmethod
    def convert(self, value: Any, building: Building) -> object:
        """
        Return the argument for *value*, as YAML gives it; `Expanded` text stands for a value of any type.

        Raises:
            MismatchError: it is not of this kind.
        """

    @abstractmethod
    def schema(self) -> Schema:
        """Return the JSON schema of the values that it takes."""

    def _wrong(self, value: object) -> MismatchError:
        return MismatchError(f"expected {self.expects}, not {called(value)}")


class Anything(Kind):
    """Of a parameter without an annotation, or one that says nothing."""

    def convert(self, value: Any, building: Building) -> object:
        return plain(value)

    def schema(self) -> Schema:
        return {}


def plain(value: Any) -> Any:
    """Return a value in which all text is ``str`` and nothing more."""
    if isinstance(value, Expanded):
        return str.__str__(value)
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {plain(name): plain(each) for name, each in value.items()}
    return value


def called(value: object) -> str:
    """Return what a value is, without saying which."""
    if isinstance(value, Expanded):
        return value.source
    for types, words in _CALLED:
        if isinstance(value, types):
            return words
    return f"a {type(value).__name__}"


_CALLED: list[tuple[type | tuple[type, ...], str]] = [
    (bool, "true or false"),
    (int, "a whole number"),
    (float, "a number"),
    (str, "text"),
    ((list, tuple), "a list"),
    (dict, "a mapping"),
    (type(None), "null"),
]
