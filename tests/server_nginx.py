"""nginx on loopback, with a directory of its own: static files, listings in JSON, and PUT and DELETE of WebDAV."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

__all__ = ["COMMAND", "Nginx", "nginx_server"]

COMMAND = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")

#: Set where a server that is missing is a failure.
REQUIRED = os.environ.get("REQUIRE_SERVERS", "") not in ("", "0")

#: Seconds within which it listens once it is started.
PATIENCE = 30

CONFIGURATION = """
daemon off;
master_process off;
user root;
pid {root}/nginx.pid;
error_log {root}/error.log warn;
events {{ worker_connections 512; }}
http {{
    access_log off;
    types {{ text/csv csv; text/html html; }}
    default_type application/octet-stream;
    client_body_temp_path {root}/incoming;  # on the file system of the objects: a put is one rename
    proxy_temp_path {root}/tmp; fastcgi_temp_path {root}/tmp; uwsgi_temp_path {root}/tmp; scgi_temp_path {root}/tmp;
    client_max_body_size 0;
    large_client_header_buffers 4 32k;
    tcp_nodelay on;
    server {{
        listen 127.0.0.1:{port};
        root {root}/objects;
        location / {{
            index .none;  # or a key of that name would hide the listing
            autoindex on;
            autoindex_format json;
            dav_methods PUT DELETE;
            create_full_put_path on;
            disable_symlinks on;
        }}
        location /private/ {{
            alias {root}/objects/;
            auth_basic "objects";
            auth_basic_user_file {root}/users;
        }}
        location /compressed/ {{
            alias {root}/objects/;
            gzip on;
            gzip_min_length 1;
            gzip_types *;
        }}
        location /wholes/ {{
            alias {root}/objects/;
            max_ranges 0;
            etag off;
        }}
        location /moved/ {{
            return 302 /$request_uri;
        }}
    }}
}}
"""


@dataclass(frozen=True)
class Nginx:
    """
    A server that runs.

    Attributes:
        url: where it is.
        objects: the directory whose files are the objects.
    """

    url: str
    objects: Path


@contextmanager
def nginx_server(root: Path) -> Iterator[Nginx]:
    """Start a server whose files are below *root*; without nginx skip the test, or fail where servers are required."""
    if COMMAND is None:
        (pytest.fail if REQUIRED else pytest.skip)("nginx is not installed")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    for name in ("objects", "incoming", "tmp"):
        (root / name).mkdir(parents=True)
    (root / "users").write_text("reader:{PLAIN}s3cret\n")
    configuration = CONFIGURATION.format(root=root, port=port)
    if os.geteuid() != 0:
        configuration = configuration.replace("user root;\n", "")
    (root / "nginx.conf").write_text(configuration)
    with (root / "output").open("wb") as output:
        process = subprocess.Popen(
            [COMMAND, "-p", str(root), "-c", str(root / "nginx.conf"), "-e", str(root / "error.log")],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        _await_port(port, process, root / "output")
        yield Nginx(f"http://127.0.0.1:{port}", root / "objects")
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_port(port: int, process: subprocess.Popen[bytes], output: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    raise RuntimeError(f"nginx does not answer; it said: {output.read_text(errors='replace')}")
