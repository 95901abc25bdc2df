"""`RedisStore` with a killed, stalled or restarted server, lost replies, and several processes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from threading import Barrier
from typing import Any, cast

import pytest
import redis.asyncio
from processes.forking import context
from redis.exceptions import ConnectionError as LostError
from servers.redis import RedisServer, raw_object, redis_server

from storage import (
    BulkError,
    KeyExistsError,
    KeyNotFoundError,
    OutcomeUnknownError,
    PreconditionFailedError,
    RedisStore,
    StorageError,
    StoreClosedError,
    StoreTimeoutError,
    StoreUnavailableError,
)
from storage.testing.suite.conditions import count_up

MIB = 1 << 20

#: Seconds that a process may take before something is wrong with it.
TIMEOUT = 60


@pytest.fixture
def server(uses_server: None) -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


# -- a server that fails ---------------------------------------------------------------------------------------------


async def test_killed_server_is_unavailable_and_works_again_when_it_is_back(server: RedisServer) -> None:
    """Calls during a crash of the server raise StoreUnavailableError; the same store works after a restart."""
    async with RedisStore(server.url, retry_timeout=0) as store:
        busy = asyncio.Event()

        async def work(number: int) -> StorageError:
            while True:
                try:
                    await store.put(f"k{number}", b"v" * 10_000)
                    assert b"v" * 10_000 == await store.get(f"k{number}")
                    await store.put(f"large{number}", b"v" * (2 * MIB))
                except StorageError as error:
                    return error
                busy.set()

        tasks = [asyncio.create_task(work(number)) for number in range(8)]
        await busy.wait()
        server.kill()
        errors = await asyncio.gather(*tasks)

        assert [StoreUnavailableError] * 8 == [type(error) for error in errors]
        for call in (store.get("k"), store.exists("k"), store.delete("k"), _all(store.keys()), store.copy("k", "l")):
            with pytest.raises(StoreUnavailableError) as caught:
                await call
            assert caught.value.retryable
        assert [StoreUnavailableError] * 2 == [type(each) for each in (await store.get_many(["k", "l"])).values()]
        with pytest.raises(BulkError) as put:
            await store.put_many({"k": b"v", "l": b"w"})
        assert [StoreUnavailableError] * 2 == [type(each) for each in put.value.results.values()]
        with pytest.raises(BulkError) as deleted:
            await store.delete_many(["k", "l"])
        assert ["k", "l"] == [cast(StorageError, each).key for each in deleted.value.results.values()]

        server.start()
        await store.put("k", b"works")
        assert {"k": b"works"} == await store.get_many(store.keys())


async def test_call_goes_on_when_the_server_is_back(server: RedisServer) -> None:
    """Within retry_timeout a call waits for the server, so a restart is not visible to the caller."""
    async with RedisStore(server.url) as store:
        await store.put("before", b"v")
        server.kill()
        calls = [asyncio.create_task(store.put("k", b"v")), asyncio.create_task(store.put_many({"l": b"w"}))]
        await asyncio.sleep(0)  # so that they find nobody

        await asyncio.to_thread(server.start)
        await asyncio.gather(*calls)

        assert {"k": b"v", "l": b"w"} == await store.get_many(["k", "l"])


async def test_server_that_stands_still_is_a_timeout(server: RedisServer) -> None:
    """No call waits longer than its timeouts, and no late reply is taken for that of another call."""
    async with RedisStore(server.url, read_timeout=0.2, retry_timeout=0) as store:
        await store.put("k", b"old")
        await store.put("l", b"other")
        server.stall()
        try:
            async with asyncio.timeout(10):
                for call in (
                    *(store.get("k"), store.head("k"), store.exists("k"), _all(store.keys()), store.put("k", b"new")),
                    *(store.put("k", b"new", if_absent=True), store.put("k", bytes(40 * MIB)), store.delete("n")),
                    *(
                        store.copy("k", "m"),
                        store.rename("x", "y"),
                        _many(store.put_many({"k": b"new"})),
                    ),
                    *(_many(store.put_many({"n": bytes(MIB), "o": bytes(MIB)})), _many(store.delete_many(["n", "o"]))),
                ):
                    with pytest.raises(StoreTimeoutError):
                        await call
        finally:
            server.go_on()

        assert b"other" == await store.get("l")
        assert await store.get("k") in (b"old", b"new")
        assert {"k", "l"} <= set(await _all(store.keys()))


async def test_closing_ends_what_is_under_way(server: RedisServer) -> None:
    """Calls that wait for a stalled server end when the store is closed, and open no further connection."""
    store = RedisStore(server.url)
    async with store:
        await asyncio.gather(*(store.put(f"k{number}", b"v") for number in range(5)))
        server.stall()
        calls = [asyncio.create_task(call) for call in (store.get("k1"), store.put("k2", b"w"), store.exists("k3"))]
        await asyncio.sleep(0.05)  # they are sent

    try:
        async with asyncio.timeout(10):
            errors = await asyncio.gather(*calls, return_exceptions=True)
    finally:
        server.go_on()

    assert [StoreClosedError] * 3 == [type(error) for error in errors]
    with server.client() as client:
        async with asyncio.timeout(10):
            while len(client.client_list()) > 1:  # noqa: ASYNC110  # the server has no event for it
                await asyncio.sleep(0.01)


async def test_cancellation_does_not_wait_for_a_server_that_stands_still(server: RedisServer) -> None:
    """A cancelled write gets one second to finish."""
    async with RedisStore(server.url) as store:
        await store.put("k", b"old")
        server.stall()
        try:
            task = asyncio.create_task(store.put("k", b"new"))
            await asyncio.sleep(0.05)
            task.cancel()
            async with asyncio.timeout(5):
                with pytest.raises(asyncio.CancelledError):
                    await task
        finally:
            server.go_on()

        await store.put("l", b"works")


async def test_conditional_put_that_was_sent_twice_is_done_once(server: RedisServer) -> None:
    """An attempt that timed out but was executed later is recognized by its etag."""
    async with RedisStore(server.url, read_timeout=0.2) as store:
        await store.put("k", b"v")  # the server knows the script from now on
        await store.delete("k")
        server.stall()
        task = asyncio.create_task(store.put("k", b"v", if_absent=True))
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(task), 0.5)  # its first attempt is over
        server.go_on()

        assert await task == (await store.head("k")).etag


# -- answers that are lost -------------------------------------------------------------------------------------------


class LosingClient:
    """
    A client that executes its next command but loses the reply.

    Attributes:
        then: what another client does before the command is sent again; None to lose no reply.
    """

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self.then: Callable[[], Awaitable[object]] | None = None

    async def execute_command(self, *words: Any, **options: Any) -> Any:
        answer = await self._client.execute_command(*words, **options)  # type: ignore[no-untyped-call]
        await self.lose()
        return answer

    async def lose(self) -> None:
        then, self.then = self.then, None
        if then is not None:
            await then()
            raise LostError("Connection closed by server.")

    def pipeline(self, **options: Any) -> Any:
        pipeline = self._client.pipeline(**options)
        execute = pipeline.execute

        async def losing(**options: Any) -> Any:
            answers = await execute(**options)
            await self.lose()
            return answers

        pipeline.execute = losing  # type: ignore[method-assign, assignment]
        return pipeline


async def nothing() -> None:
    pass


@pytest.fixture
async def losing(server: RedisServer) -> AsyncIterator[tuple[RedisStore, LosingClient]]:
    """Return a store and its client, after every script has run once."""
    async with redis.asyncio.Redis(host="127.0.0.1", port=server.port) as client:
        lossy = LosingClient(client)
        async with RedisStore(client=lossy) as store:
            for size in (1, 2 * MIB):
                await store.put("warm", b"v" * size)
            await store.rename("warm", "up")
            await store.delete("up", if_match=(await store.head("up")).etag)
            yield store, lossy


async def test_lost_answer_makes_no_difference(losing: tuple[RedisStore, LosingClient]) -> None:
    """A command that is repeated after a lost reply recognizes its own effect, and returns the first result."""
    store, client = losing
    old = await store.put("k", b"old")

    client.then = nothing
    etag = await store.put("k", b"new", if_match=old)
    assert (etag, b"new") == ((await store.head("k")).etag, await store.get("k"))

    client.then = nothing
    assert await store.put("new", b"v", if_absent=True) == (await store.head("new")).etag
    client.then = nothing
    assert await store.rename("new", "renamed") == (await store.head("renamed")).etag
    client.then = nothing
    assert await store.copy("renamed", "copy", if_absent=True) == (await store.head("copy")).etag
    client.then = nothing
    etags = await store.put_many({"m": b"1", "n": b"2"})
    assert {key: (await store.head(key)).etag for key in ("m", "n")} == etags
    client.then = nothing
    await store.delete_many(["m", "n"])
    client.then = nothing
    await store.delete("copy")
    assert ["k", "renamed"] == await _all(store.keys())
    assert None is client.then


async def test_lost_answer_and_a_change_since_is_unknown(losing: tuple[RedisStore, LosingClient]) -> None:
    """If another client has written since, the result is unknown; it is not reported as a failed condition."""
    store, client = losing
    other = RedisStore(client=client._client)
    etag = await store.put("k", b"old")
    async with other:
        client.then = lambda: other.put("k", b"theirs")
        with pytest.raises(OutcomeUnknownError) as replaced:
            await store.put("k", b"ours", if_match=etag)
        client.then = lambda: other.put("new", b"theirs")
        with pytest.raises(OutcomeUnknownError):
            await store.put("new", b"ours", if_absent=True)
        client.then = lambda: other.delete("renamed")
        with pytest.raises(OutcomeUnknownError):
            await store.rename("k", "renamed")
        client.then = nothing
        with pytest.raises(OutcomeUnknownError):
            await store.delete("new", if_match=(await other.head("new")).etag)

    assert "k" == replaced.value.key


async def test_answer_that_came_is_no_lost_one(server: RedisServer) -> None:
    """A condition that fails after attempts that were never sent is reported as failed."""
    async with RedisStore(server.url) as store:
        server.kill()
        call = asyncio.create_task(store.rename("missing", "k"))
        await asyncio.sleep(0)
        await asyncio.to_thread(server.start)

        with pytest.raises(KeyNotFoundError):
            await call
        with pytest.raises(PreconditionFailedError):
            await store.delete("k", if_match="none")


# -- processes -------------------------------------------------------------------------------------------------------

CREATED = [f"k{number}" for number in range(20)]


def compete(url: str, steps: int, start: Barrier, results: Connection) -> None:
    """Create each of `CREATED` if it is absent, add *steps* to ``count``, and send the keys that were created."""

    async def main() -> list[str]:
        won = []
        async with RedisStore(url) as store:
            start.wait(TIMEOUT)

            async def create(key: str) -> None:
                with suppress(KeyExistsError):
                    await store.put(key, key.encode(), if_absent=True)
                    won.append(key)

            await asyncio.gather(*map(create, CREATED))
            await count_up(store, "count", steps)
        return won

    results.send(asyncio.run(main()))


async def test_conditions_hold_among_processes(server: RedisServer) -> None:
    """Of 5 processes that create the same keys, one succeeds per key, and none of their 50 increments is lost."""
    async with RedisStore(server.url) as store:
        await store.put("count", b"0")
        won = await asyncio.to_thread(_in_processes, 5, server.url, 10)

        assert sorted(CREATED) == sorted(key for keys in won for key in keys)
        assert b"50" == await store.get("count")


def _in_processes(count: int, url: str, steps: int) -> list[list[str]]:
    start = context().Barrier(count)
    pipes = [context().Pipe(duplex=False) for _ in range(count)]
    processes = [context().Process(target=compete, args=(url, steps, start, sender)) for _, sender in pipes]
    for process in processes:
        process.start()
    for _, sender in pipes:
        sender.close()
    try:
        return [receiver.recv() for receiver, _ in pipes]
    finally:
        for process in processes:
            process.join(TIMEOUT)
            process.kill()


def stream_for_ever(url: str, begun: Connection) -> None:
    """Put an endless stream, and report when a part of it has been sent."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * MIB
        begun.send(None)
        while True:
            yield b"x" * 1000

    async def main() -> None:
        async with RedisStore(url) as store:
            await store.put("k", pieces())

    asyncio.run(main())


async def test_killed_writer_leaves_the_old_object(server: RedisServer) -> None:
    """After kill -9 during a put the old object is there, and the draft expires."""
    receiver, sender = context().Pipe(duplex=False)
    process = context().Process(target=stream_for_ever, args=(server.url, sender))
    async with RedisStore(server.url) as store:
        await store.put("k", b"old")
        process.start()
        sender.close()
        await asyncio.to_thread(receiver.recv)
        os.kill(process.pid or 0, signal.SIGKILL)
        await asyncio.to_thread(process.join, TIMEOUT)

        assert b"old" == await store.get("k")
        assert ["k"] == await _all(store.keys())
        with server.client() as client:
            assert b"old" == raw_object(client, "", "k")
            [draft] = cast("list[bytes]", client.keys("*:d:*"))
            assert 0 < client.pttl(draft) <= 3_600_000


async def _many(call: Awaitable[object]) -> object:
    """Return the result of a bulk call, or raise the error of its first key."""
    try:
        return await call
    except BulkError as error:
        raise next(iter(error.results.values())) from None  # type: ignore[misc]


async def _all(keys: AsyncIterator[str]) -> list[str]:
    return [key async for key in keys]
