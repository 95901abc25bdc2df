"""What is known of writes that failed: whether they may have changed something all the same."""

from __future__ import annotations

from storage.errors import BulkError, MirrorError, OutcomeUnknownError, StorageError, UnsupportedOperationError

__all__ = ["may_take_effect", "outcome_of_one"]


def may_take_effect(error: BaseException) -> bool:
    """
    Return whether a write that raised *error* may have taken effect, or may do so later.

    So it is when no answer came in time, the connection broke, the call was cancelled, or it succeeded in part. A
    refusal, as of a condition, a key or the room, is final.

    The error must be that of one object, or a `BulkError`. Any other error of a bulk call says nothing of the objects
    that were under way when it was raised: it may be one of the caller's iterable.
    """
    if isinstance(error, BulkError):
        return any(isinstance(each, StorageError) and may_take_effect(each) for each in error.results.values())
    if isinstance(error, BaseExceptionGroup):
        return any(map(may_take_effect, error.exceptions))
    if isinstance(error, StorageError):
        return error.retryable or isinstance(error, OutcomeUnknownError | MirrorError)
    return isinstance(error, OSError) or not isinstance(error, Exception)


def outcome_of_one(error: Exception, key: str, store: object) -> StorageError:
    """
    Return the error for one object of a bulk call that raised *error* as a whole, perhaps from the caller's iterable.

    The write of the object may have been under way then; so its outcome is unknown, unless the call was refused.
    """
    if isinstance(error, UnsupportedOperationError):
        return error
    if isinstance(error, StorageError) and not isinstance(error, BulkError) and may_take_effect(error):
        return error
    unknown = OutcomeUnknownError("the bulk call broke off while it may have been made", key=key, store=store)
    unknown.__cause__ = error
    return unknown
