"""The stores of values: which values they take, and the bytes below."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import storage.sync
from storage import (
    BufferStore,
    BulkError,
    ByteRange,
    ConfigError,
    CorruptObjectError,
    DictStore,
    GzipStore,
    JsonStore,
    PrefixStore,
    TextEncodingStore,
    UnsupportedOperationError,
)
from storage._core.data import CHUNK

# -- text -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "latin-1", "cp1252", "utf-8-sig"])
async def test_text_is_encoded_below(encoding: str) -> None:
    """With Python's encoding of that name, so that other programs can read it."""
    base = DictStore()
    store = TextEncodingStore(base, encoding)

    await store.put("k", "Grüße")
    await store.put_many({"a": "", "b": "ß"})

    assert "Grüße".encode(encoding) == await base.get("k")
    assert ["Grüße", "", "ß"] == list((await store.get_many(["k", "a", "b"])).values())
    assert "Grüße" == await store.get("k")


async def test_bytes_that_are_no_text_are_corrupt() -> None:
    """The error names the key, in single and bulk calls; `open` can still read the bytes."""
    base = DictStore()
    store = TextEncodingStore(base)
    await base.put("k", b"\xff")

    with pytest.raises(CorruptObjectError, match=r"not utf-8 text, key 'k', in TextEncodingStore\(DictStore\(\)\)"):
        await store.get("k")
    assert isinstance((await store.get_many(["k"]))["k"], CorruptObjectError)
    async with store.open("k") as reader:
        assert b"\xff" == await reader.read()


@pytest.mark.parametrize("text", ["\ud800", "snow ☃"])
async def test_text_that_does_not_encode_is_a_value_error(text: str) -> None:
    """Python's own error, which names the position; the old object is kept."""
    store = TextEncodingStore(DictStore(), "ascii")
    await store.put("k", "old")

    with pytest.raises(UnicodeEncodeError):
        await store.put("k", text)

    assert "old" == await store.get("k")


@pytest.mark.parametrize("value", [b"bytes", bytearray(b"x"), 5, None, ["text"]])
async def test_what_is_no_text_is_a_type_error(value: Any) -> None:
    """Nothing is converted."""
    with pytest.raises(TypeError, match=f"TextEncodingStore takes text, not {type(value).__name__}"):
        await TextEncodingStore(DictStore()).put("k", value)


async def test_errors_may_be_replaced() -> None:
    """The error handler is an option; one that can only encode raises when it must decode."""
    base = DictStore()
    await base.put("k", b"a\xffb")
    await TextEncodingStore(base, "ascii", errors="xmlcharrefreplace").put("snow", "☃")

    assert "a�b" == await TextEncodingStore(base, errors="replace").get("k")
    assert b"&#9731;" == await base.get("snow")
    with pytest.raises(CorruptObjectError):
        await TextEncodingStore(base, errors="xmlcharrefreplace").get("k")


@pytest.mark.parametrize(
    ("encoding", "errors", "message"),
    [("utf-9", "strict", "utf-9"), ("base64", "strict", "base64"), ("utf-8", "ignored", "ignored")],
)
def test_unknown_encoding_is_refused(encoding: str, errors: str, message: str) -> None:
    """When the store is built, not with the first object; an encoding that is not one of text is refused, too."""
    with pytest.raises(ValueError, match=rf"{message}.*: use a text encoding such as 'utf-8'"):
        TextEncodingStore(DictStore(), encoding, errors=errors)


# -- files ------------------------------------------------------------------------------------------------------


class Reading:
    """A file that has only `read`, and records where it is read."""

    def __init__(self, pieces: list[Any]) -> None:
        self._pieces = iter(pieces)
        self.threads: set[int] = set()
        self.sizes: set[int] = set()

    def read(self, size: int) -> Any:
        self.threads.add(threading.get_ident())
        self.sizes.add(size)
        return next(self._pieces, b"")


async def test_file_is_read_from_where_it_is(tmp_path: Path) -> None:
    """To its end, and it is not closed; the returned file is at its start."""
    (tmp_path / "file").write_bytes(bytes(range(256)) * 10_000)
    store = BufferStore(DictStore())

    with (tmp_path / "file").open("rb") as file:
        file.seek(255)
        await store.put("k", file)
        assert (2_560_000, b"") == (file.tell(), file.read())

    buffer = await store.get("k")
    assert (0, b"\xff\x00") == (buffer.tell(), buffer.read(2))
    assert 2_560_000 - 255 == (await store.head("k")).size


async def test_file_is_read_in_pieces_off_the_loop() -> None:
    """A slow file blocks no other task, and a large one is never in memory as a whole."""
    file = Reading([b"x" * CHUNK, bytearray(b"y"), memoryview(b"z" * 5)])
    store = BufferStore(DictStore())

    await store.put("k", file)

    assert b"x" * CHUNK + b"yzzzzz" == (await store.get("k")).getvalue()
    assert {CHUNK} == file.sizes
    assert threading.get_ident() not in file.threads


@pytest.mark.parametrize("piece", ["text", None, 5])
async def test_file_that_gives_no_bytes_is_a_type_error(piece: Any) -> None:
    """A text file, or a file that does not block for its bytes: nothing is put."""
    store = BufferStore(DictStore())

    with pytest.raises(TypeError, match="bytes"):
        await store.put("k", Reading([b"good", piece]))

    assert not await store.exists("k")


async def test_text_file_is_a_type_error() -> None:
    """Nothing is converted, not even an empty text file."""
    store: Any = BufferStore(DictStore())

    for text in ("text", ""):
        with pytest.raises(TypeError, match="bytes"):
            await store.put("k", io.StringIO(text))


async def test_other_data_will_do() -> None:
    """Bytes, iterables and readers of this package, as in all stores; a buffer from its position."""
    store = BufferStore(DictStore())
    buffer = io.BytesIO(b"0123")
    buffer.seek(2)
    items: dict[str, Any] = {"bytes": b"b", "pieces": [b"p", b"q"], "buffer": buffer, "file": Reading([b"f"])}
    await store.put_many(items)
    async with store.open("pieces") as reader:
        await store.put("reader", reader)

    found = await store.get_many(["bytes", "pieces", "buffer", "file", "reader"])
    assert [b"b", b"pq", b"23", b"f", b"pq"] == [
        value.getvalue() for value in found.values() if isinstance(value, io.BytesIO)
    ]
    assert 4 == buffer.tell()


async def test_error_of_a_file_passes_unchanged() -> None:
    """It is the caller's error, and the old object is kept."""

    class Broken:
        def read(self, size: int) -> bytes:
            raise ConnectionResetError("mine")

    store = BufferStore(DictStore())
    await store.put("k", b"old")

    with pytest.raises(ConnectionResetError, match="mine"):
        await store.put("k", Broken())

    assert b"old" == (await store.get("k")).read()


async def test_file_of_a_socket_is_a_file() -> None:
    """Every object with `read` is a file."""
    here, there = socket.socketpair()
    with here, there, there.makefile("rb") as file:
        here.sendall(b"over the wire")
        here.shutdown(socket.SHUT_WR)
        store = BufferStore(DictStore())
        await store.put("k", file)

    assert b"over the wire" == (await store.get("k")).read()


# -- all of them ------------------------------------------------------------------------------------------------


async def test_range_of_a_value_is_no_value() -> None:
    """It is refused, and the error says what to use."""
    for store in (TextEncodingStore(DictStore()), JsonStore(DictStore()), BufferStore(DictStore())):
        with pytest.raises(UnsupportedOperationError, match=r"read its bytes with open\(\)"):
            await store.get("k", byte_range=ByteRange(0, 1))


async def test_values_go_over_codecs_and_keys() -> None:
    """Codecs must be below, where there are bytes; key decorators can be on either side."""
    store = PrefixStore(JsonStore(GzipStore(PrefixStore(DictStore(), "a/"))), "b/")
    await store.put("k", {"a": [1, 2]})

    assert {"a": [1, 2]} == await store.get("k")
    assert ["k"] == [key async for key in store.keys()]
    with pytest.raises(ConfigError, match=r"JsonStore\(GzipStore\(\.\.\.\)\)"):
        GzipStore(JsonStore(DictStore()))  # type: ignore[arg-type]


async def test_bulk_put_of_values_fails_item_by_item() -> None:
    """Refusals of the store below are results per key; a wrong type of value stops the call."""
    store = JsonStore(DictStore())

    with pytest.raises(BulkError) as caught:
        await store.put_many({"": 1, "k": 2})

    assert {"k"} == {key for key, each in caught.value.results.items() if isinstance(each, str)}
    assert 2 == await store.get("k")


def test_sync_face_of_values(tmp_path: Path) -> None:
    """Stepped and on the loop, values are put and returned as in async use."""
    with storage.sync.SqliteStore(tmp_path / "objects.db") as database:
        for base in (storage.sync.FilesystemStore(tmp_path / "files"), database):
            texts, documents = storage.sync.TextEncodingStore(base), storage.sync.JsonStore(base)
            texts.put("text", "Grüße")
            texts.put_many({"a": "ä"})
            documents.put("list", [1, {"a": None}])
            documents.put_many([("dict", {"b": 1})])
            documents.put("string", "s")

            assert ("Grüße", "ä") == (texts.get("text"), texts.get("a"))
            assert [[1, {"a": None}], {"b": 1}, "s"] == [documents.get(key) for key in ("list", "dict", "string")]
            with pytest.raises(TypeError):
                texts.put("text", b"bytes")  # type: ignore[arg-type]


def test_sync_face_of_files(tmp_path: Path) -> None:
    """An open file, one that is only read, a buffer and a generator."""

    def pieces() -> Iterator[bytes]:
        yield from (b"pieces", b" of it")

    (tmp_path / "file").write_bytes(b"line\n" * 100_000)
    with storage.sync.SqliteStore(tmp_path / "objects.db") as database:
        for base in (storage.sync.FilesystemStore(tmp_path / "files"), database):
            store = storage.sync.BufferStore(base)
            with (tmp_path / "file").open("rb") as file:
                store.put("file", file)
            store.put("read", Reading([b"only", b" read"]))
            store.put("buffer", io.BytesIO(b"line\nline"))
            store.put("pieces", pieces())

            found = [store.get(key).read() for key in ("read", "buffer", "pieces")]
            assert [b"only read", b"line\nline", b"pieces of it"] == found
            assert b"line\n" * 100_000 == store.get("file").getvalue()
