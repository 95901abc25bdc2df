"""Streams into a mirror: read once, in bounded memory, and on all children or on none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from contents import all_of, contents, pieces
from doubles import Gate, ScriptedStore, scripted

from storage import (
    Attributes,
    ConcurrencyLimitStore,
    Data,
    DictStore,
    KeyExistsError,
    MirrorError,
    MirroringStore,
    PreconditionFailedError,
    PrefixStore,
    StoreDecorator,
    StoreFullError,
    StoreUnavailableError,
)
from storage._core.data import whole
from storage.decorators.mirroring import writes as mirroring_writes
from storage.decorators.mirroring.marks import KEY

#: So large that a stream of it does not fit into the two pieces that are looked at before any child is called.
PIECE = b"x" * (1 << 20)


class Reading(StoreDecorator):
    """A child that reads a stream piece by piece, and may fail or wait at one of them."""

    def __init__(self, base: DictStore) -> None:
        super().__init__(base)
        self.taken: list[bytes] = []
        self.fails_at: int | None = None
        self.may_go_on = asyncio.Event()
        self.held_at: int | None = None

    async def put(
        self,
        key: str,
        data: Data,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        if key == KEY:
            return await self.base.put(key, data)
        assert isinstance(data, AsyncIterator)

        async def watched() -> AsyncIterator[bytes]:
            async for piece in data:
                self.taken.append(piece)
                if len(self.taken) == self.fails_at:
                    raise StoreFullError("no room left")
                if len(self.taken) == self.held_at:
                    await self.may_go_on.wait()
                yield piece

        return await self.base.put(key, watched(), if_absent=if_absent, if_match=if_match, attributes=attributes)


def reading(count: int) -> list[Reading]:
    return [Reading(DictStore()) for _ in range(count)]


class Producer:
    """A stream that counts the pieces that were read from it."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.given = 0
        self._count = count
        self._error = error

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(self._count):
            self.given += 1
            yield PIECE
        if self._error is not None:
            raise self._error


async def test_stream_is_read_once_and_handed_to_all() -> None:
    """All children get the same pieces: the bytes are not copied."""
    children = reading(3)
    producer = Producer(5)

    etag = await MirroringStore(children).put("k", producer, attributes={"color": "red"})

    assert 5 == producer.given
    assert [{"k": PIECE * 5}] * 3 == [await contents(child.base) for child in children]
    assert all(one is two for one, two in zip(children[0].taken, children[2].taken, strict=True))
    assert etag == (await children[0].head("k")).etag
    assert {"color": "red"} == (await children[2].head("k")).attributes


async def test_slow_child_holds_up_the_others_and_the_producer() -> None:
    """Memory is bounded: no child is more than one piece ahead of the slowest."""
    quick, slow = reading(2)
    slow.held_at = 2
    producer = Producer(50)

    putting = asyncio.create_task(MirroringStore([quick, slow]).put("k", producer))
    for _ in range(500):
        await asyncio.sleep(0)
    assert (2, 2) == (len(quick.taken), len(slow.taken))
    assert producer.given <= 4  # one that all have, one that waits for them, and what is looked ahead at the start
    slow.may_go_on.set()
    await putting

    assert [50, 50] == [len(quick.taken), len(slow.taken)]


@pytest.mark.parametrize("require", ["quorum", "any"])
async def test_child_that_fails_amid_a_stream_does_not_stop_the_others(require: Any) -> None:
    """As long as enough children are left; the one that failed is stale, and catches up."""
    children = reading(3)
    children[0].fails_at = 2
    store = MirroringStore(children, require=require)

    await store.put("k", Producer(5))

    for child in children[1:]:
        await child.base.delete(KEY)
    assert [{}, {"k": PIECE * 5}, {"k": PIECE * 5}] == [await contents(child.base) for child in children]


async def test_stream_that_too_few_can_take_is_written_nowhere() -> None:
    """It stops as soon as that is known: the rest of the stream is not read, and no child has an object."""
    children = reading(2)
    children[1].fails_at = 3
    store = MirroringStore(children)
    producer = Producer(1000)

    with pytest.raises(MirrorError) as caught:
        await store.put("k", producer)

    assert producer.given < 10
    assert ((), [1]) == (caught.value.succeeded, list(caught.value.failed))
    assert [{}, {}] == [await contents(child.base) for child in children]
    assert {asyncio.current_task()} == asyncio.all_tasks()


async def test_stream_on_a_condition_ends_when_the_first_child_fails() -> None:
    """No other child can check the condition, so the rest of the stream is not read."""
    children = reading(2)
    children[0].fails_at = 2
    producer = Producer(1000)

    with pytest.raises(StoreFullError):
        await MirroringStore(children, require="any").put("k", producer, if_absent=True)

    assert producer.given < 10
    assert {} == await contents(children[1].base)


@pytest.mark.parametrize("count", [0, 1, 2, 5])
async def test_error_of_the_producer_is_raised_as_it_is_and_nothing_is_written(count: int) -> None:
    """No child has seen the end of the stream, however late the error comes."""
    children = scripted(2)
    store = MirroringStore(children)
    await store.put("k", b"old")
    error = ZeroDivisionError()

    with pytest.raises(ZeroDivisionError) as caught:
        await store.put("k", Producer(count, error))

    assert error is caught.value
    assert [{"k": b"old"}] * 2 == await all_of(*children)
    assert {asyncio.current_task()} == asyncio.all_tasks()


async def test_first_child_judges_a_stream_before_the_others_see_its_end() -> None:
    """A condition that fails at the very end has written nothing anywhere."""
    first, second = scripted(2)
    store = MirroringStore([first, second])
    etag = await store.put("k", b"old")

    async def racing() -> AsyncIterator[bytes]:
        yield PIECE
        yield PIECE
        yield PIECE
        await store.put("k", b"between")

    with pytest.raises(PreconditionFailedError):
        await store.put("k", racing(), if_match=etag)
    with pytest.raises(KeyExistsError):
        await store.put("k", Producer(3), if_absent=True)

    assert [{"k": b"between"}] * 2 == await all_of(first, second)
    await store.put("new", Producer(3), if_absent=True)
    assert PIECE * 3 == await second.get("new")


async def test_first_child_that_fell_behind_amid_a_stream_does_not_judge_it() -> None:
    """While the stream was read, the first child missed a put: its etag is old."""
    first, second = scripted(2)
    store = MirroringStore([first, second], require="any", repair=False)
    etag = await store.put("k", b"old")

    async def racing() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield PIECE
        first.fail("put")
        await store.put("k", b"between")
        first.heal()

    with pytest.raises(StoreUnavailableError):
        await store.put("k", racing(), if_match=etag)

    assert b"between" == await store.get("k")


class Collecting(StoreDecorator):
    """A child that reads the whole stream before it writes, and waits there the first time."""

    def __init__(self, base: DictStore) -> None:
        super().__init__(base)
        self.hold: Gate | None = None

    async def put(self, key: str, data: Data, **options: Any) -> str:
        content = await whole(data)
        hold, self.hold = self.hold, None
        if hold is not None:
            await hold.wait()
        return await self.base.put(key, content, **options)


@pytest.mark.parametrize("other", ["a stream", "bytes", "a delete"])
async def test_what_comes_after_a_stream_comes_after_it_on_all_children(other: str) -> None:
    """One child is slow to write a stream that another one has written: the next write of the key waits for it."""
    first, second = DictStore(), Collecting(DictStore())
    hold = second.hold = Gate()
    store = MirroringStore([first, second])

    streaming = asyncio.create_task(store.put("k", Producer(3)))
    await hold.reached()
    works = {"a stream": store.put("k", Producer(4)), "bytes": store.put("k", b"v"), "a delete": store.delete("k")}
    writing = asyncio.create_task(works.pop(other))
    for work in works.values():
        work.close()
    for _ in range(50):
        await asyncio.sleep(0)
    hold.open()
    await asyncio.gather(streaming, writing)

    expected = {"a stream": {"k": PIECE * 4}, "bytes": {"k": b"v"}, "a delete": {}}[other]
    assert [expected] * 2 == [await contents(first), await contents(second)]


@pytest.mark.parametrize("limit", [1, 2])
async def test_children_may_share_a_limit(limit: int) -> None:
    """A stream that waits occupies no slot: neither another child's write nor another put of the key is blocked."""
    base = DictStore()
    limited = ConcurrencyLimitStore(base, limit)
    store = MirroringStore([PrefixStore(limited, "a/"), PrefixStore(limited, "b/")])

    async with asyncio.timeout(30):
        await asyncio.gather(
            *(store.put("k", pieces(PIECE, PIECE, PIECE, b"%d" % number)) for number in range(3)),
            *(store.put("k", b"small %d" % number) for number in range(3)),
        )

    assert await base.get("a/k") == await base.get("b/k")


async def test_stream_that_would_wait_for_ever_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child accepts one write at a time, the stream; the next put has the lock: each waits for the other."""

    class OneAtATime(ScriptedStore):
        lock: asyncio.Lock

        async def put(self, key: str, data: Data, **options: Any) -> str:
            async with self.lock:
                return await super().put(key, data, **options)

    monkeypatch.setattr(mirroring_writes, "LOCK_TIMEOUT", 0.05)
    child = OneAtATime()
    child.lock = asyncio.Lock()
    store = MirroringStore([child, DictStore()])
    begun = asyncio.Event()
    go_on = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield PIECE
        begun.set()
        await go_on.wait()

    streaming = asyncio.create_task(store.put("k", slow()))
    await begun.wait()
    putting = asyncio.create_task(store.put("k", b"small"))
    await asyncio.sleep(0)
    go_on.set()

    with pytest.raises(StoreUnavailableError, match="nothing was put"):
        await streaming
    await putting
    assert {"k": b"small"} == await contents(child.base)


async def test_cancelled_stream_is_abandoned_everywhere() -> None:
    """Its producer hangs: the cancellation is prompt, and nothing is left."""
    children = scripted(2)
    store = MirroringStore(children)
    begun = asyncio.Event()

    async def hanging() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield PIECE
        begun.set()
        await asyncio.Event().wait()

    putting = asyncio.create_task(store.put("k", hanging()))
    await begun.wait()
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting

    assert [{}, {}] == await all_of(*children)
    assert {asyncio.current_task()} == asyncio.all_tasks()
