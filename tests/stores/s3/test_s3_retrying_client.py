"""`RetryingBucket`: which operations of a bucket are retried."""

from __future__ import annotations

from storage.stores.s3.client import ClientBucket
from storage.stores.s3.retrying_client import RetryingBucket

#: Operations that are a single attempt, and why.
ONCE = {
    "call": "the other operations are built on it",
    "complete_upload": "it must not take effect twice: `ConditionalWrite` looks before it tries again",
    "delete_many": "only the keys that failed are sent again",
    "get": "it is a context manager, and is retried by `RetryingBucket.open`",
    "presign": "it sends nothing",
    "set_clock": "it sends nothing",
    "url": "it sends nothing",
}


def test_operation_is_retried_or_left_out_on_purpose() -> None:
    """An operation added to the client and forgotten in RetryingBucket would be tried once only."""
    operations = {name for name in vars(ClientBucket) if not name.startswith("_")}

    assert set(ONCE) == operations - set(vars(RetryingBucket))
