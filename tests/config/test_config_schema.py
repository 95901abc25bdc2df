"""The JSON schema of configurations is up to date and agrees with the code."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator
from paths import ROOT

from storage import ConfigError, DictStore, ObjectStore, Registry, StoreDecorator, StoreFactory
from storage._names import SHORT_NAMES, STORES
from storage._tools import schema as generator
from storage.config.parameters.constructor import Constructor
from storage.config.schema import schema

COMMITTED = json.loads(files("storage.config").joinpath("schema.json").read_text(encoding="utf-8"))
VALIDATOR = Draft7Validator(COMMITTED)


def problems(document: Any) -> list[str]:
    """Return the errors of a document by the schema."""
    return [error.message for error in VALIDATOR.iter_errors(document)]


def test_committed_schema_is_fresh() -> None:
    """The committed schema equals the one made from the constructors; `make generated` writes it."""
    assert generator.generate() == generator.TARGET.read_text(encoding="utf-8")
    Draft7Validator.check_schema(COMMITTED)


def test_check_names_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stale file is an error that says how to renew it."""
    monkeypatch.setattr(generator, "TARGET", tmp_path / "schema.json")

    assert 1 == generator.main(["--check"])
    assert "make generated" in capsys.readouterr().err
    assert 0 == generator.main([])
    assert 0 == generator.main(["--check"])


def test_every_type_is_there_with_its_parameters_and_what_they_mean() -> None:
    """The schema has every parameter and its description, for completion in editors."""
    known = Registry(STORES, short_names=SHORT_NAMES)

    undescribed = []
    for name in STORES:
        made = COMMITTED["definitions"][name]
        parameters = made["properties"]["config"]["properties"]
        assert set(Constructor(known[name]).parameters) == set(parameters)
        undescribed += [f"{name}.{each}" for each, field in parameters.items() if "description" not in field]
        undescribed += [] if made["description"] else [name]
    assert [] == undescribed

    types = COMMITTED["definitions"]["store"]["properties"]["type"]["anyOf"][0]["enum"]
    assert {*STORES, *SHORT_NAMES} == set(types)


MEMORY = {"type": "memory"}

VALID: list[Any] = [
    {"stores": {}},
    {"$schema": "schema.json", "x-common": 1, "stores": {"a": MEMORY}, "main": "a"},
    {"stores": {}, "main": {"type": "AsyncGzipStore", "base": MEMORY}},
    {"stores": {"a": {"type": "memory", "base": None, "config": None}}},
    {"stores": {"a": {"type": "GzipStore", "base": "b", "config": {"level": "${LEVEL:-3}"}}, "b": MEMORY}},
    {"stores": {"a": {"type": "GzipStore", "base": {"base": "b"}, "config": {"level": 3}}, "b": MEMORY}},
    {"stores": {"a": {"type": "GzipStore", "config": {"base": "b"}}, "b": MEMORY}},
    {"stores": {"a": {"type": "PrefixStore", "base": {"type": "memory"}, "config": {"prefix": "x/"}}}},
    {"stores": {"a": {"type": "file", "config": {"root": "x", "durability": "fsync"}}}},
    {"stores": {"a": {"type": "sqlite", "config": {"path": "x", "busy_timeout": 0.5}}}},
    {"stores": {"a": {"type": "RoutingStore", "base": {"routes": {"x/": "b"}, "default": "b"}}, "b": MEMORY}},
]


@pytest.mark.parametrize("document", VALID, ids=json.dumps)
def test_what_can_be_built_is_valid(document: Any) -> None:
    """A configuration that works is valid."""
    factory = StoreFactory(document)

    assert all(isinstance(factory.build(name), ObjectStore) for name in factory.names)
    assert [] == problems(document)


INVALID: list[Any] = [
    {},
    {"stores": {}, "mian": "a"},
    {"stores": {"a": {}}},
    {"stores": {"a": {"type": "memory", "cnofig": {}}}},
    {"stores": {"a": {"type": "memory", "base": "b"}, "b": MEMORY}},
    {"stores": {"a": {"type": "memory", "config": {"size": 1}}}},
    {"stores": {"a": {"type": "GzipStore"}}},
    {"stores": {"a": {"type": "GzipStore", "base": ["b"]}, "b": MEMORY}},
    {"stores": {"a": {"type": "GzipStore", "base": "b", "config": {"lvel": 3}}, "b": MEMORY}},
    {"stores": {"a": {"type": "GzipStore", "base": "b", "config": {"level": "3"}}, "b": MEMORY}},
    {"stores": {"a": {"type": "PrefixStore", "base": "b"}, "b": MEMORY}},
    {"stores": {"a": {"type": "PrefixStore", "base": "b", "config": {"prefix": 3}}, "b": MEMORY}},
    {"stores": {"a": {"type": "file", "config": {"root": "x", "durability": "never"}}}},
    {"stores": {"a": {"type": "sqlite"}}},
    {"stores": {"a": {"type": "GzipStore", "base": {"type": "PrefixStore", "base": "b"}}, "b": MEMORY}},
]


@pytest.mark.parametrize("document", INVALID, ids=json.dumps)
def test_what_cannot_be_built_is_not_valid(document: Any) -> None:
    """A configuration that the program refuses is not valid."""

    def build_all() -> None:
        factory = StoreFactory(document)
        for name in factory.names:
            factory.build(name)

    with pytest.raises(ConfigError):
        build_all()
    assert [] != problems(document)


def test_types_of_the_program_are_not_marked() -> None:
    """The committed schema accepts unknown types; the schema of their registry checks them."""

    class CrateStore(StoreDecorator):
        """
        A crate.

        Args:
            base: the store below.
            size: of the crate, in litres,
                rounded.
        """

        def __init__(self, base: ObjectStore, *, size: int = 1, **options: str) -> None:
            super().__init__(base)

    own = Registry()
    own.register(CrateStore, "crate")
    own.register(DictStore)
    made = schema(own)

    assert [] == problems({"stores": {"a": {"type": "CrateStore", "config": {"anything": 1}}}})
    size = made["definitions"]["CrateStore"]["properties"]["config"]["properties"]["size"]
    assert ("of the crate, in litres, rounded.", 1) == (size["description"], size["default"])
    assert [] == [
        *Draft7Validator(made).iter_errors({"stores": {"a": {"type": "crate", "base": "b", "config": {"x": "y"}}}})
    ]
    assert [] != [
        *Draft7Validator(made).iter_errors({"stores": {"a": {"type": "crate", "base": "b", "config": {"x": 1}}}})
    ]


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = [
    (page.name, block)
    for page in PAGES
    for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
]


@pytest.mark.parametrize(("page", "text"), EXAMPLES, ids=[f"{page}-{at}" for at, (page, _) in enumerate(EXAMPLES)])
def test_examples_in_the_pages_are_valid(page: str, text: str) -> None:
    """The examples of the documentation are valid."""
    document = yaml.safe_load(text)

    assert [] == problems(document if "stores" in document else {"stores": document}), page
