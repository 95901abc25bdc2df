"""`StoreFactory` and `open_store` of `storage.sync`: neither is awaited, so that neither can be generated."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import storage

if TYPE_CHECKING:
    from storage.config.registry import Registry
    from storage.sync import ObjectStore

__all__ = ["StoreFactory", "open_store"]


class StoreFactory:
    """
    Builds the stores of a configuration: a YAML or JSON file, or a mapping of the same form.

    Each store is built once, also one that several others are built on. Building reads and opens nothing.

    Args:
        source: the path of a file, or a mapping.
        objects: what no text can say (functions, clients, loggers), under the names that the configuration has for it.
            They are the async store's: functions are called where it runs.
        registry: where types are looked up; a configuration can name nothing else.
        environ: the variables for ``${NAME}``; those of the process, if it is not given.

    Raises:
        ConfigError: it is no configuration; the text names the file, the store and what would be right.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | Mapping[str, Any],
        *,
        objects: Mapping[str, object] | None = None,
        registry: Registry | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._factory = storage.StoreFactory(
            source, objects=objects, registry=registry or storage.registry, environ=environ
        )
        self._faces: dict[int, ObjectStore[Any, Any]] = {}  # by the async store's identity; the factory keeps it alive
        self._opened = ExitStack()

    @property
    def names(self) -> list[str]:
        """The names of all stores, in the order of the configuration."""
        return self._factory.names

    def build(self, name: str | None = None) -> ObjectStore[Any, Any]:
        """
        Return a store, not opened yet: ``with factory.build() as store:``. Each time it is the same one.

        Args:
            name: of the store; the one that ``main:`` names, if it is not given.

        Raises:
            ConfigError: it cannot be built; the text names the file, the store and what would be right.
        """
        from storage.sync import ObjectStore  # which imports this module

        store = self._factory.build(name)
        return self._faces.setdefault(id(store), ObjectStore(store))

    def open(self, name: str | None = None) -> ObjectStore[Any, Any]:
        """
        Return a store, opened; it stays open until the factory is closed.

        Args:
            name: of the store; the one that ``main:`` names, if it is not given.

        Raises:
            ConfigError: it cannot be built; the text names the file, the store and what would be right.
        """
        return self._opened.enter_context(self.build(name))

    def close(self) -> None:
        """Close all stores that were built, whoever has opened them, the last one first. They may be opened again."""
        with ExitStack() as closing:
            for store in self._faces.values():
                closing.callback(store.close)
            closing.callback(self._opened.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"storage.sync.{self._factory!r}"


def open_store(url: str, **options: object) -> ObjectStore[Any, Any]:
    """
    Return the store that a URL names; it is not opened yet.

    ``with open_store("sqlite:objects.sqlite") as store:`` opens it; `storage.open_store` says what URLs there are.

    Args:
        url: the URL; no part of it but the scheme and the parameters' names is in the text of an error.
        options: arguments for the constructor, of which a URL cannot say all.

    Raises:
        ConfigError: there is no such scheme or parameter, or a value is not of the parameter's type.
    """
    from storage.sync import ObjectStore  # which imports this module

    return ObjectStore(storage.open_store(url, **options))
