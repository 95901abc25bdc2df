"""`may_take_effect`: whether a write that failed may have changed something all the same."""

from __future__ import annotations

from storage.errors import BulkError, MirrorError, OutcomeUnknownError, StorageError

__all__ = ["may_take_effect"]


def may_take_effect(error: BaseException) -> bool:
    """
    Return whether a write that raised *error* may have taken effect, or may do so later.

    So it is when no answer came in time, the connection broke, the call was cancelled, or it succeeded in part. A
    refusal, as of a condition, a key or the room, is final.
    """
    if isinstance(error, BulkError):
        return any(isinstance(each, StorageError) and may_take_effect(each) for each in error.results.values())
    if isinstance(error, StorageError):
        return error.retryable or isinstance(error, OutcomeUnknownError | MirrorError)
    return isinstance(error, OSError) or not isinstance(error, Exception)
