"""Names on file systems that take different ones for the same, that change them, or that refuse them."""

from __future__ import annotations

import errno
import os
import unicodedata
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from file_tools import FILE_STORES, files, listed
from fuse.behaviour import Behaviour
from fuse.mount import mounted
from real_file_systems import KINDS, mounted_image

from storage import FilesystemStore, InvalidKeyError, KeyNotFoundError, ObjectStore, SafeFilesystemStore
from storage.stores.files import exact_names
from storage.stores.files.exact_names import Directories, ExactNames
from storage.stores.files.file_store import FileStore

pytestmark = pytest.mark.process

IGNORES_CASE = Behaviour(ignores_case=True, normalises="NFC", keeps_form=True)

NFC, NFD = unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")

#: Keys that a file system which ignores case and form takes for others of these.
TWINS = [
    "Report", "report", "D/x", "d/y", "1/a", "1/A", NFC, NFD, f"d/{NFD}", "ПУТЬ", "путь", "123", "1/2/3"
]  # fmt: skip


async def refuses(call: Awaitable[object]) -> bool:
    """Return whether the call's key is invalid."""
    try:
        await call
    except InvalidKeyError:
        return True
    return False


async def put_those_that_are_taken(store: ObjectStore) -> list[str]:
    """Put each of the twins, and return those that were not refused."""
    return [key for key in TWINS if not await refuses(store.put(key, key.encode()))]


@pytest.mark.parametrize("store_class", FILE_STORES)
async def test_no_key_becomes_another_where_case_is_ignored(store_class: type[FileStore]) -> None:
    """A key comes back unchanged or is refused, and what is refused changes nothing."""
    with mounted(IGNORES_CASE) as root:
        store = store_class(root / "s")
        taken = await put_those_that_are_taken(store)

        if store_class is FilesystemStore:
            assert ["Report", "D/x", "1/a", NFC, "ПУТЬ", "123", "1/2/3"] == taken
        else:
            assert TWINS == taken
        assert sorted(taken) == await listed(store)
        for key in TWINS:
            assert (key in taken) == await store.exists(key)
            if key in taken:
                assert key.encode() == await store.get(key)


@pytest.mark.parametrize("other", ["REPORT", "dir/K", "DIR/k", "DIR/K"])
async def test_reader_of_a_directory_of_others_finds_only_the_names_that_are_there(other: str) -> None:
    """Without any write before: every method takes another spelling for a key that is not there, or refuses it."""
    with mounted(IGNORES_CASE) as root:
        (root / "Report").write_bytes(b"v")
        (root / "dir").mkdir()
        (root / "dir" / "k").write_bytes(b"v")

        def store() -> FilesystemStore:
            return FilesystemStore(root)  # one that has seen nothing yet

        for call in (store().get(other), store().head(other), store().copy(other, "n"), store().rename(other, "n")):
            with pytest.raises(KeyNotFoundError):
                await call
        with pytest.raises(KeyNotFoundError):
            async with store().open(other):
                pass
        assert not await store().exists(other)
        assert isinstance((await store().get_many([other]))[other], KeyNotFoundError)
        await store().delete(other)
        await store().delete_many([other])
        await store().clear(other)
        assert [] == await listed(store(), other)
        assert (
            [] == [child async for child in store().children(other[:4] if "/" in other else other)] or other[0] == "d"
        )
        assert await refuses(store().put(other, b""))
        assert await refuses(store().put(other, b"", if_absent=True))
        assert await refuses(store().copy("Report", other))
        assert await refuses(store().rename("Report", other))
        assert ["Report", "dir/k"] == await listed(store())
        assert [b"v", b"v"] == [await store().get(key) for key in ("Report", "dir/k")]
        assert ["Report", "dir/k"] == files(root)


async def test_listing_below_another_spelling_of_a_directory_is_empty() -> None:
    """No key has the prefix."""
    with mounted(IGNORES_CASE) as root:
        store = FilesystemStore(root)
        await store.put("dir/k", b"v")

        assert [] == await listed(store, "DIR/")
        assert [] == [child async for child in store.children("DIR/")]
        assert [] == [info async for info in store.scan("DIR/")]
        assert ["dir/k"] == await listed(store, "dir/")


async def test_object_can_be_replaced_and_deleted_where_case_is_ignored() -> None:
    """Its own name stays its own."""
    with mounted(IGNORES_CASE) as root:
        store = FilesystemStore(root)
        first = await store.put("Dir/Report", b"1")
        second = await store.put("Dir/Report", b"2", if_match=first)
        await store.rename("Dir/Report", "Dir/Other")
        await store.copy("Dir/Other", "Dir/Report")
        await store.delete("Dir/Other", if_match=second)

        assert b"2" == await store.get("Dir/Report")
        assert ["Dir/Report"] == files(root)


async def test_name_that_the_file_system_changes_is_refused() -> None:
    """One that keeps names decomposed, as HFS+: the key would come back as another."""
    with mounted(Behaviour(normalises="NFD")) as root:
        store = FilesystemStore(root)
        await store.put("source", b"1")
        for key in (NFC, f"{NFC}/k"):
            assert await refuses(store.put(key, b"v"))
            assert await refuses(store.rename("source", key))
            assert not await store.exists(key)
        await store.put(NFD, b"v")

        assert sorted([NFD, "source"]) == await listed(store) == files(root)


async def test_foreign_file_of_another_case_is_not_read_as_an_escaped_key() -> None:
    """`SafeFilesystemStore` writes small letters only; `README` is another program's."""
    with mounted(IGNORES_CASE) as root:
        (root / "README").write_bytes(b"foreign")
        store = SafeFilesystemStore(root)

        assert not await store.exists("readme")
        assert await refuses(store.put("readme", b""))
        assert [] == await listed(store)


async def test_file_system_that_tells_names_apart_is_looked_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Afterwards nothing more is done for a read; a link under the other name is no sign of ignoring case."""
    monkeypatch.setattr(exact_names, "may_fold_per_directory", lambda descriptor: False)
    looks = []
    has = ExactNames.has

    def counted(self: ExactNames, root: Directories, path: str, *, lock: bool = True) -> bool:
        looks.append(path)
        return has(self, root, path, lock=lock)

    monkeypatch.setattr(ExactNames, "has", counted)
    (tmp_path / "k").write_bytes(b"v")
    os.link(tmp_path / "k", tmp_path / "K")
    (tmp_path / "other").write_bytes(b"v")
    (tmp_path / NFC).write_bytes(b"v")
    store = FilesystemStore(tmp_path)

    assert [b"v"] * 6 == [await store.get(key) for key in ("k", "K", "other", "k", NFC, NFC)]
    assert [NFC] == [path for path in looks if not path.isascii()]
    assert len(looks) <= 4


async def test_single_directories_that_ignore_case_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of ext4 with `chattr +F`: each says it of itself, and the others have no cost."""
    with mounted(IGNORES_CASE) as root:
        (root / "plain").mkdir()
        (root / "folded").mkdir()
        inode = (root / "folded").stat().st_ino
        monkeypatch.setattr(exact_names, "may_fold_per_directory", lambda descriptor: True)
        monkeypatch.setattr(exact_names, "folds_names", lambda directory: os.fstat(directory).st_ino == inode)
        store = FilesystemStore(root)
        await store.put("folded/Report", b"v")
        await store.put("plain/report", b"v")

        assert not await store.exists("folded/report")
        assert b"v" == await store.get("plain/report")
        device = root.stat().st_dev
        assert store._root.exact.known("plain/x", device)
        assert not store._root.exact.known("folded/x", device)


LONG = "averyverylongname" * 4

#: For each way to change names: keys whose names are kept, which are put first, and keys that would become others.
CHANGED = {
    "cut": (Behaviour(cuts_names=60), ["d/k", "d/K", LONG[:60]], [f"{LONG}1", f"{LONG}2", f"z{LONG}/k", f"d/{LONG}"]),
    "trimmed": (Behaviour(trims_names=". "), ["x/a", "x/A", "x/b.c d"], ["x/a.", "x/a ", "x/n..", "x./a"]),
    "replaced": (Behaviour(replaces_characters=":?*"), ["q/a_b", "q/A", "q/a+b"], ["q/a:b", "q/a?b", "q/n*", "q:/k"]),
}


@pytest.mark.parametrize("way", CHANGED)
async def test_no_key_becomes_another_where_names_are_cut_trimmed_or_replaced(way: str) -> None:
    """Though case is told apart there: that one pair of names is, says nothing of others."""
    behaviour, kept, changed = CHANGED[way]
    with mounted(behaviour) as root:
        store = FilesystemStore(root / "s")
        for key in kept * 2:
            await store.put(key, key.encode())
            assert key.encode() == await store.get(key)
        for key in changed:
            assert await refuses(store.put(key, b"changed"))
            assert await refuses(store.rename(kept[0], key))
            assert await refuses(store.copy(kept[0], key))
            assert not await store.exists(key)
            await store.delete(key)
            with pytest.raises(KeyNotFoundError):
                await store.get(key)

        assert sorted(kept) == await listed(store) == files(root / "s")
        assert [key.encode() for key in kept] == [await store.get(key) for key in kept]


async def test_forms_of_names_are_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names like those that were kept cost no listing of their directory."""
    looks = []
    seen = exact_names._listed

    def counted(directory: int, name: str) -> bool:
        looks.append(name)
        return seen(directory, name)

    monkeypatch.setattr(exact_names, "_listed", counted)
    with mounted(Behaviour()) as root:
        store = SafeFilesystemStore(root / "s")
        for key in ("dir/LONGEST (1)", "dir/longest"):
            await store.put(key, b"")
        looks.clear()
        for key in ("dir/(1) x", "other/plain", "DIR/A"):
            await store.put(key, b"v")
            assert b"v" == await store.get(key)

        assert len(looks) <= 2


METHODS: dict[str, Callable[[ObjectStore, str], Awaitable[object]]] = {
    "put": lambda store, key: store.put(key, b"v"),
    "stream": lambda store, key: store.put(key, iter([b"v"])),
    "copy": lambda store, key: store.copy("fine", key),
    "rename": lambda store, key: store.rename("fine", key),
}


@pytest.mark.parametrize("lookups", [False, True], ids=["create", "lookup"])
@pytest.mark.parametrize("refusal", [errno.ENOENT, errno.EINVAL, errno.EILSEQ], ids=errno.errorcode.get)
async def test_name_that_the_file_system_refuses_is_an_invalid_key(refusal: int, lookups: bool) -> None:
    """However and whenever it says so: not retryable, and no read finds anything."""
    behaviour = Behaviour(refused_characters='?:*"<>|\t', refusal=refusal, refuses_lookups=lookups)
    with mounted(behaviour) as root:
        store = FilesystemStore(root / "s")
        await store.put("fine", b"1")
        for key in ("q?", "c:d", "dir/*", "tab\tx", "a?/b/c"):
            for method in METHODS.values():
                with pytest.raises(InvalidKeyError) as caught:
                    await method(store, key)
                assert (key, repr(store)) == (caught.value.key, caught.value.store)
            for read in (store.get, store.head):
                with pytest.raises((InvalidKeyError, KeyNotFoundError)):
                    await read(key)
            assert await refuses(store.exists(key)) or not await store.exists(key)
            assert await refuses(store.delete(key)) or not await store.exists(key)
            assert [] == await listed(store, key)

        assert ["fine"] == await listed(store)
        assert ["s/fine"] == files(root)
        assert b"1" == await store.get("fine")


async def test_put_into_a_directory_that_vanishes_is_no_invalid_key(tmp_path: Path) -> None:
    """The same error number means that the directory was deleted meanwhile; it is made again."""
    store = FilesystemStore(tmp_path)

    for number in range(50):
        await store.put(f"d/{number}", b"v")
        await store.delete(f"d/{number}")
    assert [] == files(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("store_class", FILE_STORES)
async def test_no_key_becomes_another_on_real_file_systems(store_class: type[FileStore], kind: str) -> None:
    """Those that are mounted above behave as somebody has read about them; these are what users have."""
    with mounted_image(kind) as root:
        store = store_class(root / "s")
        taken = await put_those_that_are_taken(store)

        assert (store_class is FilesystemStore) == (taken != TWINS)
        assert sorted(taken) == await listed(store)
        assert taken == [key for key in TWINS if await store.exists(key)]
        assert [key.encode() for key in taken] == [await store.get(key) for key in taken]
        assert not await store.exists("REPORT")
        if kind == "exfat" and store_class is FilesystemStore:
            for key in ("q?", "c:d", "*", "tab\tx", "a:b/c"):
                assert await refuses(store.put(key, b""))
                assert await refuses(store.rename(taken[0], key))
        await store.clear()
        assert [] == files(root / "s")
