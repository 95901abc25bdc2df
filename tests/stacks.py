"""
Every store, every decorator and some deep stacks of them, named once, for the suite and for the tests with processes.

A new store is one line in `STACKS`.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from examples import BackwardsStore, MinimalStore, SaltedStore

from storage import (
    Base64Store,
    DictStore,
    FilesystemStore,
    GzipStore,
    HashdirStore,
    ObjectStore,
    PrefixStore,
    ReadonlyStore,
    SafeFilesystemStore,
    SqliteStore,
    StoreDecorator,
    ZipStore,
)

__all__ = ["STACKS", "Stack"]

#: Reads an object past the store: from the innermost store and the directory that the stack was made in.
Raw: TypeAlias = Callable[[ObjectStore, Path, str], bytes | None]


@dataclass(frozen=True, kw_only=True)
class Stack:
    """
    How a stack is made, and how its objects are read without it.

    Attributes:
        make: makes the stack in an empty directory, or again in one that has its objects.
        raw: reads an object past the stack; None where there is no other way to it.
        code: the bytes of an object from those that `raw` finds.
        name: the key below from the key above.
        writable: the store to write to, of one that cannot be written to itself.
    """

    make: Callable[[Path], ObjectStore]
    raw: Raw | None = None
    code: Callable[[bytes], bytes] = bytes
    name: Callable[[str], str] = str
    writable: Callable[[ObjectStore], ObjectStore] | None = None

    def read(self, store: ObjectStore, root: Path, key: str) -> bytes | None:
        """Return the object's bytes, read past the stack; None where there is no object."""
        assert self.raw is not None
        found = self.raw(innermost(store), root, self.name(key))
        return None if found is None else self.code(found)


def innermost(store: ObjectStore) -> ObjectStore:
    """Return the store below all decorators."""
    while isinstance(store, StoreDecorator):
        store = store.base
    return store


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
    """Read with what docs/sqlite.md says of the tables, over a connection of its own."""
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


DATABASE = "objects.db"
ARCHIVE = "objects.zip"

#: Bytes before and behind an object in the store of examples.py.
SALT = 4

STACKS: dict[str, Stack] = {
    # stores
    "dict": Stack(make=lambda root: DictStore(), raw=in_dict),
    "minimal": Stack(make=lambda root: MinimalStore(), raw=in_minimal),
    "filesystem": Stack(make=FilesystemStore, raw=in_file),
    "filesystem-fsync": Stack(make=lambda root: FilesystemStore(root, durability="fsync"), raw=in_file),
    "safe-filesystem": Stack(make=SafeFilesystemStore),
    "hashdir": Stack(make=HashdirStore, raw=in_hashed_file),
    "sqlite": Stack(make=lambda root: SqliteStore(root / DATABASE), raw=in_sqlite),
    "sqlite-memory": Stack(make=lambda root: SqliteStore(":memory:")),
    "zip": Stack(make=lambda root: ZipStore(root / ARCHIVE), raw=in_zip),
    "zip-stored": Stack(make=lambda root: ZipStore(root / ARCHIVE, compression="stored"), raw=in_zip),
    # decorators
    "transparent": Stack(make=lambda root: StoreDecorator(DictStore()), raw=in_dict),
    "prefix": Stack(make=lambda root: PrefixStore(DictStore(), "a/"), raw=in_dict, name="a/".__add__),
    "gzip": Stack(make=lambda root: GzipStore(DictStore()), raw=in_dict, code=gzip.decompress),
    "base64": Stack(make=lambda root: Base64Store(DictStore()), raw=in_dict, code=base64.b64decode),
    "readonly": Stack(make=lambda root: ReadonlyStore(DictStore()), raw=in_dict, writable=innermost),
    "backwards": Stack(make=lambda root: BackwardsStore(DictStore()), raw=in_dict, name=lambda key: key[::-1]),
    "salted": Stack(make=lambda root: SaltedStore(DictStore()), raw=in_dict, code=lambda data: data[SALT:-SALT]),
    # deep stacks
    "decorators-over-minimal": Stack(
        make=lambda root: GzipStore(PrefixStore(Base64Store(MinimalStore()), "p")),
        raw=in_minimal,
        name="p".__add__,
        code=lambda data: gzip.decompress(base64.b64decode(data)),
    ),
    "gzip-prefix-sqlite": Stack(
        make=lambda root: GzipStore(PrefixStore(SqliteStore(root / DATABASE), "a/b/")),
        raw=in_sqlite,
        name="a/b/".__add__,
        code=gzip.decompress,
    ),
    "prefix-gzip-base64-filesystem": Stack(
        make=lambda root: PrefixStore(GzipStore(Base64Store(FilesystemStore(root))), "deep/"),
        raw=in_file,
        name="deep/".__add__,
        code=lambda data: gzip.decompress(base64.b64decode(data)),
    ),
    "base64-prefix-zip": Stack(
        make=lambda root: Base64Store(PrefixStore(ZipStore(root / ARCHIVE), "a/")),
        raw=in_zip,
        name="a/".__add__,
        code=base64.b64decode,
    ),
    "salted-backwards-hashdir": Stack(
        make=lambda root: SaltedStore(BackwardsStore(HashdirStore(root))),
        raw=in_hashed_file,
        name=lambda key: key[::-1],
        code=lambda data: data[SALT:-SALT],
    ),
}
