"""`mounted`: a directory on a file system of a given `Behaviour`, served from Python over ``/dev/fuse``."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fuse.behaviour import Behaviour
from marks import note
from paths import SUPPORT

__all__ = ["mounted"]

#: umount2(2): the name goes now, the rest when nobody uses it.
_DETACH = 2


@contextmanager
def mounted(behaviour: Behaviour, back: Path | None = None) -> Iterator[Path]:
    """
    Give a directory on which such a file system is mounted; its files are in *back*, by default a new directory.

    A machine on which no process may mount one skips the test; where ``CI`` is set, the test fails.
    """
    note("it mounts a file system", "process")
    if os.name != "posix" or os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        _cannot("mounting a file system needs root and /dev/fuse")
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)  # tests act as other users too
        root = Path(place, "root")
        root.mkdir()
        if back is None:
            back = Path(place, "back")
            back.mkdir()
            back.chmod(0o777)
        device = os.open("/dev/fuse", os.O_RDWR)
        try:
            _mount(device, root)
            server = subprocess.Popen(
                [sys.executable, "-S", "-m", "fuse.serve", str(device), str(back), behaviour.to_json()],
                pass_fds=[device],
                env={**os.environ, "PYTHONPATH": str(SUPPORT)},
            )
        finally:
            os.close(device)
        try:
            yield root
        finally:
            _libc().umount2(os.fsencode(root), _DETACH)
            server.kill()
            server.wait()


def _mount(device: int, root: Path) -> None:
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions"
    if _libc().mount(b"tests", os.fsencode(root), b"fuse", 0, options.encode()):
        _cannot(f"mounting a file system: {os.strerror(ctypes.get_errno())}")


def _cannot(reason: str) -> None:
    (pytest.fail if os.environ.get("CI", "") not in ("", "0", "false") else pytest.skip)(reason)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
