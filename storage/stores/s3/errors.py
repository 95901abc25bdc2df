"""The one place where answers of an S3 server become our errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import TypeAlias

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
    """There is no such upload in parts: it was completed or given up, or the server's rules have ended it."""


class RefusedError(StoreUnavailableError):
    """The server would not do it now, and did nothing; the same call may succeed later."""


#: By the server's own word for it (Amazon S3 API reference, "Error responses"), before the status is looked at.
_BY_CODE: dict[str, Kind] = {
    "AccessDenied": PermissionDeniedError,  # of a key in an answer about many, which has no status of its own
    "AccessControlListNotSupported": UnsupportedOperationError,
    "AuthorizationHeaderMalformed": ConfigError,  # it is in another region
    "BadDigest": RefusedError,  # what arrived is not what was sent: send it again
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

#: Words for a request that was signed too early or too late by the server's clock.
_SKEWED = ("RequestExpired", "RequestInTheFuture", "RequestTimeTooSkewed")

#: Seconds by which a clock may be wrong before a server minds; Amazon's are 900.
TOLERATED = 300

#: What it says where the bucket is in another region than the request was signed for.
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


class ErrorResponse(Exception):  # noqa: N818  # it is an answer, and becomes an error of ours
    """
    A server's answer that is an error, as it came.

    Attributes:
        status: of HTTP.
        code: the server's word, ``""`` where the answer had no body.
        message: its sentence.
        request_id: by which its logs know the request.
        headers: the answer's, names in lower case.
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
    Return the time by the server's clock where it refused a request for another one, else None.

    The answer to a HEAD has no word for it: there it is one of 403 from a server whose clock is far from *now*.
    """
    try:
        said = parsedate_to_datetime(response.headers.get("date", "")).timestamp()
    except ValueError:
        return None
    wordless = response.status == 403 and not response.code and abs(said - now) > TOLERATED
    return said if response.code in _SKEWED or wordless else None


def parse_error(status: int, body: bytes) -> tuple[str, str]:
    """Return code and message of an error's XML; both empty where it is none."""

    def first(tag: bytes) -> str:
        found = re.search(rb"<%s>([^<]*)</%s>" % (tag, tag), body)
        return found[1].decode("utf-8", "replace").strip() if found else ""

    return first(b"Code"), first(b"Message")


def error_of(response: ErrorResponse, key: str | None, store: object) -> StorageError:
    """Return the error that *response* is to the caller, about *key*."""
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
    """Let errors about a key of the bucket speak of the caller's; any other, of his own stream say, stays as it is."""
    try:
        yield
    except StorageError as error:
        if error.key == object_key:
            error.with_key(key)
        raise
