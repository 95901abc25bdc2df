"""A large file that is overwritten while it is read."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage import FilesystemStore, ObjectReader

MIB = 1 << 20

#: MiB of the two versions: large enough that every overwrite is met half way by many reads.
SIZES = (200, 201)

#: Overwrites while others read; each writes some 200 MB.
OVERWRITES = 4


async def version(number: int) -> AsyncIterator[bytes]:
    """Yield version 0 or 1 in pieces that are all different."""
    filling = bytes([65 + number]) * (MIB - 8)
    for place in range(SIZES[number]):
        yield b"%08d" % place + filling


async def digest_of(pieces: AsyncIterator[bytes] | ObjectReader) -> str:
    digest = hashlib.sha1(usedforsecurity=False)
    async for piece in pieces:
        await asyncio.to_thread(digest.update, piece)
    return digest.hexdigest()


def digest_of_file(path: Path) -> str:
    """Read the file as another program does."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha1").hexdigest()


@pytest.mark.slow
async def test_readers_of_200_mb_see_whole_versions_during_overwrites(tmp_path: Path) -> None:
    """A reader that polls, through the store or directly, sees the whole old contents or the whole new ones."""
    store = FilesystemStore(tmp_path)
    digests = [await digest_of(version(0)), await digest_of(version(1))]
    await store.put("big", version(0))
    writing = True
    seen: list[str] = []

    async def overwrite() -> None:
        nonlocal writing
        try:
            for turn in range(OVERWRITES):
                await store.put("big", version((turn + 1) % 2))
        finally:
            writing = False

    async def poll() -> None:
        while writing:
            async with store.open("big") as reader:
                digest = await digest_of(reader)
            assert digests[SIZES.index(reader.info.size // MIB)] == digest
            seen.append(digest)

    async def poll_as_another_program() -> None:
        while writing:
            seen.append(await asyncio.to_thread(digest_of_file, tmp_path / "big"))

    await asyncio.gather(overwrite(), poll(), poll_as_another_program())

    assert seen
    assert set() == set(seen) - set(digests)
