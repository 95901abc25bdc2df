"""Helpers of the tests of stores on plain files."""

from __future__ import annotations

from pathlib import Path

from storage import FilesystemStore, HashdirStore, ObjectStore, SafeFilesystemStore

__all__ = ["FILE_STORES", "files", "listed"]

FILE_STORES = [FilesystemStore, SafeFilesystemStore, HashdirStore]


async def listed(store: ObjectStore, prefix: str = "") -> list[str]:
    return [key async for key in store.keys(prefix)]


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
