"""A Redis server of the tests' own on loopback, which they may stop, kill and start again."""

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
from servers.registry import PATIENCE, free_port, need, said_by
from servers.tls import Certificate

__all__ = ["COMMAND", "RedisServer", "raw_object", "redis_cluster", "redis_over_tls", "redis_server"]

COMMAND = shutil.which("redis-server") or shutil.which("valkey-server")


class RedisServer:
    """
    A server that keeps nothing on the disk.

    Attributes:
        port: where it listens, also after it was killed and started again.
        url: the same as a URL.

    Args:
        options: more of the command line, ``"--maxmemory", "10mb"``.
        password: what it asks of everybody, if anything.
    """

    def __init__(self, *options: str, password: str | None = None) -> None:
        self.port = free_port()
        self.password = password
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._options = [*options, *(["--requirepass", password] if password else [])]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        assert COMMAND is not None
        self._process = subprocess.Popen(
            [COMMAND, "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", *self._options],
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(redis.ConnectionError), self.client() as client:
                client.ping()
                return
            if time.monotonic() > deadline or self._process.poll() is not None:
                self.kill()
                raise RuntimeError("the server does not answer")
            time.sleep(0.01)

    def kill(self) -> None:
        """End it as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stall(self) -> None:
        """Let it answer nothing, though its connections stay."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer what it was asked meanwhile."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def client(self) -> redis.Redis:
        """Return a client that knows nothing of stores."""
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
    """Give a server; where none is installed the test is skipped, or fails where all servers are required."""
    need("Redis", COMMAND is not None, _version)
    with RedisServer(*options, password=password) as server:
        yield server


def _version() -> str:
    assert COMMAND is not None
    return said_by(COMMAND, "--version").partition(" v=")[2].split()[0]


@contextlib.contextmanager
def redis_over_tls(certificate: Certificate) -> Iterator[tuple[RedisServer, str]]:
    """Give a server, and the URL at which a store speaks TLS with it."""
    port = free_port()
    options = ["--tls-port", str(port), "--tls-auth-clients", "no"]
    options += ["--tls-cert-file", str(certificate.chain), "--tls-key-file", str(certificate.key)]
    with redis_server(*options) as server:
        yield server, f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate.authority}"


@contextlib.contextmanager
def redis_cluster(directory: Path) -> Iterator[RedisServer]:
    """Give a node that has all slots of a cluster: it refuses commands on keys of several of them."""
    options = ["--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--dir", str(directory)]
    with redis_server(*options) as server:
        with server.client() as client:
            client.cluster("ADDSLOTSRANGE", 0, 16383)
            while client.cluster("INFO")["cluster_state"] != "ok":
                time.sleep(0.01)
        yield server


def raw_object(client: redis.Redis, prefix: str, key: str) -> bytes | None:
    """Read with what docs/stores/redis.md says of the keys."""
    fields: dict[bytes, bytes] = client.hgetall(f"{{storage:{prefix}}}:o:{key}")  # type: ignore[assignment]
    if not fields:
        return None
    chunks = sorted((int(name), data) for name, data in fields.items() if name.isdigit())
    return b"".join(data for _, data in chunks)
