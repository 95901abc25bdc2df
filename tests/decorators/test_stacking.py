"""Stacks that cannot work are refused when they are built; stacks that waste work cause a warning."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from storage import (
    Base64Store,
    ConfigError,
    DictStore,
    GzipStore,
    PrefixStore,
    StackWarning,
    StoreDecorator,
    ValueTransform,
)
from storage._core.traits import Trait


class TextStore(ValueTransform[str, str]):
    """A store of text, encoded in UTF-8."""

    def encode(self, value: str) -> bytes:
        return value.encode()

    def decode(self, data: bytes) -> str:
        return data.decode()


class SealedStore(StoreDecorator):
    """A store with the trait of encryption."""

    _traits = frozenset({Trait.ENCRYPTS})


def test_what_cannot_work_is_refused_with_the_right_order() -> None:
    """However many other decorators are between the two."""
    with pytest.raises(ConfigError) as caught:
        SealedStore(PrefixStore(GzipStore(DictStore()), "a/"))

    assert (
        "SealedStore over GzipStore: encrypted bytes have no patterns left to compress; put them the other way round: "
        "GzipStore(SealedStore(...))"
    ) == str(caught.value)
    GzipStore(SealedStore(DictStore()))


def test_codec_over_values_is_refused() -> None:
    """It would put bytes into a store that takes text."""
    text: Any = TextStore(DictStore())
    with pytest.raises(ConfigError, match=r"put them the other way round: TextStore\(GzipStore\(\.\.\.\)\)"):
        GzipStore(text)
    with pytest.raises(ConfigError, match="values"):
        TextStore(PrefixStore(text, "a/"))

    TextStore(GzipStore(DictStore()))


def test_wasteful_stack_is_warned_of_where_it_is_built() -> None:
    """The warning points at the line of the program, not into the package; the stack works."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        GzipStore(PrefixStore(GzipStore(DictStore()), "a/"))
        Base64Store(GzipStore(DictStore()))

    assert [StackWarning, StackWarning] == [warning.category for warning in caught]
    assert {__file__} == {warning.filename for warning in caught}
    assert ["leave one of them out", "GzipStore(Base64Store(...))"] == [
        str(warning.message).rsplit("; ")[-1].rsplit(": ")[-1] for warning in caught
    ]


def test_other_stacks_pass_silently() -> None:
    """Warnings are errors here, so a rule that is too wide would fail every test of deep stacks."""
    GzipStore(Base64Store(PrefixStore(DictStore(), "a/")))
    PrefixStore(PrefixStore(DictStore(), "a/"), "b/")


@pytest.mark.parametrize("base", [None, "memory:", DictStore])
def test_decorator_over_no_store_is_a_type_error(base: Any) -> None:
    """For example a class instead of an instance."""
    with pytest.raises(TypeError, match="must be built over a store, not over"):
        PrefixStore(base, "a/")
