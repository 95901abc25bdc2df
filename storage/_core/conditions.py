"""The conditions of `put` and `delete`: which may be given together, and whether they hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from storage.errors import KeyExistsError, PreconditionFailedError

__all__ = ["UNCONDITIONAL", "Target", "WriteConditions"]


class WriteConditions(NamedTuple):
    """
    The conditions under which a write takes effect; true if there are any.

    Attributes:
        if_absent: only if there is no object.
        if_match: only if the object has this etag.
    """

    if_absent: bool = False
    if_match: str | None = None

    @staticmethod
    def of(if_absent: bool, if_match: str | None) -> WriteConditions:
        """
        Return the conditions that the caller of `put` gave.

        Raises:
            ValueError: both were given; no object is both absent and of a version.
        """
        if not if_absent and if_match is None:
            return UNCONDITIONAL
        if if_absent and if_match is not None:
            raise ValueError(
                "if_absent and if_match exclude each other: create an object, or replace one version of it"
            )
        return WriteConditions(if_absent, if_match)

    def __bool__(self) -> bool:
        return bool(self.if_absent) or self.if_match is not None

    def enforce(self, key: str, etag: str | None, store: object) -> None:
        """
        Raise unless the conditions hold for the current object, whose *etag* is None where there is none.

        The caller keeps others from writing between this check and the write.

        Raises:
            KeyExistsError: *if_absent*, and there is an object.
            PreconditionFailedError: *if_match*, and the object has another etag or is missing.
        """
        if self.if_absent and etag is not None:
            raise KeyExistsError(key, store=store)
        if self.if_match is not None and self.if_match != etag:
            message = (
                f"there is no object with the etag {self.if_match!r}"
                if etag is None
                else f"the object is another version than the one with the etag {self.if_match!r}"
            )
            raise PreconditionFailedError(key, store=store, message=message)


#: The conditions of most writes: none.
UNCONDITIONAL = WriteConditions()


class Target(NamedTuple):
    """
    Everything that is known of a write except its bytes.

    Attributes:
        key: the object's key.
        attributes: what is kept beside the bytes.
        conditions: when the write takes effect.
        store: the name of the store in errors.
    """

    key: str
    attributes: Mapping[str, str] | None = None
    conditions: WriteConditions = UNCONDITIONAL
    store: str = ""
