"""`StoreFactory`: stacks of stores from a configuration, and their life cycle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from config_stores import OBJECTS, PlentyStore, build

import storage.sync
from storage import (
    ConfigError,
    DictStore,
    GzipStore,
    ObjectStore,
    PrefixStore,
    Registry,
    SqliteStore,
    StoreClosedError,
    StoreFactory,
    registry,
)

YAML = """
stores:
  disk: {type: SqliteStore, config: {path: "${DIRECTORY}/objects.sqlite", busy_timeout: "${PATIENCE:-3}"}}
  packed: {type: AsyncGzipStore, base: disk, config: {level: 9}}
  part:
    type: PrefixStore
    base: disk
    config: {prefix: part/}
main: packed
"""


async def test_stack_is_built_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with types, bases, parameters and variables gives the stack that ``main:`` names."""
    monkeypatch.setenv("DIRECTORY", str(tmp_path))
    (tmp_path / "stores.yaml").write_text(YAML)

    factory = StoreFactory(tmp_path / "stores.yaml")
    store = factory.build()

    assert ["disk", "packed", "part"] == factory.names
    assert isinstance(store, GzipStore)
    assert 9 == store.level
    assert isinstance(store.base, SqliteStore)
    assert 3.0 == store.base.busy_timeout
    async with store:
        await store.put("k", b"value")
        assert b"value" == await store.get("k")
    assert (tmp_path / "objects.sqlite").exists()


def test_building_opens_nothing(tmp_path: Path) -> None:
    """Building creates no file and reads none."""
    config = {
        "disk": {"type": "sqlite", "config": {"path": str(tmp_path / "a" / "b.sqlite")}},
        "zip": {"type": "zip", "config": {"path": str(tmp_path / "c.zip")}},
        "files": {"type": "file", "config": {"root": str(tmp_path / "d")}},
    }

    assert 3 == len([build(config, name) for name in config])
    assert [] == list(tmp_path.iterdir())


def test_shared_base_is_built_once() -> None:
    """Two stores over one database share its store, and building a name twice gives the same store."""
    shared = {
        "base": {"type": "memory"},
        "left": {"type": "GzipStore", "base": "base"},
        "right": {"type": "PrefixStore", "base": "base", "config": {"prefix": "r/"}},
        "both": {"type": "PairStore", "base": {"first": "left", "second": "right"}},
    }
    factory = StoreFactory({"stores": shared, "main": "both"})

    both: Any = factory.build()

    assert both.base.base is both.second.base
    assert both.base is factory.build("left")
    assert both is factory.build() is factory.build("both")


def test_all_ways_to_write_a_base() -> None:
    """A base can be a name, a list or a mapping of parameters, with names or definitions."""
    stores = {
        "a": {"type": "memory"},
        "b": {"type": "memory"},
        "list": {"type": "RowStore", "base": ["a", "b", {"type": "GzipStore", "base": "a"}]},
        "pair": {"type": "PairStore", "base": {"first": "a", "second": {"type": "dict"}}},
        "first": {"type": "PairStore", "base": "b"},
        "in config": {"type": "PairStore", "config": {"first": "a", "second": "b", "size": 2}},
        "switch": {"type": "SwitchStore", "base": {"routes": {"x/": "a", "y/": "b"}, "rules": [["z", "a"]]}},
        "within": {"type": "GzipStore", "base": {"type": "PrefixStore", "base": "a", "config": {"prefix": "p/"}}},
    }
    factory = StoreFactory({"stores": stores})
    a, b = factory.build("a"), factory.build("b")
    built: dict[str, Any] = {name: factory.build(name) for name in stores}

    assert [a, b] == built["list"].stores[:2]
    assert a is built["list"].stores[2].base
    assert (a, "DictStore") == (built["pair"].base, type(built["pair"].second).__name__)
    assert (b, None) == (built["first"].base, built["first"].second)
    assert (a, b, 2) == (built["in config"].base, built["in config"].second, built["in config"].size)
    assert ({"x/": a, "y/": b}, [("z", a)]) == (built["switch"].routes, built["switch"].rules)
    assert isinstance(built["within"].base, PrefixStore)


def test_main_may_be_a_definition() -> None:
    """A single stack needs no names, and each build gives the same store."""
    factory = StoreFactory({"stores": {}, "main": {"type": "GzipStore", "base": {"type": "memory"}}})

    assert "GzipStore(DictStore())" == repr(factory.build())
    assert factory.build() is factory.build()


def test_store_knows_its_name() -> None:
    """A parameter ``store_name`` gets the name from the configuration, unless it is given."""
    stores = {
        "archive": {"type": "PlentyStore"},
        "said": {"type": "PlentyStore", "config": {"store_name": "other"}},
        "above": {"type": "GzipStore", "base": {"type": "PlentyStore"}},
    }

    assert "archive" == build(stores, "archive").given["store_name"]
    assert "other" == build(stores, "said").given["store_name"]
    assert "above" == build(stores, "above").base.given["store_name"]


def test_options_of_any_name_are_handed_on() -> None:
    """A constructor with ``**options`` gets any parameter of the configuration."""
    stores = {
        "s": {"type": "SwitchStore", "base": {"routes": {"": {"type": "memory"}}}, "config": {"x": [1], "y": "z"}}
    }

    assert {"x": [1], "y": "z"} == build(stores).options


def test_parameters_behind_options_are_those_of_the_base() -> None:
    """Parameters of the base class are converted, and a typo gets a suggestion."""

    class SmallStore(GzipStore):
        """Passes its options on."""

        def __init__(self, base: ObjectStore, **options: Any) -> None:
            super().__init__(base, **options)

    def made(**config: Any) -> Any:
        return build(
            {"s": {"type": "SmallStore", "base": {"type": "memory"}, "config": config}}, environ={"LEVEL": "9"}
        )

    assert SmallStore is type(made())
    assert 9 == made(level="${LEVEL}").level
    with pytest.raises(ConfigError, match="SmallStore: has no parameter 'lvel': did you mean 'level'"):
        made(lvel=1)


def test_class_of_the_program_is_a_type_like_any() -> None:
    """It can have a short name, and annotations whose types are imported for type checkers only."""
    source = """
from __future__ import annotations
from typing import TYPE_CHECKING
from storage import StoreDecorator
if TYPE_CHECKING:
    from collections.abc import Mapping
    from elsewhere import Client
    from storage import ObjectStore

class LazyStore(StoreDecorator, name="lazy"):
    def __init__(self, base: ObjectStore, table: Mapping[str, int] | None = None, client: Client | None = None):
        super().__init__(base)
        self.table = table
        self.client = client
"""
    namespace: dict[str, Any] = {"__name__": "lazy_module"}
    exec(source, namespace)
    stores = {"s": {"type": "lazy", "base": {"type": "memory"}, "config": {"table": {"a": 1}, "client": "mine"}}}

    store = build(stores, objects={"mine": OBJECTS})

    assert ({"a": 1}, OBJECTS) == (store.table, store.client)
    with pytest.raises(ConfigError, match=r"'client' of LazyStore: expected the name of a Client in StoreFactory\("):
        build(stores)


def test_registry_decides_what_a_configuration_may_name() -> None:
    """A registry of its own is the list of allowed types."""
    few = Registry()
    few.register(DictStore, "ram")

    assert isinstance(build({"s": {"type": "ram"}}, registry=few), DictStore)
    with pytest.raises(ConfigError, match="unknown type 'GzipStore': available: DictStore, ram"):
        build({"s": {"type": "GzipStore", "base": "s"}}, registry=few)


def test_the_registry_is_the_global_one() -> None:
    """A class that a module defines is registered by deriving it."""
    assert PlentyStore is registry["PlentyStore"]


# -- life cycle ------------------------------------------------------------------------------------------------------


def disks(directory: Path) -> dict[str, Any]:
    """Return a configuration of a database and two stores over it."""
    return {
        "stores": {
            "disk": {"type": "sqlite", "config": {"path": str(directory / "objects.sqlite")}},
            "left": {"type": "PrefixStore", "base": "disk", "config": {"prefix": "l/"}},
            "right": {"type": "PrefixStore", "base": "disk", "config": {"prefix": "r/"}},
        },
        "main": "left",
    }


async def test_factory_closes_all_that_it_built(tmp_path: Path) -> None:
    """It closes also a store that the caller opened, and a shared base once."""
    async with StoreFactory(disks(tmp_path)) as factory:
        left = await factory.open()
        right = await factory.build("right").__aenter__()
        await left.put("k", b"1")
        await right.put("k", b"2")
        assert ["l/k", "r/k"] == [key async for key in factory.build("disk").keys()]

    for store in (left, right, factory.build("disk")):
        with pytest.raises(StoreClosedError):
            await store.get("k")
    async with left:
        assert b"1" == await left.get("k")


async def test_one_that_cannot_be_closed_does_not_keep_the_others_open(tmp_path: Path) -> None:
    """All stores are closed, then the error is raised."""

    class StuckStore(DictStore):
        """Cannot be closed."""

        async def _close(self) -> None:
            raise OSError("stuck")

    config = disks(tmp_path)
    config["stores"]["stuck"] = {"type": "StuckStore"}
    factory = StoreFactory(config)
    disk = await factory.open("disk")
    await factory.open("stuck")

    with pytest.raises(OSError, match="stuck"):
        await factory.aclose()
    with pytest.raises(StoreClosedError):
        await disk.get("k")


def test_factory_without_await(tmp_path: Path) -> None:
    """`storage.sync.StoreFactory` builds stores once, opens them and closes them together."""
    with storage.sync.StoreFactory(disks(tmp_path)) as factory:
        left, right = factory.open(), factory.build("right").__enter__()
        left.put("k", b"1")
        right.put("k", b"2")

        assert ["disk", "left", "right"] == factory.names
        assert factory.build() is factory.build("left") is left
        with factory.build("disk") as disk:
            assert ["l/k", "r/k"] == list(disk.keys())

    for store in (left, right):
        with pytest.raises(StoreClosedError):
            store.get("k")
    assert [] == left._entered  # nothing waits on the loop for what the factory opened to be left
    with left:
        assert b"1" == left.get("k")
    assert "storage.sync.StoreFactory('the configuration')" == repr(factory)
