"""`SyncStoreFactory`: the base of `storage.sync.StoreFactory`, by hand because the async factory is not awaited."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from storage._sync.facade import SyncStore

if TYPE_CHECKING:
    from storage.config.registry import Registry

__all__ = ["SyncStoreFactory"]

Store = TypeVar("Store", bound=SyncStore[Any])


class SyncStoreFactory(Generic[Store]):
    """
    Builds the stores of a configuration: a YAML or JSON file, or a mapping of the same form.

    Each store is built once, also one that several others are built on. Building reads and opens nothing.

    Args:
        source: the path of a file, or a mapping.
        objects: what text cannot express (functions, clients, loggers), under the names that the configuration uses.
            They belong to the async store: functions are called where it runs.
        registry: the registry that has the types; a configuration can name nothing else.
        environ: the variables for ``${NAME}``; by default those of the process.

    Raises:
        ConfigError: it is not a configuration; the message names the file, the store and the correction.
    """

    #: The class of the stores, which `storage.sync` sets.
    _store_class: type[Store]

    def __init__(
        self,
        source: str | os.PathLike[str] | Mapping[str, Any],
        *,
        objects: Mapping[str, object] | None = None,
        registry: Registry | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        from storage.config.factory import StoreFactory  # takes long to import
        from storage.config.registry import registry as default

        self._factory = StoreFactory(source, objects=objects, registry=registry or default, environ=environ)
        self._stores: dict[int, Store] = {}  # by the id of the async store, which the factory keeps alive
        self._opened = ExitStack()

    @property
    def names(self) -> list[str]:
        """The names of all stores, in the order of the configuration."""
        return self._factory.names

    def build(self, name: str | None = None) -> Store:
        """
        Return a store, not opened yet: ``with factory.build() as store:``. Each time it is the same one.

        Args:
            name: the name of the store; by default that of ``main:``.

        Raises:
            ConfigError: it cannot be built; the message names the file, the store and the correction.
        """
        store = self._factory.build(name)
        return self._stores.setdefault(id(store), self._store_class(store))

    def open(self, name: str | None = None) -> Store:
        """
        Return a store, opened; it stays open until the factory is closed.

        Args:
            name: the name of the store; by default that of ``main:``.

        Raises:
            ConfigError: it cannot be built; the message names the file, the store and the correction.
        """
        store = self.build(name)
        self._opened.enter_context(store)
        return store

    def close(self) -> None:
        """Close all stores that were built, even if others opened them, the last one first. They may be reopened."""
        with ExitStack() as closing:
            for store in self._stores.values():
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
