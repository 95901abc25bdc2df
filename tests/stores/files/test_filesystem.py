"""Stores on plain files: other programs' files, nothing outside the root, etags, attributes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from file_tools import FILE_STORES, files, listed

from storage import CorruptObjectError, FilesystemStore, InvalidKeyError, KeyConflictError, KeyNotFoundError
from storage.stores.files.draft_names import DRAFT
from storage.stores.files.etags import Etags
from storage.stores.files.reader import describe

# -- a directory of other programs -----------------------------------------------------------------------------------


async def test_directory_of_other_programs_is_readable_as_it_is(tmp_path: Path) -> None:
    """Hidden files, odd names and empty files are objects; links, sockets and names that are not UTF-8 are not."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / ".hidden").write_bytes(b"1")
    (tmp_path / "x~").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("x~")
    (tmp_path / "loop").symlink_to(".")
    os.mkfifo(tmp_path / "pipe")
    Path(os.fsdecode(bytes(tmp_path) + b"/\xff")).write_bytes(b"")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
    store = FilesystemStore(tmp_path)

    assert ["sub/.hidden", "x~"] == await listed(store)
    assert ["sub/", "x~"] == [child async for child in store.children()]
    for name in ("link", "loop/x~", "pipe", "socket", "sub", "empty"):
        assert not await store.exists(name)
        with pytest.raises(KeyNotFoundError):
            await store.get(name)


async def test_root_may_be_a_link_and_is_made_when_missing(tmp_path: Path) -> None:
    """Only symlinks inside the root are not followed."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    await FilesystemStore(tmp_path / "link").put("k", b"v")
    await FilesystemStore(tmp_path / "new" / "root").put("k", b"v")

    assert ["new/root/k", "real/k"] == files(tmp_path)


@pytest.mark.parametrize("store_class", FILE_STORES)
async def test_reading_makes_nothing(store_class: type[FilesystemStore], tmp_path: Path) -> None:
    """A store that was only read leaves no trace, not even its root."""
    async with store_class(tmp_path / "root") as store:
        await store.exists("k")
        await listed(store)
        await store.delete("k")

    assert [] == list(tmp_path.iterdir())


# -- nothing outside the root ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["link/secret", "deep/link/secret", "file-link"])
async def test_links_lead_nowhere(key: str, tmp_path: Path) -> None:
    """No method follows a symlink inside the root, neither in the middle nor at the end of a path."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    root = tmp_path / "root"
    (root / "deep").mkdir(parents=True)
    (root / "link").symlink_to(outside)
    (root / "deep" / "link").symlink_to(outside)
    (root / "file-link").symlink_to(outside / "secret")
    store = FilesystemStore(root)

    assert [] == await listed(store)
    assert not await store.exists(key)
    for read in (store.get, store.head):
        with pytest.raises(KeyNotFoundError):
            await read(key)
    await store.delete(key)
    with pytest.raises(KeyConflictError):
        await store.put(key, b"changed")
    assert (root / "file-link").is_symlink()
    assert b"secret" == (outside / "secret").read_bytes()
    assert ["secret"] == files(outside)


@pytest.mark.process
async def test_link_planted_while_the_store_works_leads_nowhere(tmp_path: Path) -> None:
    """No directory can be replaced by a symlink between a check and its use."""
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    (outside / "k").write_bytes(b"secret")
    (root / "d").mkdir(parents=True)
    (root / "d" / "k").write_bytes(b"own")
    swapper = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, sys\n"
            "root, outside = sys.argv[1:]\n"
            "os.symlink(outside, root + '/link')\n"
            "while os.path.exists(root + '/go'):\n"
            "    os.rename(root + '/d', root + '/real'); os.rename(root + '/link', root + '/d')\n"
            "    os.rename(root + '/d', root + '/link'); os.rename(root + '/real', root + '/d')\n",
            str(root),
            str(outside),
        ]
    )
    (root / "go").touch()
    store = FilesystemStore(root)
    found = set()
    for _ in range(1000):
        try:
            await store.put("d/new", b"own")
        except (KeyConflictError, KeyNotFoundError):
            pass
        try:
            found.add(await store.get("d/k"))
        except KeyNotFoundError:
            found.add(b"missing")
    (root / "go").unlink()
    swapper.wait(10)

    assert b"secret" not in found
    assert ["k"] == files(outside)


@pytest.mark.parametrize("prefix", ["../", "/", "a/../../", "/etc/"])
async def test_prefix_does_not_climb(prefix: str, tmp_path: Path) -> None:
    """A listing below a prefix that no key has is empty, wherever the prefix points."""
    (tmp_path / "outside").write_bytes(b"")
    (tmp_path / "root" / "a").mkdir(parents=True)

    assert [] == await listed(FilesystemStore(tmp_path / "root"), prefix)


async def test_names_too_long_for_the_system_are_refused_by_every_method(tmp_path: Path) -> None:
    """256 bytes in a name, 4,096 in a path: our error before the operation, not the system's during it."""
    store = FilesystemStore(tmp_path)
    for key in ("x" * 256, "é" * 128, "d/" * 2100 + "k"):
        for call in (store.get(key), store.put(key, b""), store.delete(key), store.exists(key), store.head(key)):
            with pytest.raises(InvalidKeyError):
                await call
    await store.put("x" * 255, b"v")

    assert ["x" * 255] == await listed(store)


async def test_reserved_names_are_neither_taken_nor_listed(tmp_path: Path) -> None:
    """Names with the prefix of drafts are reserved for the store."""
    store = FilesystemStore(tmp_path)
    (tmp_path / f"{DRAFT}x").write_bytes(b"")

    assert [] == await listed(store)
    for key in (f"{DRAFT}x", f"a/{DRAFT}x"):
        with pytest.raises(InvalidKeyError):
            await store.get(key)


# -- etags and attributes --------------------------------------------------------------------------------------------


async def test_etags_differ_within_one_tick_of_the_clock(tmp_path: Path) -> None:
    """Equal sizes in quick succession: no two versions share an etag, although inodes are reused."""
    store = FilesystemStore(tmp_path)
    etags = [await store.put("k", b"%04d" % i) for i in range(2000)]

    assert 2000 == len(set(etags))


async def test_attributes_beyond_what_the_file_system_keeps_are_refused(tmp_path: Path) -> None:
    """The object is stored with all its attributes or not at all."""
    store = FilesystemStore(tmp_path)
    if not store.capabilities.attributes:
        pytest.skip("no extended attributes here")
    await store.put("k", b"v", attributes={"note": "x" * 2000})
    with pytest.raises(NotImplementedError, match=r"no room for [\d,]+ bytes .* the longest is 'note'"):
        await store.put("k", b"w", attributes={"note": "x" * 200_000})

    assert b"v" == await store.get("k")
    assert {"note": "x" * 2000} == (await store.head("k")).attributes
    assert b"note\xfe" + b"x" * 2000 + b"\xff" == os.getxattr(tmp_path / "k", "user.storage.attributes")


@pytest.mark.parametrize("value", ["a" * 2000, '"' * 2000, "\x01" * 2000, "\0\xff" * 600, ""])
async def test_attributes_take_no_more_room_than_they_have_bytes(value: str, tmp_path: Path) -> None:
    """Nothing is escaped, so that 2,048 bytes of any characters fit."""
    store = FilesystemStore(tmp_path)
    if not store.capabilities.attributes:
        pytest.skip("no extended attributes here")
    await store.put("k", b"v", attributes={"n": value, "m": ""})

    assert {"n": value, "m": ""} == (await store.head("k")).attributes


async def test_attributes_of_earlier_versions_are_read(tmp_path: Path) -> None:
    """They are JSON."""
    store = FilesystemStore(tmp_path)
    if not store.capabilities.attributes:
        pytest.skip("no extended attributes here")
    await store.put("k", b"v")
    os.setxattr(tmp_path / "k", "user.storage.attributes", b'{"content-type": "text/plain"}')

    assert {"content-type": "text/plain"} == (await store.head("k")).attributes


@pytest.mark.parametrize(
    "packed",
    [b"a\xfe1\xffa\xfe2\xff", b"a\xfe\x80\xff", b"A\xff", b"\xff", b"[1]", b'{"a": 1}', b'{"A": "b"}', b"[" * 3000],
)
async def test_attributes_that_another_program_wrote_are_corrupt(packed: bytes, tmp_path: Path) -> None:
    """Bad bytes are an error that names the key, never a value and never the decoder's own exception."""
    store = FilesystemStore(tmp_path)
    if not store.capabilities.attributes:
        pytest.skip("no extended attributes here")
    await store.put("k", b"v")
    os.setxattr(tmp_path / "k", "user.storage.attributes", packed)

    with pytest.raises(CorruptObjectError) as caught:
        await store.head("k")
    assert "k" == caught.value.key
    assert b"v" == await store.get("k")


async def test_time_that_python_has_not_is_unknown() -> None:
    """Some file systems take any 64-bit time; such a file has no `modified`, and listings still work."""
    status = os.stat_result((0o100644, 1, 1, 1, 0, 0, 3, 0, 0, 0), {"st_mtime_ns": 10**22, "st_ctime_ns": 1})
    reader = os.open(os.devnull, os.O_RDONLY)
    try:
        assert describe("k", reader, status, Etags("")).modified is None
    finally:
        os.close(reader)
