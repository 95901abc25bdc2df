"""`Session`: what an open `BucketStore` has, a client of aiobotocore and connections of its own."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from storage._core.opened import OpenState
from storage.errors import PermissionDeniedError
from storage.stores.network import OpenSockets, Timeouts, ssl_context
from storage.stores.s3.client import ClientBucket
from storage.stores.s3.credentials import finding_credentials
from storage.stores.s3.retrying_client import RetryingBucket

__all__ = ["Account", "Session"]

#: The most concurrent connections of the client, which is for the rare calls.
CONNECTIONS = 32


class Account(NamedTuple):
    """The address of a bucket and the credentials for it; its ``repr`` shows no secret."""

    bucket: str
    endpoint_url: str | None
    access_key: str | None
    secret_key: str | None
    token: str | None
    region: str | None
    path_style: bool | None
    anonymous: bool = False
    ca_bundle: str | None = None

    def __repr__(self) -> str:
        return f"Account({self.bucket!r}, {self.endpoint_url!r}, {self.region!r})"


class Session:
    """The state of an open store; it belongs to one event loop and one process."""

    def __init__(self, account: Account, timeouts: Timeouts, client: Any, store: str) -> None:
        self.state: OpenState = OpenState()
        self._account = account
        self._timeouts = timeouts
        self._client = client
        self._store = store
        self._opened = AsyncExitStack()
        self._bucket: RetryingBucket | None = None
        self._making = asyncio.Lock()

    async def bucket(self) -> RetryingBucket:
        """Return the bucket; the first call creates the client, which may request credentials over the network."""
        if self._bucket is None:
            async with self._making:
                if self._bucket is None:
                    async with AsyncExitStack() as opened:  # closes what was opened if a later step fails
                        self._bucket = RetryingBucket(await self._make(opened), self._timeouts)
                        self._opened = opened.pop_all()
        return self._bucket

    async def close(self) -> None:
        """Close what the store opened; the caller's client stays open."""
        await self._opened.aclose()

    async def _make(self, opened: AsyncExitStack) -> ClientBucket:
        account = self._account
        if self._client is not None:
            return ClientBucket(self._client, account.bucket, self._timeouts, self._store)
        try:
            import aiohttp
            from aiobotocore.config import AioConfig
            from aiobotocore.session import get_session
            from botocore import UNSIGNED

            from storage.stores.s3.direct_client import DirectBucket
        except ImportError as cause:
            raise ImportError("BucketStore needs aiobotocore: pip install 'stackstore[s3]'") from cause

        path_style = account.path_style if account.path_style is not None else account.endpoint_url is not None
        boto = get_session()
        boto.register_component("data_loader", _models(boto))
        config = AioConfig(
            connect_timeout=self._timeouts.connect,
            read_timeout=self._timeouts.read,
            retries={"total_max_attempts": 1},  # retries are made here, where it is known what can be repeated
            max_pool_connections=CONNECTIONS,
            signature_version=UNSIGNED if account.anonymous else "s3v4",
            request_checksum_calculation="when_required",  # otherwise bodies are sent in a form that old servers refuse
            response_checksum_validation="when_required",
            s3={"addressing_style": "path" if path_style else "virtual"},
        )
        with finding_credentials(self._store):
            client = await opened.enter_async_context(
                boto.create_client(
                    "s3",
                    endpoint_url=account.endpoint_url,
                    aws_access_key_id=account.access_key,
                    aws_secret_access_key=account.secret_key,
                    aws_session_token=account.token,
                    region_name=account.region or boto.get_config_variable("region") or "us-east-1",
                    verify=account.ca_bundle,
                    config=config,
                )
            )
        client.meta.events.register("before-send.s3", _without_expect)
        sockets = OpenSockets()
        opened.push_async_callback(sockets.wait_closed)
        session = await opened.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0,  # DirectBucket limits requests: an open reader must not block others
                    limit_per_host=0,
                    socket_factory=sockets.make,
                    ssl=ssl_context(account.ca_bundle or boto.get_config_variable("ca_bundle")),
                ),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=self._timeouts.connect, sock_read=self._timeouts.read
                ),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        )
        # aiohttp would repeat a PUT after a broken connection; only the store knows whether that is allowed
        session._retry_connection = False
        parts = urlsplit(client.meta.endpoint_url)
        origin = (
            f"{parts.scheme}://{parts.netloc}/{account.bucket}"
            if path_style
            else f"{parts.scheme}://{account.bucket}.{parts.netloc}"
        )
        credentials = (
            client._request_signer._credentials
        )  # there is no public access to the credentials that a client refreshes
        if credentials is None and not account.anonymous:
            raise PermissionDeniedError(
                "no credentials: give s3_access_key and s3_secret_key, set them in the environment, or pass "
                "anonymous=True",
                store=self._store,
            )
        bucket = DirectBucket(
            client,
            None if account.anonymous else credentials,
            session,
            account.bucket,
            origin,
            account.region or client.meta.region_name,
            self._timeouts,
            self._store,
        )
        # it also signs the client's requests: by the server's clock, which botocore does not use
        client.meta.events.register("choose-signer.s3", lambda **asked: UNSIGNED)
        client.meta.events.register("before-send.s3", bucket.sign)
        return bucket


def _models(boto: Any) -> Any:
    """Return the loader of botocore's service descriptions, shared so that they are read once, in 100 ms."""
    if "loader" not in _SHARED:
        _SHARED["loader"] = boto.get_component("data_loader")
    return _SHARED["loader"]


_SHARED: dict[str, Any] = {}


def _without_expect(request: Any, **kwargs: Any) -> None:
    """Send bodies without waiting for "100 Continue": it costs a round trip, and blocks if the server is silent."""
    request.headers.pop("Expect", None)
