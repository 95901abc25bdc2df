"""`HashdirStore`: the files of keys next to those of objects, and leftovers of either."""

from __future__ import annotations

import errno
import hashlib
import threading
from pathlib import Path

import pytest
from file_tools import files, listed

from storage import HashdirStore, PermissionDeniedError


async def test_hashdir_writes_a_key_anew_that_was_cut_short(tmp_path: Path) -> None:
    """A loss of power can leave the key's file empty; the next put of the object lists it again."""
    store = HashdirStore(tmp_path)
    await store.put("some key", b"v")
    (written,) = tmp_path.rglob("*.key")
    written.write_bytes(b"")
    await store.put("some key", b"w")

    assert ["some key"] == await listed(store)


async def test_hashdir_keeps_exactly_the_bytes_under_the_hash(tmp_path: Path) -> None:
    """The layout that other programs find: aa/bb/cc/rest of the sha-256, and the key next to it."""
    await HashdirStore(tmp_path).put("ключ/with any name", b"bytes")
    await HashdirStore(tmp_path, width=3, depth=1).put("k", b"2")
    digest = hashlib.sha256("ключ/with any name".encode()).hexdigest()
    path = tmp_path / digest[:2] / digest[2:4] / digest[4:6] / digest[6:]
    wide = hashlib.sha256(b"k").hexdigest()

    assert b"bytes" == path.read_bytes()
    assert "ключ/with any name" == path.with_name(f"{path.name}.key").read_text()
    assert b"2" == (tmp_path / wide[:3] / wide[3:]).read_bytes()


async def test_hashdir_ignores_and_reclaims_a_key_without_its_object(tmp_path: Path) -> None:
    """A writer killed between the two files leaves no object; foreign files stay untouched."""
    store = HashdirStore(tmp_path)
    await store.put("k", b"v")
    (kept,) = [name for name in files(tmp_path) if not name.endswith(".key")]
    (tmp_path / kept).unlink()
    (tmp_path / "foreign.key").write_bytes(b"\xff")
    (tmp_path / "foreign").write_bytes(b"")

    assert [] == await listed(store)
    async with store:
        pass
    assert ["foreign", "foreign.key"] == files(tmp_path)


async def test_hashdir_object_whose_key_was_lost_can_be_deleted_and_renamed(tmp_path: Path) -> None:
    """A missing key file is no error."""
    store = HashdirStore(tmp_path)
    for key in ("a", "b"):
        await store.put(key, b"v")
    for path in tmp_path.rglob("*.key"):
        path.unlink()
    await store.delete("a")
    await store.rename("b", "c")

    assert ["c"] == await listed(store)


async def test_hashdir_listing_leaves_the_loop_free_and_maps_errors(tmp_path: Path) -> None:
    """A worker thread walks the directories, and the system's errors there become ours."""
    loop_thread = threading.get_ident()
    walkers = set()

    class Watched(HashdirStore):
        def _read_key(self, directory: int, name: str, path: str) -> str | None:
            walkers.add(threading.get_ident())
            raise OSError(errno.EACCES, "no")

    store = Watched(tmp_path)
    await store.put("k", b"v")
    with pytest.raises(PermissionDeniedError):
        await listed(store)

    assert walkers
    assert loop_thread not in walkers


async def test_hashdir_delete_leaves_nothing(tmp_path: Path) -> None:
    """The object, its key and its directories are removed together."""
    store = HashdirStore(tmp_path)
    await store.put("k", b"v")
    await store.delete("k")

    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(("width", "depth"), [(0, 1), (2, -1), (8, 8)])
def test_hashdir_refuses_a_layout_that_leaves_no_name(width: int, depth: int, tmp_path: Path) -> None:
    """A hash has only 64 digits."""
    with pytest.raises(ValueError, match="width"):
        HashdirStore(tmp_path, width=width, depth=depth)
