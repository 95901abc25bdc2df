"""URLs, redirects, credentials and life cycle of `HttpStore`."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import traceback
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from servers.odd_http import Handler, OddServer, odd_server

import storage.sync
from storage import (
    ConfigError,
    InvalidKeyError,
    ObjectStore,
    StorageError,
    StoreClosedError,
    StoreFactory,
    UnsupportedOperationError,
    describe,
    open_store,
)
from storage.stores.http.store import HttpStore
from storage.testing import NASTY_KEYS

SECRET = "s3cr3t-of-nobody"


@pytest.fixture
async def server() -> AsyncIterator[OddServer]:
    async with odd_server() as server:
        yield server


# -- keys ------------------------------------------------------------------------------------------------------------

#: Keys and the paths that stand for them.
PATHS = {
    "a/b": "/base/a/b",
    "a?b=c#d": "/base/a%3Fb%3Dc%23d",
    "@host/x": "/base/%40host/x",
    "user:pw@host": "/base/user%3Apw%40host",
    "a\\..\\b": "/base/a%5C..%5Cb",
    "%2e%2e/x": "/base/%252e%252e/x",
    "%2F": "/base/%252F",
    "a\r\nHost: other": "/base/a%0D%0AHost%3A%20other",
    "a b+c;d&e": "/base/a%20b%2Bc%3Bd%26e",
    "é": "/base/%C3%A9",
    "...": "/base/...",
    "http://other": None,
    "//other/x": None,
    "/x": None,
    "..": None,
    "a/../b": None,
    "./a": None,
    "a/.": None,
    "a//b": None,
    "a/": None,
    "\0": None,
    "": None,
}


@pytest.mark.parametrize(("key", "path"), PATHS.items())
async def test_key_stays_in_the_path(server: OddServer, key: str, path: str | None) -> None:
    """No character of a key has a meaning in the URL; ambiguous paths are refused without a request."""
    async with HttpStore(f"{server.url}/base") as store:
        if path is None:
            with pytest.raises(InvalidKeyError):
                await store.exists(key)
        else:
            assert not await store.exists(key)

    assert ([] if path is None else [f"HEAD {path}"]) == server.lines
    assert {server.url.removeprefix("http://")} >= {headers["host"] for _, _, headers in server.seen}


async def test_no_two_keys_have_one_url(server: OddServer) -> None:
    """Every accepted key has its own path."""
    async with HttpStore(server.url) as store:
        for key in NASTY_KEYS.values():
            try:
                await store.exists(key)
            except InvalidKeyError:
                pass

    assert len(set(server.lines)) == len(server.lines) > 100


async def test_url_that_is_too_long(server: OddServer) -> None:
    """Servers may refuse it, so it is not sent; if the server itself refuses a URL, the error is the same."""
    async with HttpStore(server.url) as store:
        with pytest.raises(InvalidKeyError):
            await store.get("é" * 2000)
        assert [] == server.lines

        async def odd(request: web.BaseRequest) -> web.StreamResponse:
            return web.Response(status=414)

        server.odd = odd
        with pytest.raises(InvalidKeyError):
            await store.get("x" * 1000)


@pytest.mark.parametrize(
    "url",
    [
        *("", "host/path", "ftp://host/", "http://", "http:///path", "http://host/a?b=c", "http://host/#f"),
        *("http://host/../up", "http://host/%2e%2e/up", "http://host/a\nb", "http://host/a\\b", "http://a b/"),
    ],
)
def test_base_url_that_is_none(url: str) -> None:
    """A base URL consists of a host and a path only."""
    with pytest.raises(ConfigError, match="base_url"):
        HttpStore(url)


# -- redirects -------------------------------------------------------------------------------------------------------


def to(location: str, status: int = 302, *, only: str = "/k") -> Handler:
    """Return a handler that redirects one path."""

    async def odd(request: web.BaseRequest) -> web.StreamResponse | None:
        return web.Response(status=status, headers={"Location": location}) if request.raw_path == only else None

    return odd


async def test_redirect_is_followed_when_wanted(server: OddServer) -> None:
    """By default it is an error, which names the host but not the URL, which may be signed."""
    server.put("other/k", b"v")
    server.odd = to(f"{server.url}/other/k?signature={SECRET}")
    async with HttpStore(server.url) as store:
        for call in (store.get("k"), store.head("k"), store.exists("k")):
            with pytest.raises(UnsupportedOperationError, match="redirects=True") as caught:
                await call
            assert SECRET not in "".join(traceback.format_exception(caught.value))

    server.odd = to("/other/k")
    async with HttpStore(server.url, redirects=True, token=SECRET) as store:
        assert b"v" == await store.get("k")
        assert 1 == (await store.head("k")).size
    assert f"Bearer {SECRET}" == server.seen[-1][2]["authorization"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_nothing_secret_follows_to_another_host(server: OddServer, status: int) -> None:
    """Another host or port gets neither the credentials nor the headers for the first one."""
    async with odd_server() as other:
        other.put("k", b"v")
        server.odd = to(f"{other.url}/k", status)
        headers = {"X-Api-Key": SECRET, "Cookie": SECRET}
        async with HttpStore(server.url, redirects=True, token=SECRET, headers=headers) as store:
            assert b"v" == await store.get("k")

    assert SECRET == server.seen[0][2]["x-api-key"]
    assert SECRET not in str(other.seen)


async def test_headers_of_a_given_session_do_not_follow(server: OddServer) -> None:
    """Headers of the caller's session would be sent to the other host, so the redirect is refused."""
    async with odd_server() as other:
        server.odd = to(f"{other.url}/k")
        async with (
            aiohttp.ClientSession(headers={"Authorization": SECRET}) as session,
            HttpStore(server.url, redirects=True, session=session) as store,
        ):
            with pytest.raises(UnsupportedOperationError):
                await store.get("k")

    assert [] == other.seen


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://host/k", "http://[", "http://", "data:,x"])
async def test_redirect_to_what_is_no_place(server: OddServer, location: str) -> None:
    """A redirect to anything but a web server is refused."""
    server.odd = to(location)
    async with HttpStore(server.url, redirects=True) as store:
        with pytest.raises(StorageError) as caught:
            await store.get("k")

    assert not caught.value.retryable


async def test_redirects_end(server: OddServer) -> None:
    """A redirect to itself is followed only a few times."""
    server.odd = to("/k")
    async with HttpStore(server.url, redirects=True) as store:
        with pytest.raises(StorageError, match="more than"):
            await store.get("k")

    assert 11 == len(server.lines)


async def test_writes_follow_no_redirects(server: OddServer) -> None:
    """A write is not redirected."""
    server.odd = to("/elsewhere", 307)
    async with HttpStore(server.url, redirects=True, writable=True) as store:
        for call in (store.put("k", b"v"), store.delete("k")):
            with pytest.raises(UnsupportedOperationError, match="writes"):
                await call

    assert ["PUT /k", "DELETE /k"] == server.lines


# -- credentials -----------------------------------------------------------------------------------------------------


async def test_credentials_are_shown_to_the_server_only(server: OddServer, caplog: pytest.LogCaptureFixture) -> None:
    """Bearer, basic (as parameters or in the URL) and custom headers; no text of the store contains them."""
    caplog.set_level(logging.DEBUG)
    host = server.url.removeprefix("http://")
    basic = "Basic " + base64.b64encode(f"reader:{SECRET}".encode()).decode()
    stores: dict[str, list[ObjectStore]] = {
        f"Bearer {SECRET}": [HttpStore(server.url, token=SECRET)],
        basic: [
            HttpStore(server.url, username="reader", password=SECRET),
            HttpStore(f"http://reader:{SECRET}@{host}"),
            open_store(f"http://reader:{SECRET}@{host}"),
        ],
        SECRET: [HttpStore(server.url, headers={"Authorization": SECRET})],
    }

    for sent, ways in stores.items():
        for store in ways:
            async with store:
                with pytest.raises(StorageError) as caught:
                    await store.get("missing")
            assert sent == server.seen[-1][2]["authorization"]
            shown = [repr(store), describe(store), *traceback.format_exception(caught.value), caplog.text]
            assert SECRET not in "".join(shown)
            assert base64.b64encode(f"reader:{SECRET}".encode()).decode() not in "".join(shown)


def test_wrong_parameters() -> None:
    """Invalid parameters are refused by the constructor, without secrets in the message."""
    wrong = {
        "both": {"token": SECRET, "username": "u"},
        "line end": {"headers": {"X": f"{SECRET}\r\nY: z"}},
        "line end in the token": {"token": f"{SECRET}\n"},
        "no name": {"headers": {"a b": SECRET}},
        "the store's own": {"headers": {"Range": SECRET}},
        "conditions": {"conditions": "auto"},
        "listing": {"listing": "html"},
        "time": {"read_timeout": 0},
    }
    for name, parameters in wrong.items():
        with pytest.raises(ValueError) as caught:  # noqa: PT011  # of which ConfigError is one
            HttpStore("http://host", **parameters)  # type: ignore[arg-type]
        assert SECRET not in str(caught.value), name

    with pytest.raises(ConfigError, match="once") as caught:
        HttpStore(f"http://u:{SECRET}@host", username="v")
    assert SECRET not in str(caught.value)


# -- made from text --------------------------------------------------------------------------------------------------


async def test_store_from_a_url(server: OddServer) -> None:
    """The query has the parameters; the rest is the base URL."""
    store = open_store(f"{server.url}/base?writable=true&listing=autoindex&read_timeout=2")

    assert isinstance(store, HttpStore)
    assert (f"{server.url}/base", True, "autoindex") == (store.base_url, store.writable, store.listing)
    async with store:
        await store.put("k", b"v")
        assert ["k"] == [key async for key in store.keys()]
    assert b"v" == server.objects["base/k"].data
    assert "HttpStore('https://host:8080/a%20b')" == repr(open_store("https://host:8080/a%20b/"))


async def test_store_from_a_configuration(server: OddServer, tmp_path: Path) -> None:
    """All parameters except a session can be configured."""
    server.put("k", b"v")
    text = (
        '{"stores": {"web": {"type": "http", "config": {"base_url": "%s", "token": "t", "headers": {"X-A": "1"}, '
        '"redirects": true, "writable": true, "conditions": "trust", "retry_timeout": 1}}}, "main": "web"}'
    )
    file = tmp_path / "stores.json"
    file.write_text(text % server.url)

    async with StoreFactory(file).build() as store:
        assert b"v" == await store.get("k")
    assert "1" == server.seen[-1][2]["x-a"]


# -- life cycle ------------------------------------------------------------------------------------------------------


async def test_entering_asks_for_nothing(server: OddServer) -> None:
    """An unused store makes no connection; a store that is not open raises an error, and can be opened again."""
    store = HttpStore(server.url)
    with pytest.raises(StoreClosedError, match="async with"):
        await store.get("k")

    async with store:
        pass
    assert [] == server.seen

    server.put("k", b"v")
    async with store:
        assert b"v" == await store.get("k")
    with pytest.raises(StoreClosedError):
        await store.exists("k")


async def test_given_session_stays_open(server: OddServer) -> None:
    """It is used with its own headers, and stays open."""
    server.put("k", b"v")
    async with aiohttp.ClientSession(headers={"X-Mine": "1"}) as session:
        async with HttpStore(server.url, session=session) as store:
            assert b"v" == await store.get("k")

        assert not session.closed
    assert "1" == server.seen[-1][2]["x-mine"]


async def test_another_loop_is_told_what_to_do(server: OddServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """One store belongs to one event loop and one process."""
    async with HttpStore(server.url) as store:
        with pytest.raises(StoreClosedError, match="one store per loop"):
            await asyncio.to_thread(lambda: asyncio.run(store.exists("k")))

        with monkeypatch.context() as patched:
            patched.setattr(os, "getpid", lambda: -1)
            with pytest.raises(StoreClosedError, match="fork"):
                await store.exists("k")


async def test_from_synchronous_code(server: OddServer) -> None:
    """The synchronous store runs it on the background loop."""

    def work() -> tuple[bytes, list[str]]:
        with storage.sync.HttpStore(server.url, writable=True, listing="autoindex") as store:
            store.put("a/b", [b"x" * 2_000_000, b"y"])
            with store.open("a/b") as reader:
                return reader.read()[-2:], list(store.keys())

    assert (b"xy", ["a/b"]) == await asyncio.to_thread(work)


async def test_listing_that_is_none(server: OddServer) -> None:
    """A response that is not nginx's JSON is an error, never an empty listing."""
    async with HttpStore(server.url, listing="autoindex") as store:
        for body in ("<html>", "{}", "[1]", '[{"name": 1, "type": "file"}]', "null"):

            async def odd(request: web.BaseRequest, body: str = body) -> web.StreamResponse:
                return web.Response(text=body)

            server.odd = odd
            with pytest.raises(StorageError, match="autoindex_format"):
                print([key async for key in store.keys()])
