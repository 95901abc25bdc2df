"""The conditions of `put` and `delete`: which may be given, and whether they hold."""

from __future__ import annotations

from storage.errors import KeyExistsError, PreconditionFailedError

__all__ = ["check_conditions", "judge"]


def check_conditions(if_absent: bool, if_match: str | None) -> None:
    """
    Refuse the two conditions together: no object is both absent and of a version.

    Raises:
        ValueError: both were given.
    """
    if if_absent and if_match is not None:
        raise ValueError("if_absent and if_match exclude each other: create, or replace a version")


def judge(key: str, current: str | None, if_absent: bool, if_match: str | None, store: object) -> None:
    """
    Hold a write's conditions against the etag of the *current* object, None where there is none.

    The caller keeps others from writing between this and the write.

    Raises:
        KeyExistsError: *if_absent*, and there is an object.
        PreconditionFailedError: *if_match*, and the object is another version or missing.
    """
    if if_absent and current is not None:
        raise KeyExistsError(key, store=store)
    if if_match is not None and if_match != current:
        found = "there is no object" if current is None else "the object is another version"
        raise PreconditionFailedError(
            key,
            store=store,
            message=f"{found} than the one of etag {if_match!r}" if current else f"{found} of etag {if_match!r}",
        )
