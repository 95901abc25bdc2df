"""
S3 servers on loopback, each started when a test first needs it, and stopped after the tests.

``make servers`` installs them below ``.servers``: ministack and rclone with pip, in an environment of their own because
their dependencies are not ours; Ceph's object gateway from Debian packages, where that can be done.
"""

from __future__ import annotations

import os
import shutil
import ssl
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from paths import ROOT, TESTS
from servers.nginx import tls_front
from servers.registry import free_port, need, running, said_by
from servers.tls import Certificate

__all__ = ["Server", "Servers", "both_ways"]

#: Where `make servers` puts them.
INSTALLED = Path(os.environ.get("STORAGE_SERVERS", ROOT / ".servers"))

CEPH_ROOT = INSTALLED / "ceph"

#: The suffix of the names of servers that are used over TLS.
_TLS = "-tls"


@dataclass(frozen=True)
class Server:
    """
    A running server: its address and the credentials for it.

    Attributes:
        name: its name in `Servers.get`.
        url: its address.
        ca_bundle: the certificates to trust, if it uses TLS.
    """

    name: str
    url: str
    access_key: str
    secret_key: str
    ca_bundle: str | None = None

    @property
    def kind(self) -> str:
        """Which server it is, plain or over TLS."""
        return self.name.removesuffix(_TLS)


class Servers:
    """The S3 servers of one test process; *certificate* is that of the servers over TLS."""

    def __init__(self, certificate: Certificate) -> None:
        self.certificate = certificate
        self.ceph_tls_port = 0
        self._running: dict[str, Server] = {}
        self._ends = ExitStack()

    def get(self, name: str) -> Server:
        """Return the running server of this name; if it is missing the test is skipped, or fails if required."""
        if name not in self._running:
            self._running[name] = self._ends.enter_context(_STARTS[name](self))
        return self._running[name]

    def close(self) -> None:
        """Stop all that were started."""
        self._running.clear()
        self._ends.close()


@contextmanager
def _ministack(servers: Servers) -> Iterator[Server]:
    command = _pip("ministack")
    need("ministack", command.exists(), lambda: next(command.parent.parent.rglob("ministack-*.dist-info")).stem[10:])
    with _directory("ministack") as directory:
        data = directory / "data"
        data.mkdir()
        server = _server("ministack", free_port())
        environment = {
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(urlsplit(server.url).port),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(data),
        }
        with running([command], directory / "log", lambda: _answers(server), environment):
            yield server


@contextmanager
def _ministack_tls(servers: Servers) -> Iterator[Server]:
    """The same server behind nginx."""
    plain = servers.get("ministack")
    with _directory("front") as directory:
        behind = urlsplit(plain.url).port
        assert behind is not None
        with tls_front(directory, behind, servers.certificate) as port:
            yield _over_tls(plain, port, servers)


@contextmanager
def _rclone(servers: Servers, *, tls: bool = False) -> Iterator[Server]:
    """A process of its own for plain and for TLS."""
    command = _pip("rclone")
    need("rclone", command.exists(), lambda: said_by(command, "version").split()[1].removeprefix("v"))
    with _directory("rclone") as directory:
        data, port = directory / "data", free_port()
        data.mkdir()
        server = _server("rclone", port)
        options = ["--config", os.devnull, "--addr", f"127.0.0.1:{port}", "--vfs-cache-mode", "off"]
        options += ["--auth-key", f"{server.access_key},{server.secret_key}"]
        if tls:
            options += ["--cert", str(servers.certificate.chain), "--key", str(servers.certificate.key)]
            server = _over_tls(server, port, servers)
        with running([command, "serve", "s3", *options, data], directory / "log", lambda: _answers(server)):
            yield server


@contextmanager
def _ceph(servers: Servers) -> Iterator[Server]:
    """One process for plain and TLS; all but a few files are in memory."""
    installed = (CEPH_ROOT / ".version").exists() and os.geteuid() == 0
    need("Ceph", installed, lambda: (CEPH_ROOT / ".version").read_text().split()[2])
    with _directory("ceph", CEPH_ROOT / "srv") as directory:
        shutil.copy(TESTS / "install" / "ceph" / "cluster", directory)
        shutil.copy(servers.certificate.chain, directory / "server.pem")
        shutil.copy(servers.certificate.key, directory / "server.key")
        server, tls_port = _server("ceph", free_port()), free_port()
        inside = Path("/srv") / directory.name
        numbers = [str(number) for number in (urlsplit(server.url).port, tls_port, free_port())]
        command: list[str | Path] = [
            TESTS / "install" / "ceph" / "inside",
            CEPH_ROOT,
            inside / "cluster",
            inside,
            *numbers,
        ]
        with running([*command, server.access_key, server.secret_key], directory / "log", lambda: _answers(server)):
            servers.ceph_tls_port = tls_port
            yield server


@contextmanager
def _ceph_tls(servers: Servers) -> Iterator[Server]:
    yield _over_tls(servers.get("ceph"), servers.ceph_tls_port, servers)


_STARTS: dict[str, Callable[[Servers], AbstractContextManager[Server]]] = {
    "ministack": _ministack,
    "ministack-tls": _ministack_tls,
    "rclone": _rclone,
    "rclone-tls": partial(_rclone, tls=True),
    "ceph": _ceph,
    "ceph-tls": _ceph_tls,
}


def both_ways(*names: str) -> list[str]:
    """Return the names of these servers, plain and over TLS."""
    return [*names, *(name + _TLS for name in names)]


def _pip(name: str) -> Path:
    return INSTALLED / "pip" / ("Scripts" if sys.platform == "win32" else "bin") / name


@contextmanager
def _directory(name: str, parent: Path | None = None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=parent, ignore_cleanup_errors=True) as made:
        yield Path(made)


def _server(name: str, port: int) -> Server:
    return Server(name, f"http://127.0.0.1:{port}", f"AK{name.upper():0<14}", f"SK{name.upper():0<14}")


def _over_tls(server: Server, port: int, servers: Servers) -> Server:
    authority = str(servers.certificate.authority)
    return replace(server, name=server.name + _TLS, url=f"https://127.0.0.1:{port}", ca_bundle=authority)


def _answers(server: Server) -> None:
    """Send a request to the server; any answer will do."""
    context = None if server.ca_bundle is None else ssl.create_default_context(cafile=server.ca_bundle)
    try:
        urllib.request.urlopen(server.url, timeout=5, context=context).close()
    except urllib.error.HTTPError as refused:
        refused.close()
