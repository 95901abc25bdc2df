"""`StoreFactory`: stacks of stores from a configuration."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    StoreDecorator,
    StoreFactory,
    registry,
)


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


OBJECTS: dict[str, object] = {"tell": print}

# -- building --------------------------------------------------------------------------------------------------------

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
    """Types, bases, parameters and variables, and the one that ``main:`` names."""
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
    """No file is made, and none is looked for."""
    config = {
        "disk": {"type": "sqlite", "config": {"path": str(tmp_path / "a" / "b.sqlite")}},
        "zip": {"type": "zip", "config": {"path": str(tmp_path / "c.zip")}},
        "files": {"type": "file", "config": {"root": str(tmp_path / "d")}},
    }

    assert 3 == len([build(config, name) for name in config])
    assert [] == list(tmp_path.iterdir())


def test_shared_base_is_built_once() -> None:
    """Two stores over one database are over one connection, and what is built twice is the same."""
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
    """A name, a list, a mapping of parameters, and definitions in their places."""
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
    """A single stack needs no names at all, and is the same one each time."""
    factory = StoreFactory({"stores": {}, "main": {"type": "GzipStore", "base": {"type": "memory"}}})

    assert "GzipStore(DictStore())" == repr(factory.build())
    assert factory.build() is factory.build()


def test_store_knows_its_name() -> None:
    """What takes a ``store_name`` is logged under the configuration's; one that is said counts."""
    stores = {
        "archive": {"type": "PlentyStore"},
        "said": {"type": "PlentyStore", "config": {"store_name": "other"}},
        "above": {"type": "GzipStore", "base": {"type": "PlentyStore"}},
    }

    assert "archive" == build(stores, "archive").given["store_name"]
    assert "other" == build(stores, "said").given["store_name"]
    assert "above" == build(stores, "above").base.given["store_name"]


def test_options_of_any_name_are_handed_on() -> None:
    """A constructor that takes what it does not know takes it from a configuration too."""
    stores = {
        "s": {"type": "SwitchStore", "base": {"routes": {"": {"type": "memory"}}}, "config": {"x": [1], "y": "z"}}
    }

    assert {"x": [1], "y": "z"} == build(stores).options


def test_parameters_behind_options_are_those_of_the_base() -> None:
    """They are converted, and a typo in one has its suggestion."""

    class SmallStore(GzipStore):
        """Hands on what it is given."""

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
    """Also by its short name, and with the annotations of code that imports types for checkers only."""
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
    with pytest.raises(ConfigError, match="'client' of LazyStore: expected the name of one of the factory's objects"):
        build(stores)


def test_registry_decides_what_a_configuration_may_name() -> None:
    """One of its own is a list of what is allowed."""
    few = Registry()
    few.register(DictStore, "ram")

    assert isinstance(build({"s": {"type": "ram"}}, registry=few), DictStore)
    with pytest.raises(ConfigError, match="unknown type 'GzipStore': there are: DictStore, ram"):
        build({"s": {"type": "GzipStore", "base": "s"}}, registry=few)


# -- values ----------------------------------------------------------------------------------------------------------

CONVERTED: list[tuple[str, Any, Any]] = [
    ("text", "a", "a"),
    ("text", "${TEXT}", "some text"),
    ("text", "${EMPTY}", ""),
    ("text", "${NUMBER}", "60"),
    ("text", "a ${NUMBER}", "a 60"),
    ("whole", 3, 3),
    ("whole", "${NUMBER}", 60),
    ("whole", "${NUMBER}0", 600),
    ("whole", "${MISSING:--5}", -5),
    ("number", 3, 3),
    ("number", 1.5, 1.5),
    ("number", "${NUMBER}", 60.0),
    ("number", "${MISSING:-1e-3}", 0.001),
    ("truth", True, True),
    ("truth", "${MISSING:-yes}", True),
    ("truth", "${MISSING:-FALSE}", False),
    ("truth", "${MISSING:-0}", False),
    ("path", "a/b", Path("a/b")),
    ("path", "~/b", Path("~/b").expanduser()),
    ("choice", "b", "b"),
    ("choice", 3, 3),
    ("choice", "${MISSING:-3}", 3),
    ("age", 90, timedelta(seconds=90)),
    ("age", "${NUMBER}", timedelta(seconds=60)),
    ("ttl", 90, 90),
    ("ttl", "${NUMBER}", 60.0),
    ("ttl", None, None),
    ("maybe", None, None),
    ("maybe", "${EMPTY}", None),
    ("maybe", "${MISSING:-null}", None),
    ("maybe", "${NUMBER}", 60),
    ("either", "a", "a"),
    ("either", 5, 5),
    ("either", "${NUMBER}", 60),
    ("either", "${TEXT}", "some text"),
    ("either", "${EMPTY}", ""),
    ("words", ["a", "${TEXT}"], ["a", "some text"]),
    ("unique", [1, 2, 1], frozenset({1, 2})),
    ("pair", ["a", 1], ("a", 1)),
    ("table", {"a": 1, "${NUMBER}": "${NUMBER}"}, {"a": 1, "60": 60.0}),
    ("pattern", "a+", re.compile("a+")),
    ("secret", b"\x00\xff", b"\x00\xff"),
    ("secret", "AP8=", b"\x00\xff"),
    ("keys", {"k1": "deadbeef"}, {"k1": "deadbeef"}),
    ("keys", {"k1": b"dead"}, {"k1": b"dead"}),
    ("told", "tell", print),
    ("logger", "my.logger", logging.getLogger("my.logger")),
    ("anything", {"a": ["${NUMBER}", 1]}, {"a": ["60", 1]}),
    ("plain", [1, "${NUMBER}"], [1, "60"]),
]


@pytest.mark.parametrize(("name", "value", "expected"), CONVERTED)
def test_values_become_what_the_annotation_says(name: str, value: Any, expected: Any) -> None:
    """YAML's own types as they are; text from variables by the parameter's annotation."""
    environ = {"TEXT": "some text", "NUMBER": "60", "EMPTY": ""}

    found = plenty(environ, **{name: value})

    assert (type(expected), expected) == (type(found), found)
    assert repr(expected) == repr(found)


REFUSED: list[tuple[str, Any, str]] = [
    ("text", 3, "expected text, not a whole number: put it in quotes"),
    ("text", True, "expected text, not true or false: put it in quotes"),
    ("text", ["a"], "expected text, not a list"),
    ("whole", "3", "expected a whole number, not text"),
    ("whole", 1.5, "expected a whole number, not a number"),
    ("whole", True, "expected a whole number, not true or false"),
    ("whole", "${TEXT}", "expected a whole number, not the value of ${TEXT}"),
    ("whole", "${MISSING:-1_000}", "not the value of ${MISSING}"),
    ("number", "1.5", "expected a number, not text"),
    ("number", "${MISSING:-nan}", "expected a number"),
    ("truth", "yes", "expected true or false, not text"),
    ("truth", 1, "expected true or false, not a whole number"),
    ("path", 1, "expected a path"),
    ("choice", "c", "expected 'a' or 'b' or 3, not text"),
    ("choice", "3", "expected 'a' or 'b' or 3"),
    ("choice", None, "not nothing"),
    ("age", "soon", "expected a number, not text"),
    ("age", 1e300, "that a timedelta can hold"),
    ("ttl", "soon", "expected a number of seconds or nothing, not text"),
    ("maybe", "a", "expected a whole number, not text"),
    ("words", "abc", "expected a list, each text, not text"),
    ("words", ["a", 1], "item 2: expected text"),
    ("unique", [[1]], "item 1: expected a whole number, not a list"),
    ("pair", ["a"], "expected a list of 2: text, a whole number; not 1"),
    ("pair", ["a", "b"], "item 2: expected a whole number"),
    ("table", {"a": "b"}, "'a': expected a number, not text"),
    ("table", {1: 1}, "a key: expected text"),
    ("table", [1], "expected a mapping"),
    ("pattern", "a(", "not a regular expression: "),
    ("secret", "no base64!", "expected bytes in base64, not text"),
    ("told", "unknown", "a callable; there are: 'tell' (StoreFactory(..., objects="),
    ("told", "os.system", "expected the name of one of the factory's objects"),
    ("told", 3, "expected the name of one of the factory's objects"),
    ("logger", 3, "expected the name of a logger or text or nothing, not a whole number"),
]


@pytest.mark.parametrize(("name", "value", "message"), REFUSED)
def test_values_of_a_wrong_type_are_refused(name: str, value: Any, message: str) -> None:
    """The error says the store, the parameter and what it takes."""
    with pytest.raises(ConfigError) as caught:
        plenty({"TEXT": "some text"}, **{name: value})

    assert str(caught.value).startswith(f"the configuration: store 's': parameter '{name}' of PlentyStore: ")
    assert message in str(caught.value)
    assert "some text" not in str(caught.value)


# -- errors ----------------------------------------------------------------------------------------------------------

MEMORY = {"type": "memory"}

WRONG: dict[str, tuple[Any, str]] = {
    "nothing": (None, "it is empty"),
    "a list": ([], "is not a mapping"),
    "text": ("stores", "is not a mapping"),
    "no stores": ({"main": "a"}, "'stores:' is not a mapping"),
    "a wrong key": ({"stores": {}, "mian": "a"}, "unknown key 'mian': did you mean 'main'?"),
    "a name that is no text": ({"stores": {1: MEMORY}}, "'stores:': a name is text"),
    "a store that is no mapping": ({"stores": {"a": "b"}}, "store 'a' is not a mapping"),
    "no type": ({"stores": {"a": {"base": "b"}}}, "store 'a': it needs 'type:'"),
    "a wrong key in a store": (
        {"stores": {"a": {"type": "x", "bsae": "b"}}},
        "store 'a': unknown key 'bsae': did you mean 'base'",
    ),
    "a parameter beside the others": (
        {"stores": {"a": {"type": "x", "level": 1}}},
        "store 'a': unknown key 'level': there are: base, config, type",
    ),
    "config that is no mapping": (
        {"stores": {"a": {"type": "x", "config": [1]}}},
        "store 'a': 'config:' is not a mapping",
    ),
    "no main": ({"stores": {"a": MEMORY, "b": MEMORY}}, "there is no 'main:'; name the store to build: a, b"),
    "a wrong main": (
        {"stores": {"disk": MEMORY}, "main": "dsik"},
        "main: no store is named 'dsik': did you mean 'disk'?",
    ),
    "a main that is no name": ({"stores": {}, "main": 3}, "main: expected the name of a store, not a whole number"),
    "an unknown type": (
        {"stores": {"a": {"type": "GzpStore"}}, "main": "a"},
        "store 'a': unknown type 'GzpStore': did you mean 'GzipStore'?",
    ),
    "an import path": ({"stores": {"a": {"type": "os.system"}}, "main": "a"}, "store 'a': unknown type 'os.system'"),
    "a base class": ({"stores": {"a": {"type": "StoreDecorator"}}, "main": "a"}, "store 'a': unknown type"),
    "an unknown parameter": (
        {"stores": {"a": {"type": "PrefixStore", "base": "b", "config": {"prefx": "p"}}, "b": MEMORY}, "main": "a"},
        "store 'a': PrefixStore has no parameter 'prefx': did you mean 'prefix'? There are: base, prefix",
    ),
    "a parameter of none": (
        {"stores": {"a": {"type": "memory", "config": {"size": 1}}}, "main": "a"},
        "store 'a': DictStore has no parameter 'size': there are none",
    ),
    "a missing parameter": (
        {"stores": {"a": {"type": "PrefixStore", "base": "b"}, "b": MEMORY}, "main": "a"},
        "store 'a': PrefixStore needs 'prefix': text",
    ),
    "a missing base": (
        {"stores": {"a": {"type": "GzipStore"}, "b": MEMORY}, "main": "a"},
        "store 'a': GzipStore needs 'base: NAME', here for 'base'; there are: a, b",
    ),
    "half a base": (
        {"stores": {"a": {"type": "PairStore", "base": {"second": "b"}}, "b": MEMORY}, "main": "a"},
        "store 'a': PairStore needs 'base: {first: NAME, second: NAME}', here for 'first'",
    ),
    "an unknown base": (
        {"stores": {"a": {"type": "GzipStore", "base": "disk"}, "disc": MEMORY}, "main": "a"},
        "store 'a': no store is named 'disk': did you mean 'disc'? There are: a, disc",
    ),
    "a base that is no name": (
        {"stores": {"a": {"type": "GzipStore", "base": 3}}, "main": "a"},
        "store 'a': parameter 'base' of GzipStore: expected the name of a store, not a whole number",
    ),
    "a base of a store that has none": (
        {"stores": {"a": {"type": "memory", "base": "b"}, "b": MEMORY}, "main": "a"},
        "store 'a': DictStore is not built on another store; leave 'base:' out",
    ),
    "a list of bases for one": (
        {"stores": {"a": {"type": "GzipStore", "base": ["b"]}, "b": MEMORY}, "main": "a"},
        "store 'a': GzipStore does not take this as its 'base:', but 'base: NAME'",
    ),
    "one base for a list": (
        {"stores": {"a": {"type": "RowStore", "base": "b"}, "b": MEMORY}, "main": "a"},
        "store 'a': RowStore does not take this as its 'base:', but 'base: [NAME, ...]'",
    ),
    "a base of an unknown name": (
        {"stores": {"a": {"type": "PairStore", "base": {"frist": "b"}}, "b": MEMORY}, "main": "a"},
        "store 'a': PairStore has no store 'frist' below it: did you mean 'first'?",
    ),
    "a base given twice": (
        {"stores": {"a": {"type": "GzipStore", "base": "b", "config": {"base": "b"}}, "b": MEMORY}, "main": "a"},
        "store 'a': 'base' is both in 'base:' and in 'config:'",
    ),
    "a circle": (
        {
            "stores": {name: {"type": "GzipStore", "base": base} for name, base in zip("abc", "bcb", strict=True)},
            "main": "a",
        },
        "store 'c': a store cannot be below itself: b -> c -> b",
    ),
    "a circle of one": ({"stores": {"a": {"type": "GzipStore", "base": "a"}}, "main": "a"}, "a -> a"),
    "a circle through a definition": (
        {"stores": {"a": {"type": "GzipStore", "base": {"type": "PrefixStore", "base": "a"}}}, "main": "a"},
        "store 'a', the PrefixStore in it: a store cannot be below itself: a -> a",
    ),
    "an error in a definition within": (
        {"stores": {"a": {"type": "GzipStore", "base": {"type": "memory", "cnofig": {}}}}, "main": "a"},
        "store 'a', in it: unknown key 'cnofig': did you mean 'config'?",
    ),
    "what a constructor refuses": (
        {"stores": {"a": {"type": "GzipStore", "base": "b", "config": {"level": 10}}, "b": MEMORY}, "main": "a"},
        "store 'a': GzipStore: a gzip level is 0 to 9, not 10",
    ),
    "a missing variable": (
        {"stores": {"a": {"type": "SqliteStore", "config": {"path": "${NO_SUCH_VARIABLE}/x"}}}, "main": "a"},
        "store 'a': parameter 'path': the variable NO_SUCH_VARIABLE is not set",
    ),
    "a missing variable in a list": (
        {"stores": {"a": {"type": "RowStore", "base": ["b", "${NO_SUCH_VARIABLE}"]}, "b": MEMORY}, "main": "a"},
        "store 'a': base: the variable NO_SUCH_VARIABLE is not set",
    ),
    "a reference that is none": (
        {"stores": {"a": {"type": "${"}}, "main": "a"},
        "store 'a': type: '${' without a variable's name behind it",
    ),
}


@pytest.mark.parametrize(("document", "message"), WRONG.values(), ids=list(WRONG))
def test_error_names_the_file_the_store_and_what_is_right(document: Any, message: str, tmp_path: Path) -> None:
    """Enough to correct the file without opening the documentation."""
    path = tmp_path / "stores.yaml"
    path.write_text(_yaml(document))

    with pytest.raises(ConfigError) as caught:
        StoreFactory(path).build()

    assert str(caught.value).startswith(f"{path}")
    assert message in str(caught.value)


def _yaml(document: Any) -> str:
    import yaml

    text: str = yaml.safe_dump(document)
    return text


def test_name_that_is_asked_for_has_suggestions_too() -> None:
    """As one in the file has."""
    with pytest.raises(ConfigError, match=r"^the configuration: no store is named 'dsik': did you mean 'disk'\?"):
        StoreFactory({"stores": {"disk": MEMORY}}).build("dsik")


def test_what_is_not_built_need_not_be_right() -> None:
    """A variable is needed where its store is."""
    stores = {"a": MEMORY, "b": {"type": "sqlite", "config": {"path": "${NO_SUCH_VARIABLE}"}}, "c": {"type": "unknown"}}

    assert isinstance(build(stores, "a"), DictStore)


def test_keys_for_editors_and_anchors_are_left_alone() -> None:
    """``$schema`` is how editors find the schema of a JSON file."""
    assert [] == StoreFactory({"$schema": "schema.json", "x-common": [1], "stores": {}}).names


class LeakyStore(DictStore):
    """A store whose constructor tells everything."""

    def __init__(self, password: str, port: int = 1) -> None:
        raise ValueError(f"no luck with {password} and {password!r} on port {port}")


def test_errors_show_no_value_of_a_variable() -> None:
    """Not even when the class's own error does; then the cause is not shown either."""
    stores = {"s": {"type": "LeakyStore", "config": {"password": "${PASSWORD}", "port": "${PORT}"}}}
    secret = "hunter2\n'\\"

    with pytest.raises(ConfigError) as caught:
        build(stores, environ={"PASSWORD": secret, "PORT": "17"})

    text = str(caught.value)
    assert "hunter2" not in text
    assert "no luck with (the value of ${PASSWORD}) and " in text
    assert "on port 17" in text
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("key", ["type", "base"])
def test_names_from_variables_are_not_shown_either(key: str) -> None:
    """A secret in the wrong variable is still a secret."""
    stores = {"s": {"type": "GzipStore", "base": "s2", key: "${PASSWORD}"}, "s2": MEMORY}

    with pytest.raises(ConfigError) as caught:
        build(stores, environ={"PASSWORD": "hunter2"})

    assert "hunter2" not in str(caught.value)
    assert "the value of ${PASSWORD}" in str(caught.value)


def test_stack_too_deep_for_python_is_an_error_too() -> None:
    """A file with ten thousand levels is refused, not a crash."""
    stores: dict[str, Any] = {f"s{at}": {"type": "GzipStore", "base": f"s{at + 1}"} for at in range(10_000)}

    with pytest.raises(ConfigError, match="stacked too deep"):
        build({**stores, "s10000": MEMORY}, "s0")


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
    """Also a store that the caller opened, and the base of two, once."""
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
    """Its error is raised, after all were tried."""

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
    """The same from `storage.sync`: built once, opened, closed together."""
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
    assert [] == left._held  # nothing waits on the loop for what the factory opened to be left
    with left:
        assert b"1" == left.get("k")
    assert "storage.sync.StoreFactory('the configuration')" == repr(factory)


# -- any input -------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "c", "", "${X}", "${MISSING}", "${X:-b}"])
TYPES = st.sampled_from(
    [
        "memory",
        "GzipStore",
        "PrefixStore",
        "PlentyStore",
        "PairStore",
        "RowStore",
        "SwitchStore",
        "zip",
        "a",
        "${X}",
        "$",
    ]
)
PARAMETERS = st.sampled_from(
    ["prefix", "level", "path", "routes", "rules", "first", "second", "children", "size", "ttl", "words", "told"]
)
SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.dates(),
    st.binary(max_size=5),
    NAMES,
    TYPES,
    st.text(max_size=5),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | PARAMETERS | st.integers(), inner, max_size=3),
    max_leaves=8,
)


def definitions(base: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return definitions of stores over these bases."""
    bases = st.one_of(base, NAMES, st.lists(base, max_size=3), st.dictionaries(PARAMETERS, base, max_size=3), VALUES)
    config = st.none() | st.dictionaries(PARAMETERS, VALUES, max_size=3)
    kinds: st.SearchStrategy[Any] = TYPES
    return st.fixed_dictionaries({"type": kinds}, optional={"base": bases, "config": config})


DEFINITIONS = st.recursive(NAMES | definitions(NAMES), definitions, max_leaves=5)
STORES: st.SearchStrategy[Any] = st.dictionaries(st.sampled_from(["a", "b", "c"]), DEFINITIONS | VALUES, max_size=3)
DOCUMENTS = st.fixed_dictionaries({"stores": STORES}, optional={"main": DEFINITIONS | VALUES})


@given(st.one_of(DOCUMENTS, DOCUMENTS, DOCUMENTS, VALUES))
def test_any_document_gives_a_store_or_a_config_error(document: Any) -> None:
    """Whatever is in a file, nothing else happens."""
    if not isinstance(document, Mapping):
        document = {"stores": document}
    with contextlib.suppress(ConfigError):
        factory = StoreFactory(document, environ={"X": "a"}, objects={"a": print})
        for name in (None, *factory.names):
            with contextlib.suppress(ConfigError):
                assert isinstance(factory.build(name), ObjectStore)


def test_the_registry_is_the_global_one() -> None:
    """What this file defines is found, because deriving registers."""
    assert PlentyStore is registry["PlentyStore"]
