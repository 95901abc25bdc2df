"""Requests that share connections: how many there are, who comes next, and that none is left."""

from __future__ import annotations

import asyncio
import random
import signal
import threading
import time
import tracemalloc
from collections.abc import Iterator
from functools import partial

import pytest
from interrupts import interrupted_at
from servers.scripted import OK, Peer, answer, scripted, serve_all
from wire import Encryption, Way, closed

from storage._concurrency.stepping import step
from storage.errors import StoreClosedError
from storage.stores.network import Timeouts
from storage.stores.s3.transport import pool as pool_module
from storage.stores.s3.transport.connection import Address
from storage.stores.s3.transport.exchange import BadAnswerError
from storage.stores.s3.transport.in_thread import ThreadDriver
from storage.stores.s3.transport.pool import Pool

MIB = 1 << 20


class Turns:
    """A script that answers each request after some seconds, and notes which came, and how many at one time."""

    def __init__(self, seconds: float) -> None:
        self.seen: list[str] = []
        self.most = self.now = 0
        self._seconds = seconds
        self._lock = threading.Lock()

    def __call__(self, peer: Peer) -> None:
        for found in peer.requests():
            with self._lock:
                self.seen.append(found.line.split()[1])
                self.now += 1
                self.most = max(self.most, self.now)
            time.sleep(self._seconds)
            with self._lock:
                self.now -= 1
            peer.send(OK)


async def test_connections_are_kept(way: Way, encryption: Encryption) -> None:
    """Requests one after the other share one connection."""
    with scripted(serve_all(lambda found: answer(found.body)), tls=encryption.shown) as server:
        async with way.pool(server, encryption.trusted) as pool:
            for body in (b"a", bytes(MIB), b"", b"b"):
                lines = f"content-length: {len(body)}\r\n"
                assert body == (await way.run(pool.fetch("PUT", "/", lines, body))).body
        assert 1 == server.accepted
        assert await closed(server)


async def test_connection_that_was_unused_too_long_is_not_used(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server may be about to close it."""
    monkeypatch.setattr(pool_module, "IDLE", 0.05)
    with scripted(serve_all(lambda found: OK)) as server:
        async with way.pool(server) as pool:
            await way.run(pool.fetch("GET", "/", ""))
            await asyncio.sleep(0.1)
            await way.run(pool.fetch("GET", "/", ""))
            assert 2 == server.accepted


async def test_concurrent_requests_are_bounded(way: Way) -> None:
    """Those that wait for a place wait for no server: that is not limited by the read timeout."""
    turns = Turns(0.1)
    with scripted(turns) as server:
        async with way.pool(server, limit=3, read=0.4) as pool:
            answers = await way.gather(pool.fetch("GET", f"/{number}", "") for number in range(20))
    assert {b"ok"} == {received.body for received in answers}
    assert 3 == turns.most
    assert 3 == server.accepted


async def test_first_come_first_served(way: Way) -> None:
    """Requests are sent in the order in which they were begun."""
    turns = Turns(0.005)
    with scripted(turns) as server:
        async with way.pool(server, limit=1) as pool:
            if way.stepped:
                driver = pool._driver
                assert isinstance(driver, ThreadDriver)
                step(driver.acquire())
                threads = [
                    threading.Thread(target=lambda number=number: step(pool.fetch("GET", f"/{number}", "")))
                    for number in range(10)
                ]
                for number, thread in enumerate(threads):
                    thread.start()
                    while len(driver._waiting) <= number:
                        time.sleep(0.001)  # noqa: ASYNC251
                driver.release()
                for thread in threads:
                    thread.join()
            else:
                await asyncio.gather(*(pool.fetch("GET", f"/{number}", "") for number in range(10)))
    assert [f"/{number}" for number in range(10)] == turns.seen


async def test_open_answers_take_no_place(way: Way) -> None:
    """A reader that nobody reads on does not keep others waiting."""
    with scripted(serve_all(lambda found: answer(bytes(MIB)))) as server:
        async with way.pool(server, limit=1) as pool:
            opened = [await way.run(pool.send("GET", "/", "")) for _ in range(3)]
            assert MIB == len((await way.run(pool.fetch("GET", "/", ""))).body)
            for each in opened:
                assert MIB == len(await way.run(each.read_all()))


async def test_cancelled_request_gives_its_place_on() -> None:
    """Also one that has not got it yet, and one that was just about to get it."""
    turns = Turns(0.001)
    with scripted(turns) as server:
        async with Way(stepped=False).pool(server, limit=2) as pool:
            for steps in range(60):
                tasks = [asyncio.create_task(pool.fetch("GET", f"/{number}", "")) for number in range(8)]
                for _ in range(steps):
                    await asyncio.sleep(0)
                for task in tasks[steps % 3 :: 2]:
                    task.cancel()
                await asyncio.wait(tasks, timeout=10)
                assert all(task.done() for task in tasks)
            async with asyncio.timeout(10):
                await asyncio.gather(*(pool.fetch("GET", "/", "") for _ in range(4)))
        assert await closed(server)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
async def test_cancelled_requests_give_no_answer_to_another(tls: bool, request: pytest.FixtureRequest) -> None:
    """At whatever moment requests are cancelled, the others get their own answers, and no connection is left."""
    encryption = Encryption(request.getfixturevalue("certificate") if tls else None)
    chance = random.Random(13)

    def serve(peer: Peer) -> None:
        for found in peer.requests():
            name = found.line.split()[1].encode()
            peer.send(answer(name + found.body, number=name.decode()))

    outcomes = {"answered": 0, "cancelled": 0}
    with scripted(serve, tls=encryption.shown) as server:
        async with Way(stepped=False).pool(server, encryption.trusted, limit=8) as pool:

            async def one(name: str) -> None:
                body = name.encode() * chance.choice([0, 0, 1, 100, 20_000])
                try:
                    received = await pool.fetch("PUT", f"/{name}", f"content-length: {len(body)}\r\n", body)
                except asyncio.CancelledError:
                    outcomes["cancelled"] += 1
                    raise
                assert f"/{name}" == received.headers["number"]
                assert f"/{name}".encode() + body == received.body
                outcomes["answered"] += 1

            loop = asyncio.get_running_loop()
            for batch in range(20 if tls else 160):
                tasks = [asyncio.create_task(one(f"{batch}-{number}")) for number in range(25)]
                for task in tasks[::2]:
                    loop.call_later(chance.uniform(0, 0.02), task.cancel)
                async with asyncio.timeout(30):
                    await asyncio.wait(tasks)
                for task in tasks:
                    assert task.cancelled() or task.exception() is None, task.exception()
        assert await closed(server)
    assert min(outcomes.values()) > (5 if tls else 50), outcomes


async def test_closed_pool_ends_its_requests(way: Way, encryption: Encryption) -> None:
    """They do not wait for their timeouts, and those that are sent later are refused; no connection is left."""
    arrived = threading.Event()

    def serve(peer: Peer) -> None:
        peer.request()
        arrived.set()
        peer.wait_closed()

    with scripted(serve, tls=encryption.shown) as server:
        pool = Pool(way.driver(read=60), Address("127.0.0.1", server.port, encryption.trusted))
        waiting = asyncio.create_task(
            asyncio.to_thread(step, pool.fetch("PUT", "/", "")) if way.stepped else pool.fetch("PUT", "/", "")
        )
        assert await asyncio.to_thread(arrived.wait, 10)
        await way.run(pool.close())
        await asyncio.wait([waiting], timeout=4)
        assert waiting.done()
        with pytest.raises((OSError, BadAnswerError)):
            waiting.result()
        with pytest.raises(StoreClosedError):
            await way.run(pool.fetch("GET", "/", ""))
        assert await closed(server)


async def test_answer_after_the_close_leaves_no_connection(way: Way) -> None:
    """A request that was sent in the moment of the close may still be answered."""
    with scripted(serve_all(lambda found: OK)) as server:
        pool = Pool(way.driver(), Address("127.0.0.1", server.port))
        received = await way.run(pool.send("GET", "/", ""))
        await way.run(pool.close())
        received.close()
        assert await closed(server)


def interrupted(seconds: float = 0.2) -> threading.Timer:
    """Press Ctrl-C in the main thread after that time."""
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(seconds, signal.pthread_kill, [main, signal.SIGINT])
    timer.start()
    return timer


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt, also where the tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signal can be sent to a thread")
@pytest.mark.parametrize("where", ["handshake", "request", "body", "answer"])
def test_ctrl_c_ends_a_request_that_waits(encryption: Encryption, where: str) -> None:
    """At once, and its connection is closed; the place is free again."""

    def serve(peer: Peer) -> None:
        if where == "request":
            peer.request()
        if where == "answer":
            peer.request()
            peer.send(OK[:-1])
        if where != "body":
            peer.wait_closed()
        else:
            peer.socket.recv(1)
            ended.wait(10)

    ended = threading.Event()
    body = bytes(16 * MIB) if where == "body" else b""
    tls = None if where == "handshake" else encryption.shown
    if where == "handshake" and encryption.shown is None:
        pytest.skip("there is no handshake")
    with scripted(serve, tls=tls) as server:
        driver = ThreadDriver(Timeouts(30, 30, 0), 1)
        pool = Pool(driver, Address("127.0.0.1", server.port, encryption.trusted))
        timer, begun = interrupted(), time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            step(pool.fetch("PUT", "/", f"content-length: {len(body)}\r\n", body))
        assert time.monotonic() - begun < 5
        timer.join()
        ended.set()
        assert server.wait_closed()
        assert 1 == len(driver._free)
        step(pool.close())


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signal can be sent to a thread")
def test_ctrl_c_while_a_request_waits_for_a_place() -> None:
    """Its place in the queue is given on."""
    with scripted(serve_all(lambda found: OK)) as server:
        driver = ThreadDriver(Timeouts(5, 5, 0), 1)
        pool = Pool(driver, Address("127.0.0.1", server.port))
        step(driver.acquire())
        timer = interrupted()
        with pytest.raises(KeyboardInterrupt):
            step(pool.fetch("GET", "/", ""))
        timer.join()
        driver.release()
        assert b"ok" == step(pool.fetch("GET", "/", "")).body
        step(pool.close())


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")  # between its creation and its first step
@pytest.mark.parametrize("size", [0, MIB], ids=["a little", "much"])
def test_ctrl_c_at_any_moment_leaves_no_connection(size: int) -> None:
    """Neither open nor for the garbage collector, where a kept connection is used; the pool can be used further."""
    with scripted(serve_all(lambda found: answer(bytes(100_000)))) as server:
        moment, is_hit = 1, True
        while is_hit:
            pool = Pool(ThreadDriver(Timeouts(5, 5, 0), 2), Address("127.0.0.1", server.port))
            step(pool.fetch("GET", "/", ""))
            request = partial(pool.fetch, "PUT", "/", f"content-length: {size}\r\n", bytes(size))
            is_hit = interrupted_at(moment, lambda request=request: step(request()))  # type: ignore[misc]
            assert 200 == step(pool.fetch("GET", "/", "")).status
            step(pool.close())
            moment += 1
        assert server.wait_closed()
    assert moment > 100


@pytest.mark.slow
async def test_answer_that_is_read_slowly_takes_little_memory(way: Way, encryption: Encryption) -> None:
    """The server waits while the buffers are full."""
    size = 256 * MIB if encryption.shown is None else 32 * MIB

    def serve(peer: Peer) -> None:
        peer.request()
        peer.send(f"HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n".encode())
        piece = memoryview(bytes(MIB))
        for _ in range(size // MIB):
            peer.socket.sendall(piece)
        peer.wait_closed()

    with scripted(serve, tls=encryption.shown) as server:
        async with way.pool(server, encryption.trusted) as pool:
            received, left = await way.run(pool.send("GET", "/", "")), size
            tracemalloc.start()
            try:
                while data := await way.run(received.read(64 << 10)):
                    left -= len(data)
                    if left % (8 * MIB) == 0:
                        await asyncio.sleep(0.001)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
    assert 0 == left
    assert peak < 8 * MIB


@pytest.mark.slow
async def test_upload_to_a_slow_server_takes_little_memory(way: Way, encryption: Encryption) -> None:
    """What the server does not take stays where it is."""
    size = 256 * MIB if encryption.shown is None else 32 * MIB
    peaks: list[int] = []

    def serve(peer: Peer) -> None:
        found = peer.head()
        assert found is not None
        left = size - len(peer.rest)
        space = bytearray(MIB)
        while left:
            left -= peer.socket.recv_into(space)
            time.sleep(0.0002)
            peaks.append(tracemalloc.get_traced_memory()[0])
        peer.send(OK)

    body = bytes(size)
    with scripted(serve, tls=encryption.shown) as server:
        async with way.pool(server, encryption.trusted) as pool:
            tracemalloc.start()
            try:
                await way.run(pool.fetch("PUT", "/", f"content-length: {size}\r\n", body))
            finally:
                tracemalloc.stop()
    assert max(peaks) < 8 * MIB
