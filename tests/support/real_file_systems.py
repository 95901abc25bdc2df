"""File systems that take different names for the same, on images of their own: exFAT, NTFS, and ext4 with casefold."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from marks import note

__all__ = ["KINDS", "mounted_image"]


def _run(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


def _exfat(image: Path, root: Path, done: ExitStack) -> Path:
    device = _run("losetup", "--find", "--show", image)
    done.callback(_run, "losetup", "--detach", device)
    _run("mkfs.exfat", device)
    _run("mount.exfat-fuse", device, root)
    done.callback(_run, "umount", "--lazy", root)
    return root


def _ntfs(image: Path, root: Path, done: ExitStack) -> Path:
    _run("mkfs.ntfs", "--quick", "--force", image)
    _run("lowntfs-3g", "-o", "ignore_case", image, root)
    done.callback(_run, "umount", "--lazy", root)
    return root


def _casefold(image: Path, root: Path, done: ExitStack) -> Path:
    _run("mkfs.ext4", "-q", "-F", "-O", "casefold", "-E", "encoding=utf8", image)
    _run("mount", "-o", "loop", image, root)
    done.callback(_run, "umount", "--lazy", root)
    folded = root / "folded"
    folded.mkdir()
    _run("chattr", "+F", folded)
    return folded


#: What makes a file system of each kind, mounts it and gives a directory of it; the commands that it needs.
KINDS: dict[str, tuple[Callable[[Path, Path, ExitStack], Path], tuple[str, ...]]] = {
    "exfat": (_exfat, ("losetup", "mkfs.exfat", "mount.exfat-fuse")),
    "ntfs": (_ntfs, ("mkfs.ntfs", "lowntfs-3g")),
    "casefold": (_casefold, ("mkfs.ext4", "chattr")),
}


@contextmanager
def mounted_image(kind: str) -> Iterator[Path]:
    """Give a directory on a new file system of a kind; skip the test where there can be none, and say why."""
    note("it mounts a file system", "process")
    make, commands = KINDS[kind]
    missing = [command for command in commands if shutil.which(command) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"{', '.join(missing) or 'root'} is missing, to mount {kind}")
    with tempfile.TemporaryDirectory() as place, ExitStack() as done:
        image, root = Path(place, "image"), Path(place, "root")
        root.mkdir()
        with image.open("wb") as file:
            file.truncate(64 << 20)
        try:
            directory = make(image, root, done)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as refusal:
            pytest.skip(f"no {kind} can be mounted here: {str(refusal.stderr).strip()}")
        yield directory
