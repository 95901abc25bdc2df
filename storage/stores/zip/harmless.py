"""
`harmless`: makes sure that nobody who puts an object decides where the archive ends.

The end of an archive is found by searching the file backwards for an end record (`ending`). After a crash the last one
may be in the data of an object: bytes that somebody else chose, at an offset that can be foreseen. An archive inside an
object, which is common, begins there, too, and is told from the real one. An end record whose archive would begin
before the object is not: it could stand for the whole file, and hide everything else in it. Data with one is therefore
written in another form, deflated, in which no end record can be read. Other programs decode it as ever.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain

from storage._core.data import CHUNK
from storage.errors import CorruptObjectError
from storage.stores.zip.changes import Change
from storage.stores.zip.decoders import COMPRESSED_CHUNK, DEFLATED, decode, decoder_of
from storage.stores.zip.entry import LIMIT32, STORED, Entry, entry_of
from storage.stores.zip.format import END, END_SIGNATURE, LOCATOR, LOCATOR_SIGNATURE, pack_local

__all__ = ["harmless"]

#: Before and after the signature of an end record: the bytes that are looked at.
_BEFORE, _AFTER = LOCATOR.size, END.size

#: The header of an uncompressed block of deflate. One of at most 2**15 bytes has no part of a signature: its numbers,
#: the length and the complement of it, would have to begin with 0x50 or 0xAF, and end likewise.
_BLOCK, _LONGEST_BLOCK = struct.Struct("<BHH"), 1 << 15
_LAST_BLOCK = _BLOCK.pack(1, 0, 0xFFFF)

#: The byte of the end signature that is seldom in text, with what is before and after it in the signature.
_UP_TO_SELDOM, _REST = END_SIGNATURE[:3], END_SIGNATURE[3:]
_SELDOM = _UP_TO_SELDOM[-1:]

#: Bytes from which on it is looked for, and how often: 0.2 us each.
_LONG, _FEW = 1 << 12, 30


def harmless(change: Change, offset: int) -> tuple[Entry, Iterable[bytes]]:
    """
    Return the entry of a put, and its compressed data, for a record at *offset*; both as they are, or in another form.

    It costs a search of the data: 0.01 ms per MiB of text, 0.3 ms of compressed data (a third of its write without a
    sync), 0.5 us for a small object.

    Raises:
        CorruptObjectError: the data needs the other form, and cannot be decoded.
    """
    entry, compressed = change.entry, change.compressed
    assert entry is not None
    if isinstance(compressed, list) and len(compressed) == 1 and not _has_signature(compressed[0]):
        return entry, compressed
    if not _is_harmful(entry, compressed, offset):
        return entry, compressed
    if entry.method != STORED:
        deflated = _Deflated(entry, compressed)
        if not _has_end(deflated):
            return _measured(entry, deflated), deflated
    blocks = _Blocks(entry, compressed)
    return _measured(entry, blocks), blocks


def _is_harmful(entry: Entry, compressed: Iterable[bytes], offset: int) -> bool:
    """
    Return whether the data has what could be taken for the end of an archive that begins before it.

    After a power loss some sectors may be missing, that is, zeros. That makes the numbers of an end record smaller,
    so that its archive begins later: it does not make it harmful.
    """
    header = pack_local(entry)
    if not _has_end(chain([header], compressed)):
        return False
    begin = offset + len(header)
    # In the numbers of an archive of another program, without zip64, this may be its start: see `wrapped`.
    crosses = begin // (LIMIT32 + 1) != (begin + entry.compressed_size) // (LIMIT32 + 1)
    window, at = b"", begin - len(header)  # the offset of the window
    for piece in chain([header], compressed, [b""]):
        is_last = not piece
        window += piece
        found = window.find(END_SIGNATURE, _BEFORE if at > offset else 0)
        while found >= 0 and (is_last or found + _AFTER <= len(window)):
            if crosses or found + _AFTER > len(window):
                return True
            if window[max(found - LOCATOR.size, 0) : found].startswith(LOCATOR_SIGNATURE):
                return True  # zip64: its numbers may be anywhere in the file
            size, start = END.unpack_from(window, found)[5:7]
            if at + found - size - start < begin:
                return True
            found = window.find(END_SIGNATURE, found + 1)
        rest = max(len(window) - _BEFORE - _AFTER + 1, 0)
        window, at = window[rest:], at + rest
    return False


def _has_end(pieces: Iterable[bytes]) -> bool:
    rest = b""
    for piece in pieces:
        if _has_signature(piece) or END_SIGNATURE in rest + piece[: len(END_SIGNATURE) - 1]:
            return True
        rest = (rest + piece[1 - len(END_SIGNATURE) :])[1 - len(END_SIGNATURE) :]
    return False


def _has_signature(data: bytes) -> bool:
    """
    Return whether there is an end signature in *data*.

    To look for a single byte takes a thirtieth of the time of the whole signature, if there are few: text has none. For
    the whole one, `rfind` takes 0.16 to 0.3 ms per MiB, `find` and `in` 0.5 ms. Nothing else of the process runs
    meanwhile, so that it is called for one piece after the other.
    """
    if len(data) < _LONG:
        return data.rfind(END_SIGNATURE) >= 0
    at = 0
    for _ in range(_FEW):
        at = data.find(_SELDOM, at) + 1
        if not at:
            return False
        if data.endswith(_UP_TO_SELDOM, 0, at) and data.startswith(_REST, at):
            return True
    longest = CHUNK + len(END_SIGNATURE) - 1
    return any(data.rfind(END_SIGNATURE, start, start + longest) >= 0 for start in range(at, len(data), CHUNK))


def _measured(entry: Entry, compressed: Iterable[bytes]) -> Entry:
    """Return the entry of the same object with this data, deflated; it is a new version."""
    size = crc = 0
    for piece in compressed:
        size, crc = size + len(piece), zlib.crc32(piece, crc)
    return entry_of(
        entry.name.decode(),
        method=DEFLATED,
        crc=entry.crc,
        compressed_size=size,
        size=entry.size,
        attributes=entry.attributes,
        compressed_crc=crc,
    )


class _Decoded:
    """The decoded data of an entry, each time that it is iterated, in parts none of which has an end signature."""

    def __init__(self, entry: Entry, compressed: Iterable[bytes]) -> None:
        self._entry, self._compressed = entry, compressed

    def parts(self, most: int) -> Iterator[bytes]:
        """
        Yield the parts, of at most *most* bytes.

        Raises:
            CorruptObjectError: the data does not match the entry's size and checksum.
        """
        size = crc = 0
        for piece in self._pieces():
            size, crc = size + len(piece), zlib.crc32(piece, crc)
            if size > self._entry.size:
                break
            begin = 0
            while begin < len(piece):
                found = piece.find(END_SIGNATURE, begin, begin + most)
                stop = min(begin + most, len(piece)) if found < 0 else found + len(END_SIGNATURE) // 2
                yield piece[begin:stop]
                begin = stop
        if (size, crc) != (self._entry.size, self._entry.crc):
            raise CorruptObjectError("the entry's data do not match its size and checksum")

    def _pieces(self) -> Iterator[bytes]:
        decoder = decoder_of(self._entry)
        if decoder is None:
            yield from self._compressed
            return
        for piece in self._compressed:
            for at in range(0, len(piece), COMPRESSED_CHUNK):
                given = piece[at : at + COMPRESSED_CHUNK]
                while not decoder.eof and (decoded := decode(decoder, given, CHUNK)):
                    yield decoded
                    given = b""


class _Deflated(_Decoded):
    """The data deflated, each part by itself, so that none of them is copied into one place with the next."""

    def __iter__(self) -> Iterator[bytes]:
        compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        for part in self.parts(CHUNK):
            yield compressor.compress(part) + compressor.flush(zlib.Z_SYNC_FLUSH)
        yield compressor.flush()


class _Blocks(_Decoded):
    """The data in uncompressed blocks of deflate."""

    def __iter__(self) -> Iterator[bytes]:
        for part in self.parts(_LONGEST_BLOCK):
            yield _BLOCK.pack(0, len(part), len(part) ^ 0xFFFF) + part
        yield _LAST_BLOCK
