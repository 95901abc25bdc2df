"""
Real servers on loopback, each started when a test first asks for it, and ended with the tests.

``make servers`` installs them below ``.servers``: ministack and rclone with pip, in an environment of their own because
their dependencies are not ours; Ceph's object gateway from Debian packages, where that can be done.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

__all__ = ["NAMES", "REQUIRED", "Server", "Servers"]

HERE = Path(__file__).parent

#: Where `make servers` puts them.
INSTALLED = Path(os.environ.get("STORAGE_SERVERS", HERE.parent / ".servers"))

#: Set where a server that is missing is a failure.
REQUIRED = os.environ.get("REQUIRE_SERVERS", "") not in ("", "0")

#: Seconds within which a server answers once it is started.
PATIENCE = 60

CEPH_ROOT = INSTALLED / "ceph"


@dataclass(frozen=True)
class Server:
    """A server that runs: where it is, and who may use it."""

    name: str
    url: str
    access_key: str
    secret_key: str


@dataclass(frozen=True)
class Kind:
    """How to tell whether a server is installed, and how to start it on a port, with a directory of its own."""

    installed: Callable[[], bool]
    command: Callable[[int, Path, str, str], list[str]]
    environment: Callable[[int, Path], dict[str, str]] = lambda port, directory: {}


def _pip(name: str) -> Path:
    return INSTALLED / "pip" / ("Scripts" if sys.platform == "win32" else "bin") / name


def _ceph(port: int, directory: Path, access_key: str, secret_key: str) -> list[str]:
    shutil.copy(HERE / "ceph" / "cluster", CEPH_ROOT / "srv" / "cluster")
    inside = f"/srv/{directory.name}"  # in memory but for a few files
    monitor = str(_free_port())
    return [
        *[str(HERE / "ceph" / "inside"), str(CEPH_ROOT), "/srv/cluster"],
        *[inside, str(port), monitor, access_key, secret_key],
    ]


KINDS: dict[str, Kind] = {
    "ministack": Kind(
        lambda: _pip("ministack").exists(),
        lambda port, directory, access_key, secret_key: [str(_pip("ministack"))],
        lambda port, directory: {
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(directory),
        },
    ),
    "rclone": Kind(
        lambda: _pip("rclone").exists(),
        lambda port, directory, access_key, secret_key: [
            *[str(_pip("rclone")), "serve", "s3", "--config", os.devnull, "--addr", f"127.0.0.1:{port}"],
            *["--auth-key", f"{access_key},{secret_key}", "--vfs-cache-mode", "off", str(directory)],
        ],
    ),
    "ceph": Kind(lambda: (CEPH_ROOT / ".version").exists() and os.geteuid() == 0, _ceph),
}

NAMES = tuple(KINDS)

#: Ends a server with the tests, also when those are killed.
_BOUND = ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []


class Servers:
    """The servers of one run of tests."""

    def __init__(self) -> None:
        self.took_part: set[str] = set()
        self.missing: set[str] = set()
        self._running: dict[str, Server] = {}
        self._ends = ExitStack()

    def get(self, name: str) -> Server:
        """Return the server of this name, started; without it the test is skipped, or fails where all are required."""
        if name not in self._running:
            if not KINDS[name].installed():
                self.missing.add(name)
                if REQUIRED:
                    pytest.fail(f"{name} is not installed: make servers")
                pytest.skip(f"{name} is not installed: make servers")
            self._running[name] = self._ends.enter_context(_running(name))
        self.took_part.add(name)
        return self._running[name]

    def close(self) -> None:
        """End all that were started."""
        self._running.clear()
        self._ends.close()


@contextmanager
def _running(name: str) -> Iterator[Server]:
    kind, port = KINDS[name], _free_port()
    server = Server(name, f"http://127.0.0.1:{port}", f"AK{name.upper():0<14}", f"SK{name.upper():0<14}")
    with tempfile.TemporaryDirectory(prefix=f"{name}-", ignore_cleanup_errors=True) as made:
        directory = Path(made)
        data = directory / "data"
        data.mkdir()
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                _BOUND
                + kind.command(port, data if name != "ceph" else directory, server.access_key, server.secret_key),
                env=os.environ | kind.environment(port, data),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            _await_answer(server, process, directory / "log")
            yield server
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _await_answer(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the server answers anything at all."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(server.url, timeout=5).close()
        except urllib.error.HTTPError as refused:
            refused.close()
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
    said = log.read_text(errors="replace")[-2000:]
    raise RuntimeError(f"{server.name} does not answer; it said: {said}")


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
