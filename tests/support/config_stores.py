"""Stores whose constructors take one of everything, and short ways to build them from a configuration."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from storage import DictStore, ObjectStore, StoreDecorator, StoreFactory

#: What the configurations' programs hand over.
OBJECTS: dict[str, object] = {"tell": print}

#: The definition of a store that needs nothing.
MEMORY = {"type": "memory"}


class PlentyStore(DictStore):
    """A store that takes one of everything, and keeps it."""

    def __init__(  # type: ignore[no-untyped-def]
        self,
        *,
        text: str = "",
        whole: int = 0,
        number: float = 0.0,
        truth: bool = False,
        path: Path = Path(),
        choice: Literal["a", "b", 3] = "a",
        age: timedelta = timedelta(),
        ttl: float | timedelta | None = None,
        maybe: int | None = None,
        either: int | str | None = None,
        words: Iterable[str] = (),
        unique: frozenset[int] = frozenset(),
        pair: tuple[str, int] = ("", 0),
        table: Mapping[str, float] | None = None,
        pattern: re.Pattern[str] | None = None,
        secret: bytes = b"",
        keys: Mapping[str, bytes | str] | None = None,
        told: Callable[[str], None] | None = None,
        logger: logging.Logger | str | None = None,
        anything: Any = None,
        plain=None,  # without an annotation
        store_name: str | None = None,
    ) -> None:
        self.given = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        super().__init__()


class PairStore(StoreDecorator):
    """A decorator over two stores."""

    def __init__(self, first: ObjectStore, second: ObjectStore | None = None, *, size: int = 1) -> None:
        super().__init__(first)
        self.second = second
        self.size = size


class RowStore(StoreDecorator):
    """A decorator over a list of stores."""

    def __init__(self, children: Sequence[ObjectStore], *, require: Literal["all", "any"] = "all") -> None:
        super().__init__(children[0])
        self.stores = list(children)


class SwitchStore(StoreDecorator):
    """A decorator over a mapping to stores, and pairs of them."""

    def __init__(
        self, routes: Mapping[str, ObjectStore], rules: Iterable[tuple[str, ObjectStore]] = (), **options: Any
    ) -> None:
        super().__init__(next(iter(routes.values())))
        self.routes = routes
        self.rules = list(rules)
        self.options = options


def build(stores: Mapping[str, Any], name: str | None = None, **options: Any) -> Any:
    """Build the store of this name, or the first."""
    return StoreFactory({"stores": stores}, **options).build(name or next(iter(stores)))


def plenty(environ: Mapping[str, str] | None = None, **config: Any) -> Any:
    """Return what the parameters of a `PlentyStore` became."""
    store = build({"s": {"type": "PlentyStore", "config": config}}, environ=environ or {}, objects=OBJECTS)
    [given] = [{name: store.given[name] for name in config}]
    return next(iter(given.values())) if len(given) == 1 else given
