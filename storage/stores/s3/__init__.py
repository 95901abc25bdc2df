"""`BucketStore`, an object store in a bucket of S3 or of a compatible server."""

from __future__ import annotations

from storage.stores.s3.store import BucketStore as BucketStore

__all__ = ["BucketStore"]
