"""`make`: makes one store from a class and values of a configuration or a URL, or explains what is wrong."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from storage._core.suggestions import did_you_mean
from storage.base import ObjectStore
from storage.config.interpolation import Expanded
from storage.config.parameters.constructor import Constructor
from storage.config.parameters.kind import Building, MismatchError
from storage.errors import ConfigError

__all__ = ["make"]

#: Shorter text from outside is shown: hiding every ``1`` would make an error unreadable and protect no secret.
SHORT = 4

_UNKNOWN = re.compile(r"unexpected keyword argument '(\w+)'")


def make(
    cls: type[ObjectStore[Any, Any]],
    values: Mapping[str, object],
    *,
    where: str,
    building: Building,
    given: Mapping[str, object] | None = None,
    secrets: Sequence[Expanded] = (),
) -> ObjectStore[Any, Any]:
    """
    Return a new store.

    Args:
        cls: its class.
        values: the values of the constructor's parameters, as YAML gives them, or `Expanded` text.
        where: how errors begin: the file and the store's name, or the URL's scheme.
        building: finds the stores and objects that values name.
        given: arguments that need no conversion.
        secrets: text that no error may show, in addition to the values.

    Raises:
        ConfigError: the values do not fit the constructor, or the constructor refuses them.
    """
    if inspect.isabstract(cls):
        raise ConfigError(f"{where}: {cls.__name__} is an abstract class: use a class derived from it")
    constructor = Constructor(cls)
    arguments = dict(given or {})
    for name in [*values, *arguments]:
        if name not in constructor.parameters and constructor.others is None:
            raise ConfigError(
                f"{where}: {cls.__name__} has no parameter {name!r}: {did_you_mean(name, constructor.parameters)}"
            )
        if name in values and name in arguments:
            raise ConfigError(f"{where}: the parameter {name!r} is given twice")
    for name, value in values.items():
        kind = constructor.parameters[name].kind if name in constructor.parameters else constructor.others
        assert kind is not None
        try:
            arguments[name] = kind.convert(value, building)
        except MismatchError as error:
            raise ConfigError(f"{where}: parameter {name!r} of {cls.__name__}: {error}") from None
    for name, parameter in constructor.parameters.items():
        if parameter.required and name not in arguments:
            raise ConfigError(f"{where}: {cls.__name__} needs the parameter {name!r}: {parameter.kind.expects}")
    try:
        return constructor.call(arguments)
    except Exception as cause:  # whatever a constructor raises, the values are the reason
        text = str(cause) or type(cause).__name__
        if isinstance(cause, TypeError) and (
            unknown := _UNKNOWN.search(text)
        ):  # raised by the constructor that gets its options
            text = f"has no parameter {unknown[1]!r}: {did_you_mean(unknown[1], constructor.parameters)}"
        hidden = _hide(text, [values, *secrets])
        raise ConfigError(f"{where}: {cls.__name__}: {hidden}") from (cause if hidden == text else None)


def _hide(text: str, values: object) -> str:
    """Return an error's text without values from the environment or a URL: they may be secrets."""
    for value in _texts(values):
        if len(value) >= SHORT:
            for form in (str.__str__(value), repr(str.__str__(value))[1:-1]):
                text = text.replace(form, f"({value.source})")
    return text


def _texts(value: object) -> Iterator[Expanded]:
    """Yield all text from outside in a value."""
    if isinstance(value, Expanded):
        yield value
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from _texts(name)
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)
