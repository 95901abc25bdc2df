"""The errors of an S3 server become ours here, and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

from storage._core.header_values import header_time
from storage.errors import (
    ConfigError,
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

__all__ = ["ErrorResponse", "RefusedError", "UploadGoneError", "error_of", "parse_error", "time_of", "with_key"]

Kind: TypeAlias = "type[StorageError]"


class UploadGoneError(StorageError):
    """The upload in parts does not exist: it was completed, aborted, or ended by a life-cycle rule of the bucket."""


class RefusedError(StoreUnavailableError):
    """The server refused the request for the moment and changed nothing; the same call may succeed later."""


#: Errors by the server's code (Amazon S3 API reference, "Error responses"), which is checked before the status.
_BY_CODE: dict[str, Kind] = {
    "AccessDenied": PermissionDeniedError,  # for one of many keys, which has no status of its own
    "AccessControlListNotSupported": UnsupportedOperationError,
    "AuthorizationHeaderMalformed": ConfigError,  # the bucket is in another region
    "BadDigest": RefusedError,  # the body was damaged on its way: send it again
    "BucketAlreadyExists": ConfigError,
    "BucketAlreadyOwnedByYou": ConfigError,
    "ConcurrentModification": RefusedError,
    "ConditionalRequestConflict": RefusedError,
    "InternalError": StoreUnavailableError,
    "InvalidAccessKeyId": PermissionDeniedError,
    "NoSuchBucket": ConfigError,
    "NoSuchKey": KeyNotFoundError,
    "NoSuchUpload": UploadGoneError,
    "NotImplemented": UnsupportedOperationError,
    "OperationAborted": RefusedError,
    "PermanentRedirect": ConfigError,
    "PreconditionFailed": PreconditionFailedError,
    "QuotaExceeded": StoreFullError,
    "RequestTimeout": StoreTimeoutError,
    "ServiceUnavailable": StoreUnavailableError,
    "SignatureDoesNotMatch": PermissionDeniedError,
    "SlowDown": RefusedError,
}

#: Codes for a request that was signed too early or too late by the server's clock.
_SKEWED = ("RequestExpired", "RequestInTheFuture", "RequestTimeTooSkewed")

#: Seconds by which a clock may differ from the server's before requests are refused; Amazon allows 900.
TOLERATED = 300

#: Codes for a bucket in another region than the request was signed for.
_ELSEWHERE = ("AuthorizationHeaderMalformed", "PermanentRedirect")

_BY_STATUS: dict[int, Kind] = {
    401: PermissionDeniedError,
    403: PermissionDeniedError,
    404: KeyNotFoundError,
    405: UnsupportedOperationError,
    408: StoreTimeoutError,
    409: StoreUnavailableError,
    412: PreconditionFailedError,
    416: RangeNotSatisfiableError,
    429: StoreUnavailableError,
    501: UnsupportedOperationError,
    507: StoreFullError,
}


class ErrorResponse(Exception):  # noqa: N818  # it is a response, and becomes one of our errors
    """
    A response of the server that is an error.

    Attributes:
        status: the HTTP status.
        code: the error code, ``""`` if the response had no body.
        message: the error message.
        request_id: the ID of the request in the server's logs.
        headers: the headers of the response, names in lower case.
    """

    def __init__(
        self, status: int, code: str = "", message: str = "", request_id: str | None = None, **headers: str
    ) -> None:
        super().__init__(f"{status} {code} {message}")
        self.status = status
        self.code = code
        self.message = message
        self.request_id = request_id
        self.headers = headers


def time_of(response: ErrorResponse, now: float) -> float | None:
    """
    Return the time of the server's clock if it refused a request because its time differs, else None.

    The response to a HEAD has no error code: there it is a 403 from a server whose clock is far from *now*.
    """
    time = header_time(response.headers.get("date", ""))
    if time is None:
        return None
    said = time.timestamp()
    codeless = response.status == 403 and not response.code and abs(said - now) > TOLERATED
    return said if response.code in _SKEWED or codeless else None


def parse_error(status: int, body: bytes) -> tuple[str, str]:
    """Return code and message in the XML of an error; both are empty if it is not that."""

    def first(tag: bytes) -> str:
        found = re.search(rb"<%s>([^<]*)</%s>" % (tag, tag), body)
        return found[1].decode("utf-8", "replace").strip() if found else ""

    return first(b"Code"), first(b"Message")


def error_of(response: ErrorResponse, key: str | None, store: object) -> StorageError:
    """Return the error about *key* that *response* is raised as."""
    kind = _BY_CODE.get(response.code) or _BY_STATUS.get(response.status)
    if kind is None:
        kind = StoreUnavailableError if response.status >= 500 else StorageError
    said = response.message or response.code or f"HTTP status {response.status}"
    if response.code in _ELSEWHERE and (region := response.headers.get("x-amz-bucket-region")):
        said = f"the bucket is in region {region!r}: give region={region!r}"
    error: StorageError
    if kind in (KeyNotFoundError, PreconditionFailedError):
        if key is None:
            error = StorageError(said, store=store)
        else:
            error = (
                KeyNotFoundError(key, store=store)
                if kind is KeyNotFoundError
                else PreconditionFailedError(key, store=store)
            )
    else:
        error = kind(f"the server says: {said}", key=key, store=store)
    error.request_id = response.request_id
    return error


@contextmanager
def with_key(object_key: str, key: str) -> Iterator[None]:
    """Replace the bucket's key in errors by the caller's; errors about no key of the bucket stay unchanged."""
    try:
        yield
    except StorageError as error:
        if error.key == object_key:
            error.with_key(key)
        raise
