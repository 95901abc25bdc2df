"""ZipStore on archives that a crash left incomplete: every acknowledged object is there, and the file is repaired."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import pytest
from zip_tools import objects, read_by_zipfile

import storage.sync
from storage import CorruptObjectError, UnsupportedOperationError
from storage.stores.zip.archive import Archive
from storage.stores.zip.file import OpenFile
from storage.stores.zip.format import EMPTY


def inner_archive() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(zipfile.ZipInfo("from the inner archive"), "wrong")  # of a fixed time
    return packed.getvalue()


class History:
    """
    An archive, and its objects after each call.

    Attributes:
        states: the size of the file after each call that has returned, and the objects then.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.states: list[tuple[int, dict[str, bytes]]] = []

    def holds(self, **objects: bytes) -> None:
        """Record the objects in the archive now."""
        self.states.append((self.path.stat().st_size, objects))

    def expected(self, size: int) -> dict[str, bytes]:
        """Return the objects that must be in the first *size* bytes of the file."""
        return [objects for written, objects in self.states if written <= size][-1]


@pytest.fixture
def history(tmp_path: Path) -> History:
    """Return an archive with a little of everything."""
    history = History(tmp_path / "history.zip")
    with storage.sync.ZipStore(history.path, durability="atomic") as store:
        history.holds()
        store.put("a", b"first")
        history.holds(a=b"first")
        store.put("a", b"second" * 50, attributes={"x": "y" * 20})
        history.holds(a=b"second" * 50)
        store.flush()
        store.put("b", [b"str", b"eam"])
        history.holds(a=b"second" * 50, b=b"stream")
        store.delete("a")
        history.holds(b=b"stream")
        store.put("c", b"")
        history.holds(b=b"stream", c=b"")
        store.put("z", inner_archive())
        history.holds(b=b"stream", c=b"", z=inner_archive())
        store.copy("b", "a")
        history.holds(a=b"stream", b=b"stream", c=b"", z=inner_archive())
        store.clear("b")
        history.holds(a=b"stream", c=b"", z=inner_archive())
        store.flush()
        store.put("d", b"last" * 30)
        history.holds(a=b"stream", c=b"", z=inner_archive(), d=b"last" * 30)
    return history


@pytest.mark.slow
@pytest.mark.parametrize("rest", ["nothing", "zeros", "ones"])
def test_archive_that_breaks_off_anywhere_has_all_that_was_acknowledged(history: History, rest: str) -> None:
    """
    At every byte. After it is nothing, as after a kill, or bytes as after a power failure.

    No call is half done.
    """
    whole = history.path.read_bytes()
    fill = {"nothing": b"", "zeros": b"\0", "ones": b"\xff"}[rest]
    torn = history.path.with_name("torn.zip")

    for size in range(len(EMPTY), len(whole) + 1):
        torn.write_bytes(whole[:size] + fill * 5000)

        right = len(whole) - len(whole[size:].lstrip(fill)) if fill else size
        assert history.expected(right) == objects(torn), size


def test_archive_that_broke_off_is_repaired_by_using_it(history: History) -> None:
    """The next put and close make an archive that every program can read, with all objects."""
    whole = history.path.read_bytes()
    torn = history.path.with_name("torn.zip")

    for size in range(len(EMPTY), len(whole) + 1, 13):
        torn.write_bytes(whole[:size])
        with storage.sync.ZipStore(torn, durability="atomic") as store:
            store.put("after", b"works")

        expected = {**history.expected(size), "after": b"works"}
        assert set(expected) == set(read_by_zipfile(torn)), size
        assert expected == objects(torn), size


@pytest.mark.parametrize("content", ["zeros", "attributes"])
@pytest.mark.parametrize("damage", ["name", "stamp", "attributes", "none"])
def test_damaged_record_at_the_end_is_not_compacted_away(tmp_path: Path, content: str, damage: str) -> None:
    """An acknowledged object whose header lost one bit: `compact` refuses, says what to do, and drops nothing."""
    path = tmp_path / "a.zip"
    with storage.sync.ZipStore(path, durability="atomic") as store:
        store.put("first", b"hello")
        store.flush()
        begin = path.stat().st_size
        if content == "zeros":
            store.put("precious", bytes(300_000), attributes={"kind": "precious text"})
        else:
            store.put("precious", b"", attributes={"kind": "precious text " * 2000})
        damaged = bytearray(path.read_bytes())
    name = damaged.index(b"precious", begin)
    at = {"name": name, "stamp": name + 30, "attributes": damaged.index(b"text", begin), "none": 0}[damage]
    damaged[at] ^= at > 0
    path.write_bytes(damaged)

    with storage.sync.ZipStore(path, durability="atomic") as store:
        assert ["first", "precious"][: 1 if at else 2] == list(store.keys())
        if at:
            with pytest.raises(UnsupportedOperationError, match="copy_store"):
                store.compact()
            assert damaged == path.read_bytes()
        else:
            store.compact()
            assert "precious" in set(store.keys())


@pytest.mark.parametrize("behind", [b"", b"the rest of the object"])
def test_inner_archive_at_the_torn_end_is_not_taken_for_the_archive(tmp_path: Path, behind: bytes) -> None:
    """The file ends with an end record, but one that belongs to an object, complete or not."""
    path, torn = tmp_path / "a.zip", tmp_path / "torn.zip"
    data = inner_archive() + behind
    with storage.sync.ZipStore(path, compression="stored") as store:
        store.put("k", b"v")
        store.put("inner", data)
        content = path.read_bytes()
    torn.write_bytes(content[: content.index(inner_archive()) + len(inner_archive())])

    assert torn.read_bytes().endswith(inner_archive())
    assert {"k": b"v", **({} if behind else {"inner": data})} == objects(torn)


def test_rename_that_is_cut_in_two_loses_nothing(tmp_path: Path) -> None:
    """Between its two records both names exist, and at least one at every byte."""
    path, torn = tmp_path / "a.zip", tmp_path / "torn.zip"
    with storage.sync.ZipStore(path) as store:
        store.put("old", b"v")
        before = path.stat().st_size
        store.rename("old", "new")
        content = path.read_bytes()

    seen = []
    for size in range(before, len(content) + 1):
        torn.write_bytes(content[:size])
        if (found := objects(torn)) not in seen:
            seen.append(found)

    assert [{"old": b"v"}, {"old": b"v", "new": b"v"}, {"new": b"v"}] == seen


def test_what_was_recovered_is_made_to_last(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data of the killed process may be only in memory: it is synced before anyone can read it."""
    torn = history.path.with_name("torn.zip")
    syncs: list[OpenFile] = []
    monkeypatch.setattr(OpenFile, "sync", lambda file: syncs.append(file))

    for size, expected in ((history.states[-1][0], 1), (history.path.stat().st_size, 0)):
        torn.write_bytes(history.path.read_bytes()[:size])
        syncs.clear()
        Archive(os.fspath(torn), sync=True)

        assert expected == len(syncs)


def test_half_made_archive_becomes_one(tmp_path: Path) -> None:
    """A process that was killed while creating the file leaves the beginning of an empty archive."""
    for size in range(len(EMPTY) + 1):
        path = tmp_path / f"{size}.zip"
        path.write_bytes(EMPTY[:size])

        assert {} == objects(path)
        assert EMPTY == path.read_bytes()


@pytest.mark.parametrize(
    "content",
    [b"x", b"not an archive" * 100, b"PK\3\4" + bytes(100), b"PK\5\6", bytes(1000), EMPTY[:50] + b"x"],
    ids=["a byte", "text", "a header", "a signature", "zeros", "not quite ours"],
)
def test_what_is_no_archive_is_left_alone(tmp_path: Path, content: bytes) -> None:
    """Opening it is an error that names the file, which is not changed."""
    path = tmp_path / "a.zip"
    path.write_bytes(content)

    for _ in range(2):
        with pytest.raises(CorruptObjectError, match=r"a\.zip"), storage.sync.ZipStore(path):
            pass  # pragma: no cover

    assert content == path.read_bytes()


def test_damaged_directory_is_not_repaired_from_an_older_one(tmp_path: Path) -> None:
    """Using the last readable directory would lose everything after it."""
    path = tmp_path / "a.zip"
    with storage.sync.ZipStore(path) as store:
        store.put("a", b"v")
        store.flush()
        store.put("b", b"v")
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\1\2")] ^= 1
    path.write_bytes(content)

    with pytest.raises(CorruptObjectError, match="directory"), storage.sync.ZipStore(path):
        pass  # pragma: no cover

    assert content == path.read_bytes()
