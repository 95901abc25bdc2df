"""`HttpStore`: reads the objects of a web server, and writes them if the server accepts PUT and DELETE."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from storage._core.conditions import WriteConditions
from storage._core.opened import OpenState, opened
from storage._core.retry import RETRY_TIMEOUT
from storage.base import ObjectStore
from storage.errors import ConfigError, StorageError, UnsupportedOperationError
from storage.reader import ObjectReader
from storage.stores.http.autoindex import walk
from storage.stores.http.reads import Reads
from storage.stores.http.session import Session
from storage.stores.http.urls import BaseUrl, KeyPaths
from storage.stores.http.writes import Writes
from storage.stores.network import CONNECT_TIMEOUT, READ_TIMEOUT, Timeouts, ssl_context
from storage.types import Attributes, ByteRange, Capabilities, Data, Items, Keys, ObjectInfo, check_attributes

if TYPE_CHECKING:
    from storage.config.urls import StoreUrl

__all__ = ["HttpStore"]

#: Headers that the store sets itself.
_RESERVED_HEADERS = {"accept-encoding", "content-length", "expect", "host", "if-match", "range", "transfer-encoding"}

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class HttpStore(ObjectStore):
    """
    The objects of a web server: the key ``reports/2024.csv`` is the URL ``base_url/reports/2024.csv``.

    It reads from any web server, and writes to one that accepts PUT and DELETE. Use it inside ``async with``; entering
    sends no request. One store belongs to one event loop.

    Args:
        base_url: the URL below which all objects are; a ``user:password@`` in it sets `username` and `password`.
        token: sent as ``Authorization: Bearer``.
        username: sent with the password as ``Authorization: Basic``.
        password: the password of the user.
        headers: additional headers for every request to this server.
        redirects: whether reads follow redirects; credentials and *headers* are never sent to another host.
        writable: whether the server accepts PUT and DELETE.
        conditions: ``"trust"`` if the server is known to check ``If-Match`` and ``If-None-Match`` of writes; many
            servers ignore them, including nginx, so ``"off"`` refuses conditional writes.
        listing: ``"autoindex"`` if the server lists directories as nginx does with ``autoindex_format json``; with None
            `keys` raises `UnsupportedOperationError`.
        ca_bundle: a file with the certificates to trust, for a server with a private certificate.
        connect_timeout: seconds, or a timedelta, until a connection must be established.
        read_timeout: seconds without progress, also of an upload, after which an attempt fails.
        retry_timeout: seconds within which all attempts of one call must begin. A put or delete without a condition
            whose answer was lost is sent again as it is, over what others wrote meanwhile; with 0, one attempt is made,
            and a `RetryingStore` above repeats it on a condition.
        session: a session of aiohttp to use; the store does not close it.
    """

    def __init__(
        self,
        base_url: str,
        *,
        token: str | None = None,
        username: str | None = None,
        password: str | None = None,
        headers: Mapping[str, str] | None = None,
        redirects: bool = False,
        writable: bool = False,
        conditions: Literal["trust", "off"] = "off",
        listing: Literal["autoindex"] | None = None,
        ca_bundle: str | None = None,
        connect_timeout: float | timedelta = CONNECT_TIMEOUT,
        read_timeout: float | timedelta = READ_TIMEOUT,
        retry_timeout: float | timedelta = RETRY_TIMEOUT,
        session: Any = None,
    ) -> None:
        if conditions not in ("trust", "off"):
            raise ValueError(f"conditions must be 'trust' or 'off', not {conditions!r}")
        if listing not in ("autoindex", None):
            raise ValueError(f"listing must be 'autoindex' or None, not {listing!r}")
        if ca_bundle is not None and session is not None:
            raise ConfigError("a session has its own certificates: leave out ca_bundle")
        address = BaseUrl.parse(base_url)
        if address.username is not None or address.password is not None:
            if username is not None or password is not None:
                raise ConfigError("base_url already has a username or password: give them only once")
            username, password = address.username, address.password
        self.base_url: str = address.url
        self.redirects = redirects
        self.writable = writable
        self.conditions = conditions
        self.listing = listing
        self._address = address
        self._headers = _headers_of(headers, token, username, password)
        self._paths = KeyPaths(address.path, writable, listing is not None)
        self._timeouts = Timeouts(connect_timeout, read_timeout, retry_timeout)
        self._policy = self._timeouts.policy
        self._ca_bundle = ca_bundle
        self._given = session
        self._open_parts: _OpenParts | None = None

    @classmethod
    def _from_url(cls, url: StoreUrl) -> ObjectStore[Any, Any]:
        """Return the store of ``https://host/path?redirects=true``: the part before the query is the base URL."""
        return url.make(cls, base_url=url.address)

    # -- life cycle --------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        session = Session(
            self._address.origin,
            self._headers,
            self._timeouts,
            self.redirects,
            self._given,
            ssl_context(self._ca_bundle),
            repr(self),
        )
        reads = Reads(session, self._paths, self._policy, repr(self))
        self._open_parts = _OpenParts(session, reads, Writes(session, self._paths, self._policy, reads, repr(self)))

    async def _close(self) -> None:
        parts, self._open_parts = self._open_parts, None
        if parts is not None:
            await parts.session.close()

    def _opened(self, key: str | None = None) -> _OpenParts:
        """Return the open session, reads and writes, after a check of *key*."""
        parts = opened(self._open_parts, self)
        if key is not None:
            self._paths.path_of(key, self)
        return parts

    # -- reading -----------------------------------------------------------------------------------------------------

    async def get(self, key: str, *, byte_range: ByteRange | None = None) -> bytes:
        return await self._opened().reads.get(key, byte_range)

    async def exists(self, key: str) -> bool:
        session, reads, _ = self._opened()
        return await self._policy.retry(lambda: session.limited(lambda: reads.exists(key)))

    async def head(self, key: str) -> ObjectInfo:
        session, reads, _ = self._opened()
        return await self._policy.retry(lambda: session.limited(lambda: reads.describe(key)))

    @asynccontextmanager
    async def open(self, key: str, *, byte_range: ByteRange | None = None) -> AsyncIterator[ObjectReader]:
        session, reads, _ = self._opened()
        async with AsyncExitStack() as opened:
            yield await self._policy.retry(lambda: session.limited(lambda: reads.open_reader(key, byte_range, opened)))

    async def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        reads = self._opened().reads
        if self.listing is None:
            raise UnsupportedOperationError(
                "keys: a web server lists no objects; set listing='autoindex' to read nginx's listings in JSON",
                store=self,
            )
        async for key in walk(reads.names_in, prefix, start_after):
            yield key

    # -- writing -----------------------------------------------------------------------------------------------------

    async def put(
        self,
        key: str,
        data: Data,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        writes = self._opened(key).writes
        self._need_writable("put", key)
        condition = self._condition(if_absent, if_match, key)
        if check_attributes(attributes):
            raise UnsupportedOperationError("put with attributes: the server decides them", key=key, store=self)
        return await writes.put(key, data, condition)

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        writes = self._opened(key).writes
        self._need_writable("delete", key)
        await writes.delete(key, self._condition(False, if_match, key))

    async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        self._opened(target)
        self._need_writable("copy", target)
        async with self.open(source) as reader:  # the server decides the attributes of the copy
            return await self.put(target, reader, if_absent=if_absent)

    async def rename(self, source: str, target: str, *, if_absent: bool = False) -> str:
        self._need_writable("rename", source)
        return await ObjectStore.rename(self, source, target, if_absent=if_absent)

    async def put_many(
        self,
        items: Items[Data],
        *,
        raise_errors: bool = True,
    ) -> dict[str, str | StorageError]:
        self._need_writable("put_many")
        return await ObjectStore.put_many(self, items, raise_errors=raise_errors)

    async def delete_many(self, keys: Keys, *, raise_errors: bool = True) -> dict[str, None | StorageError]:
        self._need_writable("delete_many")
        return await ObjectStore.delete_many(self, keys, raise_errors=raise_errors)

    async def clear(self, prefix: str = "") -> None:
        self._need_writable("clear")
        await ObjectStore.clear(self, prefix)

    def _need_writable(self, operation: str, key: str | None = None) -> None:
        if not self.writable:
            raise UnsupportedOperationError(
                f"{operation}: set writable=True for a server that accepts PUT and DELETE", key=key, store=self
            )

    def _condition(self, if_absent: bool, if_match: str | None, key: str) -> dict[str, str]:
        """Return the headers of a conditional write."""
        if not if_absent and if_match is None:
            return {}
        if self.conditions != "trust":
            raise UnsupportedOperationError(
                "conditional writes: set conditions='trust' for a server that is known to check the conditions",
                key=key,
                store=self,
            )
        WriteConditions.of(if_absent, if_match)  # both together are refused
        if if_match is None:
            return {"if-none-match": "*"}
        return {"if-match": if_match if if_match.startswith("W/") else f'"{if_match}"'}

    # -- about itself ------------------------------------------------------------------------------------------------

    @property
    def capabilities(self) -> Capabilities:
        keeps = self.writable and self.conditions == "trust"
        return self._supported(
            Capabilities(
                writable=self.writable,
                listable=self.listing is not None,
                conditional_put=keeps,
                conditional_delete=keeps,
                ranges=True,
                streaming=True,
                cheap_head=True,
                multi_process=True,
            )
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r})"


class _OpenParts(NamedTuple):
    session: Session
    reads: Reads
    writes: Writes

    @property
    def state(self) -> OpenState:
        return self.session.state


def _headers_of(
    given: Mapping[str, str] | None, token: str | None, username: str | None, password: str | None
) -> dict[str, str]:
    """
    Return the headers of every request, including credentials; no error shows a value.

    Raises:
        ConfigError: there are two kinds of credentials, or a header is not valid.
    """
    headers = {name.lower(): value for name, value in (given or {}).items()}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    if username is not None or password is not None:
        if token is not None:
            raise ConfigError("give a token, or a username and password, not both")
        basic = base64.b64encode(f"{username or ''}:{password or ''}".encode()).decode()
        headers["authorization"] = f"Basic {basic}"
    for name, value in headers.items():
        if _TOKEN.fullmatch(name) is None or re.search(r"[\0\r\n]", value):
            raise ConfigError(
                f"the header {name!r} cannot be sent: its name has forbidden characters, or its value a line break"
            )
        if name in _RESERVED_HEADERS:
            raise ConfigError(f"the header {name!r} is set by the store itself: leave it out")
    return headers
