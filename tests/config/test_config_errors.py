"""`StoreFactory`: what the errors of a configuration say, and what they hide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from config_stores import MEMORY, build

from storage import ConfigError, DictStore, StoreFactory

WRONG: dict[str, tuple[Any, str]] = {
    "nothing": (None, "it is empty: it must have 'stores:'"),
    "a list": ([], "must be a mapping (name: value), not a list"),
    "text": ("stores", "must be a mapping (name: value), not text"),
    "no stores": ({"main": "a"}, "'stores:' must be a mapping (name: value), not null"),
    "a wrong key": ({"stores": {}, "mian": "a"}, "unknown key 'mian': did you mean 'main'?"),
    "a name that is no text": (
        {"stores": {1: MEMORY}},
        "'stores:': a name must be text, not a whole number: put it in quotes",
    ),
    "a store that is no mapping": ({"stores": {"a": "b"}}, "store 'a' must be a mapping (name: value), not text"),
    "no type": ({"stores": {"a": {"base": "b"}}}, "store 'a': it needs 'type:' and the name of a class"),
    "a wrong key in a store": (
        {"stores": {"a": {"type": "x", "bsae": "b"}}},
        "store 'a': unknown key 'bsae': did you mean 'base'",
    ),
    "a parameter beside the others": (
        {"stores": {"a": {"type": "x", "level": 1}}},
        "store 'a': unknown key 'level': available: base, config, type",
    ),
    "config that is no mapping": (
        {"stores": {"a": {"type": "x", "config": [1]}}},
        "store 'a': 'config:' must be a mapping (name: value), not a list",
    ),
    "no main": (
        {"stores": {"a": MEMORY, "b": MEMORY}},
        "there is no 'main:': add it, or name the store to build; available: a, b",
    ),
    "a wrong main": (
        {"stores": {"disk": MEMORY}, "main": "dsik"},
        "main: there is no store named 'dsik': did you mean 'disk'?",
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
        "store 'a': PrefixStore has no parameter 'prefx': did you mean 'prefix'? Available: base, prefix",
    ),
    "a parameter of none": (
        {"stores": {"a": {"type": "memory", "config": {"size": 1}}}, "main": "a"},
        "store 'a': DictStore has no parameter 'size': available: none",
    ),
    "a missing parameter": (
        {"stores": {"a": {"type": "PrefixStore", "base": "b"}, "b": MEMORY}, "main": "a"},
        "store 'a': PrefixStore needs the parameter 'prefix': text",
    ),
    "a missing base": (
        {"stores": {"a": {"type": "GzipStore"}, "b": MEMORY}, "main": "a"},
        "store 'a': GzipStore needs a store for 'base': write 'base: NAME'; available: a, b",
    ),
    "half a base": (
        {"stores": {"a": {"type": "PairStore", "base": {"second": "b"}}, "b": MEMORY}, "main": "a"},
        "store 'a': PairStore needs a store for 'first': write 'base: {first: NAME, second: NAME}'",
    ),
    "an unknown base": (
        {"stores": {"a": {"type": "GzipStore", "base": "disk"}, "disc": MEMORY}, "main": "a"},
        "store 'a': there is no store named 'disk': did you mean 'disc'? Available: a, disc",
    ),
    "a base that is no name": (
        {"stores": {"a": {"type": "GzipStore", "base": 3}}, "main": "a"},
        "store 'a': parameter 'base' of GzipStore: expected the name of a store, not a whole number",
    ),
    "a base of a store that has none": (
        {"stores": {"a": {"type": "memory", "base": "b"}, "b": MEMORY}, "main": "a"},
        "store 'a': DictStore is not built on another store: remove 'base:'",
    ),
    "a list of bases for one": (
        {"stores": {"a": {"type": "GzipStore", "base": ["b"]}, "b": MEMORY}, "main": "a"},
        "store 'a': GzipStore cannot be built on this 'base:': write 'base: NAME'",
    ),
    "one base for a list": (
        {"stores": {"a": {"type": "RowStore", "base": "b"}, "b": MEMORY}, "main": "a"},
        "store 'a': RowStore cannot be built on this 'base:': write 'base: [NAME, ...]'",
    ),
    "a base of an unknown name": (
        {"stores": {"a": {"type": "PairStore", "base": {"frist": "b"}}, "b": MEMORY}, "main": "a"},
        "store 'a': PairStore has no store parameter 'frist': did you mean 'first'?",
    ),
    "a base given twice": (
        {"stores": {"a": {"type": "GzipStore", "base": "b", "config": {"base": "b"}}, "b": MEMORY}, "main": "a"},
        "store 'a': parameter 'base' is given in 'base:' and in 'config:': give it once",
    ),
    "a circle": (
        {
            "stores": {name: {"type": "GzipStore", "base": base} for name, base in zip("abc", "bcb", strict=True)},
            "main": "a",
        },
        "store 'c': a store cannot be built on itself: b -> c -> b",
    ),
    "a circle of one": ({"stores": {"a": {"type": "GzipStore", "base": "a"}}, "main": "a"}, "a -> a"),
    "a circle through a definition": (
        {"stores": {"a": {"type": "GzipStore", "base": {"type": "PrefixStore", "base": "a"}}}, "main": "a"},
        "store 'a', the PrefixStore defined in it: a store cannot be built on itself: a -> a",
    ),
    "an error in a definition within": (
        {"stores": {"a": {"type": "GzipStore", "base": {"type": "memory", "cnofig": {}}}}, "main": "a"},
        "store 'a', the store defined in it: unknown key 'cnofig': did you mean 'config'?",
    ),
    "what a constructor refuses": (
        {"stores": {"a": {"type": "GzipStore", "base": "b", "config": {"level": 10}}, "b": MEMORY}, "main": "a"},
        "store 'a': GzipStore: level must be 0 to 9, not 10",
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
        "store 'a': type: '${' needs the name of a variable after it",
    ),
}


@pytest.mark.parametrize(("document", "message"), WRONG.values(), ids=list(WRONG))
def test_error_names_the_file_the_store_and_what_is_right(document: Any, message: str, tmp_path: Path) -> None:
    """The error is enough to correct the file without the documentation."""
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
    """An unknown name that the program gives gets a suggestion, as one in the file does."""
    with pytest.raises(ConfigError, match=r"^the configuration: there is no store named 'dsik': did you mean 'disk'\?"):
        StoreFactory({"stores": {"disk": MEMORY}}).build("dsik")


def test_what_is_not_built_need_not_be_right() -> None:
    """Errors in stores that are not built are not reported."""
    stores = {"a": MEMORY, "b": {"type": "sqlite", "config": {"path": "${NO_SUCH_VARIABLE}"}}, "c": {"type": "unknown"}}

    assert isinstance(build(stores, "a"), DictStore)


def test_keys_for_editors_and_anchors_are_left_alone() -> None:
    """``$schema`` is how editors find the schema of a JSON file."""
    assert [] == StoreFactory({"$schema": "schema.json", "x-common": [1], "stores": {}}).names


class LeakyStore(DictStore):
    """A store whose constructor raises an error with all values."""

    def __init__(self, password: str, port: int = 1) -> None:
        raise ValueError(f"no luck with {password} and {password!r} on port {port}")


def test_errors_show_no_value_of_a_variable() -> None:
    """A value is hidden even if the class's own error shows it; then the cause is dropped."""
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
    """A file with ten thousand levels is a ConfigError."""
    stores: dict[str, Any] = {f"s{at}": {"type": "GzipStore", "base": f"s{at + 1}"} for at in range(10_000)}

    with pytest.raises(ConfigError, match="stacked too deeply"):
        build({**stores, "s10000": MEMORY}, "s0")
