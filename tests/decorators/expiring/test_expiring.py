"""`ExpiringStore`: objects for a time."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from clocks import HandClock, expiring
from examples import MinimalStore
from processes.workers import CREATED, compete, in_processes

import storage.sync
from storage import (
    ByteRange,
    Capabilities,
    ConfigError,
    Data,
    DictStore,
    ExpiringStore,
    FilesystemStore,
    GzipStore,
    JsonStore,
    KeyExistsError,
    KeyNotFoundError,
    NotifyingStore,
    ObjectInfo,
    ObjectStore,
    PreconditionFailedError,
    PrefixStore,
    RangeNotSatisfiableError,
    ReadonlyStore,
    SqliteStore,
    StorageError,
    StoreDecorator,
    StoreUnavailableError,
    UnsupportedOperationError,
    WriteonlyStore,
    update,
)
from storage._core.bulk import PAGE
from storage._core.clock import Clock
from storage.testing.suite.harness import listed


@pytest.fixture(params=["dict", "filesystem", "sqlite"])
async def base(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    made: dict[str, Callable[[], ObjectStore]] = {
        "dict": DictStore,
        "filesystem": lambda: FilesystemStore(tmp_path),
        "sqlite": lambda: SqliteStore(tmp_path / "objects.db"),
    }
    async with made[request.param]() as store:
        yield store


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


async def found(store: ObjectStore, key: str) -> bytes | None:
    try:
        return await store.get(key)
    except KeyNotFoundError:
        return None


async def opened(store: ObjectStore, key: str) -> bytes:
    async with store.open(key) as reader:
        return await reader.read()


# -- from the very moment, for every method --------------------------------------------------------------------------

#: What raises when there is no object; each begins anew at every call.
ASKING: dict[str, Callable[[ExpiringStore], Awaitable[object]]] = {
    "get": lambda store: store.get("a/k"),
    "a range": lambda store: store.get("a/k", byte_range=ByteRange(1, 2)),
    "a range behind its end": lambda store: store.get("a/k", byte_range=ByteRange(100)),
    "head": lambda store: store.head("a/k"),
    "open": lambda store: opened(store, "a/k"),
    "copy": lambda store: store.copy("a/k", "a/copy"),
    "rename": lambda store: store.rename("a/k", "a/renamed"),
    "rename to itself": lambda store: store.rename("a/k", "a/k"),
    "expires": lambda store: store.expires("a/k"),
    "touch": lambda store: store.touch("a/k"),
}

#: What gives something else when there is no object, and what that is.
LOOKING: dict[str, tuple[Callable[[ExpiringStore], Awaitable[object]], object]] = {
    "exists": (lambda store: store.exists("a/k"), False),
    "keys": (lambda store: listed(store.keys()), []),
    "scan": (lambda store: listed(store.scan()), []),
    "children": (lambda store: listed(store.children()), []),
}


@pytest.mark.parametrize("name", ASKING)
async def test_nothing_is_asked_of_what_has_expired(base: ObjectStore, clock: HandClock, name: str) -> None:
    """A microsecond before the end the object is there, and at it no method finds any."""
    store = expiring(base, clock, 60)
    for moment in (59.999999, 0.000001):
        await store.put("a/k", b"value")
        clock.go_on(moment)
        if name != "rename":
            with suppress(RangeNotSatisfiableError):
                await ASKING[name](store)
        await store.put("a/k", b"value")
        clock.go_on(60)

        with pytest.raises(KeyNotFoundError) as caught:
            await ASKING[name](store)
        assert "a/k" == caught.value.key


@pytest.mark.parametrize("name", LOOKING)
async def test_nothing_shows_what_has_expired(base: ObjectStore, clock: HandClock, name: str) -> None:
    """A microsecond before the end the object is there, and at it no method shows any."""
    look, nothing = LOOKING[name]
    store = expiring(base, clock, 60)
    await store.put("a/k", b"value")

    clock.go_on(59.999999)
    assert nothing != await look(store)
    clock.go_on(0.000001)
    assert nothing == await look(store)


async def test_get_many_tells_what_has_expired_from_what_has_not(base: ObjectStore, clock: HandClock) -> None:
    """Each object has its own time."""
    store = expiring(base, clock, 60)
    await store.put("short", b"1", ttl=30)
    await store.put("long", b"2")
    clock.go_on(30)
    results = await store.get_many(["short", "long"])

    assert isinstance(results["short"], KeyNotFoundError)
    assert b"2" == results["long"]


async def test_listing_under_way_goes_by_the_time_of_each_step(base: ObjectStore, clock: HandClock) -> None:
    """What expires while it is being listed is not yielded any more, though the base was asked before."""
    store = expiring(base, clock, 60)
    await store.put_many({f"k{number}": b"v" for number in range(5)})
    keys = store.keys()
    first = await anext(keys)
    clock.go_on(60)

    assert ["k0"] == [first, *await listed(keys)]


async def test_reader_opened_in_time_may_finish(base: ObjectStore, clock: HandClock) -> None:
    """What was promised is given, though the object is gone meanwhile for all others."""
    store = expiring(base, clock, 60)
    await store.put("k", b"0123456789")

    async with store.open("k") as reader:
        assert b"01234" == await reader.read(5)
        clock.go_on(60)
        assert not await store.exists("k")
        assert b"56789" == await reader.read()


# -- how long --------------------------------------------------------------------------------------------------------


async def test_each_object_may_have_a_time_of_its_own(base: ObjectStore, clock: HandClock) -> None:
    """The put's ttl goes before the attribute, and that before the store's."""
    store = expiring(base, clock, 60)
    await store.put("store", b"v")
    await store.put("attribute", b"v", attributes={"expires-in": "30"})
    await store.put("ttl", b"v", attributes={"expires-in": "30"}, ttl=timedelta(seconds=10))
    await store.put("for ever", b"v", ttl=math.inf)
    await store.put("never", b"v", attributes={"expires-in": "inf"})
    began = datetime.fromtimestamp(1_000_000_000, UTC)
    times = {"store": 60, "attribute": 30, "ttl": 10}

    expected: dict[str, datetime | None] = {key: began + timedelta(seconds=time) for key, time in times.items()}
    assert expected | {"for ever": None, "never": None} == {key: await store.expires(key) async for key in store.keys()}


async def test_attribute_says_it_through_other_decorators(clock: HandClock) -> None:
    """Whoever puts into the top of a stack need not know where in it the expiring store is."""
    store = PrefixStore(GzipStore(expiring(DictStore(), clock)), "a/")
    await store.put("k", b"v", attributes={"expires-in": "60", "color": "red"})
    assert {"expires-in": "60", "color": "red"} == (await store.head("k")).attributes

    clock.go_on(60)

    assert None is await found(store, "k")


@pytest.mark.parametrize("ttl", [0, -1, math.nan, timedelta(0), timedelta.max, 1e300])
async def test_time_that_is_none_is_a_value_error(ttl: Any) -> None:
    """Nothing is put then."""
    store = ExpiringStore(DictStore())
    with pytest.raises(ValueError, match="ttl"):
        ExpiringStore(DictStore(), ttl)
    with pytest.raises(ValueError, match="ttl"):
        await store.put("k", b"v", ttl=ttl)

    assert [] == await listed(store.keys())


@pytest.mark.parametrize("text", ["soon", "", "-5", "0", "nan", "10 s"])
async def test_attribute_that_is_no_time_is_a_value_error(text: str) -> None:
    """A typo must not make an object live for ever."""
    store = ExpiringStore(DictStore())
    with pytest.raises(ValueError, match="expires-in"):
        await store.put("k", b"v", attributes={"expires-in": text})

    assert [] == await listed(store.keys())


async def test_touched_object_lives_on(base: ObjectStore, clock: HandClock) -> None:
    """As long as if it were put then, with its bytes and attributes; and a ttl says otherwise."""
    store = expiring(base, clock, 60)
    await store.put("k", b"value", attributes={"color": "red"})
    clock.go_on(50)
    etag = await store.touch("k")
    clock.go_on(50)

    assert (b"value", {"color": "red"}) == (await found(store, "k"), (await store.head("k")).attributes)
    assert etag == (await store.head("k")).etag
    await store.touch("k", ttl=5)
    clock.go_on(5)
    assert None is await found(store, "k")


async def test_touch_loses_no_concurrent_put(clock: HandClock) -> None:
    """What is put while the object is being touched stays, and is what has been touched."""

    class Overtaken(StoreDecorator):
        """Lets somebody else put before the first put on a condition."""

        overtaken = False

        async def put(self, key: str, data: Any, *, if_match: str | None = None, **options: Any) -> str:
            if if_match is not None and not self.overtaken:
                self.overtaken = True
                await self.base.put(key, b"newer")
            return await self.base.put(key, data, if_match=if_match, **options)

    store = expiring(Overtaken(DictStore()), clock)
    await store.put("k", b"older")
    await store.touch("k", ttl=10)

    assert b"newer" == await store.get("k")
    assert None is not await store.expires("k")


# -- the deadline, kept with the object ------------------------------------------------------------------------------


async def test_copy_and_rename_keep_the_deadline(base: ObjectStore, clock: HandClock) -> None:
    """An object does not get younger by them."""
    store = expiring(base, clock, 60)
    await store.put("k", b"v", ttl=10)
    await store.copy("k", "copy")
    deadline = await store.expires("k")
    clock.go_on(5)
    await store.rename("k", "renamed")

    assert [deadline, deadline] == [await store.expires("copy"), await store.expires("renamed")]
    clock.go_on(5)
    assert [] == await listed(store.keys())


async def test_change_of_an_object_with_a_time_of_its_own_does_not_make_it_immortal(clock: HandClock) -> None:
    """`update` puts the attributes again, and so the time begins anew."""
    store = expiring(DictStore(), clock)
    await store.put("k", b"1", attributes={"expires-in": "60"})
    clock.go_on(50)
    await update(store, "k", lambda data: (data or b"") + b"2")
    clock.go_on(59)
    assert b"12" == await found(store, "k")

    clock.go_on(1)

    assert None is await found(store, "k")


async def test_deadline_is_hidden_and_the_callers_attributes_are_his(base: ObjectStore, clock: HandClock) -> None:
    """Also one of the name that the store uses itself, whether or not the object has a deadline."""
    store = expiring(base, clock)
    await store.put("k", b"v", ttl=60, attributes={"color": "red"})
    await store.put("named", b"v", ttl=60, attributes={"expires-at": "2001-01-01T00:00:00+00:00"})
    await store.put("for ever", b"v", attributes={"expires-at": "2001-01-01T00:00:00+00:00"})
    own = {"expires-at": "2001-01-01T00:00:00+00:00"}
    async with store.open("k") as reader:
        assert {"color": "red"} == reader.info.attributes

    expected = {"k": {"color": "red"}, "named": own, "for ever": own}
    assert expected == {info.key: dict(info.attributes) async for info in store.scan()}
    assert expected == {key: dict((await store.head(key)).attributes) for key in expected}


@pytest.mark.parametrize("word", ["", "-", "x", "tomorrow at noon", "5", "2001-01-01", "2001-01-01T00:00:00"])
async def test_attribute_of_another_program_is_no_deadline(word: str) -> None:
    """Put past this store, the object lives for ever; and what is not the store's own it shows."""
    base = DictStore()
    await base.put("k", b"v", attributes={"expires-at": word})
    store = ExpiringStore(base, 60)

    assert (b"v", None) == (await store.get("k"), await store.expires("k"))
    assert word in (await store.head("k")).attributes.get("expires-at", "-")


async def test_two_expiring_stores_in_one_stack(clock: HandClock) -> None:
    """Each keeps its own deadline, and the earlier one counts."""
    for upper, lower in ((10, 60), (60, 10)):
        store = expiring(expiring(DictStore(), clock, lower), clock, upper)
        await store.put("k", b"v", attributes={"color": "red"})
        assert {"color": "red"} == (await store.head("k")).attributes

        clock.go_on(9)
        assert b"v" == await found(store, "k")
        clock.go_on(1)
        assert None is await found(store, "k")


async def test_values_expire_as_well(clock: HandClock) -> None:
    """Over a store of values what is taken and given are values, also when one is touched."""
    store: Any = expiring(JsonStore(DictStore()), clock, 60)  # type: ignore[arg-type]
    await store.put("k", {"a": 1})
    clock.go_on(59)
    assert {"a": 1} == await store.get("k")

    await store.touch("k")

    clock.go_on(59)
    assert {"a": 1} == await store.get("k")
    clock.go_on(1)
    with pytest.raises(KeyNotFoundError):
        await store.get("k")


# -- clocks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [-86_400, 86_400])
async def test_step_of_the_clock_changes_nothing(base: ObjectStore, clock: HandClock, step: float) -> None:
    """Neither for what was put before it nor after, through this store or another of the process."""
    store, other = expiring(base, clock, 60), expiring(base, clock, 60)
    await store.put("before", b"v")
    clock.day += step
    await other.put("after", b"v")

    clock.go_on(59)
    assert ["after", "before"] == await listed(store.keys())
    clock.go_on(1)
    assert [] == await listed(store.keys())


async def test_wall_clock_counts_across_restarts(base: ObjectStore, clock: HandClock) -> None:
    """A process that begins later finds what is left of each object's time, and nothing that has none left."""
    store = expiring(base, clock, 60)
    await store.put("long", b"v")
    await store.put("short", b"v", ttl=30)

    later = expiring(base, HandClock(clock.day + 30), 60)

    assert ["long"] == await listed(later.keys())
    assert await store.expires("long") == await later.expires("long")


def test_real_clock_goes_by_the_day_at_its_start_and_counts_from_there() -> None:
    """It shows the time, and what the system's clock is set to later does not matter."""

    class Set(Clock):
        offset = 0.0

        def wall(self) -> float:
            return super().wall() + self.offset

    clock = Set()
    clock.offset = 86_400.0

    first, second = clock.now(), clock.now()
    assert timedelta(0) <= second - first
    assert abs(second - datetime.now(UTC)) < timedelta(minutes=1)


# -- removal ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted({*ASKING, "exists"} - {"a range behind its end"}))
async def test_what_is_found_expired_is_removed(base: ObjectStore, clock: HandClock, name: str) -> None:
    """Whoever asks for it pays for it; nobody has to enter the store for that."""
    store = expiring(base, clock, 60)
    await store.put("a/k", b"value")
    clock.go_on(60)

    with suppress(KeyNotFoundError):
        await (ASKING[name](store) if name in ASKING else store.exists("a/k"))

    assert [] == await listed(base.keys())


class Raced(StoreDecorator):
    """Somebody else puts into the store below just before a delete on a condition gets there."""

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        if if_match is not None:
            await self.base.put(key, b"new")
        await self.base.delete(key, if_match=if_match)


async def test_removal_never_takes_what_was_put_meanwhile(base: ObjectStore, clock: HandClock) -> None:
    """Neither that by a reader nor that by a sweep, nor that which makes way for a put on a condition."""
    store = expiring(Raced(base), clock, 60)
    for call in (
        lambda: store.get("k"),
        lambda: store.sweep(),
        lambda: store.put("k", b"x", if_absent=True),
        lambda: store.delete("k", if_match="nonsense"),
    ):
        await store.put("k", b"old")
        clock.go_on(60)
        with suppress(KeyNotFoundError, KeyExistsError, PreconditionFailedError):
            await call()
        if await base.get("k") == b"old":  # it was not even tried
            await store.sweep()

        assert b"new" == await base.get("k")


class HashedEtags(StoreDecorator):
    """Says of itself that equal bytes share an etag."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, etags=False)


async def test_nothing_is_removed_where_equal_bytes_share_an_etag(clock: HandClock) -> None:
    """A condition would not protect what was put anew; expired objects are hidden, and all else works."""
    base = DictStore()
    store = expiring(HashedEtags(base), clock, 60)
    etag = await store.put("k", b"v")
    clock.go_on(60)

    assert [None, []] == [await found(store, "k"), await listed(store.keys())]
    assert ["k"] == await listed(base.keys())
    for call in (store.sweep(), store.put("k", b"w", if_absent=True)):
        with pytest.raises(UnsupportedOperationError, match="cannot delete one version"):
            await call
    with pytest.raises(PreconditionFailedError):
        await store.put("k", b"w", if_match=etag)
    await store.put("k", b"w")
    assert b"w" == await store.get("k")


async def test_removal_that_fails_does_not_fail_a_read(clock: HandClock) -> None:
    """The object is not there, whatever becomes of its bytes."""

    class Undeletable(StoreDecorator):
        async def delete(self, key: str, *, if_match: str | None = None) -> None:
            raise StoreUnavailableError("away", key=key)

    store = expiring(Undeletable(DictStore()), clock, 60)
    await store.put("k", b"v")
    clock.go_on(60)

    assert [None, False] == [await found(store, "k"), await store.exists("k")]


# -- sweeps ----------------------------------------------------------------------------------------------------------


async def test_sweep_removes_what_has_expired_and_nothing_else(base: ObjectStore, clock: HandClock) -> None:
    """It says how many, and can be bounded to a prefix."""
    store = expiring(base, clock, 60)
    for key in ("a/1", "a/2", "b/1"):
        await store.put(key, b"v")
    await store.put("a/3", b"v", ttl=100)
    clock.go_on(60)

    assert 2 == await store.sweep("a/")
    assert ["a/3", "b/1"] == await listed(base.keys())
    assert [1, 0] == [await store.sweep(), await store.sweep()]


class Waited(StoreDecorator):
    """Tells when something was deleted, and fails to list as often as it is told to."""

    def __init__(self, base: ObjectStore, failures: int = 0) -> None:
        super().__init__(base)
        self.deleted = asyncio.Event()
        self.failures = failures

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        await super().delete(key, if_match=if_match)
        self.deleted.set()

    async def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailableError("away")
        async for info in self.base.scan(prefix, start_after=start_after):
            yield info


def sweepers() -> int:
    """Return how many tasks there are that sweep."""
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    return sum(name.startswith("Periodic.") for name in names)


async def test_sweeper_works_while_the_store_is_entered(base: ObjectStore, clock: HandClock) -> None:
    """It removes what nobody asks for, and it is no task any more when the store is closed."""
    waited = Waited(base)
    store = expiring(waited, clock, 60, sweep_interval=0.001)
    await store.put("k", b"v")
    clock.go_on(60)
    assert 0 == sweepers()

    async with store:
        assert 1 == sweepers()
        await waited.deleted.wait()

    assert 0 == sweepers()
    assert [] == await listed(base.keys())


async def test_sweeper_begins_again_when_the_store_is_opened_again(clock: HandClock) -> None:
    """Closed is not broken."""
    waited = Waited(DictStore())
    store = expiring(waited, clock, 60, sweep_interval=0.001)
    for _ in range(2):
        waited.deleted.clear()
        await store.put("k", b"v")
        clock.go_on(60)
        async with store:
            await waited.deleted.wait()

    assert [] == await listed(waited.base.keys())


async def test_sweep_that_fails_is_logged_and_the_next_one_comes(
    clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A back end that was away for a while does not end the sweeping."""
    waited = Waited(DictStore(), failures=3)
    store = expiring(waited, clock, 60, sweep_interval=0.001)
    await store.put("k", b"v")
    clock.go_on(60)

    with caplog.at_level(logging.WARNING, "storage"):
        async with store:
            await waited.deleted.wait()

    expected = "sweep of ExpiringStore(Waited(DictStore()), ttl=60) failed, and is tried again in 0.001 s: away"
    assert [expected] * 3 == caplog.messages


async def test_closing_ends_a_sweep_that_hangs(clock: HandClock) -> None:
    """A back end that does not answer keeps nobody from closing."""
    hanging = asyncio.Event()

    class Hanging(StoreDecorator):
        async def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
            hanging.set()
            await asyncio.Event().wait()
            yield ObjectInfo("never", 0, "")

    before = asyncio.all_tasks()
    async with expiring(Hanging(DictStore()), clock, 60, sweep_interval=0.001):
        await hanging.wait()

    assert before == asyncio.all_tasks()


async def test_sweep_goes_on_after_an_object_that_cannot_be_removed(clock: HandClock) -> None:
    """One bad object does not keep the others for ever; its error is raised in the end."""

    class Stubborn(StoreDecorator):
        async def delete(self, key: str, *, if_match: str | None = None) -> None:
            if key == "k0":
                raise StorageError("stubborn", key=key)
            await super().delete(key, if_match=if_match)

    base = DictStore()
    store = expiring(Stubborn(base), clock, 60)
    await store.put_many({f"k{number}": b"v" for number in range(PAGE + 10)})
    clock.go_on(60)

    with pytest.raises(StorageError, match="stubborn"):
        await store.sweep()

    assert ["k0"] == await listed(base.keys())


async def test_sweep_holds_a_page_at_most(clock: HandClock) -> None:
    """However many have expired, no more of them are known at once than go into a page."""

    class Counted(StoreDecorator):
        """Counts those that were listed and not deleted yet."""

        pending = most = 0

        async def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
            async for info in self.base.scan(prefix, start_after=start_after):
                self.pending += 1
                self.most = max(self.most, self.pending)
                yield info

        async def delete(self, key: str, *, if_match: str | None = None) -> None:
            await self.base.delete(key, if_match=if_match)
            self.pending -= 1

    counted = Counted(DictStore())
    store = expiring(counted, clock, 60)
    await store.put_many({f"k{number}": b"v" for number in range(2 * PAGE + 10)})
    clock.go_on(60)

    assert 2 * PAGE + 10 == await store.sweep()
    assert PAGE == counted.most


async def test_without_an_interval_nothing_runs_in_the_background() -> None:
    """For stores where a sweep costs: each lists everything."""
    before = asyncio.all_tasks()

    async with ExpiringStore(DictStore(), 60, sweep_interval=None):
        assert before == asyncio.all_tasks()


# -- conditions over what has expired --------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"new", b"", [b"n", b"ew"]], ids=["bytes", "empty", "stream"])
async def test_expired_object_does_not_block_a_creator(base: ObjectStore, clock: HandClock, data: Data) -> None:
    """It is not there, whether swept or not; a copy or rename may take its place as well."""
    store = expiring(base, clock, 60)
    await store.put("source", b"v", ttl=1000)
    await store.put_many(dict.fromkeys(["k", "copy", "renamed"], b"old"))
    clock.go_on(60)

    await store.put("k", data, if_absent=True)
    await store.copy("source", "copy", if_absent=True)
    await store.rename("source", "renamed", if_absent=True)

    assert [b"".join(data) if isinstance(data, list) else data, b"v", b"v"] == [
        await store.get("k"),
        await store.get("copy"),
        await store.get("renamed"),
    ]


async def test_one_of_many_creators_over_an_expired_object_wins(base: ObjectStore, clock: HandClock) -> None:
    """And what is there then is what that one put."""
    store = expiring(base, clock, 60)

    async def create(number: int) -> bool:
        try:
            await store.put("k", b"%d" % number, if_absent=True)
        except KeyExistsError:
            return False
        return True

    for _ in range(5):
        await store.put("k", b"old")
        clock.go_on(60)
        won = await asyncio.gather(*(create(number) for number in range(20)), found(store, "k"), store.sweep())

        assert 1 == sum(outcome is True for outcome in won[:20])
        assert b"%d" % won.index(True) == await store.get("k")


@pytest.mark.parametrize("name", ["expiring-filesystem", "expiring-sqlite"])
async def test_one_of_many_processes_over_expired_objects_wins(name: str, tmp_path: Path) -> None:
    """The condition is the base's, and holds among processes."""
    base: ObjectStore = FilesystemStore(tmp_path) if "filesystem" in name else SqliteStore(tmp_path / "objects.db")
    async with base:
        for key in CREATED:
            await base.put(key, b"old", attributes={"expires-at": "2001-01-01T00:00:00.000000+00:00"})
        await base.put("count", b"0")

    won = await asyncio.to_thread(in_processes, compete, 4, name, tmp_path, 1)

    assert sorted(CREATED) == sorted(key for keys in won for key in keys)
    async with ExpiringStore(base, 60) as store:
        assert {key: key.encode() for key in CREATED} == await store.get_many(CREATED)


async def test_expired_version_is_none_to_match(base: ObjectStore, clock: HandClock) -> None:
    """A compare-and-swap with its etag fails, and so does a delete; one without is no error."""
    store = expiring(base, clock, 60)
    etag = await store.put("k", b"old")
    clock.go_on(60)

    with pytest.raises(PreconditionFailedError):
        await store.put("k", b"new", if_match=etag)
    with pytest.raises(PreconditionFailedError):
        await store.delete("k", if_match=etag)
    assert None is await found(store, "k")
    await store.put("k", b"old")
    clock.go_on(60)
    await store.delete("k")
    assert [] == await listed(base.keys())


# -- what is below, and beside ---------------------------------------------------------------------------------------


async def test_store_that_cannot_keep_deadlines_is_refused() -> None:
    """For a ttl, be it the store's or an object's; without one it works."""
    with pytest.raises(ConfigError, match="has none: use a store whose capabilities have 'attributes'"):
        ExpiringStore(MinimalStore(), 60)
    store = ExpiringStore(MinimalStore())
    with pytest.raises(UnsupportedOperationError) as caught:
        await store.put("k", b"v", ttl=60)
    assert "k" == caught.value.key

    await store.put("k", b"v", ttl=math.inf)
    assert [b"v", True, ["k"]] == [await store.get("k"), await store.exists("k"), await listed(store.keys())]


@pytest.mark.parametrize("refuse", [ReadonlyStore, WriteonlyStore])
def test_store_that_refuses_to_be_read_or_written_is_refused(refuse: type[StoreDecorator]) -> None:
    """What refuses belongs on top."""
    with pytest.raises(ConfigError, match="put what refuses on top"):
        ExpiringStore(refuse(DictStore()), 60)
    refuse(ExpiringStore(DictStore(), 60))


@pytest.mark.parametrize("options", [{"max_count": 0}, {"max_bytes": -1}, {"sweep_interval": 0}])
def test_option_that_makes_no_sense_is_a_value_error(options: dict[str, Any]) -> None:
    """The message names it."""
    [name] = options
    with pytest.raises(ValueError, match=name):
        ExpiringStore(DictStore(), 60, **options)


def test_repr_shows_the_chain() -> None:
    """And the time, which matters most."""
    assert "ExpiringStore(DictStore(), ttl=60)" == repr(ExpiringStore(DictStore(), 60))
    assert "ExpiringStore(DictStore())" == repr(ExpiringStore(DictStore(), max_count=1))


async def test_subclass_that_overrides_a_primitive_is_not_bypassed(clock: HandClock) -> None:
    """Nor does it call itself in circles."""

    class Upper(ExpiringStore):
        async def get(self, key: str, *, byte_range: ByteRange | None = None) -> bytes:
            return (await super().get(key, byte_range=byte_range)).upper()

        async def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
            async for key in super().keys(prefix, start_after=start_after):
                if not key.startswith("."):
                    yield key

    for base in (DictStore(), SqliteStore(":memory:")):
        async with Upper(base, 60) as store:
            await store.put_many({"k": b"v", ".k": b"v"})
            await store.copy("k", "copy")

            assert ["copy", "k"] == [info.key async for info in store.scan()]
            assert b"V" == await opened(store, "k")


async def test_bulk_calls_and_clear_reach_what_is_there(base: ObjectStore, clock: HandClock) -> None:
    """Puts of a bulk have a deadline each; clear takes the expired ones along."""
    store = expiring(base, clock, 60)
    await store.put_many({"a/1": b"1", "a/2": b"2", "b": b"3"})
    assert None is not await store.expires("a/2")
    clock.go_on(60)
    await store.put("a/3", b"4")

    await store.clear("a/")
    assert ["b"] == await listed(base.keys())
    await store.delete_many(["b"])
    assert [] == await listed(base.keys())


async def test_handlers_above_are_told_of_no_removal(clock: HandClock) -> None:
    """What expires goes by itself: nobody above did it."""
    events: list[str] = []
    store = NotifyingStore(expiring(DictStore(), clock, 60), on_change=lambda event: events.append(event.action))
    await store.put("k", b"v")
    clock.go_on(60)

    assert not await store.exists("k")
    assert ["put"] == events


# -- the synchronous face --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stepped", [True, False])
def test_in_the_synchronous_face(clock: HandClock, stepped: bool) -> None:
    """Its own methods are there as well, and stepped there is no sweeper: what is asked for is removed all the same."""
    inner = expiring(DictStore(), clock, 60, sweep_interval=0.001 if stepped else 3600)
    face = storage.sync.ObjectStore(inner, stepped=stepped)
    with face as store:
        store.put("k", b"v", attributes={"expires-in": "30"})
        store.put("l", b"v")
        clock.go_on(30)

        assert [False, b"v"] == [store.exists("k"), store.get("l")]
    assert ["l"] == list(storage.sync.ObjectStore(inner.base).keys())


def test_methods_of_its_own_in_the_synchronous_face() -> None:
    """They are typed, and take what the async ones take."""
    with storage.sync.ExpiringStore(storage.sync.DictStore(), timedelta(hours=1)) as store:
        store.put("k", b"v")
        first = store.expires("k")
        store.touch("k", ttl=7200)
        second = store.expires("k")

        assert None is not first
        assert None is not second
        assert first < second
        assert 0 == store.sweep()


def test_time_of_one_object_in_the_synchronous_face() -> None:
    """A put takes it there as it does when it is awaited."""
    store = storage.sync.ExpiringStore(storage.sync.DictStore())
    store.put("long", b"v", ttl=timedelta(hours=2))
    store.put("short", b"v", ttl=60)
    store.put("ever", b"v")

    long, short = store.expires("long"), store.expires("short")
    assert long is not None
    assert short is not None
    assert long - short > timedelta(hours=1)
    assert store.expires("ever") is None
