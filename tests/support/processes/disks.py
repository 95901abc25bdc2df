"""A disk whose power fails: an image with a file system of its own, which forgets what was not synced."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["Disk", "disk"]

#: MiB of an image, which takes the room of what is in it; mkfs.xfs makes none that is smaller.
SIZE = 320

#: <linux/fs.h> and <xfs_fs.h>: stop the file system immediately, without writing its log. ext4 has the same call.
_GOING_DOWN, _NO_LOG_FLUSH = 0x8004587D, 2

_FORMAT = {"ext4": ["mkfs.ext4", "-q", "-F"], "xfs": ["mkfs.xfs", "-q", "-f"]}

#: XFS minds a file system of the same UUID, and a dead one may still be there (see `Disk.restart`).
_OPTIONS = {"ext4": "loop", "xfs": "loop,nouuid"}


class Disk:
    """
    A mounted image.

    Attributes:
        root: where it is mounted.
        kind: its file system.
    """

    def __init__(self, image: Path, root: Path, kind: str) -> None:
        self._image = image
        self.kind: str = kind
        self.root: Path = root

    def mount(self) -> None:
        """Mount it, which has the file system replay its log."""
        subprocess.run(
            ["mount", "-t", self.kind, "-o", _OPTIONS[self.kind], self._image, self.root],
            check=True,
            capture_output=True,
            text=True,
        )

    def cut(self) -> None:
        """Cut the power: nothing gets to the disk from now on, and every call that should write fails."""
        root = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.ioctl(root, _GOING_DOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(root)

    def unmount(self) -> None:
        """Forget all that is in memory only."""
        # Lazily: a file may still be open, that of an archive as long as anything refers to it.
        subprocess.run(["umount", "--lazy", self.root], check=True)

    def restart(self) -> None:
        """Come back after a cut, with what is on the disk."""
        self.unmount()
        # A copy: an open file, or whoever has made a mount namespace meanwhile, keeps the dead file system alive on the
        # old image, and mounting that again would give it back.
        copy = self._image.with_name("copy")
        subprocess.run(["cp", "--sparse=always", self._image, copy], check=True)
        self._image.unlink()
        copy.rename(self._image)
        self.mount()


@contextmanager
def disk(kind: str, *options: str) -> Iterator[Disk]:
    """
    Give a new disk with a file system, ``ext4`` or ``xfs``, made with these options of its mkfs.

    Skips the test where there can be none, and says why.
    """
    if os.geteuid() != 0:
        pytest.skip("cutting a disk's power needs root: to mount an image, and to stop its file system")
    command = _FORMAT[kind]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    # In memory, where there is such a place: a sync then costs what the file system does for it, and no disk's time.
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 3 * SIZE << 20
    with tempfile.TemporaryDirectory(dir=memory if roomy else None) as place:
        image, root = Path(place, "image"), Path(place, "root")
        root.mkdir()
        with image.open("wb") as file:
            file.truncate(SIZE << 20)
        subprocess.run([*command, *options, image], check=True, capture_output=True)
        made = Disk(image, root, kind)
        try:
            made.mount()
        except subprocess.CalledProcessError as refusal:
            pytest.skip(f"no {kind} image can be mounted here: {refusal.stderr.strip()}")
        try:
            yield made
        finally:
            made.unmount()
