"""`registry`: every class of store by its name."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeAlias

from storage._core.subclass_table import SUBCLASSES, SubclassTable
from storage._core.suggestions import did_you_mean
from storage._names import SHORT_NAMES, STORES
from storage.errors import ConfigError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from storage.base import ObjectStore

__all__ = ["Registry", "StoreSession", "registry"]

StoreClass: TypeAlias = "type[ObjectStore[Any, Any]]"


class Registry:
    """
    Classes of stores by name: ``registry["GzipStore"]``, ``"GzipStore" in registry``, ``sorted(registry)``.

    It has every subclass of `ObjectStore` that exists, by its class name and its short names (``class
    ShelfStore(ObjectStore, name="shelf")``). A class that is defined again with the same module and name, as in a
    notebook, replaces the first one. The stores of this package and of installed packages (entry points) are imported
    when they are looked up. ``Async`` before a name changes nothing.

    Iterating yields the class names of all stores that can be made, sorted.

    Args:
        homes: classes that are imported only when they are looked up, and their modules.
        short_names: short names of these classes.
        group: the group of entry points to read, ``""`` for none.
    """

    def __init__(
        self,
        homes: Mapping[str, str] | None = None,
        *,
        short_names: Mapping[str, str] | None = None,
        group: str = "",
    ) -> None:
        self._homes = dict(homes or {})
        self._short_homes = dict(short_names or {})
        self._group = group
        self._subclasses = SubclassTable(self._homes, self._short_homes)
        self._entries: dict[str, EntryPoint] = {}

    def register(self, cls: StoreClass, *names: str) -> None:
        """
        Add a class by its name and by short *names*; `storage.registry` gets every subclass of `ObjectStore` so.

        Raises:
            ConfigError: a short name is not valid, or another class has it.
        """
        self._subclasses.add(cls, *names)

    def __getitem__(self, name: str) -> StoreClass:
        """
        Return the class of this name, short name or entry point.

        Raises:
            ConfigError: there is no such class, or several; or its package cannot be imported.
        """
        found = self._find(name)
        if len(found) > 1:
            gc.collect()  # a class that is no longer used may still wait for its collection
            del found
            found = self._find(name)
        if not found:
            raise ConfigError(f"no store is named {name!r}: {did_you_mean(name, [*self, *self.short_names()])}")
        if len(found) > 1:
            places = " and ".join(sorted(map(_place, found)))
            raise ConfigError(f'{name!r} is ambiguous: {places}; give one a short name: class ...(..., name="...")')
        return found[0]

    def __contains__(self, name: object) -> bool:
        """Return whether the name is known; the class of an entry point is not imported for that."""
        return isinstance(name, str) and any(
            each in self._homes or each in self._short_homes or self._subclasses.named(each) or self._entry_points(each)
            for each in _spellings(name)
        )

    def __iter__(self) -> Iterator[str]:
        """Yield the class names of all stores that can be made, sorted."""
        defined = {cls.__name__ for cls in self._subclasses if _is_whole(cls)}
        self._read()
        return iter(sorted({*self._homes, *defined, *map(_class_name, self._entries.values())}))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def short_names(self) -> dict[str, str]:
        """Return the short names of stores, which are also the schemes of URLs, and the class name of each."""
        self._read()
        named = {name: _class_name(entry) for name, entry in self._entries.items()}
        return dict(sorted({**self._short_homes, **named, **self._subclasses.short_names()}.items()))

    def session(self) -> StoreSession:
        """Return a session, which closes the stores made in it: ``async with registry.session() as session:``."""
        return StoreSession(self)

    # -- looking up a name ---------------------------------------------------------------------------------------

    def _find(self, name: str) -> list[StoreClass]:
        """Return all classes that *name* may mean, each once."""
        for each in _spellings(name):
            found = self._subclasses.named(each)
            known = self._short_homes.get(each, each)
            if known in self._homes:
                found.append(getattr(import_module(self._homes[known]), known))
            else:  # an entry point cannot take a name of the package
                found += [self._load(entry) for entry in self._entry_points(each)]
            if found:
                return list(dict.fromkeys(found))
        return []

    # -- entry points --------------------------------------------------------------------------------------------

    def _entry_points(self, name: str) -> list[EntryPoint]:
        """Return the entry points of this name, or of a class of this name; if there are none, read them again."""
        for reading in (False, True):
            if reading:
                self._read()
            if found := [each for each in self._entries.values() if name in (each.name, _class_name(each))]:
                return found
        return []

    def _read(self) -> None:
        """
        Read the entry points of all installed packages.

        Raises:
            ConfigError: two have the same name, or one has the name of a store of this package.
        """
        if not self._group:
            return
        from importlib.metadata import entry_points  # takes longer than all of this package

        entries: dict[str, EntryPoint] = {}
        for entry in entry_points(group=self._group):
            other = entries.setdefault(entry.name, entry)
            if other.value != entry.value:
                both = f"{_origin(other)} and {_origin(entry)}"
                raise ConfigError(f"the entry point {entry.name!r} is defined twice, by {both}: uninstall one package")
            if (known := self._short_homes.get(entry.name, entry.name)) in self._homes:
                raise ConfigError(
                    f"the entry point {entry.name!r} of {_origin(entry)} has the name of storage.{known}: rename it"
                )
        self._entries = entries

    def _load(self, entry: EntryPoint) -> StoreClass:
        """
        Import the class of an entry point.

        Raises:
            ConfigError: the import fails, or it is not a class of stores.
        """
        from storage.base import ObjectStore

        try:
            loaded = entry.load()
        except Exception as cause:  # whatever the import raises, the package is to blame
            _broken(entry, f"cannot be imported: {type(cause).__name__}: {cause}", cause)
        if not (isinstance(loaded, type) and issubclass(loaded, ObjectStore)):
            _broken(entry, "is not a subclass of ObjectStore")
        return loaded


class StoreSession:
    """
    Makes stores and keeps them open until its ``async with`` ends, which closes them all, the last one first.

    Args:
        registry: the registry that has the classes.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._opened = AsyncExitStack()

    async def open(self, name: str, *args: Any, **parameters: Any) -> ObjectStore[Any, Any]:
        """
        Make a store and open it.

        Args:
            name: the name of its class, as in `Registry`.
            args: arguments for its constructor.
            parameters: keyword arguments for its constructor.

        Raises:
            ConfigError: there is no such class.
        """
        return await self._opened.enter_async_context(self._registry[name](*args, **parameters))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._opened.__aexit__(kind, error, traceback)


def _spellings(name: str) -> list[str]:
    """Return the names that *name* may mean, the most exact first."""
    return [name, name.removeprefix("Async")] if name.startswith("Async") else [name]


def _class_name(entry: EntryPoint) -> str:
    return entry.attr.rpartition(".")[2]


def _place(cls: type[Any]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _is_whole(cls: type[Any]) -> bool:
    """Return whether stores can be made of this class: it is neither private nor abstract."""
    return not cls.__name__.startswith("_") and not inspect.isabstract(cls)


def _origin(entry: EntryPoint) -> str:
    return f"{entry.value} of the package {entry.dist.name if entry.dist else '?'}"


def _broken(entry: EntryPoint, how: str, cause: Exception | None = None) -> NoReturn:
    raise ConfigError(f"the entry point {entry.name!r}: {_origin(entry)} {how}") from cause


#: All stores by name: those of this package, of installed packages, and of the program.
registry: Registry = Registry(STORES, short_names=SHORT_NAMES, group="storage.stores")
registry._subclasses = SUBCLASSES  # to which deriving from `ObjectStore` adds a class
