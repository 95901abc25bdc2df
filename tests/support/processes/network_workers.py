"""Tasks that work on a store over a bad line, each on keys of its own, and know what must be there in the end."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from storage import KeyExistsError, ObjectStore, OutcomeUnknownError, PreconditionFailedError, StorageError
from storage.testing import Fault, FaultProxy, ProxiedRequest

__all__ = ["Line", "Worker", "work_over"]

MIB = 1 << 20

#: Concurrent tasks, how many operations each does, and how many of them put a large object.
TASKS, STEPS, LARGE = 24, 90, 6

#: Seconds that no operation takes, whatever happens to it.
AT_MOST = 20


class Line:
    """
    Says which fault meets which request: one in eight has one.

    Attributes:
        told: how often which was, by name.

    Args:
        seed: of what is random.
        answers: by name, what the server may say instead: status and body, and whether it has done what it was asked.
        spared: says of which requests none is to have a fault, or not that of this name.
    """

    def __init__(
        self,
        seed: int,
        answers: dict[str, tuple[tuple[int, bytes], bool]],
        spared: Callable[[ProxiedRequest, str], bool] = lambda request, name: False,
    ) -> None:
        self.told: Counter[str] = Counter()
        self._rng = random.Random(seed)
        self._answers = answers
        self._spared = spared

    def decide(self, request: ProxiedRequest) -> Fault | None:
        """Return what happens to a request."""
        rng = self._rng
        if rng.random() > 0.125:
            return None
        within = rng.randrange(len(request.body) + 1)
        faults = {
            "delayed": Fault(delay=rng.random() / 20),
            "request cut": Fault(cut_request=within),
            "request cut, reset": Fault(cut_request=within, reset=True),
            "answer cut": Fault(cut_answer=rng.choice([0, 1, 100, 5000, MIB])),
            "answer lost": Fault(lose=True),
            "answer lost, reset": Fault(lose=True, reset=True),
            "sent twice": Fault(times=2),
            "silence": Fault(silent=True, times=rng.randrange(2)),
        } | {name: Fault(answer=answer, times=int(done)) for name, (answer, done) in self._answers.items()}
        name = rng.choice(list(faults))
        if self._spared(request, name):
            return None
        self.told[name] += 1
        return faults[name]


@dataclass
class Worker:
    """
    One task, its keys, and what may be under each: a value, or several where nobody could say.

    Attributes:
        store: where it works.
        number: tells it from others.
        large: bytes of the one large object that it puts, 0 for none.
        conditions: whether it puts on conditions too.
        known: values by key, None for no object.
        failed: how often it was told of which error.
    """

    store: ObjectStore
    number: int
    large: int
    conditions: bool
    known: dict[str, set[bytes | None]] = field(default_factory=dict)
    failed: Counter[str] = field(default_factory=Counter)

    async def work(self) -> None:
        """Do all steps; an assertion that fails is a promise that the store has not kept."""
        rng = random.Random(self.number)
        acts = [self._put, self._put, self._stream, self._delete, self._get, self._get, self._read, self._copy]
        acts += [self._create, self._swap] * self.conditions
        large_at = rng.randrange(STEPS) if self.large else -1
        for step in range(STEPS):
            key = f"{self.number}/{rng.randrange(6)}"
            data = f"{key} {step} ".encode() * rng.choice([1, 1, 10, 1000])
            act = rng.choice(acts)
            if step == large_at:
                key, act = f"{self.number}/large", self._stream
                data *= self.large // len(data)
            try:
                async with asyncio.timeout(AT_MOST):
                    await act(key, data)
            except StorageError as error:
                self.failed[type(error).__name__] += 1

    def _maybe(self, key: str, data: bytes | None) -> set[bytes | None]:
        """Note that *key* may become *data* until we are told, and return what it may be now."""
        before = self.known.setdefault(key, {None})
        self.known[key] = before | {data}
        return before

    async def _put(self, key: str, data: bytes) -> None:
        self._maybe(key, data)
        await self.store.put(key, data)
        self.known[key] = {data}

    async def _stream(self, key: str, data: bytes) -> None:
        self._maybe(key, data)
        await self.store.put(key, _pieces(data))
        self.known[key] = {data}

    async def _create(self, key: str, data: bytes) -> None:
        before = self._maybe(key, data)
        try:
            await self.store.put(key, data, if_absent=True)
        except KeyExistsError:
            assert before != {None}, "it said that something was there where nothing was"
            self.known[key] = before - {None}
        else:
            assert None in before, "it created what was there"
            self.known[key] = {data}

    async def _swap(self, key: str, data: bytes) -> None:
        if None in self.known.setdefault(key, {None}):
            return
        etag = (await self.store.head(key)).etag
        self._maybe(key, data)
        try:
            await self.store.put(key, data, if_match=etag)
        except OutcomeUnknownError:
            raise
        except PreconditionFailedError:
            raise AssertionError("nobody else has written") from None
        self.known[key] = {data}

    async def _delete(self, key: str, data: bytes) -> None:
        self._maybe(key, None)
        await self.store.delete(key)
        self.known[key] = {None}

    async def _copy(self, key: str, data: bytes) -> None:
        source = f"{self.number}/{int(key[-1]) // 2}"
        values = self.known.setdefault(source, {None})
        if source == key or None in values:
            return
        self.known[key] = self.known.setdefault(key, {None}) | values
        await self.store.copy(source, key)
        self.known[key] = set(values)

    async def _get(self, key: str, data: bytes) -> None:
        self._saw(key, (await self.store.get_many([key]))[key])

    async def _read(self, key: str, data: bytes) -> None:
        try:
            async with self.store.open(key) as reader:
                self._saw(key, b"".join([piece async for piece in reader]))
        except StorageError as error:
            self._saw(key, error)

    def _saw(self, key: str, found: bytes | StorageError) -> None:
        """Hold what was read against what may be there; from now on it is known."""
        before = self.known.setdefault(key, {None})
        if isinstance(found, bytes):
            assert found in before, f"{key}: a stale or a mixed read"
            self.known[key] = {found}
        elif not found.retryable:
            assert None in before, f"{key}: {found!r}"
            self.known[key] = {None}
        else:
            raise found


async def work_over(
    server: str,
    line: Line,
    connect: Callable[[str], AbstractAsyncContextManager[ObjectStore]],
    direct: ObjectStore,
    *,
    large: int,
    conditions: bool = True,
    tls: ssl.SSLContext | None = None,
) -> Counter[str]:
    """
    Have many workers work over a bad line, hold all objects against what they know, and return which errors they got.

    Args:
        server: the URL of the server.
        line: what happens to requests on their way.
        connect: returns a store over a URL.
        direct: a store over the same objects, past the line.
        large: bytes of large objects.
        conditions: whether the server keeps them.
        tls: what the line speaks TLS with, if it does.
    """
    tasks = _ours()
    async with FaultProxy(server, line.decide, tls=tls) as proxy:
        async with connect(proxy.url) as store:
            workers = [
                Worker(store, number, large + number if number < LARGE else 0, conditions) for number in range(TASKS)
            ]
            await asyncio.gather(*(worker.work() for worker in workers))
        async with asyncio.timeout(10):
            while proxy.connections:  # noqa: ASYNC110  # the other side of each has been closed
                await asyncio.sleep(0.01)
    assert tasks == _ours()
    known = {key: values for worker in workers for key, values in worker.known.items()}

    found = await direct.get_many(known)
    assert {} == dict(_wrong(known, found))
    return sum((worker.failed for worker in workers), Counter[str]())


def _ours() -> set[asyncio.Task[object]]:
    """Return the tasks that there are, but for those of a server in the same process."""
    return {task for task in asyncio.all_tasks() if "aiohttp.web_protocol" not in repr(task)}


def _wrong(
    known: dict[str, set[bytes | None]], found: dict[str, bytes | StorageError]
) -> Iterable[tuple[str, tuple[int, object]]]:
    """Yield the keys under which something else is than may be, with its beginning."""
    for key, values in known.items():
        data = found[key]
        if (data if isinstance(data, bytes) else None) not in values:
            yield key, (len(values), data[:100] if isinstance(data, bytes) else data)


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for begin in range(0, len(data), MIB):
        yield data[begin : begin + MIB]
