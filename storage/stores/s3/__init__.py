"""See `store`."""

from __future__ import annotations

from storage.stores.s3.store import BucketStore as BucketStore

__all__ = ["BucketStore"]
