"""`Session`: the connections of an open `HttpStore`, its requests, responses and redirects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, TypeVar

from storage._core.opened import OpenState
from storage.errors import StorageError, StoreUnavailableError, UnsupportedOperationError
from storage.stores.http.errors import mapped_errors
from storage.stores.network import OpenSockets, ProgressTimeout, Timeouts

if TYPE_CHECKING:
    import ssl

    import aiohttp
    from yarl import URL

__all__ = ["Response", "Session", "Upload"]

T = TypeVar("T")

#: Concurrent calls of one store; further calls wait.
MAX_CALLS = 64

#: The most redirects that one request follows.
MAX_REDIRECTS = 10

_REDIRECTS = (301, 302, 303, 307, 308)

#: Bytes that are written to a connection in one piece, so that progress is noticed.
SLICE = 128 << 10

#: Bytes of a response without an object: they are read, so that the connection can be reused.
_SMALL = 64 << 10

#: Headers that aiohttp would add.
_NOT_SENT = ("Accept", "Content-Type", "User-Agent")


class Response:
    """
    One response of a server, whose body has not been read yet.

    Attributes:
        status: the HTTP status; 404 for a redirect to the directory of this name.
        headers: the headers, with names in lower case.
    """

    def __init__(self, raw: aiohttp.ClientResponse, status: int, key: str, store: str) -> None:
        self.status = status
        self.headers: dict[str, str] = {name.lower(): value for name, value in raw.headers.items()}
        self._raw = raw
        self._key = key
        self._store = store

    async def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes of the body, up to *size*; for -1 all the rest; ``b""`` at its end."""
        with mapped_errors(self._key, self._store):
            return await self._raw.content.read(size)

    async def discard(self) -> None:
        """Read and drop a body without an object, so that the connection can be reused."""
        try:
            await self.read(_SMALL)
            await self.read(1)  # notices the end
        except StorageError:
            pass
        self.close()

    def close(self) -> None:
        """Close the response; if it was not read to its end, its connection is closed, too."""
        self._raw.close()


class Upload:
    """
    The body of a request, which is sent only once, in pieces; each piece counts as progress.

    Attributes:
        size: the number of bytes, or None if it is unknown.
        error: the exception that the caller's own stream raised, if any.
        ended: whether all bytes were taken.
    """

    def __init__(self, pieces: AsyncIterator[bytes], size: int | None = None) -> None:
        self.size = size
        self.error: Exception | None = None
        self.ended: bool = False
        self._pieces = pieces
        self._begun = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._progress: ProgressTimeout | None = None

    @classmethod
    def of(cls, data: bytes) -> Upload:
        """Return an upload of bytes, which are sent only once, even if the connection breaks."""
        return cls(_single(data), len(data))

    def with_progress(self, progress: ProgressTimeout) -> Upload:
        """Return this upload; its progress restarts the time limit *progress*."""
        self._progress = progress
        return self

    async def idle(self) -> None:
        """Wait until no piece of the caller's stream is being fetched, so that the stream can be closed."""
        await self._idle.wait()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._begun:  # aiohttp resends a request if the connection was stale, but now nothing is left to send
            raise StoreUnavailableError("the connection broke while a stream was sent")
        self._begun = True
        while (piece := await self._next()) is not None:
            for begin in range(0, len(piece), SLICE):
                yield piece[begin : begin + SLICE]
                self._step()
        self.ended = True

    async def _next(self) -> bytes | None:
        if self._progress is not None:
            self._progress.rest()  # no time limit while the caller produces data
        self._idle.clear()
        try:
            return await anext(self._pieces, None)
        except Exception as error:
            self.error = error
            raise
        finally:
            self._idle.set()
            self._step()

    def _step(self) -> None:
        if self._progress is not None:
            self._progress.step()


class Session:
    """
    The connections of an open store; they belong to one event loop and one process.

    Args:
        origin: scheme, host and port of the store's server.
        headers: for every request to it, including credentials; they are sent to no other host.
        timeouts: how long to wait.
        redirects: whether reads follow redirects.
        given: a session of the caller, which stays open; None to make one.
        trust: the certificates that the made session trusts.
        store: the name of the store in errors.
    """

    def __init__(
        self,
        origin: str,
        headers: Mapping[str, str],
        timeouts: Timeouts,
        redirects: bool,
        given: aiohttp.ClientSession | None,
        trust: ssl.SSLContext | bool,
        store: str,
    ) -> None:
        try:
            import aiohttp
        except ImportError as cause:
            raise ImportError("HttpStore needs aiohttp: pip install 'stackstore[http]'") from cause
        self.state: OpenState = OpenState()
        self._origin = origin
        self._headers = dict(headers)
        self._timeouts = timeouts
        self._redirects = redirects
        self._store = store
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=timeouts.connect, sock_read=timeouts.read)
        self._given = given
        self._sockets = OpenSockets()
        self._session = given or aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=trust, socket_factory=self._sockets.make),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._slots = asyncio.Semaphore(MAX_CALLS)

    async def close(self) -> None:
        """Close the connections; a session of the caller stays open."""
        if self._given is None:
            await self._session.close()
            await self._sockets.wait_closed()

    async def limited(self, call: Callable[[], Awaitable[T]]) -> T:
        """
        Return the result of *call*, when fewer than `MAX_CALLS` are running.

        It is only for calls that end by themselves. Open readers and streamed puts are not limited: a caller that has
        many open at the same time would wait for itself for ever.
        """
        async with self._slots:
            return await call()

    async def send(
        self,
        method: str,
        path: str,
        key: str,
        headers: Mapping[str, str] | None = None,
        data: bytes | Upload | None = None,
    ) -> Response:
        """
        Send one request and return its response, whatever its status.

        Raises:
            StorageError: there was no response, or a redirect that is not followed.
        """
        from yarl import URL

        url = URL(f"{self._origin}{path}", encoded=True)
        own_url, same_origin = url, True
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._once(method, url, key, headers or {}, data, same_origin)
            if response.status not in _REDIRECTS or "location" not in response.headers:
                return response
            await response.discard()
            target = self._target(url, response.headers["location"], key)
            if not self._redirects and target.path == f"{url.path}/":
                response.status = 404  # this is a directory, not an object
                return response
            same_origin = target.origin() == own_url.origin()
            self._check_redirect(method, url, target, key, same_origin)
            url = target
        raise StorageError(f"the server redirects more than {MAX_REDIRECTS} times", key=key, store=self._store)

    async def _once(
        self,
        method: str,
        url: URL,
        key: str,
        headers: Mapping[str, str],
        data: bytes | Upload | None,
        same_origin: bool,
    ) -> Response:
        sent = {"Accept-Encoding": "identity", **(self._headers if same_origin else {}), **headers}
        if isinstance(data, bytes) and len(data) > SLICE:
            data = Upload.of(data)
        size = len(data) if isinstance(data, bytes) else data.size if data is not None else None
        if size is not None:
            sent["Content-Length"] = str(size)
        limit = ProgressTimeout(self._timeouts.connect + self._timeouts.read) if data else nullcontext()
        with mapped_errors(key, self._store):
            async with limit as progress:
                body = data.with_progress(progress) if isinstance(data, Upload) and progress is not None else data
                raw = await self._session.request(
                    method,
                    url,
                    headers=sent,
                    data=body,
                    allow_redirects=False,
                    auto_decompress=False,
                    skip_auto_headers=_NOT_SENT,
                    timeout=self._timeout,
                )
        return Response(raw, raw.status, key, self._store)

    def _target(self, url: URL, location: str, key: str) -> URL:
        from yarl import URL

        try:
            target = url.join(URL(location, encoded=True)).with_user(None).with_fragment(None)
            target.origin()
        except ValueError:
            raise StorageError("the server redirects to an invalid URL", key=key, store=self._store) from None
        return target

    def _check_redirect(self, method: str, url: URL, target: URL, key: str, same_origin: bool) -> None:
        """Refuse a redirect that is not allowed or would leak secrets; the error names only its host."""
        why = None
        if method not in ("GET", "HEAD"):
            why = "writes do not follow redirects"
        elif not self._redirects:
            why = "set redirects=True to follow it"
        elif target.scheme not in ("http", "https") or (url.scheme == "https" and target.scheme != "https"):
            why = "its protocol is less secure, or not HTTP"
        elif not same_origin and self._given is not None and (self._given.headers or self._given.auth):
            why = "the headers of the session would be sent there"
        if why is not None:
            raise UnsupportedOperationError(
                f"the server redirects to {target.host or 'no host'}: {why}", key=key, store=self._store
            )


async def _single(data: bytes) -> AsyncIterator[bytes]:
    yield data
