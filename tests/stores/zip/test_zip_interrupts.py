"""ZipStore after Ctrl-C at any moment: nothing is lost or half done, and the store, its archive and its locks go on."""

from __future__ import annotations

import errno
import gc
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from interrupts import interrupted_at

import storage.sync
from storage import StoreUnavailableError
from storage.stores.zip import file as zip_file

OLD, NEW = b"old" * 50, b"new" * 60

CALLS: dict[str, Callable[[storage.sync.ZipStore], object]] = {
    "put": lambda store: store.put("k", NEW),
    "put_many": lambda store: store.put_many({"k": NEW, "other": OLD}),
    "delete": lambda store: store.delete("k"),
    "rename": lambda store: store.rename("k", "renamed"),
    "flush": lambda store: store.flush(),
    "compact": lambda store: store.compact(),
}


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")  # the interrupt came between making and running it
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
@pytest.mark.parametrize("call", CALLS)
def test_interrupted_call_is_done_or_not_and_the_store_goes_on(
    tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next calls work, what they show is what the next opening finds, and no file and descriptor is left."""
    moment: int = 1
    lost: list[int] = []  # interrupts in a finalizer, which does not close its descriptor then
    monkeypatch.setattr(sys, "unraisablehook", lambda _: lost.append(moment))
    was_interrupted = True
    while was_interrupted:
        path = tmp_path / f"{moment}.zip"
        before = descriptors()
        with storage.sync.ZipStore(path, durability="atomic") as store:
            store.put("k", OLD)
            store.put("kept", OLD)
            was_interrupted = interrupted_at(moment, lambda store=store: CALLS[call](store))  # type: ignore[misc]

            found = {key: store.get(key) for key in store.keys()}
            assert {OLD, NEW} >= set(found.values()), moment
            assert OLD == found["kept"]
            assert call in ("delete", "rename") or "k" in found
            store.put("after", OLD)
            store.compact()
        with storage.sync.ZipStore(path) as store:
            assert {**found, "after": OLD} == {key: store.get(key) for key in store.keys()}, moment
        del store
        assert moment in lost or before == descriptors(), moment
        assert [path.name] == os.listdir(tmp_path), moment
        path.unlink()
        moment += 1 if moment < 20 else 5


def test_archive_on_a_file_system_without_locks_is_opened_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What another store writes is noticed by the size of the file, and is not overwritten."""

    def refused(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(zip_file.fcntl, "flock", refused)  # type: ignore[attr-defined]  # the module's own import
    path = tmp_path / "a.zip"
    with caplog.at_level(logging.WARNING, "storage"), storage.sync.ZipStore(path) as store:
        store.put("k", OLD)
        store.compact()
        store.flush()
        with storage.sync.ZipStore(path) as other:
            other.put("theirs", NEW)
        content = path.read_bytes()
        with pytest.raises(StoreUnavailableError, match="changed by another program"):
            store.put("k", NEW)

    assert not store.capabilities.multi_process
    assert "only one process may open it" in caplog.text
    assert content == path.read_bytes()
