"""Leftovers of killed writers: what is removed on entering, and what is not because it may be another program's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from file_tools import FILE_STORES, files, listed

from storage import FilesystemStore, InvalidKeyError
from storage.stores.files import leftovers
from storage.stores.files.draft_names import DRAFT, is_draft, new_draft_name
from storage.stores.files.file_store import FileStore


@pytest.mark.parametrize("store_class", FILE_STORES)
async def test_only_drafts_that_a_store_named_are_removed(store_class: type[FileStore], tmp_path: Path) -> None:
    """A file with the prefix alone, a wrong checksum, a link, a pipe or a directory is another program's."""
    draft = new_draft_name()
    wrong = f"{draft[:-1]}{'1' if draft[-1] == '0' else '0'}"
    kept = [f"{DRAFT}notes", f"{DRAFT}0123456789abcdef", wrong, f"{new_draft_name()}.bak", new_draft_name().upper()]
    for name in (draft, *kept):
        (tmp_path / name).write_bytes(b"")
    link, pipe, directory = new_draft_name(), new_draft_name(), new_draft_name()
    (tmp_path / link).symlink_to(kept[0])
    os.mkfifo(tmp_path / pipe)
    (tmp_path / directory).mkdir()
    (tmp_path / directory / new_draft_name()).write_bytes(b"")

    async with store_class(tmp_path):
        pass
    assert sorted([*kept, link, pipe, directory]) == sorted(os.listdir(tmp_path))
    assert [] != os.listdir(tmp_path / directory)


def test_names_of_drafts_prove_themselves() -> None:
    """Each is new, and carries the checksum of its number."""
    names = {new_draft_name() for _ in range(1000)}

    assert 1000 == len(names)
    assert all(map(is_draft, names))
    assert not any(is_draft(name[:-2]) for name in names)


@pytest.mark.parametrize(
    "name", [".nfs0123456789abcdef01234567", ".nfs0123456789ABCDEF01234567", ".fuse_hidden0000000100000001"]
)
async def test_files_that_others_still_have_open_are_no_objects(name: str, tmp_path: Path) -> None:
    """NFS and FUSE keep replaced files under such names: not listed, not read, refused as keys, and left alone."""
    store = FilesystemStore(tmp_path)
    await store.put("d/k", b"v")
    (tmp_path / "d" / name).write_bytes(b"replaced")

    async with store:
        assert ["d/k"] == await listed(store)
        assert ["d/k"] == [child async for child in store.children("d/")]
        for call in (store.get, store.exists, store.head, store.delete):
            with pytest.raises(InvalidKeyError, match="reserved"):
                await call(f"d/{name}")
        with pytest.raises(InvalidKeyError, match="reserved"):
            await store.put(f"{name}/k", b"")
        await store.clear()
    assert [f"d/{name}"] == files(tmp_path)


@pytest.mark.parametrize(
    "name", [".nfs", ".nfs12", ".nfsrc", ".fuse_hidden", ".fuse_hidden_notes", "x.nfs0", ".~storage"]
)
async def test_names_that_are_only_like_those_are_keys(name: str, tmp_path: Path) -> None:
    """A user may choose them."""
    store = FilesystemStore(tmp_path)
    await store.put(name, b"v")

    assert [name] == await listed(store)


async def test_search_for_leftovers_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entering a huge tree takes no longer than the limit; the next one may find what this one did not reach."""
    for number in range(20):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / new_draft_name()).write_bytes(b"")
    monkeypatch.setattr(leftovers, "SEARCH_TIME", 0)
    async with FilesystemStore(tmp_path):
        pass
    assert 20 == len(files(tmp_path))
    monkeypatch.undo()
    async with FilesystemStore(tmp_path):
        pass

    assert [] == files(tmp_path)
