"""`KeyValidatingStore`: allows only keys that a function accepts."""

from __future__ import annotations

from collections.abc import Callable

from storage.base import ObjectStore
from storage.decorators.bases.key_filter import KeyFilter
from storage.errors import StorageError
from storage.types import In, Out

__all__ = ["KeyValidatingStore"]


class KeyValidatingStore(KeyFilter[In, Out]):
    """
    Every method refuses keys that *validator* does not accept with `InvalidKeyError`; listings skip them.

    Args:
        base: the store below.
        validator: a pure function that takes a key and returns whether it is accepted. It may raise a ``ValueError``
            instead, whose message is used for the error; other exceptions are raised unchanged.

    Raises:
        TypeError: *validator* cannot be called.
    """

    def __init__(self, base: ObjectStore[In, Out], validator: Callable[[str], object]) -> None:
        if not callable(validator):
            raise TypeError(f"validator must be a function that takes a key and returns a bool, not {validator!r}")
        super().__init__(base)
        self.validator = validator

    def objection(self, key: str) -> str | None:
        message = ""
        try:
            if self.validator(key):
                return None
        except ValueError as error:
            message = error.message if isinstance(error, StorageError) else str(error)
        return message or f"the validator {self._name()} does not accept the key"

    def _name(self) -> str:
        return str(getattr(self.validator, "__name__", repr(self.validator)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base!r}, {self._name()})"
