"""Objects in parts: uploads of any size in bounded memory, and copies of objects too large for one request."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import anyio

from storage._concurrency.forks import PROCESS
from storage._concurrency.offload import offload
from storage._concurrency.tasks import for_each
from storage._core.data import chunks
from storage.errors import StorageError
from storage.stores.s3.conditions import ConditionalWrite
from storage.stores.s3.retrying_client import RetryingBucket
from storage.types import Data

__all__ = ["COPY_LIMIT", "PART", "copy_in_parts", "numbered", "part_size", "parts_of", "send_parts", "upload_in_parts"]

#: Bytes of the first parts of an upload; S3 accepts less than 5 MiB only for the last part.
PART = 8 << 20

#: The most parts of an upload, and the most bytes of an object (Amazon S3 user guide, "multipart upload limits").
_PARTS, LARGEST = 10_000, 5 << 40

#: The most bytes that one request copies.
COPY_LIMIT = 5 << 30

#: Bytes of the parts of a copy.
_COPY_PART = 512 << 20

#: Parts of one upload that are sent concurrently; it takes memory for that many.
_PARALLEL = 4


def part_size(number: int) -> int:
    """
    Return the size in bytes of the part with this number, counted from 1.

    The sizes grow, so that 10,000 parts make 5 TiB while a small upload needs little memory: 1,000 parts of 8 MiB,
    1,000 of 16 MiB, and so on, doubling up to 4 GiB.
    """
    return PART << min((number - 1) // 1000, 9)


async def parts_of(data: Data) -> AsyncIterator[bytes]:
    """Yield a stream in parts of the right sizes; the last one may be shorter, the only one empty."""
    number = 1
    pending = bytearray()
    async for piece in chunks(data):
        pending += piece
        while len(pending) >= (size := part_size(number)):
            with memoryview(pending) as view:  # a slice of the bytearray would be one more copy
                part = bytes(view[:size])
            del pending[:size]
            yield part
            del part
            number += 1
    if pending or number == 1:
        yield bytes(pending)


async def upload_in_parts(
    bucket: RetryingBucket,
    key: str,
    parts: AsyncIterator[tuple[int, bytes]],
    headers: dict[str, str],
    write: ConditionalWrite,
) -> str:
    """
    Send numbered *parts* as one object, some concurrently, and return its etag; after a failure none is left.

    *write* makes one object of the parts, under its condition.
    """
    process = PROCESS.number
    upload = await bucket.create_upload(key, headers | write.mark)
    try:
        etags = await send_parts(bucket, key, upload, parts, {})
        return await write.make(lambda: bucket.once.complete_upload(key, upload, etags, write.condition))
    except BaseException:
        await _abort(bucket, key, upload, process)
        raise


async def send_parts(
    bucket: RetryingBucket,
    key: str,
    upload: str,
    parts: AsyncIterator[tuple[int, bytes]],
    there: Mapping[int, tuple[int, str]],
) -> list[str]:
    """
    Send the numbered parts of an upload, some concurrently, and return the etags of all, in the order of their numbers.

    *there* has size and etag of the parts that the server has already: a part with that size and MD5 is not sent again.
    """
    etags: dict[int, str] = {}

    async def send(number: int, part: bytes) -> None:
        if number in there and there[number] == (len(part), await offload(_md5, part)):
            etags[number] = there[number][1]
        else:
            etags[number] = await bucket.upload_part(key, upload, number, part)

    await _concurrently(parts, send)
    return [etags[number] for number in sorted(etags)]


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


async def copy_in_parts(
    bucket: RetryingBucket,
    source: str,
    etag: str,
    target: str,
    size: int,
    headers: dict[str, str],
    write: ConditionalWrite,
) -> str:
    """Copy one version of an object of any size on the server, inside the bucket, and return the copy's etag."""
    process = PROCESS.number
    upload = await bucket.create_upload(target, headers | write.mark)
    try:
        etags: dict[int, str] = {}

        async def ranges() -> AsyncIterator[tuple[int, str]]:
            for number, begin in enumerate(range(0, size, _COPY_PART), start=1):
                yield number, f"bytes={begin}-{min(begin + _COPY_PART, size) - 1}"

        async def copy(number: int, byte_range: str) -> None:
            etags[number] = await bucket.copy_part(source, etag, target, upload, number, byte_range)

        await _concurrently(ranges(), copy)
        ordered = [etags[number] for number in sorted(etags)]
        return await write.make(lambda: bucket.once.complete_upload(target, upload, ordered, write.condition))
    except BaseException:
        await _abort(bucket, target, upload, process)
        raise


async def numbered(parts: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    """Yield parts with their numbers, from 1."""
    number = 0
    async for part in parts:
        number += 1
        yield number, part


async def _concurrently(items: AsyncIterator[tuple[int, Any]], work: Callable[[int, Any], Awaitable[None]]) -> None:
    """Do *work* for every item, `_PARALLEL` concurrently; the first error stops all and is raised unchanged."""

    async def one(item: tuple[int, Any]) -> None:
        await work(*item)

    await for_each(items, one, limit=_PARALLEL)


async def _abort(bucket: RetryingBucket, key: str, upload: str, process: int) -> None:
    """
    Abort an upload, in a cancelled task as well; if that fails, a life-cycle rule of the bucket has to.

    A process that was forked since the upload began in *process* leaves it to its parent, and the connections too.
    """
    if process != PROCESS.number:
        return
    with anyio.CancelScope(shield=True):
        try:
            async with asyncio.timeout(bucket.timeouts.read):
                await bucket.abort_upload(key, upload)
        except (StorageError, TimeoutError):
            pass
