"""Reads of objects past their store: what is in a dictionary, a file, a table or an archive."""

from __future__ import annotations

import hashlib
import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeAlias

from examples import MinimalStore

from storage import DictStore, ObjectStore, ZipStore

__all__ = ["ARCHIVE", "DATABASE", "Raw", "in_dict", "in_file", "in_hashed_file", "in_minimal", "in_sqlite", "in_zip"]

#: Reads an object past the store: from the innermost store and the directory that the stack was made in.
Raw: TypeAlias = Callable[[ObjectStore, Path, str], bytes | None]

DATABASE = "objects.db"
ARCHIVE = "objects.zip"


def in_dict(store: ObjectStore, root: Path, key: str) -> bytes | None:
    assert isinstance(store, DictStore)
    found = store._objects.get(key)
    return None if found is None else found.data


def in_minimal(store: ObjectStore, root: Path, key: str) -> bytes | None:
    assert isinstance(store, MinimalStore)
    return store.objects.get(key)


def in_file(store: ObjectStore, root: Path, key: str) -> bytes | None:
    path = root / key
    return path.read_bytes() if path.is_file() else None


def in_hashed_file(store: ObjectStore, root: Path, key: str) -> bytes | None:
    digest = hashlib.sha256(key.encode()).hexdigest()
    path = root / digest[:2] / digest[2:4] / digest[4:6] / digest[6:]
    return path.read_bytes() if path.is_file() else None


def in_sqlite(store: ObjectStore, root: Path, key: str) -> bytes | None:
    """Read with what docs/stores/sqlite.md says of the tables, over a connection of its own."""
    with closing(sqlite3.connect(f"file:{root / DATABASE}?mode=ro", uri=True)) as connection:
        row = connection.execute("SELECT version, data FROM objects WHERE key = ?", [key.encode()]).fetchone()
        if row is None or row[0] is None:
            return None if row is None else bytes(row[1])
        pieces = connection.execute("SELECT data FROM chunks WHERE version = ? ORDER BY number", [row[0]])
        return b"".join(piece for (piece,) in pieces)


def in_zip(store: ObjectStore, root: Path, key: str) -> bytes | None:
    assert isinstance(store, ZipStore)
    store._opened().flush()
    with zipfile.ZipFile(root / ARCHIVE) as archive:
        return archive.read(key) if key in archive.NameToInfo else None
