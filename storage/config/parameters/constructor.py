"""`Constructor`: the parameters of a store's constructor, and how it is called with values of a configuration."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from inspect import Parameter as Declared
from typing import Any, NamedTuple

from storage.base import ObjectStore
from storage.config.parameters.annotations import annotation_of, kind_of
from storage.config.parameters.containers import ListOf
from storage.config.parameters.kind import Kind

__all__ = ["Constructor", "Parameter"]


class Parameter(NamedTuple):
    """One parameter: its name, its kind, and its default, which is `inspect.Parameter.empty` if there is none."""

    name: str
    kind: Kind
    default: Any = Declared.empty

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is Declared.empty


class Constructor:
    """
    The parameters of a class of stores.

    A constructor with ``**options`` may pass them on to those of its base classes: their parameters are known too, and
    are optional.

    Attributes:
        parameters: the parameters by name, in order.
        others: the kind of options with any other name; None if they are not allowed.
    """

    def __init__(self, cls: type[ObjectStore[Any, Any]]) -> None:
        self._class = cls
        self._declared: list[Declared] = []
        self.parameters: dict[str, Parameter] = {}
        self.others: Kind | None = None
        for function in _constructors(cls):
            declared = list(inspect.signature(function).parameters.values())[1:]
            self._declared = self._declared or declared
            for each in declared:
                kind = kind_of(annotation_of(each.annotation, function))
                if each.kind is Declared.VAR_KEYWORD:
                    self.others = self.others or kind
                elif each.kind is Declared.VAR_POSITIONAL:
                    self.parameters.setdefault(each.name, Parameter(each.name, ListOf(kind), ()))
                else:  # what ``**options`` reach, the class itself may give
                    default = each.default if self.others is None or declared is self._declared else None
                    self.parameters.setdefault(each.name, Parameter(each.name, kind, default))
            if not any(each.kind is Declared.VAR_KEYWORD for each in declared):
                break

    @property
    def stores(self) -> dict[str, Parameter]:
        """The parameters that take stores."""
        return {name: each for name, each in self.parameters.items() if each.kind.holds}

    def call(self, arguments: dict[str, Any]) -> ObjectStore[Any, Any]:
        """Make a store from converted arguments."""
        rest = dict(arguments)
        positional: list[Any] = []
        spread = [each.name for each in self._declared if each.kind is Declared.VAR_POSITIONAL and rest.get(each.name)]
        for each in self._declared:
            if each.name in spread:
                positional += rest.pop(each.name)
            elif each.kind is Declared.POSITIONAL_ONLY or (spread and each.kind is Declared.POSITIONAL_OR_KEYWORD):
                positional.append(rest.pop(each.name, each.default))
        return self._class(*positional, **rest)


def _constructors(cls: type) -> Iterator[Any]:
    """Yield the ``__init__`` of a class and of its bases, the nearest first, without that of `object`."""
    for base in cls.__mro__[:-1]:
        if "__init__" in vars(base):
            yield vars(base)["__init__"]
