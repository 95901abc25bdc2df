"""The one place where errors of redis-py are mapped to ours."""

from __future__ import annotations

from storage.errors import (
    CorruptObjectError,
    PermissionDeniedError,
    StorageError,
    StoreFullError,
    StoreTimeoutError,
    StoreUnavailableError,
)

__all__ = ["error_of", "foreign_value", "reply_was_lost"]

#: First words of replies that mean "not now"; for some of them redis-py has no class.
_BUSY = ("BUSY", "CLUSTERDOWN", "FAILOVER", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "READONLY", "TRYAGAIN")

#: Parts of replies to a script that does something its caller may not, and to a long command without login.
_NOT_ALLOWED = ("The user executing the script can't", "unauthenticated")

#: Part of the errors of redis-py for a failed connection: "Error 111 connecting to ...", "Timeout connecting ...".
_NOT_SENT = "connecting to"


def error_of(cause: Exception, key: str | None, store: str) -> StorageError:
    """Return our error for *cause*, raised by redis-py, with *key*."""
    from redis import exceptions as redis

    said = str(cause)
    code = getattr(cause, "status_code", None) or said.partition(" ")[0]
    if (
        isinstance(cause, redis.AuthenticationError | redis.AuthorizationError | redis.NoPermissionError)
        or code in ("NOAUTH", "NOPERM", "WRONGPASS")
        or any(words in said for words in _NOT_ALLOWED)
    ):
        return PermissionDeniedError(f"the server refused the user: {said}", key=key, store=store)
    if isinstance(cause, redis.OutOfMemoryError) or "OOM command not allowed" in said:
        return StoreFullError("the server has no memory left (maxmemory)", key=key, store=store)
    if isinstance(cause, redis.BusyLoadingError | redis.ReadOnlyError) or code in _BUSY:
        return StoreUnavailableError(f"the server is not ready: {said}", key=key, store=store)
    if code == "WRONGTYPE":
        return foreign_value(key, store)
    if isinstance(cause, redis.TimeoutError | TimeoutError):
        return StoreTimeoutError("the server did not answer in time", key=key, store=store)
    if isinstance(cause, redis.ConnectionError | redis.ClusterError | redis.RedisClusterException | OSError):
        return StoreUnavailableError(f"the connection failed: {said}", key=key, store=store)
    return StorageError(f"the server replied with an error: {said}", key=key, store=store)


def foreign_value(key: str | None, store: object) -> CorruptObjectError:
    """Return the error of a name under which a value is that is no hash: no store has written it, so it is kept."""
    return CorruptObjectError(
        "another program's value, which is no hash, is stored under the object's name, and is left alone: delete it "
        "with that program, or use another prefix",
        key=key,
        store=store,
    )


def reply_was_lost(error: StorageError) -> bool:
    """Return whether the command was sent but its reply was lost, so that it may have been executed."""
    from redis import exceptions as redis

    cause = error.__cause__
    answered = isinstance(cause, redis.ResponseError | redis.AuthenticationError | redis.BusyLoadingError)
    return error.retryable and not answered and _NOT_SENT not in str(cause)
