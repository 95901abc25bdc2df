"""
`Kind`: what a parameter of a constructor accepts, according to its annotation.

Each kind of annotation has one class. It defines how a value of a configuration becomes the argument, the text of an
error, and the JSON schema.
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

#: Text with a reference, which can become a value of any type.
REFERENCE: Schema = {"type": "string", "pattern": r"\$\{"}


class MismatchError(ValueError):
    """A value is not of this kind; the text says what is expected and never shows the value."""


class Building(Protocol):
    """The caller of a conversion: it knows the other stores and the objects that the program passed in."""

    @property
    def objects(self) -> Mapping[str, object]:
        """The objects that the program passed in, by name."""
        ...

    def store(self, value: object) -> ObjectStore[Any, Any]:
        """Return the store that *value* names or defines; `MismatchError` if it is neither a name nor a definition."""
        ...


class Kind(ABC):
    """
    One kind of parameter.

    Attributes:
        expects: what it accepts, for errors.
        holds: how it takes stores; None if it takes none.
        repeatable: whether a URL may give it several times, for a list.
    """

    expects: str = "a value"
    holds: Holds = None
    repeatable: bool = False

    @abstractmethod
    def convert(self, value: Any, building: Building) -> object:
        """
        Return the argument for *value*, which is as YAML gives it; `Expanded` text can become any type.

        Raises:
            MismatchError: the value is not of this kind.
        """

    @abstractmethod
    def schema(self) -> Schema:
        """Return the JSON schema of the accepted values."""

    def _wrong(self, value: object) -> MismatchError:
        return MismatchError(f"expected {self.expects}, not {called(value)}")


class Anything(Kind):
    """Any value, for a parameter without an annotation or with one that allows anything."""

    def convert(self, value: Any, building: Building) -> object:
        return plain(value)

    def schema(self) -> Schema:
        return {}


def plain(value: Any) -> Any:
    """Return a value in which all text is plain ``str``."""
    if isinstance(value, Expanded):
        return str.__str__(value)
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {plain(name): plain(each) for name, each in value.items()}
    return value


def called(value: object) -> str:
    """Return what kind of value it is, without the value itself."""
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
