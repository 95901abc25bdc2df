"""`DataTransform`: the base of the decorators that change data, and nothing else."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from functools import cached_property
from typing import Protocol

from storage._concurrency.offload import offload
from storage._core.bulk import result_of
from storage._core.data import as_bytes, chunks, is_stream, whole
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

#: The attribute below that says how large an object is decoded: a word for each codec of a stack, the outermost first.
SIZES = "decoded-sizes"
_SIZE = re.compile("[0-9]{1,19}")  # what 64 bits hold; anything else was not written by a codec


class Coder(Protocol):
    """One object's way through a codec, piece by piece."""

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield what *piece* gives; a decoder yields it in bounded pieces, however far it expands."""
        ...

    def finish(self) -> bytes:
        """
        Return what is left at the end of the object.

        Raises:
            CorruptObjectError: for a decoder, the object ended too early.
        """
        ...


class DataTransform(StoreDecorator):
    """
    A decorator that is two pure functions on bytes: `encode`, on their way in, and `decode`, on their way out.

    Sizes, ranges and descriptions are those of the decoded data. The decoded size is kept beside an object that is put
    as one buffer, where the store below has attributes; otherwise `head` and `open` decode the object to know it.

    A subclass that can work piece by piece gives an `encoder` and a `decoder` too; else streams are collected. One that
    can tell the decoded size from the encoded one says so in `decoded_size`; then none is kept and none measured.

    Attributes:
        offload_above: bytes above which the codec works in a worker thread; None where it is too quick to matter. A hop
            to a thread takes 0.05 ms: below ten of them it is not worth it, above it the event loop would wait.
    """

    _steppable = True
    _traits = frozenset({Trait.TRANSFORMS})
    offload_above: int | None = None

    @abstractmethod
    def encode(self, data: bytes) -> bytes:
        """Return what is stored below for *data*."""

    @abstractmethod
    def decode(self, data: bytes) -> bytes:
        """
        Return what `encode` was given.

        Raises:
            CorruptObjectError: *data* is not what `encode` gives.
        """

    def encoder(self) -> Coder | None:
        """Return a new coder for one object's way in, or None where only `encode` works."""
        return None

    def decoder(self) -> Coder | None:
        """Return a new coder for one object's way out, or None where only `decode` works."""
        return None

    def decoded_size(self, size: int) -> int | None:
        """Return the decoded size of an object that has *size* bytes below, or None where only decoding tells."""
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
            encoded = await offload(self.encode, content) if self._is_long(size) else self.encode(content)
        if self._keeps_sizes:
            attributes = _push(attributes, size)
        return await self.base.put(key, encoded, if_absent=if_absent, if_match=if_match, attributes=attributes)

    async def head(self, key: str) -> ObjectInfo:
        info = self._described(await self.base.head(key))
        if info is not None:
            return info
        async with DataTransform.open(self, key) as reader:  # a subclass's own open may be what asks for the head
            return reader.info

    @asynccontextmanager
    async def open(self, key: str, *, byte_range: ByteRange | None = None) -> AsyncIterator[ObjectReader]:
        measured: ObjectInfo | None = None
        for _ in range(ATTEMPTS):
            async with self.base.open(key) as source:
                info = measured if measured and measured.etag == source.info.etag else self._described(source.info)
                async with aclosing(self._decoded(key, source)) as pieces:
                    if info is not None:
                        start, stop = (0, info.size) if byte_range is None else byte_range.within(info.size, key)
                        yield _DecodingReader(info, pieces, start, stop - start, self)
                        return
                    size = 0
                    async for piece in pieces:
                        size += len(piece)
                    attributes = source.info.attributes
                    if not self._tells_sizes:
                        attributes, _ = _outer(attributes)
                    measured = replace_info(source.info, size=size, attributes=attributes)
        raise StoreUnavailableError("the object changed each time it was measured; try again", key=key, store=self)

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
        )  # one by one: a size is kept with each

    async def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        async for below in self.base.scan(prefix, start_after=start_after):
            info = self._described(below)
            if info is None:
                try:
                    info = await self.head(below.key)
                except KeyNotFoundError:
                    continue
            yield info

    async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        return await self.base.copy(source, target, if_absent=if_absent)  # encoded bytes do not depend on the key

    async def rename(self, source: str, target: str, *, if_absent: bool = False) -> str:
        return await self.base.rename(source, target, if_absent=if_absent)

    @property
    def capabilities(self) -> Capabilities:
        below = self.base.capabilities
        streaming = below.streaming and self.encoder() is not None and self.decoder() is not None
        cheap_head = below.cheap_head and self._tells_sizes
        return self._supported(replace(below, ranges=False, cheap_head=cheap_head, streaming=streaming))

    @cached_property
    def _keeps_sizes(self) -> bool:
        return self.base.capabilities.attributes and not self._tells_sizes

    @cached_property
    def _tells_sizes(self) -> bool:
        return type(self).decoded_size is not DataTransform.decoded_size

    def _described(self, below: ObjectInfo) -> ObjectInfo | None:
        """Return the description of the decoded object, or None where it must be decoded for its size."""
        if not self._tells_sizes:
            return _pop(below)
        size = self.decoded_size(below.size)
        return None if size is None else replace_info(below, size=size)

    def _is_long(self, size: int) -> bool:
        """Return whether the codec's work on *size* bytes is worth a worker thread."""
        return self.offload_above is not None and size > self.offload_above

    def _decodes_long(self, data: bytes) -> bool:
        """Say the same of decoding an object that is *data* below."""
        return self._is_long(len(data))

    async def _decode(self, key: str, data: bytes) -> bytes:
        try:
            return await offload(self.decode, data) if self._decodes_long(data) else self.decode(data)
        except CorruptObjectError as error:
            self._locate(error, key)
            raise

    def _locate(self, error: CorruptObjectError, key: str) -> None:
        """Tell a codec's error, which knows neither, the key and the store."""
        error.with_key(key).store = repr(self)

    async def _encoded(self, data: Data, encoder: Coder) -> AsyncIterator[bytes]:
        """Yield a stream's encoded pieces."""
        async for piece in chunks(data):
            fed = encoder.feed(piece)
            for encoded in await offload(list, fed) if self._is_long(len(piece)) else fed:
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
                decoded, long = decoder.feed(piece), self._is_long(len(piece))
                while out := await offload(next, decoded, b"") if long else next(decoded, b""):
                    yield out
            yield decoder.finish()
        except CorruptObjectError as error:
            self._locate(error, key)
            raise


def _push(attributes: Attributes | None, size: int | None) -> Attributes:
    """Return the attributes for below: with this codec's decoded size, ``-`` where it is not known beforehand."""
    pushed = check_attributes(attributes) if attributes else {}
    word = "-" if size is None else str(size)
    pushed[SIZES] = f"{pushed[SIZES]} {word}" if SIZES in pushed else word
    return pushed


def _outer(attributes: Attributes) -> tuple[dict[str, str], str]:
    """Return the attributes as the caller put them, and this codec's word on the size."""
    outer = dict(attributes)
    rest, more, word = outer.pop(SIZES, "").rpartition(" ")
    if more:
        outer[SIZES] = rest
    return outer, word


def _pop(below: ObjectInfo) -> ObjectInfo | None:
    """Return the description of the decoded object, or None where its size was not kept."""
    attributes, word = _outer(below.attributes)
    return replace_info(below, size=int(word), attributes=attributes) if _SIZE.fullmatch(word) else None


class _DecodingReader(ObjectReader):
    """
    A reader over decoded *pieces*: it drops *start* bytes and gives *length*.

    What proves an object sound stands at its end, so a reader of the whole object reads on to it before its last bytes
    are given.
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
        proven = self._whole and wanted == self._left
        while not self._ended and (len(self._pending) < wanted or proven):
            piece = await anext(self._pieces, None)
            if piece is None:
                self._ended = True
            else:
                dropped = min(self._skip, len(piece))
                self._skip -= dropped
                self._pending += piece[dropped:]
            if proven and len(self._pending) > wanted:
                break
        if len(self._pending) < wanted or (proven and len(self._pending) > wanted):
            raise CorruptObjectError(
                f"the object does not decode to the {self.info.size} bytes that were put",
                key=self.info.key,
                store=self._store,
            )
        data = bytes(self._pending[:wanted])
        del self._pending[:wanted]
        self._left -= wanted
        return data
