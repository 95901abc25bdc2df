"""`kind_of`: from the annotation of a parameter to its `Kind`."""

from __future__ import annotations

import builtins
import collections.abc
import datetime
import inspect
import logging
import os
import pathlib
import re
import sys
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from storage._names import PUBLIC, import_name
from storage.base import ObjectStore
from storage.config.parameters.containers import ListOf, LoggerName, MappingOf, ObjectReference, Store, TupleOf, UnionOf
from storage.config.parameters.kind import Anything, Kind
from storage.config.parameters.scalars import (
    Binary,
    Boolean,
    Choice,
    FilePath,
    Integer,
    Nothing,
    Number,
    Pattern,
    Seconds,
    Text,
)

__all__ = ["annotation_of", "kind_of"]

#: The kind of a class without type parameters: that of the first of these classes from which it derives.
_CLASSES: list[tuple[type, Callable[[], Kind]]] = [
    (bool, Boolean),
    (int, Integer),
    (float, Number),
    (str, Text),
    (bytes, Binary),
    (type(None), Nothing),
    (datetime.timedelta, Seconds),
    (re.Pattern, Pattern),
    (logging.Logger, LoggerName),
    (pathlib.PurePath, lambda: FilePath(pathlib.Path)),
    (os.PathLike, FilePath),
]

#: What a list of a configuration becomes. Text is iterable too, but `_CLASSES` comes first.
_COLLECTIONS: list[tuple[type, Callable[[list[object]], object]]] = [
    (frozenset, frozenset),
    (collections.abc.Set, set),
    (tuple, tuple),
    (collections.abc.Iterable, list),
    (collections.abc.Container, list),
]

#: Modules whose names may be imported for type checkers only, so that the annotation's own module does not have them.
_MODULES = {module.__name__: module for module in (collections, datetime, logging, os, pathlib, re, typing)}
_MODULES["storage"] = sys.modules["storage"]  # by name: nothing below the package's top imports it


def annotation_of(text: object, function: Callable[..., object]) -> Any:
    """Return the value of an annotation of *function*; an empty class stands for each name that cannot be found."""
    if not isinstance(text, str):
        return text
    names = getattr(function, "__globals__", {})
    try:
        return eval(text, {**names}, _Missing(names))  # source code of the class, not text of the user
    except Exception:  # an annotation may be any expression; one that cannot be evaluated allows anything
        return Any


class _Missing(dict[str, Any]):
    """Names that the module of an annotation does not have at run time."""

    def __init__(self, present: dict[str, Any]) -> None:
        super().__init__()
        self._present = present

    def __missing__(self, name: str) -> Any:
        if name in self._present or hasattr(builtins, name):
            raise KeyError(name)
        if name in _MODULES:
            return _MODULES[name]
        if (public := name.removeprefix("Async") if name.endswith("Store") else name) in PUBLIC:
            return import_name("storage", PUBLIC, name, public)
        for module in (collections.abc, typing, datetime, pathlib):
            if hasattr(module, name):
                return getattr(module, name)
        return type(name, (), {"__class_getitem__": classmethod(lambda cls, _: cls)})


def kind_of(annotation: Any) -> Kind:
    """Return the kind of a parameter with this annotation."""
    if annotation in (Any, object, inspect.Parameter.empty):
        return Anything()
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return kind_of(arguments[0])
    if origin in (Union, types.UnionType):
        return UnionOf([kind_of(each) for each in arguments])
    if origin is Literal:
        return Choice(arguments)
    if origin is Callable or annotation is Callable:
        return ObjectReference("callable")
    if isinstance(annotation, TypeVar):
        return kind_of(annotation.__bound__) if annotation.__bound__ else Anything()
    for alias in ("__supertype__", "__value__"):  # of a NewType, of a ``type`` statement
        if hasattr(annotation, alias):
            return kind_of(getattr(annotation, alias))
    if annotation is None:
        return Nothing()
    cls = origin or annotation
    return _kind_of_class(cls, arguments) if isinstance(cls, type) else Anything()


def _kind_of_class(cls: type, arguments: tuple[Any, ...]) -> Kind:
    if issubclass(cls, ObjectStore):
        return Store(cls)
    for known, kind in _CLASSES:
        if issubclass(cls, known):
            return kind()
    if issubclass(cls, collections.abc.Mapping):
        return MappingOf(*map(kind_of, arguments)) if len(arguments) == 2 else MappingOf(Text(), Anything())
    if issubclass(cls, tuple) and arguments and arguments[-1] is not ...:
        return TupleOf([kind_of(each) for each in arguments])
    for known, make in _COLLECTIONS:
        if issubclass(cls, known) and cls.__module__ in ("builtins", "collections.abc"):
            return ListOf(kind_of(arguments[0]) if arguments else Anything(), make)
    return ObjectReference(cls.__name__)
