"""The objects of an archive, as the store and as other programs read them."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from storage.stores.zip.archive import Archive
from storage.stores.zip.content import Content

__all__ = ["INCOMPRESSIBLE", "objects", "read_by_zipfile", "unzip_complaints"]

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
