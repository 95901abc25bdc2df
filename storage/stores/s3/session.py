"""`Session`: what an open `BucketStore` has: credentials, which aiobotocore finds, and connections."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from storage._concurrency.background_loop import with_loop
from storage._concurrency.mutex import ReentrantLock
from storage._concurrency.stepping import is_stepping
from storage._core.opened import OpenState
from storage.errors import PermissionDeniedError, StoreClosedError
from storage.stores.network import Timeouts
from storage.stores.s3.bucket import Bucket
from storage.stores.s3.client import ClientBucket
from storage.stores.s3.credentials import finding_credentials
from storage.stores.s3.retrying_client import RetryingBucket
from storage.stores.s3.transport.connection import Address, Driver
from storage.stores.s3.transport.in_thread import ThreadDriver
from storage.stores.s3.transport.on_loop import LoopDriver
from storage.stores.s3.transport.pool import Pool
from storage.stores.s3.transport.proxies import proxy_for

__all__ = ["Account", "Session"]

#: The most concurrent requests; further ones wait. Open readers do not count.
AT_ONCE = 64


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


class _ThreadGate(ReentrantLock):
    __slots__ = ()
    runs_users_code = True  # a provider of credentials


class Session:
    """The state of an open store; it belongs to one event loop and one process."""

    def __init__(self, account: Account, timeouts: Timeouts, client: Any, store: str) -> None:
        self._is_stepped = is_stepping()
        self.state: OpenState = OpenState(any_loop=self._is_stepped)
        self._account = account
        self._timeouts = timeouts
        self._client = client
        self._store = store
        self._opened = AsyncExitStack()
        self._bucket: RetryingBucket | None = None
        self._task_gate = asyncio.Lock()
        self._thread_gate = _ThreadGate()

    async def bucket(self) -> RetryingBucket:
        """Return the bucket; the first call creates the client, which may request credentials over the network."""
        if is_stepping() is not self._is_stepped:
            raise StoreClosedError(
                "the store is open in a synchronous face" if self._is_stepped else "the store is open on an event loop",
                store=self._store,
            )
        if self._bucket is None:
            if self._is_stepped:
                with self._thread_gate:
                    return await self._made()
            async with self._task_gate:
                return await self._made()
        return self._bucket

    async def _made(self) -> RetryingBucket:
        if self._bucket is None:
            async with AsyncExitStack() as opened:  # closes what was opened if a later step fails
                self._bucket = RetryingBucket(await self._make(opened), self._timeouts)
                self._opened = opened.pop_all()
        return self._bucket

    async def close(self) -> None:
        """Close what the store opened; the caller's client stays open."""
        await self._opened.aclose()

    async def _make(self, opened: AsyncExitStack) -> Bucket:
        account = self._account
        if self._client is not None:
            return ClientBucket(self._client, account.bucket, self._timeouts, self._store)
        try:
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
            signature_version=UNSIGNED if account.anonymous else "s3v4",
            request_checksum_calculation="when_required",  # otherwise bodies are sent in a form that old servers refuse
            response_checksum_validation="when_required",
            s3={"addressing_style": "path" if path_style else "virtual"},
        )
        with finding_credentials(self._store):
            creating = boto.create_client(
                "s3",
                endpoint_url=account.endpoint_url,
                aws_access_key_id=account.access_key,
                aws_secret_access_key=account.secret_key,
                aws_session_token=account.token,
                region_name=account.region or boto.get_config_variable("region") or "us-east-1",
                verify=account.ca_bundle,
                config=config,
            )
            client = await with_loop(creating.__aenter__)
            opened.push_async_callback(with_loop, partial(creating.__aexit__, None, None, None))
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
        return DirectBucket(
            None if account.anonymous else credentials,
            self._pool(opened, origin, account.ca_bundle or boto.get_config_variable("ca_bundle")),
            account.bucket,
            origin,
            account.region or client.meta.region_name,
            self._timeouts,
            self._store,
        )

    def _pool(self, opened: AsyncExitStack, origin: str, ca_bundle: str | None) -> Pool:
        """Return the connections to the server of *origin*."""
        parts = urlsplit(origin)
        assert parts.hostname is not None
        is_encrypted = parts.scheme == "https"
        tls = ssl.create_default_context(cafile=ca_bundle) if is_encrypted else None
        address = Address(parts.hostname, parts.port or (443 if is_encrypted else 80), tls)
        driver: Driver = (ThreadDriver if self._is_stepped else LoopDriver)(self._timeouts, AT_ONCE)
        pool = Pool(driver, address, proxy_for(parts.scheme, address.host, address.port))
        opened.push_async_callback(pool.close)
        return pool


def _models(boto: Any) -> Any:
    """Return the loader of botocore's service descriptions, shared so that they are read once, in 100 ms."""
    if "loader" not in _SHARED:
        _SHARED["loader"] = boto.get_component("data_loader")
    return _SHARED["loader"]


_SHARED: dict[str, Any] = {}
