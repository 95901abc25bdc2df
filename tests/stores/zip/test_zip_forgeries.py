"""Objects whose bytes are made to be taken for the end of the archive: after a crash, they hide and replace nothing."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from zip_tools import objects, read_by_zipfile

import storage.sync
from storage._core.conditions import Target
from storage.stores.zip.changes import Change, put_change
from storage.stores.zip.entry import entry_of
from storage.stores.zip.format import (
    CENTRAL,
    END,
    END64,
    END64_SIGNATURE,
    END_SIGNATURE,
    LOCATOR,
    LOCATOR_SIGNATURE,
    pack_central,
    pack_end,
    pack_local,
)
from storage.stores.zip.harmless import harmless

NOISE = os.urandom(6000)
KEY = "uploads/evil"
HEADER = len(pack_local(entry_of(KEY)))
FOUND = "only this"


def end(size: int, start: int, comment: int = 0) -> bytes:
    return END.pack(END_SIGNATURE, 0, 0, 0, 0, size, start, comment)


def moved(archive: bytes, shift: int) -> bytes:
    """Return an archive with all offsets increased."""
    at = archive.rfind(END_SIGNATURE)
    fields = list(END.unpack_from(archive, at))
    start, directory = fields[6], bytearray(archive[fields[6] : at])
    position = 0
    while position < len(directory):
        header = list(CENTRAL.unpack_from(directory, position))
        header[16] += shift
        CENTRAL.pack_into(directory, position, *header)
        position += CENTRAL.size + sum(header[10:13])
    fields[6] += shift
    return archive[:start] + bytes(directory) + END.pack(*fields)


def whole() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(FOUND, b"forged")
    return packed.getvalue()


def of_ours(begin: int) -> bytes:
    """Return a record as the store writes it, with a directory for it."""
    entry = entry_of(FOUND, stamp=bytes(16), modified=0)._replace(offset=begin)
    record, directory = pack_local(entry), pack_central(entry)
    return record + directory + pack_end(begin + len(record), len(directory), 1)


def zip64(position: int, *, start: int) -> bytes:
    end64 = END64.pack(END64_SIGNATURE, END64.size - 12, 45, 45, 0, 0, 0, 0, 0, start)
    return end64 + LOCATOR.pack(LOCATOR_SIGNATURE, 0, position, 1) + end(0xFFFFFFFF, 0xFFFFFFFF)


def after_the_directory(begin: int, stop: int) -> bytes:
    """Return an archive that would begin where the store's last directory ends, at the record that contains it."""
    header = CENTRAL.pack(b"PK\1\2", 20, 20, 0, 0, 0, 33, 0, 0, 0, len(KEY), 0, 0, 0, 0, 0, 0) + KEY.encode()
    return NOISE + header + end(len(header), begin - stop + len(NOISE))


#: What an object contains, given the offset at which its data will be and that after the last directory.
PAYLOADS: dict[str, Callable[[int, int], bytes]] = {
    "end in noise": lambda begin, stop: NOISE[:1000] + end(0, begin + 1000) + NOISE,
    "end at the start": lambda begin, stop: end(0, begin) + NOISE,
    "end at the end": lambda begin, stop: NOISE + end(0, begin + len(NOISE)),
    "end that the next record completes": lambda begin, stop: NOISE + end(0, begin + len(NOISE))[:-2],
    "end with a comment": lambda begin, stop: NOISE[:9] + end(0, begin + 9, len(NOISE)) + NOISE,
    "end in compressible bytes": lambda begin, stop: NOISE + end(0, begin + len(NOISE)) + NOISE + b"a" * 9000,
    "many ends": lambda begin, stop: b"".join(end(0, begin + at * END.size) for at in range(2000)),
    "ends for every offset": lambda begin, stop: b"".join(end(0, stop + at * 23) + b"." for at in range(2000)),
    "archive in place": lambda begin, stop: moved(whole(), begin),
    "archive in place in noise": lambda begin, stop: NOISE + moved(whole(), begin + len(NOISE)) + NOISE,
    "record and directory of ours": lambda begin, stop: of_ours(begin) + NOISE,
    "archive that begins a byte before": lambda begin, stop: moved(whole(), 1),
    "archive after the directory": after_the_directory,
    "zip64 end": lambda begin, stop: NOISE + zip64(begin + len(NOISE), start=begin + len(NOISE)),
    "zip64 end elsewhere": lambda begin, stop: NOISE + zip64(begin, start=begin)[END64.size :],
    "shifted archive": lambda begin, stop: NOISE + whole() + NOISE,
    "chunks": lambda begin, stop: (
        bytes(range(256)) * 4095 + NOISE[:254] + end(0, begin + 256 * 4095 + 254) + NOISE
    ),
}  # fmt: skip


def crashes(content: bytes, begin: int) -> Iterator[bytes]:
    """Yield what a crash may leave of an archive whose bytes from *begin* on are not known to be on the disk."""
    ends = [at for at in (content.find(END_SIGNATURE, begin), content.rfind(END_SIGNATURE)) if at >= begin]
    yield from (content[: at + more] for at in ends for more in (4, 21, 22, 23))
    yield from (content[:stop] for stop in range(begin, len(content), max((len(content) - begin) // 20, 1)))
    sectors = range(begin // 512 * 512 + 512, len(content), 512)
    for missing in sectors[:: max(len(sectors) // 10, 1)]:
        yield content[:missing] + bytes(512) + content[missing + 512 :]


def written(path: Path, compression: Any, how: str, payload: Callable[[int, int], bytes]) -> tuple[int, bytes]:
    """Write an archive, the object last, and return at which offset its record begins, and its data."""
    with storage.sync.ZipStore(path, durability="atomic", compression=compression) as store:
        store.put("precious/1", b"in the directory")
        store.flush()
        stop = path.stat().st_size
        store.put("precious/2", b"not yet in it")
        begin = path.stat().st_size
        evil = payload(begin + HEADER, stop)
        if how == "put":
            store.put(KEY, evil)
        elif how == "stream":
            store.put(KEY, [evil[at : at + 5000] for at in range(0, len(evil), 5000)])
        else:
            store.copy("given", KEY)
        path.with_suffix(".crashed").write_bytes(path.read_bytes())
    return begin, evil


@pytest.mark.parametrize(
    ("how", "compression"), [("put", "deflate"), ("put", "stored"), ("stream", "deflate"), ("copy", "stored")]
)
@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_object_never_decides_what_is_in_the_archive(
    tmp_path: Path, payload: Callable[[int, int], bytes], compression: Any, how: str
) -> None:
    path, crashed = tmp_path / "archive.zip", tmp_path / "archive.crashed"
    kept = {"precious/1": b"in the directory", "precious/2": b"not yet in it"}
    if how == "copy":  # of an entry of another program, whose data is taken as it is
        kept["given"] = payload(10**6, 10**5)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("given", kept["given"])
        _, kept["given"] = written(path, compression, how, payload)  # now the offset is known
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("given", kept["given"])
    begin, evil = written(path, compression, how, payload)
    assert how != "copy" or evil == kept["given"]

    assert read_by_zipfile(path) == objects(path) == kept | {KEY: evil}
    content = crashed.read_bytes()
    assert objects(crashed) == kept | {KEY: evil}
    for left in crashes(content, begin):
        crashed.write_bytes(left)
        found = objects(crashed)
        found.pop(KEY, None)
        assert found == kept
    crashed.write_bytes(content)
    with storage.sync.ZipStore(crashed, durability="atomic") as store:
        store.put("another", b"1")
    assert read_by_zipfile(crashed) == kept | {KEY: evil, "another": b"1"}


MIB = 1 << 20


@pytest.mark.parametrize("filler", [b"text", b"\5", b"K\5\6P"])
@pytest.mark.parametrize("at", [0, 4094, MIB + 1, MIB + 26, MIB + 27, MIB + 28, MIB + 31])
def test_end_is_found_wherever_it_is(filler: bytes, at: int) -> None:
    """Among few or many bytes of its signature, at the edges of what is searched in one step, and cut into pieces."""
    data = (filler * 2 * MIB)[:at] + end(0, 0x7FFFFFFF) + filler * 1000
    change = put_change(Target("k"), data, None)
    assert change.entry is not None
    for cuts in ([], [1, 2, 3]):
        stops = [*(at + cut for cut in cuts), len(data)]
        pieces = [data[start:stop] for start, stop in zip([0, *stops], stops, strict=False)]
        assert data == b"".join(pieces)
        _, compressed = harmless(Change(Target("k"), change.entry, pieces), 100)
        assert END_SIGNATURE not in b"".join(compressed)


@pytest.mark.parametrize("size", [1000, 3 << 20])
def test_end_of_an_archive_that_has_lost_its_upper_bits_is_not_made(size: int) -> None:
    data = NOISE[:500] + end(0, 0) + bytes(size)
    change = put_change(Target("k"), data, None)
    assert harmless(change, 2**32) == (change.entry, change.compressed)
    _, compressed = harmless(change, 2**32 - 300)  # it would begin at a multiple of 2**32
    assert END_SIGNATURE not in b"".join(compressed)


def test_archive_in_an_object_is_stored_as_it_is(tmp_path: Path) -> None:
    inner = tmp_path / "inner.zip"
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("x", NOISE)
    outer = tmp_path / "outer.zip"
    with storage.sync.ZipStore(outer, compression="stored") as store:
        store.put("inner.zip", inner.read_bytes())
    assert inner.read_bytes() in outer.read_bytes()
