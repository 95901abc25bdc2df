"""`SafeFilesystemStore`: names that are valid on every file system."""

from __future__ import annotations

from pathlib import Path

import pytest
from file_tools import listed

from storage import SafeFilesystemStore
from storage.stores.files.safe_names import decode_name, encode_path


@pytest.mark.parametrize(
    ("key", "path"),
    {
        "reports/2024-q1.csv": "reports+/2024-q1.csv",
        "README.md": "^r^e^a^d^m^e.md",
        "con.txt": "%63on.txt",
        ".hidden": "%2ehidden",
        "a.": "a%2e",
        "a/": "a+/%",
        "//": "%+/%+/%",
        "..": "%2e%2e",
        "é ": "%c3%a9%20",
        "x" * 81: "x" * 80 + "~/x",
        "x" * 80: "x" * 80 + "~/%",
    }.items(),
)
def test_safe_names(key: str, path: str) -> None:
    """Readable where names are harmless; escaped, split and marked where not."""
    assert path == encode_path(key)


@pytest.mark.parametrize("name", ["README", "a b", "%41", "%zz", "a.", ".a", "con", "é", "a%", "x" * 80, "^A", "~"])
def test_name_that_the_encoding_does_not_give_is_foreign(name: str) -> None:
    """Each key has one path and each path one key, so that nothing is listed under a name that get does not find."""
    assert decode_name(name, is_directory=False) is None


async def test_safe_store_skips_foreign_files_and_keeps_the_order_of_long_names(tmp_path: Path) -> None:
    """Long names that are split over directories sort where the key sorts, between shorter and nested keys."""
    store = SafeFilesystemStore(tmp_path)
    stem = "n" * 79
    ends = ["", "a", "a/b", "aa", "é", "😀", "/x", "\uffff"]
    keys = sorted([*(stem + end for end in ends), stem[:-1] + "é"])
    for key in keys:
        await store.put(key, key.encode())
    (tmp_path / "Foreign.txt").write_bytes(b"")
    (tmp_path / "Directory").mkdir()
    (tmp_path / "Directory" / "x").write_bytes(b"")

    assert keys == await listed(store)
    for key in keys:
        assert key.encode() == await store.get(key)
        assert [other for other in keys if other > key] == [other async for other in store.keys(start_after=key)]
