"""The codecs: boundaries of pieces, damaged objects, and objects of other programs."""

from __future__ import annotations

import argparse
import base64
import gzip
import random
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from contents import opened

from storage import Base64Store, CorruptObjectError, DataTransform, DictStore, GzipStore, ObjectStore, ZstdStore
from storage.decorators.base64 import PIECE


@pytest.fixture(params=["zlib", "zlib_ng"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let stores use zlib-ng, or behave as if it were not installed."""
    if request.param == "zlib":
        monkeypatch.setitem(sys.modules, "zlib_ng", None)
    return str(request.param)


def text(size: int) -> bytes:
    """Return text as people write it."""
    return (Path(argparse.__file__).read_bytes() * 3)[:size]


async def test_base64_streams_bytes_that_look_like_padding() -> None:
    """An equals sign at the boundary of two pieces is encoded like any other byte."""
    content = b"=" * (3 << 20)

    def pieces() -> Iterator[bytes]:
        yield from (content[at : at + 1000] for at in range(0, len(content), 1000))

    store = Base64Store(Base64Store(DictStore()))
    await store.put("k", pieces())

    assert content == await store.get("k")
    assert content == await opened(store, "k")


@pytest.mark.parametrize(
    "below",
    [b"Y", b"YWJ", b"YWJj\n", b"YWJj YWJj", b"YWJj=", b"YWJj====", b"YQ==YWJj", b"YQ==" * 2, b"=YWJ", b"YW-_", b"===="],
)
async def test_base64_takes_no_more_than_it_gives(below: bytes) -> None:
    """Missing, extra or inner padding, line ends and other alphabets are damage, read whole or in pieces."""
    base = DictStore()
    await base.put("k", below)
    store = Base64Store(base)

    for read in (store.get("k"), opened(store, "k")):
        with pytest.raises(CorruptObjectError) as caught:
            await read
        assert "k" == caught.value.key


@pytest.mark.parametrize("size", [PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 2])
async def test_base64_of_many_pieces_is_that_of_the_whole(size: int) -> None:
    """Encoding in pieces gives the same bytes as encoding the whole."""
    content = random.Random(size).randbytes(size)
    base = DictStore()
    store = Base64Store(base)
    await store.put("k", content)

    assert base64.b64encode(content) == await base.get("k")
    assert content == await store.get("k") == await opened(store, "k")


async def test_base64_is_padded_nowhere_but_at_its_end() -> None:
    """Padding at the end of a piece is damage, too."""
    base = DictStore()
    await base.put("k", base64.b64encode(bytes(PIECE - 1)) + base64.b64encode(b"more"))
    store = Base64Store(base)

    for read in (store.get("k"), opened(store, "k")):
        with pytest.raises(CorruptObjectError):
            await read


@pytest.mark.parametrize("level", range(10))
async def test_gzip_files_are_the_same_to_everybody(library: str, level: int) -> None:
    """The format does not depend on the installed library, and the size differs by at most 5 %."""
    content = text(300_000)
    base = DictStore()
    store = GzipStore(base, level=level)
    await store.put("whole", content)
    await store.put("pieces", (content[at : at + 1000] for at in range(0, len(content), 1000)))
    await base.put("members", gzip.compress(content[:1000]) + gzip.compress(content[1000:]))

    assert content == gzip.decompress(await base.get("whole"))
    assert content == gzip.decompress(await base.get("pieces"))
    assert [content] * 3 == [await store.get(key) for key in ("whole", "pieces", "members")]
    assert content == await opened(store, "members")
    assert len(await base.get("whole")) <= len(zlib.compress(content, level)) * 1.05


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data[:-8] + bytes(8), lambda data: b"x" + data]
)
async def test_damaged_gzip_is_found_by_either_library(library: str, damage: Callable[[bytes], bytes]) -> None:
    """A missing end, a wrong checksum, and a start that is not gzip."""
    base = DictStore()
    await base.put("k", damage(gzip.compress(text(10_000))))
    store = GzipStore(base)

    for read in (store.get("k"), opened(store, "k")):
        with pytest.raises(CorruptObjectError):
            await read


async def test_bomb_is_not_decompressed_by_either_library(library: str) -> None:
    """`get` stops at `max_size`; the object can still be read in pieces."""
    base = DictStore()
    await base.put("k", gzip.compress(bytes(20 << 20)))
    store = GzipStore(base, max_size=1 << 20)

    with pytest.raises(CorruptObjectError, match="max_size"):
        await store.get("k")
    assert bytes(20 << 20) == await opened(store, "k")


class Watched:
    """Records the threads in which a codec works."""

    def __init__(self, store: DataTransform) -> None:
        self.threads: list[bool] = []
        self._work = {"encode": store.encode, "decode": store.decode}
        vars(store).update({name: partial(self._do, name) for name in self._work})

    def _do(self, name: str, data: bytes) -> bytes:
        self.threads.append(threading.current_thread() is threading.main_thread())
        return self._work[name](data)


@pytest.mark.parametrize("make", [Base64Store, GzipStore, ZstdStore])
@pytest.mark.parametrize(("content", "on_the_loop"), [(text(1000), [True, True]), (bytes(20 << 20), [False, False])])
async def test_long_work_leaves_the_loop(
    make: Callable[[ObjectStore], DataTransform], content: bytes, on_the_loop: list[bool]
) -> None:
    """Also for an object that is small compressed and large decompressed."""
    store = make(DictStore())
    watched = Watched(store)
    await store.put("k", content)

    assert content == await store.get("k")
    assert on_the_loop == watched.threads


async def test_gzip_file_of_many_members_takes_no_squared_time(library: str) -> None:
    """8 MiB of empty members take under a second of processor time; copied again after each, they would take 40."""
    member = gzip.compress(b"", mtime=0)
    base = DictStore()
    await base.put("k", member * ((8 << 20) // len(member)))
    begun = time.process_time()

    assert b"" == await GzipStore(base).get("k")
    assert time.process_time() - begun < 10


@pytest.mark.parametrize("own", ["", " ", "x", " x", "x ", "5", "- 7"])
async def test_callers_attribute_of_the_codecs_name_is_kept(own: str) -> None:
    """The codecs' attributes hide none of the caller's."""
    store = GzipStore(Base64Store(DictStore()))
    await store.put("k", b"abc", attributes={"decoded-sizes": own})
    info = await store.head("k")

    assert ({"decoded-sizes": own}, 3) == (info.attributes, info.size)


@pytest.mark.parametrize("word", ["", "-", "x", "-5", "٣", "9" * 5000])
async def test_attribute_that_is_no_size_is_measured_instead(word: str) -> None:
    """Another program may have used the name."""
    base = DictStore()
    await base.put("k", gzip.compress(b"0123456789"), attributes={"decoded-sizes": word})

    assert 10 == (await GzipStore(base).head("k")).size
