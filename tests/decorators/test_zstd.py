"""Zstandard: frames, windows and decompression bombs."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from contents import opened
from hypothesis import given, settings
from hypothesis import strategies as st
from zstd import zstd

import storage.sync
from storage import CorruptObjectError, DictStore, ZstdStore
from storage._core.data import CHUNK
from storage.decorators.zstd.coder import FrameCompressor

#: A frame that holds no data, and says so in 7 bytes; RFC 8878, section 3.1.2.
SKIPPABLE = bytes.fromhex("502a4d18") + (3).to_bytes(4, "little") + b"abc"

TEXT = b"".join(b"%d," % number for number in range(5000))


async def over(below: bytes) -> ZstdStore:
    """Return a store whose base has an object "k" of these bytes."""
    base = DictStore()
    await base.put("k", below)
    return ZstdStore(base)


@pytest.mark.slow
@pytest.mark.parametrize("level", [1, 3, 22])
async def test_objects_are_zstd_files(level: int) -> None:
    """Any other program can read them; those that are not streamed declare their size."""
    base = DictStore()
    store = ZstdStore(base, level=level)

    await store.put("k", TEXT)
    await store.put("stream", iter([TEXT[:100], TEXT[100:]]))

    whole, streamed = await base.get("k"), await base.get("stream")
    assert [TEXT, TEXT] == [zstd.decompress(whole), zstd.decompress(streamed)]
    assert len(TEXT) == zstd.get_frame_info(whole).decompressed_size
    assert len(whole) < len(TEXT) / 2


def test_frames_do_not_depend_on_what_was_compressed_before() -> None:
    """Compressors are reused in any thread, and keep no state of earlier objects."""
    contents = [TEXT[:size] for size in (0, 1, 100, 5000, 0, 20_000, 7)] * 20
    frames = [FrameCompressor(3, small=0).compress(content) for content in contents]
    kept = FrameCompressor(3, small=1 << 20)

    with ThreadPoolExecutor(4) as threads:
        assert frames == list(threads.map(kept.compress, contents))


async def test_equal_bytes_give_equal_files() -> None:
    """So stores below can compare or deduplicate them."""
    base = DictStore()
    await ZstdStore(base).put_many({"a": TEXT, "b": TEXT})

    assert await base.get("a") == await base.get("b")


@pytest.mark.parametrize(
    ("below", "expected"),
    [
        (zstd.compress(b"one") + zstd.compress(b"") + zstd.compress(b"two"), b"onetwo"),
        (SKIPPABLE + zstd.compress(b"one") + SKIPPABLE, b"one"),
        (SKIPPABLE, b""),
        (zstd.compress(TEXT) * 50, TEXT * 50),
    ],
    ids=["several frames", "skippable frames", "nothing but a skippable frame", "large frames"],
)
async def test_file_may_have_many_frames(below: bytes, expected: bytes) -> None:
    """Several frames of `zstd` and other programs, one after the other, are one object."""
    store = await over(below)

    assert expected == await store.get("k")
    assert expected == await opened(store, "k")
    assert len(expected) == (await store.head("k")).size


@pytest.mark.parametrize(
    "below",
    [b"", b"plain", b"\x28\xb5\x2f\xfd", zstd.compress(TEXT) + b"x", zstd.compress(TEXT) + zstd.compress(b"a")[:-1]],
    ids=["nothing", "plain bytes", "only the magic number", "a byte too many", "second frame cut"],
)
async def test_what_is_no_zstd_file_is_corrupt(below: bytes) -> None:
    """The error names the key, whether it is read whole, in pieces or only measured."""
    store = await over(below)

    for read in (store.get("k"), opened(store, "k"), store.head("k")):
        with pytest.raises(CorruptObjectError) as caught:
            await read
        assert "k" == caught.value.key


async def test_file_that_is_cut_anywhere_is_corrupt() -> None:
    """No part of a frame counts as a whole one."""
    frame = zstd.compress(TEXT[:1000])

    for end in range(len(frame)):
        with pytest.raises(CorruptObjectError):
            await (await over(frame[:end])).get("k")


async def test_changed_bit_does_no_harm() -> None:
    """Any changed bit is detected, because the frames have a checksum."""
    base = DictStore()
    store = ZstdStore(base)
    await store.put("k", TEXT[:500])
    frame = await base.get("k")

    for position in range(len(frame)):
        await base.put("k", frame[:position] + bytes([frame[position] ^ 0x10]) + frame[position + 1 :])
        try:
            found = await store.get("k")
        except CorruptObjectError:
            continue
        assert TEXT[:500] == found  # a bit that means nothing


@settings(deadline=None)  # a busy machine is no slow code
@given(below=st.binary(max_size=200), framed=st.booleans())
async def test_random_bytes_are_corrupt_or_a_file(below: bytes, framed: bool) -> None:
    """No input raises another error."""
    store = await over(b"\x28\xb5\x2f\xfd" + below if framed else below)

    for read in (store.get("k"), opened(store, "k")):
        with suppress(CorruptObjectError):
            await read


async def test_bomb_is_not_decompressed_at_once() -> None:
    """`get` stops at its bound; `open` reads a huge object in pieces."""
    base = DictStore()
    await base.put("k", zstd.compress(bytes(1 << 27)))

    with pytest.raises(
        CorruptObjectError, match=r"more than max_size=1000 bytes; increase max_size, or read in pieces with open"
    ):
        await ZstdStore(base, max_size=1000).get("k")
    async with ZstdStore(base, max_size=1000).open("k") as reader:
        sizes = [len(piece) async for piece in reader]
    assert (1 << 27, CHUNK) == (sum(sizes), max(sizes))


async def test_frame_that_wants_too_much_memory_is_refused() -> None:
    """A dozen bytes may declare a window of 256 MiB."""
    options: dict[int, int] = {zstd.CompressionParameter.window_log: 28}
    compressor = zstd.ZstdCompressor(options=options)
    store = await over(compressor.compress(b"tiny") + compressor.flush())

    with pytest.raises(CorruptObjectError):
        await store.get("k")


@pytest.mark.parametrize("level", [0, 23, -1])
def test_level_that_there_is_not_is_refused(level: int) -> None:
    """0 would be the default level under another name."""
    with pytest.raises(ValueError, match=f"level must be 1 to 22, not {level}"):
        ZstdStore(DictStore(), level=level)


def test_sync_face_compresses(tmp_path: Path) -> None:
    """Through `storage.sync` the files are the same."""
    store = storage.sync.ZstdStore(storage.sync.FilesystemStore(tmp_path), level=5)
    store.put("k", iter([TEXT, TEXT]))

    assert TEXT * 2 == zstd.decompress((tmp_path / "k").read_bytes()) == store.get("k")
    assert 5 == store.async_store.level


@pytest.mark.process
@pytest.mark.parametrize(
    ("call", "packages", "message"),
    [
        (
            "ZstdStore(DictStore())",
            ["backports", "compression"],
            "ZstdStore needs backports.zstd: pip install 'stackstore[zstd]'",
        ),
        (
            "EncryptingStore(DictStore(), {'a': bytes(32)})",
            ["cryptography"],
            "EncryptingStore needs cryptography: pip install 'stackstore[crypto]'",
        ),
    ],
)
def test_missing_package_is_named_with_its_extra(call: str, packages: list[str], message: str) -> None:
    """The class can still be imported and looked up."""
    program = (
        f"import sys\nsys.modules.update(dict.fromkeys({packages}))\nfrom storage import *\n"
        f"try:\n    {call}\nexcept ImportError as error:\n    print(error)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert message == result.stdout.strip()
