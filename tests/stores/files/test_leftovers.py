"""Leftovers of killed writers: what is removed on entering, and what is not because it may be another program's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from file_tools import FILE_STORES, files, listed
from processes.programs import run

from storage import FilesystemStore, InvalidKeyError
from storage.stores.files import draft_names, leftovers
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


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_forked_child_takes_other_names_for_drafts() -> None:
    """Names are drawn in advance, and a child has a copy of those that its parent has not taken yet."""
    code = """
        from storage.stores.files.draft_names import new_draft_name
        new_draft_name()
        def names():
            return {new_draft_name() for _ in range(100)}
        reading, writing = os.pipe()
        if not (child := os.fork()):
            os.write(writing, " ".join(names()).encode())
            os._exit(0)
        os.waitpid(child, 0)
        childs = set(os.read(reading, 1 << 16).decode().split())
        print(len(childs), len(names() & childs))
    """
    done = run(code)

    assert (0, "100 0\n", "") == (done.returncode, done.stdout, done.stderr)


async def test_draft_takes_no_name_that_a_file_has(tmp_path: Path) -> None:
    """The file may be another program's: the put takes another name, and the file stays."""
    store, taken = FilesystemStore(tmp_path), new_draft_name()
    (tmp_path / taken).write_bytes(b"theirs")
    draft_names._new.append(taken)
    await store.put("k", b"ours")

    assert (b"ours", b"theirs") == (await store.get("k"), (tmp_path / taken).read_bytes())


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
