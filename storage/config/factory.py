"""`StoreFactory`: stores and stacks from a configuration."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from storage._concurrency.mutex import ReentrantLock
from storage.base import ObjectStore
from storage.config.builder import BuildContext, Builder
from storage.config.document import read
from storage.config.files import load
from storage.config.parameters.kind import MismatchError
from storage.config.registry import Registry, registry
from storage.errors import ConfigError

__all__ = ["StoreFactory"]


class _BuildLock(ReentrantLock):
    __slots__ = ()
    runs_users_code = True  # the stores' constructors


class StoreFactory:
    """
    Builds the stores of a configuration: a YAML or JSON file, or a mapping of the same form.

    Each store is built once, also when several others are built on it. Building opens no store.

    Args:
        source: the path of a YAML or JSON file, or a mapping.
        objects: objects that text cannot express (functions, clients, loggers), by their names in the configuration.
        registry: where types are looked up; a configuration can use no other types.
        environ: the variables for ``${NAME}``; by default the environment of the process.

    Raises:
        ConfigError: the configuration is not valid; the text names the file, the store and the fix.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | Mapping[str, Any],
        *,
        objects: Mapping[str, object] | None = None,
        registry: Registry = registry,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        file = "the configuration" if isinstance(source, Mapping) else os.fspath(source)
        document = read(source if isinstance(source, Mapping) else load(source), file)
        variables = os.environ if environ is None else environ
        self._context = BuildContext(file, document, registry, dict(objects or {}), variables)
        self._building = _BuildLock()

    @property
    def names(self) -> list[str]:
        """The names of all stores, in the order of the configuration."""
        return list(self._context.document.stores)

    def build(self, name: str | None = None) -> ObjectStore[Any, Any]:
        """
        Return a store that is not opened yet: ``async with factory.build() as store:``. It is the same one each time.

        Args:
            name: the name of the store; by default the store that ``main:`` names.

        Raises:
            ConfigError: the store cannot be built; the text names the file, the store and the fix.
        """
        context = self._context
        with self._building:
            try:
                if name is not None:
                    return Builder(context).store(name)
                if context.main is None:
                    main = self._build_main()
                    if context.main is None:  # else a signal handler has built it meanwhile
                        context.main = main
                return context.main
            except RecursionError:
                raise ConfigError(f"{context.file}: the stores are stacked too deeply") from None

    async def open(self, name: str | None = None) -> ObjectStore[Any, Any]:
        """
        Return an open store; it stays open until the factory is closed.

        Args:
            name: the name of the store; by default the store that ``main:`` names.

        Raises:
            ConfigError: the store cannot be built; the text names the file, the store and the fix.
        """
        return await self.build(name).__aenter__()

    async def aclose(self) -> None:
        """Close all built stores, the upper ones first, no matter who opened them. They may be opened again."""
        async with AsyncExitStack() as closing:
            for store in self._context.built:
                closing.push_async_callback(store.aclose)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._context.file!r})"

    def _build_main(self) -> ObjectStore[Any, Any]:
        builder, main = Builder(self._context, "main"), self._context.document.main
        if main is None:
            names = ", ".join(self.names) or "none"
            raise ConfigError(
                f"{self._context.file}: there is no 'main:': add it, or name the store to build; available: {names}"
            )
        try:
            return builder.store(builder.expanded(main))
        except MismatchError as error:
            raise ConfigError(f"{self._context.file}: main: {error}") from None
