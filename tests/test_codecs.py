"""What is special about the codecs: where pieces meet, what is damaged, and what was not written by them."""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator

import pytest

from storage import Base64Store, CorruptObjectError, DictStore, GzipStore, ObjectStore


async def opened(store: ObjectStore, key: str) -> bytes:
    async with store.open(key) as reader:
        return await reader.read()


async def test_base64_streams_bytes_that_look_like_padding() -> None:
    """An equals sign where two pieces meet is a byte like any other on the way in."""
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
    """Too little, too much or inner padding, line ends and other alphabets are damage, read whole or in pieces."""
    base = DictStore()
    await base.put("k", below)
    store = Base64Store(base)

    for read in (store.get("k"), opened(store, "k")):
        with pytest.raises(CorruptObjectError) as caught:
            await read
        assert "k" == caught.value.key


async def test_gzip_file_of_many_members_takes_no_squared_time() -> None:
    """Eight MiB of empty members are read in under a second; copied anew after each one they would take 40."""
    member = gzip.compress(b"", mtime=0)
    base = DictStore()
    await base.put("k", member * ((8 << 20) // len(member)))
    begun = time.perf_counter()

    assert b"" == await GzipStore(base).get("k")
    assert time.perf_counter() - begun < 10


@pytest.mark.parametrize("own", ["", " ", "x", " x", "x ", "5", "- 7"])
async def test_callers_attribute_of_the_codecs_name_is_kept(own: str) -> None:
    """What the codecs keep beside an object hides nothing that the caller put there."""
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
