"""
The main job on real files: ``python -m benchmarks.demo [DIRECTORY]``.

A directory, by default Python's own standard library, is copied into compressed objects in SQLite, from there into a
zip archive and into a directory, and each copy is read back and held against the SHA-256 of the original files, which
are read without this package. The exit code is 1 when a single byte differs.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import sys
import sysconfig
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table

from storage import (
    FilesystemStore,
    GzipStore,
    ObjectStore,
    PrefixStore,
    Progress,
    ReadonlyStore,
    SqliteStore,
    ZipStore,
    copy_store,
)
from storage._concurrency.tasks import for_each

#: Not part of the standard library itself: compiled files and installed packages.
LEFT_OUT = {"__pycache__", "site-packages", "dist-packages"}


class SourceTree(ReadonlyStore):
    """A directory of files as a read-only store, without the names in `LEFT_OUT`."""

    async def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        async for key in self.base.keys(prefix, start_after=start_after):
            if LEFT_OUT.isdisjoint(key.split("/")):
                yield key


@dataclass
class Stage:
    """The counts of one stage so far, and the bar that shows them."""

    name: str
    bars: Bars
    bar: TaskID
    disk: Path | None
    objects: int = 0
    bytes: int = 0
    seconds: float = 0

    def copied(self, progress: Progress) -> None:
        """Take over the counts of a `copy_store`."""
        self._reach(progress.objects, progress.bytes)

    def read(self, size: int) -> None:
        """Count one object more, of *size* bytes."""
        self._reach(self.objects + 1, self.bytes + size)

    def _reach(self, objects: int, size: int) -> None:
        self.objects, self.bytes = objects, size
        self.bars.update(self.bar, completed=objects)

    def row(self) -> list[str]:
        """Return the stage's line of the table."""
        cells = [self.name, f"{self.objects}", f"{self.bytes / 1e6:.1f}", f"{self.seconds:.1f}"]
        cells += [f"{self.objects / self.seconds:.0f}", f"{self.bytes / 1e6 / self.seconds:.1f}"]
        if self.disk is not None:
            kept = size_on_disk(self.disk)
            cells += [f"{kept / 1e6:.1f}", f"{1 - kept / max(self.bytes, 1):.0%}"]
        return cells


class Report:
    """A progress bar for each stage while it runs (on a terminal only), and a table of all of them at the end."""

    def __init__(self, total: int) -> None:
        self._console = Console()
        self._total = total
        self._stages: list[Stage] = []

    @contextmanager
    def stage(self, name: str, disk: Path | None = None) -> Iterator[Stage]:
        """Time a stage, which counts every object; *disk* is the directory of its objects."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Bars(*columns, console=self._console, transient=True, disable=not self._console.is_terminal) as bars:
            stage = Stage(name, bars, bars.add_task(name, total=self._total), disk)
            self._stages.append(stage)
            began = time.perf_counter()
            yield stage
            stage.seconds = time.perf_counter() - began

    def show(self) -> None:
        """Print the table. Call this after the stores are closed, so that all data is on the disk."""
        table = Table(box=None, header_style="bold", pad_edge=False)
        table.add_column("stage", no_wrap=True)
        for name in ("objects", "MB", "s", "objects/s", "MB/s", "on disk", "saved"):
            table.add_column(name, justify="right", no_wrap=True)
        for stage in self._stages:
            table.add_row(*stage.row())
        self._console.print(table)


def originals(tree: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below *tree* by its relative path, found and read without a store."""
    found = {}
    for directory, names, files in os.walk(tree):
        names[:] = [name for name in names if name not in LEFT_OUT]
        for file in (Path(directory, name) for name in files):
            if file.is_file() and not file.is_symlink():
                found[file.relative_to(tree).as_posix()] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


async def checksums(store: ObjectStore, stage: Stage) -> dict[str, str]:
    """Return the SHA-256 of every object."""
    found = {}

    async def read(key: str) -> None:
        data = await store.get(key)
        found[key] = hashlib.sha256(data).hexdigest()
        stage.read(len(data))

    await for_each(store.keys(), read)
    return found


def differences(copy: str, expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """Return the names of objects that are wrong, missing or superfluous in a copy."""
    return sorted(f"{copy}: {key}" for key in dict(expected.items() ^ found.items()))


def size_on_disk(path: Path) -> int:
    """Return the bytes of a file, or of all files below a directory."""
    return sum(file.stat().st_size for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file())


async def demonstrate(tree: Path, work: Path) -> list[str]:
    """Copy *tree* through the stack in *work*, print the costs, and return the differences."""
    expected = originals(tree)
    print(f"{len(expected)} files of {tree}")
    report = Report(len(expected))
    source = SourceTree(FilesystemStore(tree))
    database, archive, directory = work / "objects.sqlite", work / "objects.zip", work / "objects"
    directory.mkdir()
    async with (
        GzipStore(PrefixStore(SqliteStore(database), "stdlib/")) as packed,
        ZipStore(archive) as zipped,
        FilesystemStore(directory) as plain,
    ):
        with report.stage("files -> gzip in SQLite", database) as stage:
            await copy_store(source, packed, progress=stage.copied)
        with report.stage("SQLite -> zip archive", archive) as stage:
            await copy_store(packed, zipped, progress=stage.copied)
        with report.stage("SQLite -> directory", directory) as stage:
            await copy_store(packed, plain, progress=stage.copied)
        wrong = []
        for name, store in {"SQLite": packed, "zip": zipped, "directory": plain}.items():
            with report.stage(f"read back from {name}") as stage:
                found = await checksums(store, stage)
            wrong += differences(name, expected, found)
    report.show()
    return wrong


def main() -> int:
    """Run the demonstration and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo", description=__doc__)
    parser.add_argument("directory", nargs="?", type=Path, default=Path(sysconfig.get_path("stdlib")))
    tree = parser.parse_args().directory.resolve()
    with tempfile.TemporaryDirectory(prefix="stackstore-demo-") as work:
        wrong = asyncio.run(demonstrate(tree, Path(work)))
    if wrong:
        print(f"{len(wrong)} objects differ from their files:", *wrong[:20], sep="\n  ")
        return 1
    print("every object came back byte for byte (SHA-256)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
