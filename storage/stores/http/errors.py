"""The one place where statuses of a web server and errors of aiohttp are mapped to ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

from storage.errors import (
    InvalidKeyError,
    KeyConflictError,
    KeyNotFoundError,
    PermissionDeniedError,
    PreconditionFailedError,
    RangeNotSatisfiableError,
    StorageError,
    StoreFullError,
    StoreTimeoutError,
    StoreUnavailableError,
    UnsupportedOperationError,
)

__all__ = ["error_of", "mapped_errors", "was_sent"]

Kind: TypeAlias = "type[StorageError]"

_BY_STATUS: dict[int, Kind] = {
    401: PermissionDeniedError,
    403: PermissionDeniedError,
    404: KeyNotFoundError,
    405: UnsupportedOperationError,
    407: PermissionDeniedError,
    408: StoreTimeoutError,
    409: KeyConflictError,
    410: KeyNotFoundError,
    412: PreconditionFailedError,
    413: StoreFullError,
    414: InvalidKeyError,
    416: RangeNotSatisfiableError,
    423: StoreUnavailableError,
    425: StoreUnavailableError,
    429: StoreUnavailableError,
    501: UnsupportedOperationError,
    505: UnsupportedOperationError,
    507: StoreFullError,
}


def error_of(status: int, headers: Mapping[str, str], key: str, store: object) -> StorageError:
    """Return the error for a response with this *status*, with *key*."""
    kind = _BY_STATUS.get(status) or (StoreUnavailableError if status >= 500 else StorageError)
    error: StorageError
    if kind is KeyNotFoundError:
        error = KeyNotFoundError(key, store=store)
    elif kind is PreconditionFailedError:
        error = PreconditionFailedError(key, store=store)
    else:
        error = kind(f"the server answered with status {status}", key=key, store=store)
    error.request_id = headers.get("x-request-id")
    return error


@contextmanager
def mapped_errors(key: str, store: object) -> Iterator[None]:
    """Map errors of aiohttp to ours; their messages contain URLs, so they are left out."""
    import aiohttp

    try:
        yield
    except aiohttp.ClientSSLError as cause:
        raise StorageError(
            f"the TLS connection failed: {type(cause).__name__}; ca_bundle= sets the certificates to trust",
            key=key,
            store=store,
        ) from cause
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as cause:
        raise StorageError("the server redirects to an invalid URL", key=key, store=store) from cause
    except TimeoutError as cause:
        raise StoreTimeoutError("the server did not answer in time", key=key, store=store) from cause
    except (aiohttp.ClientError, OSError) as cause:
        raise StoreUnavailableError(f"the connection failed: {type(cause).__name__}", key=key, store=store) from cause


def was_sent(error: StorageError) -> bool:
    """Return whether the request that ended in this error of `mapped_errors` may have reached the server."""
    import aiohttp

    return not isinstance(error.__cause__, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
