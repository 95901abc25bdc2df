"""`StoreFactory`: the conversion of the values of a configuration, valid ones and any others."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from config_stores import plenty
from hypothesis import given
from hypothesis import strategies as st

from storage import ConfigError, ObjectStore, StoreFactory

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
    """YAML's types stay; text from variables is converted to the type of the annotation."""
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
    ("choice", None, "not null"),
    ("age", "soon", "expected a number, not text"),
    ("age", 1e300, "in the range of a timedelta"),
    ("ttl", "soon", "expected a number of seconds or null, not text"),
    ("maybe", "a", "expected a whole number, not text"),
    ("words", "abc", "expected a list, each item text, not text"),
    ("words", ["a", 1], "item 2: expected text"),
    ("unique", [[1]], "item 1: expected a whole number, not a list"),
    ("pair", ["a"], "expected a list of 2 items (text, a whole number), not of 1"),
    ("pair", ["a", "b"], "item 2: expected a whole number"),
    ("table", {"a": "b"}, "'a': expected a number, not text"),
    ("table", {1: 1}, "a key: expected text"),
    ("table", [1], "expected a mapping"),
    ("pattern", "a(", "not a valid regular expression: "),
    ("secret", "no base64!", "expected bytes in base64, not text"),
    ("told", "unknown", "expected the name of a callable in StoreFactory(objects={name: object}); available: 'tell'"),
    ("told", "os.system", "expected the name of a callable in StoreFactory(objects={name: object})"),
    ("told", 3, "expected the name of a callable in StoreFactory(objects={name: object})"),
    ("logger", 3, "expected the name of a logger or text or null, not a whole number"),
]


@pytest.mark.parametrize(("name", "value", "message"), REFUSED)
def test_values_of_a_wrong_type_are_refused(name: str, value: Any, message: str) -> None:
    """The error names the store, the parameter and the expected value."""
    with pytest.raises(ConfigError) as caught:
        plenty({"TEXT": "some text"}, **{name: value})

    assert str(caught.value).startswith(f"the configuration: store 's': parameter '{name}' of PlentyStore: ")
    assert message in str(caught.value)
    assert "some text" not in str(caught.value)


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


@pytest.mark.slow
@given(st.one_of(DOCUMENTS, DOCUMENTS, DOCUMENTS, VALUES))
def test_any_document_gives_a_store_or_a_config_error(document: Any) -> None:
    """Any document gives a store or a ConfigError."""
    if not isinstance(document, Mapping):
        document = {"stores": document}
    with contextlib.suppress(ConfigError):
        factory = StoreFactory(document, environ={"X": "a"}, objects={"a": print})
        for name in (None, *factory.names):
            with contextlib.suppress(ConfigError):
                assert isinstance(factory.build(name), ObjectStore)
