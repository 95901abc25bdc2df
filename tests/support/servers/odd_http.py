"""A web server over a dict, on the test's own event loop: it keeps conditions, and its manners can be made odd."""

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

#: Long enough ago for an object's time to tell its version.
OLD = datetime(2020, 1, 1, tzinfo=UTC)

Handler: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse | None]]


@dataclass(frozen=True)
class Version:
    """What is kept under a key."""

    data: bytes
    etag: str
    modified: datetime = field(default_factory=lambda: datetime.now(UTC))


class OddServer:
    """
    What is served, and how.

    Attributes:
        url: where it is.
        objects: by key.
        odd: asked before every answer, and gives one, or None for the usual one.
        silent: headers that no answer has.
        weak: whether its etags are.
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
        """Keep an object, as a PUT of it does."""
        self.objects[key] = Version(data, f'"{next(self._numbers)}"')

    @property
    def lines(self) -> list[str]:
        """Method and path of every request."""
        return [f"{method} {path}" for method, path, _ in self.seen]

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        self.seen.append((request.method, request.raw_path, {n.lower(): v for n, v in request.headers.items()}))
        if self.odd is not None and (odd := await self.odd(request)) is not None:
            return odd
        return await self.usual(request)

    async def usual(self, request: web.BaseRequest) -> web.Response:
        """Answer as a good server does, but for what it leaves out."""
        answer = self._usual(request, await request.content.read())
        if self.weak and "ETag" in answer.headers:
            answer.headers["ETag"] = f"W/{answer.headers['ETag']}"
        for name in self.silent:
            answer.headers.pop(name, None)
        return answer

    def _usual(self, request: web.BaseRequest, data: bytes) -> web.Response:
        key = unquote(request.raw_path).removeprefix("/")
        if request.method == "PUT":
            if (refusal := self._refusal(request, key)) is not None:
                return refusal
            if self._in_the_way(key):
                return web.Response(status=409)
            self.put(key, data)
            return web.Response(status=201, headers={"ETag": self.objects[key].etag})
        if request.method == "DELETE":
            if (refusal := self._refusal(request, key)) is not None:
                return refusal
            return web.Response(status=204 if self.objects.pop(key, None) else 404)
        if request.raw_path.endswith("/"):
            return self._listing(key)
        found = self.objects.get(key)
        if found is None:
            return web.Response(status=404, text="nothing of this name")
        if "If-Match" in request.headers and request.headers["If-Match"] != found.etag:
            return web.Response(status=412)
        return self._object(request, found)

    def _refusal(self, request: web.BaseRequest, key: str) -> web.Response | None:
        current = self.objects.get(key)
        wanted = request.headers.get("If-Match")
        if wanted is not None and (current is None or wanted != current.etag):
            return web.Response(status=412)
        if "If-None-Match" in request.headers and current is not None:
            return web.Response(status=412)
        return None

    def _in_the_way(self, key: str) -> bool:
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
        asked = request.headers.get("Range")
        if asked is None:
            return web.Response(body=found.data, headers=headers)
        size = len(found.data)
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start = int(first) if first else max(size - int(last), 0)
        stop = min(int(last) + 1, size) if first and last else size
        if start >= size:
            return web.Response(status=416, headers={"Content-Range": f"bytes */{size}"})
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        return web.Response(status=206, body=found.data[start:stop], headers=headers)


@asynccontextmanager
async def odd_server() -> AsyncIterator[OddServer]:
    """Give a server that runs while the block does."""
    server = OddServer()
    runner = web.ServerRunner(web.Server(server.answer), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()
