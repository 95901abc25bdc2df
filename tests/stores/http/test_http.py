"""`HttpStore` and the responses of web servers."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from aiohttp import web
from servers.odd_http import OLD, Handler, OddServer, Version, odd_server

from storage import (
    ByteRange,
    KeyNotFoundError,
    PermissionDeniedError,
    RangeNotSatisfiableError,
    StorageError,
    StoreUnavailableError,
    UnsupportedOperationError,
)
from storage.stores.http.store import HttpStore

TEXT = b"0123456789" * 20_000


@pytest.fixture
async def server() -> AsyncIterator[OddServer]:
    async with odd_server() as server:
        yield server


@pytest.fixture
async def store(server: OddServer) -> AsyncIterator[HttpStore]:
    async with HttpStore(server.url, retry_timeout=1) as store:
        yield store


def plainly(body: bytes, status: int = 200, **headers: str) -> Handler:
    """Return a handler with one response to every GET, and its headers to every HEAD."""

    async def odd(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=body, status=status, headers={n.replace("_", "-"): v for n, v in headers.items()})

    return odd


def cut(server: OddServer, after: int, times: int = 1) -> Handler:
    """Return a handler that breaks the connection *after* so many bytes of a body, the first *times*."""
    left = [times]

    async def odd(request: web.BaseRequest) -> web.StreamResponse | None:
        if request.method != "GET" or not left[0]:
            return None
        left[0] -= 1
        usual = await server.usual(request)
        assert isinstance(usual.body, bytes)
        headers = {**usual.headers, "Content-Length": str(len(usual.body))}
        broken = web.StreamResponse(status=usual.status, headers=headers)
        await broken.prepare(request)
        await broken.write(usual.body[:after])
        assert request.transport is not None
        request.transport.close()
        return broken

    return odd


# -- what is left out --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [405, 501])
async def test_head_refused_is_asked_by_get(server: OddServer, store: HttpStore, status: int) -> None:
    """A server without HEAD gets it once, and then GET, whose body is not read."""

    async def odd(request: web.BaseRequest) -> web.StreamResponse | None:
        return web.Response(status=status) if request.method == "HEAD" else None

    server.put("k", TEXT)
    server.odd = odd

    assert len(TEXT) == (await store.head("k")).size
    assert await store.exists("k")
    assert not await store.exists("missing")
    assert ["HEAD /k", "GET /k", "GET /k", "GET /missing"] == server.lines


async def test_etag_is_of_the_time_where_there_is_none(server: OddServer, store: HttpStore) -> None:
    """Without an etag, time and size identify the version."""
    server.objects["k"] = Version(TEXT, '"x"', OLD)
    server.silent = ("ETag",)

    info = await store.head("k")

    assert f"{int(OLD.timestamp()):x}-{len(TEXT):x}" == info.etag
    assert OLD == info.modified
    async with store.open("k") as reader:
        assert info == reader.info
        assert reader.seekable()


async def test_etag_is_of_the_bytes_where_nothing_tells_versions_apart(server: OddServer, store: HttpStore) -> None:
    """Without etag and time the object is read, and different bytes have different etags."""
    server.odd = plainly(b"one")
    one = await store.head("k")
    async with store.open("k") as reader:
        assert one == reader.info
    server.odd = plainly(b"two")

    assert one.etag != (await store.head("k")).etag
    assert 3 == one.size


async def test_length_is_counted_where_it_is_not_said(server: OddServer, store: HttpStore) -> None:
    """The size of a chunked response is known after it is read; head and ranges agree with it."""

    async def odd(request: web.BaseRequest) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"ETag": '"v"'})
        answer.enable_chunked_encoding()
        await answer.prepare(request)
        if request.method == "GET":
            await answer.write(TEXT[:1000])
            await answer.write(TEXT[1000:])
        return answer

    server.odd = odd

    assert TEXT == await store.get("k")
    assert ("v", len(TEXT)) == ((await store.head("k")).etag, (await store.head("k")).size)
    assert TEXT[-5:] == await store.get("k", byte_range=ByteRange.suffix(5))
    async with store.open("k", byte_range=ByteRange(10, 20)) as reader:
        assert len(TEXT) == reader.info.size
        assert TEXT[10:20] == await reader.read()


async def test_missing_is_missing(server: OddServer, store: HttpStore) -> None:
    """404 and 410 mean a missing key in every method, and False in exists."""
    for status in (404, 410):
        server.odd = plainly(b"", status)

        assert not await store.exists("k")
        for call in (store.get("k"), store.head("k"), store.get("k", byte_range=ByteRange(5))):
            with pytest.raises(KeyNotFoundError) as caught:
                await call
            assert "k" == caught.value.key


@pytest.mark.parametrize(
    ("status", "error"), [(401, PermissionDeniedError), (403, PermissionDeniedError), (400, StorageError)]
)
async def test_refusal_is_an_error_at_once(
    server: OddServer, store: HttpStore, status: int, error: type[StorageError]
) -> None:
    """A permanent failure is not retried; the error has the server's request id."""
    server.odd = plainly(b"no", status, X_Request_Id="r-17")

    with pytest.raises(error) as caught:
        await store.get("k")

    assert ("k", "r-17", False) == (caught.value.key, caught.value.request_id, caught.value.retryable)
    assert ["GET /k"] == server.lines


async def test_headers_are_attributes(server: OddServer, store: HttpStore) -> None:
    """Headers about the object are attributes; headers about the connection are not."""
    server.odd = plainly(b"v", ETag='"1"', Cache_Control="max-age=60", Content_Type="text/csv", Server="x")

    assert {"cache-control": "max-age=60", "content-type": "text/csv"} == (await store.head("k")).attributes


# -- bytes that are encoded --------------------------------------------------------------------------------------------


async def test_compressed_object_is_given_as_it_is_kept(server: OddServer, store: HttpStore) -> None:
    """No encoding is requested; one that is sent anyway is an attribute, and get, head and ranges agree."""
    packed = gzip.compress(TEXT)
    server.odd = plainly(packed, ETag='"1"', Content_Encoding="gzip")

    info = await store.head("k")
    data = await store.get("k")

    assert (len(packed), "gzip") == (info.size, info.attributes["content-encoding"])
    assert packed == data
    assert packed[3:9] == await store.get("k", byte_range=ByteRange(3, 9))
    assert {"identity"} == {headers["accept-encoding"] for _, _, headers in server.seen}


# -- ranges ------------------------------------------------------------------------------------------------------------


RANGES = [ByteRange(0), ByteRange(5, 9), ByteRange(199_990), ByteRange.suffix(7), ByteRange(3, 1 << 70)]


@pytest.mark.parametrize("byte_range", RANGES)
async def test_ignored_range_is_cut(server: OddServer, store: HttpStore, byte_range: ByteRange) -> None:
    """If the server sends the whole object, the range is cut out of it."""
    server.odd = plainly(TEXT, ETag='"1"')
    start, stop = byte_range.within(len(TEXT))

    assert TEXT[start:stop] == await store.get("k", byte_range=byte_range)
    async with store.open("k", byte_range=byte_range) as reader:
        assert TEXT[start:stop] == b"".join([piece async for piece in reader])
        await reader.seek(2)
        assert TEXT[start + 2 : stop][:10] == await reader.read(10)


async def test_range_behind_the_end(server: OddServer, store: HttpStore) -> None:
    """A range at the end is empty; a range after it is an error."""
    server.put("k", b"12345")

    assert b"" == await store.get("k", byte_range=ByteRange(5))
    with pytest.raises(RangeNotSatisfiableError):
        await store.get("k", byte_range=ByteRange(6))


async def test_refused_range_is_read_whole(server: OddServer, store: HttpStore) -> None:
    """If the server refuses a valid range, the whole object is requested."""

    async def odd(request: web.BaseRequest) -> web.StreamResponse | None:
        return web.Response(status=416) if "Range" in request.headers else None

    server.put("k", TEXT)
    server.odd = odd

    assert TEXT[3:9] == await store.get("k", byte_range=ByteRange(3, 9))


async def test_part_that_nobody_asked_for(server: OddServer, store: HttpStore) -> None:
    """A 206 without a range request is used if it starts at 0: the rest is requested. Otherwise it is an error."""
    server.put("k", TEXT)
    whole = await store.get("k")

    async def half(request: web.BaseRequest) -> web.StreamResponse | None:
        if "Range" in request.headers:
            return None
        etag = server.objects["k"].etag
        headers = {"ETag": etag, "Content-Range": f"bytes 0-99/{len(TEXT)}"}
        return web.Response(status=206, body=TEXT[:100], headers=headers)

    server.odd = half
    assert whole == await store.get("k")

    for said in ("bytes 5-9/10", "bytes 0-4/*", "bytes 9-5/10", "bytes 0-10/10", "parts", ""):
        server.odd = plainly(b"12345", 206, ETag='"1"', Content_Range=said)
        with pytest.raises(StorageError) as caught:
            await store.get("k")
        assert not caught.value.retryable, said


async def test_another_part_than_asked_for(server: OddServer, store: HttpStore) -> None:
    """A wrong range from the server is an error."""
    server.odd = plainly(b"12345", 206, ETag='"1"', Content_Range="bytes 10-14/20")

    with pytest.raises(StorageError, match="another part"):
        await store.get("k", byte_range=ByteRange(5, 10))


# -- bodies that break off ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("byte_range", [None, ByteRange(1000, 190_000), ByteRange.suffix(150_000)])
async def test_broken_body_goes_on_where_it_ended(
    server: OddServer, store: HttpStore, byte_range: ByteRange | None
) -> None:
    """The rest of the same version is requested by range, as long as there is progress."""
    server.put("k", TEXT)
    server.odd = cut(server, 70_000, times=2)
    start, stop = (0, len(TEXT)) if byte_range is None else byte_range.within(len(TEXT))

    assert TEXT[start:stop] == await store.get("k", byte_range=byte_range)

    etag = server.objects["k"].etag
    assert [etag, etag] == [headers.get("if-match") for _, _, headers in server.seen[1:]]
    asked = [int(headers["range"].removeprefix("bytes=").partition("-")[0]) for _, _, headers in server.seen[1:]]
    assert start < asked[0] < asked[1]


async def test_broken_body_of_a_replaced_object(server: OddServer, store: HttpStore) -> None:
    """A reader never continues with another version, but raises an error; get restarts."""
    server.put("k", TEXT)
    server.odd = cut(server, 1000)
    async with store.open("k") as reader:
        server.put("k", TEXT[::-1])
        with pytest.raises(StorageError, match="replaced") as caught:
            await reader.read()
    assert not caught.value.retryable

    broken = cut(server, 1000)

    async def replaced(request: web.BaseRequest) -> web.StreamResponse | None:
        answer = await broken(request)
        if answer is not None:
            server.put("k", TEXT)
        return answer

    server.odd = replaced
    assert TEXT == await store.get("k")


async def test_broken_body_from_a_server_that_ignores_conditions(server: OddServer, store: HttpStore) -> None:
    """The rest from such a server is of another version, and is not used: versions are never mixed."""
    broken = cut(server, 1000)

    async def odd(request: web.BaseRequest) -> web.StreamResponse | None:
        if "If-Match" not in request.headers:
            return await broken(request)
        headers = {"ETag": '"other"', "Content-Range": f"bytes 1000-{len(TEXT) - 1}/{len(TEXT)}"}
        return web.Response(status=206, body=b"-" * (len(TEXT) - 1000), headers=headers)

    server.put("k", TEXT)
    server.odd = odd
    async with store.open("k") as reader:
        with pytest.raises(StorageError, match="replaced"):
            await reader.read()


@pytest.mark.parametrize(
    ("weak", "silent"), [(True, ()), (False, ("ETag",)), (False, ("ETag", "Last-Modified"))], ids=str
)
async def test_get_begins_anew_without_a_sure_version(
    server: OddServer, store: HttpStore, weak: bool, silent: tuple[str, ...]
) -> None:
    """Weak etags and very recent times do not identify bytes: a broken body is not resumed."""
    server.put("k", TEXT)
    server.weak, server.silent, server.odd = weak, silent, cut(server, 70_000)

    assert TEXT == await store.get("k")

    assert ["GET /k", "GET /k"] == server.lines
    assert ["range" in headers for _, _, headers in server.seen] == [False, False]


async def test_reader_of_a_weak_version_does_not_go_on(server: OddServer, store: HttpStore) -> None:
    """A broken body is a retryable error, and seek is not supported."""

    async def odd(request: web.BaseRequest) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"ETag": 'W/"1"', "Content-Length": "1000"})
        await answer.prepare(request)
        await answer.write(b"x" * 10)
        assert request.transport is not None
        request.transport.close()
        return answer

    server.odd = odd
    async with store.open("k") as reader:
        assert 'W/"1"' == reader.info.etag
        with pytest.raises(UnsupportedOperationError):
            await reader.seek(5)
        with pytest.raises(StoreUnavailableError):
            await reader.read()
        with pytest.raises(StoreUnavailableError):
            await reader.read(1)
    assert ["GET /k"] == server.lines


async def test_answer_that_is_left_holds_no_connection(server: OddServer, store: HttpStore) -> None:
    """Readers that are closed early do not exhaust the pool."""
    server.put("k", TEXT * 10)

    for _ in range(100):
        async with store.open("k") as reader:
            await reader.read(1)

    assert TEXT * 10 == await store.get("k")


async def test_many_readers_at_once(server: OddServer, store: HttpStore) -> None:
    """With any number of open readers, another one can be opened, and the other methods work."""
    server.put("k", TEXT * 10)

    async with AsyncExitStack() as opened, asyncio.timeout(20):
        readers = [await opened.enter_async_context(store.open("k")) for _ in range(300)]

        assert [b"0123"] * 300 == [await reader.read(4) for reader in readers]
        assert len(TEXT * 10) == len(await store.get("k"))


async def test_many_gets_at_once(server: OddServer, store: HttpStore) -> None:
    """A thousand calls do not open a thousand connections: they wait."""
    under_way, most = 0, 0

    async def odd(request: web.BaseRequest) -> web.StreamResponse | None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        return None

    server.put("k", b"v")
    server.odd = odd

    assert [b"v"] * 300 == await asyncio.gather(*(store.get("k") for _ in range(300)))
    assert 64 == most
