"""The error tree."""

from __future__ import annotations

import inspect
import pickle
import re
from typing import Any

import pytest

from storage import (
    BulkError,
    CorruptObjectError,
    IncompleteListingError,
    KeyNotFoundError,
    MirrorError,
    PermissionDeniedError,
    StorageError,
    StoreTimeoutError,
    StoreUnavailableError,
    errors,
)

ALL = {name: getattr(errors, name) for name in errors.__all__}

ALSO = {
    "KeyNotFoundError": KeyError,
    "KeyExistsError": FileExistsError,
    "InvalidKeyError": ValueError,
    "KeyConflictError": ValueError,
    "RangeNotSatisfiableError": ValueError,
    "CorruptObjectError": ValueError,
    "IncompleteListingError": ValueError,
    "UnsupportedOperationError": NotImplementedError,
    "PermissionDeniedError": PermissionError,
    "StoreClosedError": RuntimeError,
    "ReentrantCallError": RuntimeError,
    "StoreTimeoutError": TimeoutError,
    "ConfigError": ValueError,
}


def _made(kind: type[StorageError]) -> StorageError:
    """Return an error of the class with all that it can carry."""
    if issubclass(kind, IncompleteListingError):
        damaged = {"a": CorruptObjectError("bad", key="a")}
        error: StorageError = IncompleteListingError(damaged, 3, store="S()")
    elif issubclass(kind, BulkError):
        error = BulkError({"a": b"1", "b": KeyNotFoundError("b")}, store="S()")
    elif "key" in list(inspect.signature(kind).parameters)[:1]:
        keyed: Any = kind
        error = keyed("k\n", store="S()", message="what happened")
    else:
        error = kind("what happened", key="k\n", store="S()")
    error.request_id = "r-1"
    return error


@pytest.mark.parametrize("kind", ALL.values(), ids=list(ALL))
def test_every_error_is_a_storage_error_and_survives_pickling(kind: type[StorageError]) -> None:
    """An error that crossed to another process says and carries what it did."""
    error = _made(kind)

    copied = pickle.loads(pickle.dumps(error))

    assert kind is type(copied)
    assert issubclass(kind, StorageError)
    assert (str(error), error.args, error.retryable) == (str(copied), copied.args, copied.retryable)
    assert (error.key, error.store, error.request_id) == (copied.key, copied.store, copied.request_id)


def test_bulk_results_survive_pickling() -> None:
    """The results of a bulk call cross with it, errors included."""
    copied = pickle.loads(pickle.dumps(_made(BulkError)))

    assert b"1" == copied.results["a"]
    assert isinstance(copied.results["b"], KeyNotFoundError)
    assert "b" == copied.results["b"].key


def test_mirror_error_is_retryable_when_every_failure_is() -> None:
    """One child that will never take the object makes trying again useless; and all of it survives pickling."""
    passing = {0: StoreUnavailableError("busy"), 2: StoreTimeoutError("late")}
    error = MirrorError("put failed", key="k", succeeded=[1], failed=passing)

    copied = pickle.loads(pickle.dumps(error))

    assert [True, True] == [error.retryable, copied.retryable]
    assert ((1,), ["busy", "late"]) == (copied.succeeded, [str(each) for each in copied.failed.values()])
    assert not MirrorError("put failed", failed={**passing, 3: PermissionDeniedError("no")}).retryable


def test_errors_fit_the_built_in_ones_they_resemble() -> None:
    """Code that knows only Python's own exceptions catches the right ones."""
    builtin = {
        name: next((base for base in kind.__mro__[1:] if base.__module__ == "builtins"), None)
        for name, kind in ALL.items()
    }

    assert ALSO == {name: base for name, base in builtin.items() if base is not Exception}


def test_only_passing_trouble_is_retryable() -> None:
    """What may go away by itself is worth another try, and nothing else."""
    assert {"StoreUnavailableError", "StoreTimeoutError"} == {name for name, kind in ALL.items() if kind.retryable}


@pytest.mark.parametrize("kind", ALL.values(), ids=list(ALL))
def test_error_text_names_key_and_store(kind: type[StorageError]) -> None:
    """The text has what one needs to find the object; the key is quoted, so that its line ends do no harm."""
    text = str(_made(kind))

    assert "in S()" in text
    assert "request r-1" in text
    if kind not in (BulkError, IncompleteListingError):
        assert "what happened" in text
        assert r"'k\n'" in text


def test_bulk_error_names_some_of_the_failed() -> None:
    """A thousand failures do not make a text of a thousand keys."""
    results: dict[str, object] = {f"k{number}": KeyNotFoundError(f"k{number}") for number in range(1000)}

    text = str(BulkError({**results, "good": b""}))

    assert "1000 of 1001 items failed ('k0', 'k1', 'k2', ...); see .results" == text


def test_error_without_a_message_says_what_its_class_means() -> None:
    """Nobody has to write the same sentence again."""
    assert "no object 'k'" == str(KeyNotFoundError("k"))


def test_error_of_a_users_own_says_what_its_docstring_says() -> None:
    """A subclass with a docstring has a meaning of its own, one without has that of its base."""

    class TenantGoneError(KeyNotFoundError):
        """This tenant has no such document."""

    class OtherError(KeyNotFoundError): ...

    assert "This tenant has no such document, key 'k'" == str(TenantGoneError("k"))
    assert "no object 'k'" == str(OtherError("k"))


def test_key_error_has_the_key_for_its_argument() -> None:
    """As with every KeyError: ``error.args[0]`` is the key, also after a decorator gave it back its own."""
    error = KeyNotFoundError("inner/k").with_key("k")

    assert (("k",), "k") == (error.args, error.key)


def test_the_drawn_tree_is_the_tree() -> None:
    """The drawing at the top of errors.py shows every class, what it fits and whether it is retryable."""
    drawn = {}
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"\s+(?:│   )?(?:[├└]── )?(\w+Error)\b(.*)", line):
            also = re.search(r"also an? (\w+)", match[2])
            drawn[match[1]] = (also[1] if also else None, " retryable" in match[2].replace(".retryable", ""))

    assert drawn == {
        name: (ALSO[name].__name__ if name in ALSO else None, kind.retryable) for name, kind in ALL.items()
    }


def test_incomplete_listing_survives_pickling() -> None:
    """What was left out crosses with the error."""
    copied = pickle.loads(pickle.dumps(_made(IncompleteListingError)))

    assert 3 == copied.count
    assert {"a": "a"} == {key: error.key for key, error in copied.errors.items()}
