"""Writing where the system takes fewer bytes than it was given: all of them are written, or there is an error."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import storage.sync
from storage import StorageError
from storage._core.writing import write_all
from storage.sync import ObjectStore

DATA = bytes(range(256)) * 5000


def stores(path: Path) -> dict[str, Callable[[], ObjectStore]]:
    return {
        "zip": partial(storage.sync.ZipStore, path / "archive.zip", compression="stored", durability="atomic"),
        "filesystem": partial(storage.sync.FilesystemStore, path, durability="atomic"),
        "hashed": partial(storage.sync.HashdirStore, path, durability="atomic"),
    }


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """Return a function that sets how many bytes a system call writes at most."""
    most: list[int | None] = [None]
    write, pwrite = os.write, os.pwrite
    monkeypatch.setattr(os, "write", lambda file, data: write(file, memoryview(data)[: most[0]]))
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: pwrite(file, memoryview(data)[: most[0]], at))
    return partial(most.__setitem__, 0)


@pytest.mark.parametrize("name", ["zip", "filesystem", "hashed"])
@pytest.mark.parametrize("as_stream", [True, False])
def test_short_writes_are_continued_and_a_system_that_writes_nothing_is_an_error(
    tmp_path: Path, limit: Callable[[int | None], None], name: str, as_stream: bool
) -> None:
    with stores(tmp_path)[name]() as store:
        given = [DATA[:7], DATA[7:]] if as_stream else DATA
        limit(70_001)
        store.put("key", given)
        assert store.get("key") == DATA
        limit(0)
        with pytest.raises(StorageError):
            store.put("other", given)
        limit(None)
        assert list(store.keys()) == ["key"]
        store.put("other", given)
        assert store.get("other") == store.get("key") == DATA


def test_all_is_written_where_the_file_is_or_at_an_offset(tmp_path: Path, limit: Callable[[int | None], None]) -> None:
    limit(3)
    path = tmp_path / "file"
    with path.open("wb", buffering=0) as file:
        write_all(file.fileno(), b"0123456789")
        write_all(file.fileno(), memoryview(b"abcde"), 8)
        write_all(file.fileno(), b"")
    assert path.read_bytes() == b"01234567abcde"
