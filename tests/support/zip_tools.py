"""The objects of an archive, as the store and as other programs read them."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from storage.stores.zip.archive import Archive
from storage.stores.zip.content import Content
from storage.stores.zip.entry import Entry
from storage.stores.zip.format import pack_central, pack_end, pack_local

__all__ = ["INCOMPRESSIBLE", "archive_of", "made", "objects", "read_by_zipfile", "unzip_complaints"]

INCOMPRESSIBLE = os.urandom(10_000)


def objects(path: Path) -> dict[str, bytes]:
    """Open the archive, return all objects, and leave the file as after another crash."""
    archive = Archive(os.fspath(path), sync=False)
    return {key: Content(*found).read(0, found.entry.size) for key, found in archive.objects.items()}


def read_by_zipfile(path: Path) -> dict[str, bytes]:
    """Return the objects that Python's zipfile finds in the archive, after its own test."""
    with zipfile.ZipFile(path) as archive:
        assert None is archive.testzip()
        return {name: archive.read(name) for name in archive.namelist()}


def unzip_complaints(path: Path) -> str:
    """Return what ``unzip -t`` reports about the archive."""
    if shutil.which("unzip") is None:  # pragma: no cover
        pytest.skip("there is no unzip on this machine")
    tested = subprocess.run(["unzip", "-tqq", path], capture_output=True, text=True, check=False)
    return tested.stdout + tested.stderr


def made(fill: Callable[[zipfile.ZipFile], object], **options: Any) -> bytes:
    """Return an archive made by Python's zipfile."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", **options) as archive:
        fill(archive)
    return packed.getvalue()


def archive_of(entries: list[Entry], data: bytes = b"") -> bytes:
    """Return an archive of these entries, each of which has the same data."""
    content = directory = b""
    for entry in entries:
        placed = entry._replace(offset=len(content))
        content += pack_local(placed) + data
        directory += pack_central(placed)
    return content + directory + pack_end(len(content), len(directory), len(entries))
