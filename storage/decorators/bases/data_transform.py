"""`DataTransform`: the base of the decorators that change only data."""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import replace
from typing import Protocol

from storage._concurrency.offload import offload_for
from storage._core.bulk import result_of
from storage._core.data import as_bytes, chunks, is_stream, whole
from storage._core.lazy import lazy
from storage._core.left_out import LeftOut
from storage._core.traits import Trait
from storage.base import ATTEMPTS, ObjectStore
from storage.decorators.bases.store_decorator import StoreDecorator
from storage.errors import CorruptObjectError, KeyNotFoundError, StorageError, StoreUnavailableError
from storage.reader import ObjectReader
from storage.types import (
    Attributes,
    ByteRange,
    Capabilities,
    Data,
    Items,
    Keys,
    ObjectInfo,
    check_attributes,
    replace_info,
)

__all__ = ["Coder", "DataTransform"]

#: The attribute below that has an object's decoded size: one number for each codec of a stack, the outermost first.
SIZES_ATTRIBUTE = "decoded-sizes"
_SIZE = re.compile("[0-9]{1,19}")  # fits 64 bits; anything else was not written by a codec

_LARGE = 64 << 10


class Coder(Protocol):
    """Encodes or decodes one object, piece by piece."""

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the result for *piece*; a decoder yields pieces of bounded size, however far the data expands."""
        ...

    def finish(self) -> bytes:
        """
        Return the rest of the result at the end of the object.

        Raises:
            CorruptObjectError: the object that is decoded ended too early.
        """
        ...


class DataTransform(StoreDecorator):
    """
    A decorator that is two pure functions on bytes: `encode`, for what is put, and `decode`, for what is read.

    Sizes, ranges and descriptions are those of the decoded data. The decoded size of an object that is put as one
    buffer is stored in an attribute, if the store below keeps attributes; else `head` and `open` decode the object to
    measure it.

    A subclass that can work piece by piece also defines `encoder` and `decoder`; else streams are collected in memory.
    A subclass that can compute the decoded size from the encoded size defines `decoded_size`; then sizes are neither
    stored nor measured.

    Attributes:
        offload_above: bytes above which the codec runs in a worker thread; None if it is so fast that it never needs
            to. Handing work to a thread takes 0.05 ms: it is worth it for work that takes ten times as long and would
            block the event loop.
    """

    _steppable = True
    _traits = frozenset({Trait.TRANSFORMS})
    offload_above: int | None = None

    @abstractmethod
    def encode(self, data: bytes) -> bytes:
        """Return the bytes that are stored below for *data*."""

    @abstractmethod
    def decode(self, data: bytes) -> bytes:
        """
        Return the data of which `encode` made this.

        Raises:
            CorruptObjectError: *data* is not a result of `encode`.
        """

    def encoder(self) -> Coder | None:
        """Return a new coder that encodes one object, or None if only `encode` works."""
        return None

    def decoder(self) -> Coder | None:
        """Return a new coder that decodes one object, or None if only `decode` works."""
        return None

    def decoded_size(self, size: int) -> int | None:
        """Return the decoded size of an object that has *size* bytes below; None if only decoding shows it."""
        return None

    async def get(self, key: str, *, byte_range: ByteRange | None = None) -> bytes:
        data = await self._decode(key, await self.base.get(key))
        if byte_range is None:
            return data
        start, stop = byte_range.within(len(data), key)
        return data[start:stop]

    async def put(
        self,
        key: str,
        data: Data,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        encoder = self.encoder() if is_stream(data) else None
        size: int | None = None
        encoded: Data
        if encoder is not None:
            encoded = self._encoded(data, encoder)
        else:
            content = await whole(data) if is_stream(data) else as_bytes(data)
            size = len(content)
            encoded = await offload_for(self, self.encode, content) if self._is_long(size) else self.encode(content)
        if self._stores_sizes:
            attributes = _add_size(attributes, size)
        return await self.base.put(key, encoded, if_absent=if_absent, if_match=if_match, attributes=attributes)

    async def head(self, key: str) -> ObjectInfo:
        info = self._decoded_info(await self.base.head(key))
        if info is not None:
            return info
        async with DataTransform._opened(self, key, None, False) as reader:  # a subclass's open may call head
            return reader.info

    def open(self, key: str, *, byte_range: ByteRange | None = None) -> AbstractAsyncContextManager[ObjectReader]:
        return DataTransform._opened(self, key, byte_range, True)

    @asynccontextmanager
    async def _opened(self, key: str, byte_range: ByteRange | None, to_read: bool) -> AsyncIterator[ObjectReader]:
        """Open the object *to_read* it, or only for its description."""
        measured: ObjectInfo | None = None
        for _ in range(ATTEMPTS):
            async with self.base.open(key) as source:
                info = measured if measured and measured.etag == source.info.etag else self._decoded_info(source.info)
                most = self._most_measured(source.info.size, to_read)
                async with aclosing(self._decoded(key, source)) as pieces:
                    if info is not None:
                        start, stop = (0, info.size) if byte_range is None else byte_range.within(info.size, key)
                        if start > most:  # all bytes before it are decoded
                            raise self._is_too_large(key, f"the range starts at byte {start}, after")
                        yield _DecodingReader(info, pieces, start, stop - start, self)
                        return
                    size = 0
                    async for piece in pieces:
                        size += len(piece)
                        if size > most:
                            raise self._is_too_large(key, "the object decodes to")
                    attributes = source.info.attributes
                    if not self._computes_sizes:
                        attributes, _ = _split_size(attributes)
                    measured = replace_info(source.info, size=size, attributes=attributes)
        raise StoreUnavailableError("the object changed during each measurement; try again", key=key, store=self)

    async def get_many(self, keys: Keys) -> dict[str, bytes | StorageError]:
        results = await self.base.get_many(keys)
        for key, result in results.items():
            if not isinstance(result, StorageError):
                results[key] = await result_of(self._decode(key, result))
        return results

    async def put_many(
        self,
        items: Items[Data],
        *,
        raise_errors: bool = True,
    ) -> dict[str, str | StorageError]:
        return await ObjectStore.put_many(
            self, items, raise_errors=raise_errors
        )  # one by one: each has its size in an attribute

    async def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        with LeftOut(self) as left_out:
            async for below in self.base.scan(prefix, start_after=start_after):
                try:
                    info = self._decoded_info(below) or await self.head(below.key)
                except KeyNotFoundError:
                    continue
                except CorruptObjectError as error:
                    left_out.add(below.key, error)
                else:
                    yield info

    async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        return await self.base.copy(source, target, if_absent=if_absent)  # encoded bytes do not depend on the key

    async def rename(self, source: str, target: str, *, if_absent: bool = False) -> str:
        return await self.base.rename(source, target, if_absent=if_absent)

    @property
    def capabilities(self) -> Capabilities:
        below = self.base.capabilities
        streaming = below.streaming and self.encoder() is not None and self.decoder() is not None
        cheap_head = below.cheap_head and self._computes_sizes
        return self._supported(replace(below, ranges=False, cheap_head=cheap_head, streaming=streaming))

    @lazy
    def _stores_sizes(self) -> bool:
        return self.base.capabilities.attributes and not self._computes_sizes

    @lazy
    def _computes_sizes(self) -> bool:
        return type(self).decoded_size is not DataTransform.decoded_size

    def _decoded_info(self, below: ObjectInfo) -> ObjectInfo | None:
        """Return the description of the decoded object, or None if it must be decoded for its size."""
        if not self._computes_sizes:
            info = _info_from_size(below)
            return info if info is not None and self._can_be(info.size, below.size) else None
        size = self.decoded_size(below.size)
        return None if size is None else replace_info(below, size=size)

    def _can_be(self, size: int, stored: int) -> bool:
        """Return whether *size* bytes that were put as one buffer can be *stored* bytes below; else it is forged."""
        return True

    def _most_measured(self, stored: int, opened: bool) -> float:
        """
        Return the bytes that are decoded at most to measure an object of *stored* bytes or to skip a part of it.

        Args:
            stored: the bytes below.
            opened: whether the object is opened to be read, and not only described.
        """
        return math.inf

    def _is_too_large(self, key: str, what: str) -> CorruptObjectError:
        return CorruptObjectError(
            f"{what} more bytes than may be decoded to measure it; increase max_size", key=key, store=self
        )

    def _is_long(self, size: int) -> bool:
        """Return whether the codec works on *size* bytes long enough for a worker thread."""
        return self.offload_above is not None and size > self.offload_above

    def _is_long_to_decode(self, data: bytes) -> bool:
        """Return the same for decoding an object that is *data* below."""
        return self._is_long(len(data))

    async def _decode(self, key: str, data: bytes) -> bytes:
        try:
            return await offload_for(self, self.decode, data) if self._is_long_to_decode(data) else self.decode(data)
        except CorruptObjectError as error:
            self._add_context(error, key)
            raise

    def _add_context(self, error: CorruptObjectError, key: str) -> None:
        """Add the key and the store to an error of the codec, which knows neither."""
        error.with_key(key).store = repr(self)

    async def _encoded(self, data: Data, encoder: Coder) -> AsyncIterator[bytes]:
        """Yield a stream's encoded pieces."""
        async for piece in chunks(data):
            fed = encoder.feed(piece)
            for encoded in await offload_for(self, list, fed) if self._is_long(len(piece)) else fed:
                yield encoded
        yield encoder.finish()

    async def _decoded(self, key: str, source: ObjectReader) -> AsyncGenerator[bytes, None]:
        """Yield an open object's decoded pieces, each of bounded size."""
        decoder = self.decoder()
        if decoder is None:
            yield await self._decode(key, await source.read())
            return
        try:
            async for piece in source:
                decoded, long = _in_large_pieces(decoder.feed(piece)), self._is_long(len(piece))
                while out := await offload_for(self, next, decoded, b"") if long else next(decoded, b""):
                    yield out
            yield decoder.finish()
        except CorruptObjectError as error:
            self._add_context(error, key)
            raise


def _in_large_pieces(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in pieces of at least 64 KiB but for the last: each may cost a hop to a thread, 0.05 ms."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= _LARGE:
            yield b"".join(held) if len(held) > 1 else piece
            held.clear()
            size = 0
    if held:
        yield b"".join(held)


def _add_size(attributes: Attributes | None, size: int | None) -> Attributes:
    """Return the attributes for below: with the decoded size added, or ``-`` if it is not known yet."""
    stored = check_attributes(attributes) if attributes else {}
    size_text = "-" if size is None else str(size)
    stored[SIZES_ATTRIBUTE] = f"{stored[SIZES_ATTRIBUTE]} {size_text}" if SIZES_ATTRIBUTE in stored else size_text
    return stored


def _split_size(attributes: Attributes) -> tuple[dict[str, str], str]:
    """Return the attributes as the caller put them, and the text of the decoded size that this codec added."""
    outer = dict(attributes)
    rest, more, size_text = outer.pop(SIZES_ATTRIBUTE, "").rpartition(" ")
    if more:
        outer[SIZES_ATTRIBUTE] = rest
    return outer, size_text


def _info_from_size(below: ObjectInfo) -> ObjectInfo | None:
    """Return the description of the decoded object, or None if its size was not stored."""
    attributes, size_text = _split_size(below.attributes)
    return replace_info(below, size=int(size_text), attributes=attributes) if _SIZE.fullmatch(size_text) else None


class _DecodingReader(ObjectReader):
    """
    A reader over decoded *pieces*: it skips *start* bytes and returns the next *length* bytes.

    Codecs check an object at its end. So a reader of a whole object decodes it to the end before it returns the last
    bytes.
    """

    def __init__(
        self, info: ObjectInfo, pieces: AsyncGenerator[bytes, None], start: int, length: int, store: DataTransform
    ) -> None:
        super().__init__(info)
        self._pieces = pieces
        self._skip = start
        self._left = length
        self._whole = length == info.size
        self._store = store
        self._pending = bytearray()
        self._ended = False

    async def read(self, size: int = -1, /) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        to_the_end = self._whole and wanted == self._left
        while not self._ended and (len(self._pending) < wanted or to_the_end):
            piece = await anext(self._pieces, None)
            if piece is None:
                self._ended = True
            else:
                dropped = min(self._skip, len(piece))
                self._skip -= dropped
                self._pending += piece[dropped:]
            if to_the_end and len(self._pending) > wanted:
                break
        if len(self._pending) < wanted or (to_the_end and len(self._pending) > wanted):
            raise CorruptObjectError(
                f"the object does not decode to the {self.info.size} bytes that were put",
                key=self.info.key,
                store=self._store,
            )
        data = bytes(self._pending[:wanted])
        del self._pending[:wanted]
        self._left -= wanted
        return data
