"""What the servers of the tests share: who took part, and how their processes begin and end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from marks import note

__all__ = ["MISSING", "NAMES", "TIMEOUT", "TOOK_PART", "free_port", "need", "running", "said_by"]

#: What the summary of the tests calls them, in its order.
NAMES = ("Ceph", "rclone", "ministack", "nginx", "Redis")

#: Set where a server that is missing is a failure.
REQUIRED = os.environ.get("REQUIRE_SERVERS", "") not in ("", "0")

#: Seconds within which a server answers once it is started.
TIMEOUT = 60

#: The servers that tests of this process used, with their versions, and those that they could not.
TOOK_PART: dict[str, str] = {}
MISSING: set[str] = set()

#: Ends a server with the tests, also when those are killed.
_BOUND = ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []


def need(name: str, installed: bool, version: Callable[[], str]) -> None:
    """Note that the server is used; if it is missing, skip the test, or fail where all servers are required."""
    note(f"it uses {name}", "server")
    if not installed:
        MISSING.add(name)
        (pytest.fail if REQUIRED else pytest.skip)(f"{name} is not installed: make servers")
    if name not in TOOK_PART:
        TOOK_PART[name] = version()


def said_by(*command: str | Path) -> str:
    """Return what a command says of itself, wherever it writes it."""
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    return f"{said.stdout}{said.stderr}".strip()


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@contextlib.contextmanager
def running(
    command: Sequence[str | Path],
    log: Path,
    answers: Callable[[], object],
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """
    Run a server while the block runs, from when *answers* raises no `OSError`; what it says goes to *log*.

    Raises:
        RuntimeError: it does not answer; with the end of what it said.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*_BOUND, *command],
            env=os.environ | (environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                answers()
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    said = log.read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"{command[0]} does not answer; it said: {said}") from None
                time.sleep(0.02)
            else:
                break
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
