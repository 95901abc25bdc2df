"""`list_keys` and `list_children`: listings of a bucket, requested page by page."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

from storage.stores.s3.retrying_client import RetryingBucket

__all__ = ["list_children", "list_keys"]

#: Returns the bucket of a store that is open.
_OpenBucket: TypeAlias = Callable[[], Awaitable[RetryingBucket]]

#: The greatest character: a prefix with it appended sorts after every key that begins with the prefix.
_LAST = chr(0x10FFFF)

#: Characters that no key contains: servers fail on NUL, and surrogates have no UTF-8 form and cannot be sent.
_UNSENT = re.compile("[\0\ud800-\udfff]")


async def list_keys(open_bucket: _OpenBucket, root: str, prefix: str, start_after: str) -> AsyncIterator[str]:
    """Yield, without *root*, the keys below it that begin with *prefix* and come after *start_after*."""
    bucket, cut = await open_bucket(), len(root)
    start = _sendable(start_after)
    after = start and root + start
    more = _begins_keys(prefix)
    while more:
        page = await bucket.page(root + prefix, after)
        for key in page.keys:
            if key[cut:] > start_after:
                yield key[cut:]
        more = page.more and bool(page.keys)
        if page.keys:
            after = page.keys[-1]


async def list_children(open_bucket: _OpenBucket, root: str, prefix: str, delimiter: str) -> AsyncIterator[str]:
    """Yield, without *root*, the keys and common prefixes one level below *prefix*."""
    if not delimiter:
        raise ValueError("the delimiter is empty")
    bucket, cut = await open_bucket(), len(root)
    after, more = "", _begins_keys(prefix + delimiter)
    while more:
        page = await bucket.page(root + prefix, after, delimiter)
        found = sorted(page.keys + page.prefixes)
        for child in found:
            if child != after.removesuffix(_LAST):
                yield child[cut:]
        more = page.more and bool(found)
        if found:  # after a common prefix, skip all keys that begin with it
            after = found[-1] + (_LAST if found[-1] in page.prefixes else "")


def _begins_keys(prefix: str) -> bool:
    """Return whether any key can begin with *prefix*."""
    return _UNSENT.search(prefix) is None


def _sendable(start_after: str) -> str:
    """Return a position that can be sent: the same, or one before it with hardly a key in between."""
    found = _UNSENT.search(start_after)
    if found is None:
        return start_after
    return start_after[: found.start()] + ("\ud7ff" if found[0] > "\0" else "")
