"""`SUBCLASSES`: the subclasses of `ObjectStore` that a program defines; `storage.registry` looks them up there."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator, Mapping
from typing import Any
from weakref import WeakValueDictionary

from storage._names import SHORT_NAMES, STORES
from storage.errors import ConfigError

__all__ = ["SUBCLASSES", "SubclassTable", "register_subclass"]

#: What a short name may be: what a URL's scheme may be (RFC 3986), in lower case.
_SHORT_NAME = re.compile(r"[a-z][a-z0-9+.-]+")


class SubclassTable:
    """
    Classes of stores by class name and short name. It keeps no class alive.

    A class that is defined again with the same module and name, as in a notebook, replaces the first one.

    Args:
        homes: classes of the package, whose names are taken, and their modules.
        short_names: their short names.
    """

    def __init__(self, homes: Mapping[str, str], short_names: Mapping[str, str]) -> None:
        self._homes = dict(homes)
        self._short_homes = dict(short_names)
        self._classes: WeakValueDictionary[tuple[str, str], type[Any]] = WeakValueDictionary()
        self._short: dict[str, tuple[str, str]] = {}

    def add(self, cls: type[Any], *names: str) -> None:
        """
        Add a class by its name and by short *names*.

        Raises:
            ConfigError: a short name is not valid, or another class has it.
        """
        place = (cls.__module__, cls.__qualname__)
        for name in names:
            if _SHORT_NAME.fullmatch(name) is None:
                raise ConfigError(
                    f"{'.'.join(place)}: invalid short name {name!r}: use lower-case letters, digits, '+', '-' and "
                    "'.', like 'shelf' or 'my-shelf'"
                )
            if taken := self._taken(name, place):
                raise ConfigError(f"{'.'.join(place)}: the short name {name!r} is taken by {taken}; choose another")
        kept = {name: owner for name, owner in self._short.items() if owner != place}
        self._short = {**kept, **dict.fromkeys(names, place)}
        self._classes[place] = cls

    def __iter__(self) -> Iterator[type[Any]]:
        """Yield the classes."""
        return iter(self._classes.values())

    def named(self, name: str) -> list[type[Any]]:
        """Return the classes of this name or short name."""
        found = [cls for cls in self._classes.values() if cls.__name__ == name]
        short = self._classes.get(self._short[name]) if name in self._short else None
        return found if short is None or short in found else [*found, short]

    def short_names(self) -> dict[str, str]:
        """Return the short names of the classes, and the class name of each."""
        return {name: self._classes[place].__name__ for name, place in self._short.items() if place in self._classes}

    def _taken(self, name: str, place: tuple[str, str]) -> str | None:
        """Return the class that has a short name already, unless it is the class of this place."""
        known = self._short_homes.get(name, name)
        if known in self._homes:
            return f"{self._homes[known]}.{known}"
        owner = self._short.get(name, place)
        if owner != place and owner in self._classes:
            gc.collect()
        return ".".join(owner) if owner != place and owner in self._classes else None


#: The subclasses of `ObjectStore` outside this package.
SUBCLASSES = SubclassTable(STORES, SHORT_NAMES)


def register_subclass(cls: type[Any], name: str | tuple[str, ...]) -> None:
    """Add a new class to `SUBCLASSES`, unless it is one of this package: `storage._names` has these."""
    if not cls.__module__.startswith("storage."):
        SUBCLASSES.add(cls, *((name,) if isinstance(name, str) else name))
