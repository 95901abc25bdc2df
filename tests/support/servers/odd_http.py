"""A web server over a dict, on the test's event loop: it checks conditions, and its behaviour can be made odd."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import count
from typing import TypeAlias
from urllib.parse import unquote

from aiohttp import web

__all__ = ["OLD", "Handler", "OddServer", "Version", "odd_server"]

#: Long enough ago for the time of an object to identify its version.
OLD = datetime(2020, 1, 1, tzinfo=UTC)

Handler: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse | None]]


@dataclass(frozen=True)
class Version:
    """A version of an object."""

    data: bytes
    etag: str
    modified: datetime = field(default_factory=lambda: datetime.now(UTC))


class OddServer:
    """
    A web server whose behaviour a test can change.

    Attributes:
        url: the URL of the server.
        objects: the objects by key.
        odd: called before every response; it returns a response, or None for the usual one.
        silent: headers that are left out of all responses.
        weak: whether its etags are weak.
        seen: method and raw path of every request, and its headers.
    """

    def __init__(self) -> None:
        self.url = ""
        self.objects: dict[str, Version] = {}
        self.odd: Handler | None = None
        self.silent: tuple[str, ...] = ()
        self.weak = False
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self._numbers = count()

    def put(self, key: str, data: bytes) -> None:
        """Store an object, as a PUT does."""
        self.objects[key] = Version(data, f'"{next(self._numbers)}"')

    @property
    def lines(self) -> list[str]:
        """Method and path of every request."""
        return [f"{method} {path}" for method, path, _ in self.seen]

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse:
        """Respond to one request."""
        self.seen.append((request.method, request.raw_path, {n.lower(): v for n, v in request.headers.items()}))
        if self.odd is not None and (odd := await self.odd(request)) is not None:
            return odd
        return await self.usual(request)

    async def usual(self, request: web.BaseRequest) -> web.Response:
        """Respond as a correct server does, without the headers in `silent`."""
        response = self._usual(request, await request.content.read())
        if self.weak and "ETag" in response.headers:
            response.headers["ETag"] = f"W/{response.headers['ETag']}"
        for name in self.silent:
            response.headers.pop(name, None)
        return response

    def _usual(self, request: web.BaseRequest, data: bytes) -> web.Response:
        key = unquote(request.raw_path).removeprefix("/")
        if request.method == "PUT":
            if (failed := self._failed_condition(request, key)) is not None:
                return failed
            if self._conflicts(key):
                return web.Response(status=409)
            self.put(key, data)
            return web.Response(status=201, headers={"ETag": self.objects[key].etag})
        if request.method == "DELETE":
            if (failed := self._failed_condition(request, key)) is not None:
                return failed
            return web.Response(status=204 if self.objects.pop(key, None) else 404)
        if request.raw_path.endswith("/"):
            return self._listing(key)
        found = self.objects.get(key)
        if found is None:
            return web.Response(status=404, text="no such object")
        if "If-Match" in request.headers and request.headers["If-Match"] != found.etag:
            return web.Response(status=412)
        return self._object(request, found)

    def _failed_condition(self, request: web.BaseRequest, key: str) -> web.Response | None:
        current = self.objects.get(key)
        wanted = request.headers.get("If-Match")
        if wanted is not None and (current is None or wanted != current.etag):
            return web.Response(status=412)
        if "If-None-Match" in request.headers and current is not None:
            return web.Response(status=412)
        return None

    def _conflicts(self, key: str) -> bool:
        parts = key.split("/")
        return any("/".join(parts[:n]) in self.objects for n in range(1, len(parts))) or any(
            other.startswith(f"{key}/") for other in self.objects
        )

    def _listing(self, directory: str) -> web.Response:
        names = {key[len(directory) :] for key in self.objects if key.startswith(directory)}
        if not names and directory:
            return web.Response(status=404)
        kinds = {name.partition("/")[0]: "directory" if "/" in name else "file" for name in names}
        return web.Response(text=json.dumps([{"name": name, "type": kind} for name, kind in kinds.items()]))

    def _object(self, request: web.BaseRequest, found: Version) -> web.Response:
        headers = {"ETag": found.etag, "Last-Modified": format_datetime(found.modified, usegmt=True)}
        requested = request.headers.get("Range")
        if requested is None:
            return web.Response(body=found.data, headers=headers)
        size = len(found.data)
        first, _, last = requested.removeprefix("bytes=").partition("-")
        start = int(first) if first else max(size - int(last), 0)
        stop = min(int(last) + 1, size) if first and last else size
        if start >= size:
            return web.Response(status=416, headers={"Content-Range": f"bytes */{size}"})
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        return web.Response(status=206, body=found.data[start:stop], headers=headers)


@asynccontextmanager
async def odd_server() -> AsyncIterator[OddServer]:
    """Run a server while the block runs."""
    server = OddServer()
    runner = web.ServerRunner(web.Server(server.respond), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()
