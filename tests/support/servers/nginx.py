"""nginx on loopback: static files, listings in JSON, PUT and DELETE of WebDAV; and TLS in front of another server."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from servers.registry import free_port, need, running, said_by
from servers.tls import Certificate

__all__ = ["COMMAND", "Nginx", "nginx_server", "tls_front"]

COMMAND = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")

#: The path of the stream module on Debian, where it is not built in.
STREAM = Path("/usr/lib/nginx/modules/ngx_stream_module.so")

#: The beginning of every configuration.
COMMON = """
daemon off;
master_process off;
user root;
pid {root}/nginx.pid;
error_log {root}/error.log warn;
events {{ worker_connections 512; }}
"""

FILES = """
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
        listen 127.0.0.1:{tls_port} ssl;
        ssl_certificate {certificate.chain};
        ssl_certificate_key {certificate.key};
        root {root}/objects;
        location / {{
            index .none;  # otherwise a key of that name would hide the listing
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


FRONT = """
stream {{
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {certificate.chain};
        ssl_certificate_key {certificate.key};
        tcp_nodelay on;
        proxy_pass 127.0.0.1:{upstream};
    }}
}}
"""


@dataclass(frozen=True)
class Nginx:
    """
    A running server.

    Attributes:
        url: the URL of the server.
        tls_url: its URL for TLS.
        objects: the directory whose files are the objects.
    """

    url: str
    tls_url: str
    objects: Path


@contextmanager
def nginx_server(root: Path, certificate: Certificate) -> Iterator[Nginx]:
    """Run a server whose files are below *root*; without nginx skip the test, or fail where servers are required."""
    for name in ("objects", "incoming", "tmp"):
        (root / name).mkdir(parents=True)
    (root / "users").write_text("reader:{PLAIN}s3cret\n")
    port, tls_port = free_port(), free_port()
    with _running(root, FILES.format(root=root, port=port, tls_port=tls_port, certificate=certificate), port):
        yield Nginx(f"http://127.0.0.1:{port}", f"https://127.0.0.1:{tls_port}", root / "objects")


@contextmanager
def tls_front(root: Path, upstream: int, certificate: Certificate) -> Iterator[int]:
    """Run a server that terminates TLS for the one at port *upstream*, and yield its port."""
    port = free_port()
    module = f"load_module {STREAM};" if STREAM.exists() else ""
    with _running(root, FRONT.format(port=port, upstream=upstream, certificate=certificate), port, module):
        yield port


@contextmanager
def _running(root: Path, configuration: str, port: int, module: str = "") -> Iterator[None]:
    need("nginx", COMMAND is not None, _version)
    assert COMMAND is not None
    common = COMMON.format(root=root)
    if os.geteuid() != 0:
        common = common.replace("user root;\n", "")
    (root / "nginx.conf").write_text(module + common + configuration)
    command = [COMMAND, "-p", str(root), "-c", str(root / "nginx.conf"), "-e", str(root / "error.log")]
    with running(command, root / "output", lambda: socket.create_connection(("127.0.0.1", port), timeout=5).close()):
        yield


def _version() -> str:
    assert COMMAND is not None
    return said_by(COMMAND, "-v").rpartition("/")[2]
