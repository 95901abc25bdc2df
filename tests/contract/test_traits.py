"""What a class of stores declares of itself; a misspelling cannot switch a check off."""

from __future__ import annotations

import pytest

from storage import DictStore
from storage._core.traits import Trait


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("_stepable", True, "did you mean _steppable"),
        ("steppable", False, "did you mean _steppable"),
        ("_setppable", True, "did you mean _steppable"),
        ("_STEPPABLE", True, "did you mean _steppable"),
        ("_steppable", "no", "_steppable must be True or False, not 'no'"),
        ("_trait", frozenset({Trait.ENCRYPTS}), "did you mean _traits"),
        ("traits", {Trait.ENCRYPTS}, "did you mean _traits"),
        (
            "_traits",
            frozenset({"encrypts"}),
            r"must be a frozenset of `Trait`, not frozenset\(\{'encrypts'\}\)",
        ),
        ("_traits", Trait.ENCRYPTS, "_traits must be a frozenset of `Trait`"),
    ],
)
def test_misspelled_declaration_is_an_error(name: str, value: object, message: str) -> None:
    """It would otherwise switch a check off, or stepping, and nobody would notice."""
    with pytest.raises(TypeError, match=message):
        type("Mine", (DictStore,), {name: value})
    with pytest.raises(TypeError, match=message):
        type("Mine", (type("Mixin", (), {name: value}), DictStore), {})


def test_attributes_that_are_no_declarations_are_left_alone() -> None:
    """Only a bool that looks like the one, and a set of traits, can have been meant as a declaration."""
    body = {"_steppable": True, "_traits": frozenset({Trait.CACHES}), "stop": True, "_steps": False, "_kinds": {"a"}}
    body |= dict.fromkeys(["stoppable", "_testable", "settable", "tappable", "strippable"], True)

    assert type("Mine", (DictStore,), {**body, "steppable": property(bool)})()
