"""The form of a configuration: which keys it has at each level, and what belongs behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from storage._core.suggestions import did_you_mean
from storage.config.parameters.kind import called
from storage.errors import ConfigError

__all__ = ["Definition", "Document", "definition", "read"]

#: What the keys of a definition and of a document mean is said with the classes.
KEYS = ("type", "base", "config")
TOP = ("stores", "main")


@dataclass(frozen=True)
class Definition:
    """
    What a configuration says of one store; variables are not replaced yet.

    Attributes:
        type: the class's name.
        base: the store below, or several: a name, a list, a mapping, None.
        config: values for the constructor's parameters.
    """

    type: str
    base: Any
    config: dict[str, Any]


@dataclass(frozen=True)
class Document:
    """
    A whole configuration.

    Attributes:
        stores: the definitions, each under its name.
        main: the store to build when none is named: a name, a mapping, None.
    """

    stores: dict[str, Definition]
    main: Any


def read(document: object, where: str) -> Document:
    """
    Return what a document says.

    Args:
        document: as YAML or JSON gives it.
        where: what errors begin with.

    Raises:
        ConfigError: it has not the form.
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
    Return what a mapping with ``type`` says.

    Args:
        value: as YAML or JSON gives it.
        where: what errors begin with.

    Raises:
        ConfigError: it has not the form.
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
    """Return whether a key is for editors, or a place for YAML's anchors: it is not ours to read."""
    return name == "$schema" or name.startswith("x-")
