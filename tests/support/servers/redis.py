"""A Redis server on loopback that tests may stall, kill and start again."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import redis
from servers.registry import TIMEOUT, free_port, need, said_by
from servers.tls import Certificate

__all__ = ["COMMAND", "RedisServer", "raw_object", "redis_cluster", "redis_over_tls", "redis_server"]

COMMAND = shutil.which("redis-server") or shutil.which("valkey-server")


class RedisServer:
    """
    A server that writes nothing to the disk.

    Attributes:
        port: its port, which stays the same after it was killed and started again.
        url: its URL.

    Args:
        options: additional command-line options: ``"--maxmemory", "10mb"``.
        password: the password that clients need, or None.
    """

    def __init__(self, *options: str, password: str | None = None) -> None:
        self.port = free_port()
        self.password = password
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._options = [*options, *(["--requirepass", password] if password else [])]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, and wait until it responds."""
        assert COMMAND is not None
        self._process = subprocess.Popen(
            [COMMAND, "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", *self._options],
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + TIMEOUT
        while True:
            with contextlib.suppress(redis.ConnectionError), self.client() as client:
                client.ping()
                return
            if time.monotonic() > deadline or self._process.poll() is not None:
                self.kill()
                raise RuntimeError("the server does not respond")
            time.sleep(0.01)

    def kill(self) -> None:
        """Kill the server, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stall(self) -> None:
        """Stop the server without closing its connections."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Continue a stalled server, which then executes the commands it has received."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def client(self) -> redis.Redis:
        """Return a plain client of redis-py."""
        return redis.Redis(host="127.0.0.1", port=self.port, password=self.password)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()


@contextlib.contextmanager
def redis_server(*options: str, password: str | None = None) -> Iterator[RedisServer]:
    """Run a server; without Redis skip the test, or fail where servers are required."""
    need("Redis", COMMAND is not None, _version)
    with RedisServer(*options, password=password) as server:
        yield server


def _version() -> str:
    assert COMMAND is not None
    return said_by(COMMAND, "--version").partition(" v=")[2].split()[0]


@contextlib.contextmanager
def redis_over_tls(certificate: Certificate) -> Iterator[tuple[RedisServer, str]]:
    """Run a server with TLS, and yield it with the URL for a store."""
    port = free_port()
    options = ["--tls-port", str(port), "--tls-auth-clients", "no"]
    options += ["--tls-cert-file", str(certificate.chain), "--tls-key-file", str(certificate.key)]
    with redis_server(*options) as server:
        yield server, f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate.authority}"


@contextlib.contextmanager
def redis_cluster(directory: Path) -> Iterator[RedisServer]:
    """Run a node with all slots of a cluster: it refuses commands with keys in several slots."""
    options = ["--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--dir", str(directory)]
    with redis_server(*options) as server:
        with server.client() as client:
            client.cluster("ADDSLOTSRANGE", 0, 16383)
            while client.cluster("INFO")["cluster_state"] != "ok":
                time.sleep(0.01)
        yield server


def raw_object(client: redis.Redis, prefix: str, key: str) -> bytes | None:
    """Read an object directly, by the layout in docs/stores/redis.md."""
    fields: dict[bytes, bytes] = client.hgetall(f"{{storage:{prefix}}}:o:{key}")  # type: ignore[assignment]
    if not fields:
        return None
    chunks = sorted((int(name), data) for name, data in fields.items() if name.isdigit())
    return b"".join(data for _, data in chunks)
