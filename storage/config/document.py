"""The form of a configuration: which keys it has at each level, and which values they take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from storage._core.suggestions import did_you_mean
from storage.config.parameters.kind import called
from storage.errors import ConfigError

__all__ = ["Definition", "Document", "definition", "read"]

#: The keys of a definition and of a document; the classes below explain them.
KEYS = ("type", "base", "config")
TOP = ("stores", "main")


@dataclass(frozen=True)
class Definition:
    """
    The definition of one store in a configuration; variables are not replaced yet.

    Attributes:
        type: the name of the class.
        base: the store or the stores below it: a name, a list, a mapping or None.
        config: the values of the constructor's parameters.
    """

    type: str
    base: Any
    config: dict[str, Any]


@dataclass(frozen=True)
class Document:
    """
    A whole configuration.

    Attributes:
        stores: the definitions, by name.
        main: the store to build when no name is given: a name, a mapping or None.
    """

    stores: dict[str, Definition]
    main: Any


def read(document: object, where: str) -> Document:
    """
    Return the `Document` in a value that YAML or JSON gave.

    Args:
        document: the value.
        where: how errors begin.

    Raises:
        ConfigError: it does not have the required form.
    """
    if document is None:
        raise ConfigError(f"{where}: it is empty: it must have 'stores:'")
    top = _mapping(document, where)
    _check_keys({name: value for name, value in top.items() if not _is_foreign(name)}, TOP, where)
    stores = _mapping(top.get("stores"), f"{where}: 'stores:'")
    return Document(
        {name: definition(each, f"{where}: store {name!r}") for name, each in stores.items()}, top.get("main")
    )


def definition(value: object, where: str) -> Definition:
    """
    Return the `Definition` in a mapping.

    Args:
        value: the mapping, as YAML or JSON gives it.
        where: how errors begin.

    Raises:
        ConfigError: it does not have the required form.
    """
    found = _mapping(value, where)
    _check_keys(found, KEYS, where)
    kind, config = found.get("type"), found.get("config")
    if not isinstance(kind, str):
        raise ConfigError(f"{where}: it needs 'type:' and the name of a class, for example 'type: SqliteStore'")
    return Definition(kind, found.get("base"), {} if config is None else _mapping(config, f"{where}: 'config:'"))


def _mapping(value: object, where: str) -> dict[str, Any]:
    """Return a mapping whose keys are names."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where} must be a mapping (name: value), not {called(value)}")
    for name in value:
        if not isinstance(name, str):
            raise ConfigError(f"{where}: a name must be text, not {called(name)}: put it in quotes")
    return dict(value)


def _check_keys(found: Mapping[str, object], valid: tuple[str, ...], where: str) -> None:
    for name in found:
        if name not in valid:
            raise ConfigError(f"{where}: unknown key {name!r}: {did_you_mean(name, valid)}")


def _is_foreign(name: str) -> bool:
    """Return whether a key is for editors or for YAML's anchors, and is not read here."""
    return name == "$schema" or name.startswith("x-")
