"""A write that got no answer may land later: until then, and for some minutes, its key is not cached."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from caching_tools import Cached, or_none

from storage import (
    BulkError,
    CachingStore,
    ConfigError,
    DictStore,
    ExceptionLoggingStore,
    IncompleteListingError,
    KeyExistsError,
    ObjectStore,
    OutcomeUnknownError,
    PermissionDeniedError,
    RetryingStore,
    StorageError,
    StoreDecorator,
    StoreTimeoutError,
    StoreUnavailableError,
    TieredStore,
)
from storage.decorators.caching import unsettled as caching_unsettled

#: A write waits until it is cancelled.
NO_ANSWER = asyncio.CancelledError("no answer")


class LateStore(StoreDecorator):
    """
    A store on a network: its writes get no answer, and land when a test says so.

    Attributes:
        error: what the writes raise; None for writes that get an answer.
        sent: set when a write was sent that waits for its answer.
    """

    def __init__(self, base: DictStore) -> None:
        super().__init__(base)
        self.error: BaseException | None = None
        self.sent = asyncio.Event()
        self._late: list[Callable[[], Awaitable[Any]]] = []

    async def land(self) -> None:
        """Carry out the writes that got no answer."""
        for write in self._late:
            await write()
        self._late.clear()

    async def _write(self, call: Callable[[], Awaitable[Any]]) -> Any:
        if self.error is None:
            return await call()
        self._late.append(call)
        if self.error is NO_ANSWER:
            self.sent.set()
            await asyncio.Event().wait()
        raise self.error

    async def put(self, key: str, data: Any, **options: Any) -> str:
        return str(await self._write(lambda: self.base.put(key, data, **options)))

    async def delete(self, key: str, **options: Any) -> None:
        await self._write(lambda: self.base.delete(key, **options))

    async def copy(self, source: str, target: str, **options: Any) -> str:
        return str(await self._write(lambda: self.base.copy(source, target, **options)))

    async def rename(self, source: str, target: str, **options: Any) -> str:
        return str(await self._write(lambda: self.base.rename(source, target, **options)))

    async def clear(self, prefix: str = "") -> None:
        await self._write(lambda: self.base.clear(prefix))

    async def put_many(self, items: Any, *, raise_errors: bool = True) -> dict[str, Any]:
        return await ObjectStore.put_many(self, items, raise_errors=raise_errors)

    async def delete_many(self, keys: Any, *, raise_errors: bool = True) -> dict[str, Any]:
        return await ObjectStore.delete_many(self, keys, raise_errors=raise_errors)


@pytest.fixture
async def main() -> LateStore:
    """Return a main store with the objects ``k`` and ``aside``."""
    base = DictStore()
    await base.put_many({"k": b"old", "aside": b"from aside"})
    return LateStore(base)


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a list of one number, the seconds that have passed."""
    passed = [0.0]
    monkeypatch.setattr(caching_unsettled, "now", lambda: passed[0])
    return passed


Write = Callable[[CachingStore], Awaitable[object]]

WRITES: dict[str, Write] = {
    "put": lambda store: store.put("k", b"new"),
    "put of a stream": lambda store: store.put("k", [b"n", b"ew"]),
    "delete": lambda store: store.delete("k"),
    "copy": lambda store: store.copy("aside", "k"),
    "rename onto it": lambda store: store.rename("aside", "k"),
    "rename it": lambda store: store.rename("k", "elsewhere"),
    "put_many": lambda store: store.put_many({"j": b"", "k": b"new"}),
    "put_many with results": lambda store: store.put_many({"j": b"", "k": b"new"}, raise_errors=False),
    "delete_many": lambda store: store.delete_many(["j", "k"]),
    "delete_many with results": lambda store: store.delete_many(["j", "k"], raise_errors=False),
    "clear": lambda store: store.clear(),
    "clear a prefix": lambda store: store.clear("k"),
}


async def attempt(write: Awaitable[object]) -> None:
    """Await a write that may fail."""
    try:
        await write
    except (StorageError, ConnectionResetError, asyncio.CancelledError):
        pass


@pytest.mark.parametrize("through", ["around", "through"])
@pytest.mark.parametrize("write", WRITES.values(), ids=list(WRITES))
async def test_late_write_is_seen(main: LateStore, write: Write, through: Any) -> None:
    """Reads that found the old object in between have left no entry of it, and none that it is missing."""
    store = CachingStore(main, cache := DictStore(), write=through, negative=1000)
    assert b"old" == await store.get("k")
    main.error = StoreTimeoutError("no answer in time")
    await attempt(write(store))
    main.error = None
    assert (b"old", True, 3) == (await store.get("k"), await store.exists("k"), (await store.head("k")).size)
    assert not await cache.exists("k")
    assert None is await or_none(store.get("j"))

    await main.land()

    for key in "jk":
        assert await or_none(main.base.get(key)) == await or_none(store.get(key))


OVER: dict[str, Callable[[LateStore, DictStore], CachingStore]] = {
    "plain": CachingStore,
    "bounded": lambda main, cache: CachingStore(main, cache, max_bytes=10_000),
    "retrying": lambda main, cache: CachingStore(RetryingStore(main), cache),
}


@pytest.mark.parametrize("over", OVER.values(), ids=list(OVER))
@pytest.mark.parametrize("method", ["put_many", "delete_many"])
@pytest.mark.parametrize(
    "error",
    [ValueError(), PermissionDeniedError("of a listing"), BulkError({}), IncompleteListingError({}, 0)],
    ids=lambda error: type(error).__name__,
)
async def test_error_of_the_callers_iterable_is_no_result(
    main: LateStore, over: Callable[[LateStore, DictStore], CachingStore], method: str, error: Exception
) -> None:
    """It cancels the writes that are under way, and they may land later. It is raised as it is."""
    store = over(main, cache := DictStore())
    assert b"old" == await store.get("k")
    main.error = NO_ANSWER

    async def items() -> AsyncIterator[Any]:
        yield ("k", b"new") if method == "put_many" else "k"
        if method == "put_many" or over is not OVER["retrying"]:  # which reads all keys first
            await main.sent.wait()
        raise error

    with pytest.raises(type(error)) as raised:
        await getattr(store, method)(items())
    assert error is raised.value
    main.error = None
    assert b"old" == await store.get("k")
    assert not await cache.exists("k")
    await main.land()

    assert await or_none(main.base.get("k")) == await or_none(store.get("k"))


async def test_clear_that_fails_as_a_whole_says_nothing_of_its_objects(main: LateStore) -> None:
    """A page may have been deleted without an answer, before the listing of the next one was refused."""
    store = CachingStore(main, DictStore())
    main.error = PermissionDeniedError("no listing")
    await attempt(store.clear())
    assert b"old" == await store.get("k")
    await main.land()
    assert None is await or_none(store.get("k"))


def test_cache_over_a_store_that_swallows_errors_is_refused() -> None:
    """A write that got no answer would look finished."""
    with pytest.raises(ConfigError, match=r"ExceptionLoggingStore\(CachingStore"):
        CachingStore(ExceptionLoggingStore(DictStore(), swallow=True), DictStore())

    CachingStore(DictStore(), ExceptionLoggingStore(DictStore()))
    CachingStore(ExceptionLoggingStore(DictStore()), DictStore())


@pytest.mark.parametrize(
    "error",
    [
        StoreTimeoutError("slow"),
        StoreUnavailableError("the connection broke"),
        OutcomeUnknownError("who knows"),
        ConnectionResetError("reset"),
        asyncio.CancelledError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_each_unknown_outcome_counts(main: LateStore, error: BaseException) -> None:
    """Also a cancellation, after which a request may still be on its way."""
    store = CachingStore(main, DictStore())
    main.error = error
    await attempt(store.put("k", b"new"))
    assert b"old" == await store.get("k")
    await main.land()
    assert b"new" == await store.get("k")


@pytest.mark.parametrize(
    "error", [KeyExistsError("k"), PermissionDeniedError("no"), ConfigError("wrong")], ids=lambda e: type(e).__name__
)
async def test_refused_write_does_not_keep_its_key_out_of_the_cache(main: LateStore, error: StorageError) -> None:
    """It will not take effect."""
    store = CachingStore(main, cache := DictStore())
    main.error = error
    await attempt(store.put("k", b"new"))
    await store.get("k")
    assert await cache.exists("k")


async def test_key_is_cached_again_when_the_write_can_land_no_longer(main: LateStore, passed: list[float]) -> None:
    """Other keys are cached meanwhile. What another process has put into the cache in between is deleted first."""
    store, cache = CachingStore(main, copies := DictStore()), CachingStore(main.base, DictStore())
    main.error = StoreTimeoutError("slow")
    await attempt(store.put("k", b"new"))
    await store.get("aside")
    assert ["aside"] == [key async for key in copies.keys()]
    await cache.get("k")
    await copies.put("k", await cache.cache_store.get("k"))  # by a process that shares the cache
    await main.land()

    passed[0] += caching_unsettled.UNSETTLED - 1
    assert b"new" == await store.get("k")
    assert b"old" in await copies.get("k")
    passed[0] += 1
    assert [b"new"] * 3 == [await store.get("k") for _ in range(3)]
    assert b"new" in await copies.get("k")
    assert 0 == len(store._coherent.ledger._unsettled)


async def test_keys_of_a_cleared_prefix_are_cached_again_too(main: LateStore, passed: list[float]) -> None:
    """Until then others are cached, and they are not."""
    store = CachingStore(main, copies := DictStore())
    main.error = StoreTimeoutError("slow")
    await attempt(store.clear("k"))
    for key in ("k", "aside"):
        await store.get(key)
    assert ["aside"] == [key async for key in copies.keys()]

    passed[0] += caching_unsettled.UNSETTLED
    for _ in range(2):
        await store.get("k")
    assert await copies.exists("k")


async def test_memory_for_unknown_outcomes_is_bounded(main: LateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound nothing is cached for a while."""
    monkeypatch.setattr(caching_unsettled, "KEYS", 3)
    monkeypatch.setattr(caching_unsettled, "PREFIXES", 3)
    store = CachingStore(main, copies := DictStore())
    main.error = StoreTimeoutError("slow")
    await attempt(store.put_many({f"n{number}": b"" for number in range(10)}))
    for number in range(10):
        await attempt(store.clear(f"p{number}"))

    assert len(store._coherent.ledger._unsettled) <= 6
    await store.get("k")
    assert [] == [key async for key in copies.keys()]


async def test_all_tiers_wait(main: LateStore) -> None:
    """An upper tier must not keep what the lower one reads again and again."""
    store = TieredStore([DictStore(), DictStore(), main])
    assert b"old" == await store.get("k")
    main.error = StoreTimeoutError("slow")
    await attempt(store.put("k", b"new"))
    assert b"old" == await store.get("k")
    await main.land()
    assert b"new" == await store.get("k")


async def test_callers_that_wait_together_still_share_one_read() -> None:
    """Keys out of the cache do not cost more reads of the main store than keys that are not cached yet."""
    cached = Cached()
    await cached.below.put("k", b"old")
    cached.main.fail("put", error=lambda: StoreTimeoutError("slow"))
    await attempt(cached.store.put("k", b"new"))
    cached.main.heal()
    cached.main.calls.clear()
    assert [b"old"] * 50 == await asyncio.gather(*(cached.store.get("k") for _ in range(50)))
    assert 1 == cached.main.count("open")
