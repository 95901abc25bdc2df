"""The registry: every class of store by its name."""

from __future__ import annotations

import gc
import subprocess
import sys
import types
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import storage
from storage import ConfigError, DictStore, ObjectStore, Registry, StorageError, StoreClosedError, registry
from storage._names import SHORT_NAMES, STORES
from storage._tools.sync_api import BASES


def shelf(module: str = "shelves", **options: Any) -> type[DictStore]:
    """Return a new class ``ShelfStore``, as if the module defined it."""
    body = {"__module__": module, "__qualname__": "ShelfStore"}
    return types.new_class("ShelfStore", (DictStore,), options, lambda namespace: namespace.update(body))


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    """The classes of one test are gone in the next."""
    yield
    gc.collect()


# -- names -----------------------------------------------------------------------------------------------------------


def test_every_public_store_is_known_by_its_name() -> None:
    """The names are known without an import; this test compares them with the stores."""
    public = {name: getattr(storage, name) for name in storage.__all__}
    stores = {name for name, value in public.items() if isinstance(value, type) and issubclass(value, ObjectStore)}

    assert stores - BASES == set(STORES)
    assert [public[name] for name in STORES] == [registry[name] for name in STORES]
    assert set(SHORT_NAMES.values()) <= set(STORES)


def test_iteration_is_of_sorted_class_names() -> None:
    """Each name once, and their number."""
    names = list(Registry(STORES, short_names=SHORT_NAMES))

    assert sorted(STORES) == names
    assert len(names) == len(Registry(STORES, short_names=SHORT_NAMES))
    assert set(names) <= set(registry)


def test_async_before_a_name_changes_nothing() -> None:
    """Users of other libraries know the stores by these names."""
    assert DictStore is registry["AsyncDictStore"]
    assert "AsyncGzipStore" in registry
    assert "AsyncNothing" not in registry


@pytest.mark.parametrize("name", SHORT_NAMES)
def test_short_names_are_other_names_of_the_same_classes(name: str) -> None:
    """`memory` in a configuration is as good as `DictStore`."""
    assert registry[SHORT_NAMES[name]] is registry[name]
    assert SHORT_NAMES[name] == registry.short_names()[name]


def test_unknown_name_suggests_the_nearest_and_lists_all() -> None:
    """The message is enough to correct a typo."""
    with pytest.raises(ConfigError, match=r"'GzpStore': did you mean 'GzipStore'\? Available: .*DictStore") as caught:
        registry["GzpStore"]

    assert isinstance(caught.value, StorageError)
    assert isinstance(caught.value, ValueError)
    assert "GzpStore" not in registry
    assert 3 not in registry


@pytest.mark.parametrize(
    ("wrong", "right"), [("gzip", "GzipStore"), ("Sqlite_Store", "SqliteStore"), ("hash-dir", "HashdirStore")]
)
def test_what_people_write_differently_is_near(wrong: str, right: str) -> None:
    """Letter case, hyphens and the word Store do not count as mistakes."""
    with pytest.raises(ConfigError) as caught:
        registry[wrong]

    assert "did you mean" in str(caught.value)
    assert registry[str(caught.value).split("did you mean '")[1].split("'")[0]] is registry[right]


@pytest.mark.process
def test_looking_up_imports_one_store_and_importing_none() -> None:
    """The registry imports nothing until a store is looked up, and then only that store."""
    code = (
        "import sys, storage; from storage import registry; names = list(registry); 'SqliteStore' in registry\n"
        "assert not {'aiosqlite', 'sqlite3', 'storage.stores.zip.store'} & set(sys.modules), 'imported'\n"
        "registry['zip']; print(*({'storage.stores.zip.store', 'storage.stores.sqlite.store'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)

    assert "storage.stores.zip.store\n" == result.stdout, result.stderr


# -- classes of the program ------------------------------------------------------------------------------------------


def test_deriving_registers() -> None:
    """A subclass is registered without a further call."""
    made = shelf(name="shelf")

    assert made is registry["ShelfStore"]
    assert made is registry["shelf"]
    assert made is registry["AsyncShelfStore"]
    assert "ShelfStore" in set(registry)
    assert "ShelfStore" == registry.short_names()["shelf"]


def test_a_class_may_have_several_short_names() -> None:
    """`http` and `https` are also names of one store."""
    made = shelf(name=("shelf", "shelves"))

    assert [made, made] == [registry["shelf"], registry["shelves"]]


def test_bases_and_private_classes_are_not_listed() -> None:
    """Iterating yields only classes that stores are made of."""

    class UnfinishedStore(ObjectStore):
        """A base."""

    class _OwnStore(DictStore):
        """A store for its own module."""

    assert not {"UnfinishedStore", "_OwnStore", "FileStore", "StoreDecorator", "ObjectStore"} & set(registry)
    assert [UnfinishedStore, _OwnStore] == [registry["UnfinishedStore"], registry["_OwnStore"]]


def test_subclass_has_a_name_of_its_own() -> None:
    """A short name is not inherited: two classes would have it."""
    made = shelf(name="shelf")
    derived = types.new_class("BoxStore", (made,))

    assert made is registry["shelf"]
    assert derived is registry["BoxStore"]


def test_defined_anew_in_the_same_place_replaces() -> None:
    """A cell of a notebook runs again and again, and the last class counts."""
    first = shelf(name="shelf")
    second = shelf(name="shelf")

    assert second is registry["ShelfStore"]
    assert second is registry["shelf"]
    assert first is not second


def test_defined_anew_without_its_short_name_gives_it_up() -> None:
    """A name that is no longer in the source is no longer known."""
    first = shelf(name="shelf")
    second = shelf()

    assert second is registry["ShelfStore"]
    assert "shelf" not in registry
    assert first is not second


def test_two_classes_of_one_name_are_an_error_when_looked_up() -> None:
    """To define them is no error: not all programs look stores up by name."""
    classes = [shelf("upstairs"), shelf("downstairs", name="cellar")]

    with pytest.raises(ConfigError, match=r"ambiguous: downstairs\.ShelfStore and upstairs\.ShelfStore.*name="):
        registry["ShelfStore"]
    assert "ShelfStore" in registry
    assert classes[1] is registry["cellar"]


def test_a_class_of_the_name_of_ours_is_ambiguous_too() -> None:
    """Neither silently replaces the other, whichever was imported first."""

    class GzipStore(DictStore):
        """A user's class."""

    both = r"ambiguous: storage\.decorators\.gzip\.GzipStore and tests\.contract\.test_registry\."
    with pytest.raises(ConfigError, match=both):
        registry["GzipStore"]
    assert GzipStore.__name__ in registry


def test_short_names_clash_at_once() -> None:
    """A short name is chosen deliberately, so two classes cannot have the same one."""
    first = shelf("upstairs", name="shelf")

    with pytest.raises(ConfigError, match=r"downstairs\.ShelfStore: the short name 'shelf' is taken by upstairs\."):
        shelf("downstairs", name="shelf")
    with pytest.raises(ConfigError, match=r"'sqlite' is taken by storage\.stores\.sqlite\.SqliteStore"):
        shelf("downstairs", name="sqlite")
    assert first is registry["shelf"]
    assert first is registry["ShelfStore"]


@pytest.mark.parametrize("name", ["", "S", "Shelf", "my_shelf", "1a", "a b", "ä"])
def test_short_name_is_a_word_that_a_url_can_begin_with(name: str) -> None:
    """Each short name can be the scheme of a URL."""
    with pytest.raises(ConfigError, match=r"invalid short name .*: use lower-case letters"):
        shelf(name=name)


def test_classes_are_not_kept_alive() -> None:
    """A class that was deleted does not clash, even while it waits for its collection."""
    gone = weakref.ref(shelf("upstairs", name="shelf"))

    kept = shelf("downstairs", name="shelf")

    assert gone() is None
    assert kept is registry["shelf"]
    assert kept is registry["ShelfStore"]


def test_a_registry_of_ones_own_knows_what_it_was_given() -> None:
    """For configurations that may name some stores only."""
    few = Registry()
    few.register(DictStore, "ram")

    assert ["DictStore"] == list(few)
    assert DictStore is few["ram"]
    assert "GzipStore" not in few


# -- made together, closed together ----------------------------------------------------------------------------------


async def test_stores_of_a_session_are_closed_together(tmp_path: Path) -> None:
    """They are open as long as the session is open."""
    async with registry.session() as session:
        first = await session.open("SqliteStore", path=tmp_path / "a.sqlite")
        second = await session.open("sqlite", tmp_path / "b.sqlite")
        await first.put("k", b"1")
        await second.put("k", b"2")

    for store in (first, second):
        with pytest.raises(StoreClosedError):
            await store.get("k")


async def test_session_closes_what_it_opened_when_one_cannot_be(tmp_path: Path) -> None:
    """An error in the session leaves nothing open."""
    opened = []

    async def open_both() -> None:
        async with registry.session() as session:
            opened.append(await session.open("SqliteStore", path=tmp_path / "a.sqlite"))
            await session.open("SqliteStore", path=tmp_path / "missing" / "b.sqlite")

    with pytest.raises(StorageError):
        await open_both()
    [first] = opened
    with pytest.raises(StoreClosedError):
        await first.get("k")
