"""Keys under locales that are not UTF-8: the same key is the same file under each of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from file_tools import FILE_STORES

from storage.stores.files.file_store import FileStore

pytestmark = pytest.mark.process

KEYS = ["é", "d€/т", "d€/plain", "plain"]

#: Works with each key in each way, and prints what it finds; stops with another error than those of the stores.
CODE = """
import sys, os
from storage import ConfigError, StorageError, sync
cls, root, keys = getattr(sync, sys.argv[1]), sys.argv[2], eval(sys.argv[3])
store = cls(root)
found = {key: store.get(key) for key in store.keys()}
for key in keys:
    store.put(key, b"1")
    store.put(key, b"2", if_match=store.head(key).etag)
    store.copy(key, key + "-copy")
    store.rename(key + "-copy", key + "-new")
    store.delete(key + "-new")
    assert store.exists(key) and store.get(key) == b"2"
    with store.open(key) as reader:
        assert reader.read() == b"2"
assert sorted(store.keys()) == sorted(keys) == [info.key for info in store.scan()]
assert list(store.children("d\\u20ac/")) == ["d\\u20ac/plain", "d\\u20ac/\\u0442"]
with store:
    pass
try:
    cls(root + "/\\u20ac")
except ConfigError as error:
    assert "PYTHONUTF8=1" in str(error)
print(ascii(found), sys.getfilesystemencoding())
"""


#: Makes a root of several missing parts, as this locale encodes them, and prints the files there.
MISSING_ROOT = """
import os, sys
from storage import sync
name, at = os.fsdecode(b"caf\\xe9"), sys.argv[2]
store = getattr(sync, sys.argv[1])(f"{at}/{name}/{name}")
for key in ("\u00e9/k", "k"):
    store.put(key, b"1")
    assert store.get(key) == b"1"
assert sorted(store.keys()) == ["k", "\u00e9/k"]
print(os.listdir(os.fsencode(at)), os.listdir(os.path.join(os.fsencode(at), b"caf\\xe9")), sys.getfilesystemencoding())
"""


def run(store: str, root: Path, code: str = CODE, **locale: str) -> str:
    """Use the store in a process of its own under a locale, and return what it printed."""
    environment = {**os.environ, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", **locale}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    command = [sys.executable, "-c", code, store, str(root), ascii(KEYS)]
    return subprocess.run(command, check=True, env=environment, capture_output=True, text=True).stdout.strip()


def latin(tmp_path: Path) -> dict[str, str]:
    """Return the variables of a Latin-1 locale; those of C where none can be made."""
    if shutil.which("localedef") and os.path.exists("/usr/share/i18n/charmaps/ISO-8859-1.gz"):
        subprocess.run(["localedef", "-i", "en_US", "-f", "ISO-8859-1", str(tmp_path / "latin")], check=False)
        return {"LOCPATH": str(tmp_path), "LC_ALL": "latin"}
    return {"LC_ALL": "C"}


@pytest.mark.parametrize("store_class", FILE_STORES)
def test_key_is_the_same_file_under_every_locale(store_class: type[FileStore], tmp_path: Path) -> None:
    """What was written under one is read, replaced and listed under another."""
    root = tmp_path / "root"
    all_keys = ascii(dict.fromkeys(sorted(KEYS), b"2"))
    found = [
        run(store_class.__name__, root, LC_ALL="C"),
        run(store_class.__name__, root, LC_ALL="C.UTF-8"),
        run(store_class.__name__, root, **latin(tmp_path)),
    ]

    assert ["{} ascii", f"{all_keys} utf-8"] == found[:2]
    assert found[2] in (f"{all_keys} iso8859-1", f"{all_keys} ascii")


@pytest.mark.parametrize("store_class", FILE_STORES)
def test_missing_root_is_made_under_the_name_that_the_locale_gives_it(
    store_class: type[FileStore], tmp_path: Path
) -> None:
    """It is the caller's path, not a key: the first put and the first read meet in the same directory."""
    root = tmp_path / "root"
    root.mkdir()
    printed = run(store_class.__name__, root, MISSING_ROOT, **latin(tmp_path))

    assert printed.startswith("[b'caf\\xe9'] [b'caf\\xe9'] ")
