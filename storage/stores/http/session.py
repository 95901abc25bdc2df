"""The open half of an `HttpStore`: its connections, what it shows to which server, and its responses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, TypeVar

from storage._core.opened import OpenState
from storage.errors import StorageError, StoreUnavailableError, UnsupportedOperationError
from storage.stores.http.errors import mapped_errors
from storage.stores.network import ProgressTimeout, Timeouts

if TYPE_CHECKING:
    import ssl

    import aiohttp
    from yarl import URL

__all__ = ["Response", "Session", "Upload"]

T = TypeVar("T")

#: Calls of one store that are under way at once; one more waits its turn.
MAX_CALLS = 64

#: Redirects that one request follows.
MAX_REDIRECTS = 10

_REDIRECTS = (301, 302, 303, 307, 308)

#: Bytes that are written to a connection at once, so that progress is noticed.
SLICE = 128 << 10

#: Bytes of a response that is no object: they are read, so that the connection can be used again.
_SMALL = 64 << 10

#: What aiohttp would add by itself.
_NOT_SENT = ("Accept", "Content-Type", "User-Agent")


class Response:
    """
    One response of a server, whose body is yet to be read.

    Attributes:
        status: of HTTP; 404 for a redirect to the directory of this name.
        headers: with names in lower case.
    """

    def __init__(self, raw: aiohttp.ClientResponse, status: int, key: str, store: str) -> None:
        self.status = status
        self.headers: dict[str, str] = {name.lower(): value for name, value in raw.headers.items()}
        self._raw = raw
        self._key = key
        self._store = store

    async def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes of the body, up to *size*; all the rest for -1, and ``b""`` at its end."""
        with mapped_errors(self._key, self._store):
            return await self._raw.content.read(size)

    async def discard(self) -> None:
        """Be done with a body that is no object."""
        try:
            await self.read(_SMALL)
            await self.read(1)  # notices the end
        except StorageError:
            pass
        self.close()

    def close(self) -> None:
        """Let go of it; what was not read to its end takes its connection with it."""
        self._raw.close()


class Upload:
    """
    Bytes on their way to a server, once: in pieces, each of which is progress.

    Attributes:
        size: how many bytes, where that is known.
        error: what the caller's own stream raised, if it did.
        ended: whether all of them were taken.
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
        """Return bytes that are sent once, whatever becomes of the connection."""
        return cls(_single(data), len(data))

    def with_progress(self, progress: ProgressTimeout) -> Upload:
        """Return itself, with the time limit that its progress is told to."""
        self._progress = progress
        return self

    async def idle(self) -> None:
        """Wait until the caller's stream is not waited for any more: it may then be closed."""
        await self._idle.wait()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._begun:  # aiohttp sends a request again when the connection was stale, and would now send nothing
            raise StoreUnavailableError("the connection broke while a stream was sent")
        self._begun = True
        while (piece := await self._next()) is not None:
            for begin in range(0, len(piece), SLICE):
                yield piece[begin : begin + SLICE]
                self._step()
        self.ended = True

    async def _next(self) -> bytes | None:
        if self._progress is not None:
            self._progress.rest()  # it is the caller who is waited for
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
    The connections of a store that is open; they belong to one event loop and one process.

    Args:
        origin: scheme, host and port of the store's own server.
        headers: for every request to it, credentials among them; no other host gets any.
        timeouts: how long to wait.
        redirects: whether reads follow them.
        given: a session of the caller's, which stays open; None to make one.
        trust: the certificates that one trusts.
        store: what errors say they come from.
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
        self._session = given or aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=trust), cookie_jar=aiohttp.DummyCookieJar()
        )
        self._slots = asyncio.Semaphore(MAX_CALLS)

    async def close(self) -> None:
        """Close what was opened; a session that was given stays open."""
        if self._given is None:
            await self._session.close()

    async def limited(self, call: Callable[[], Awaitable[T]]) -> T:
        """
        Return what *call* gives, when it is its turn.

        It is for what comes to an end by itself. Open readers and streams that are put have no turn: they would wait
        for each other, and those whom their caller has open at the same time for ever.
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
            StorageError: there was no response, or it leads to where we do not go.
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
                response.status = 404  # there is a directory of this name, and no object
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
        """Refuse a redirect that is not wanted, or would carry away what is secret; only its host is named."""
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
