"""Cancellation: a cancelled call takes effect completely or not at all, and nothing happens after it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress

import pytest

from storage.base import ObjectStore
from storage.testing.suite.harness import Harness, listed

__all__ = ["Cancellation"]

#: Turns of the event loop, and seconds, after which a call is cancelled: at each await of a quick one, amid a slow one.
TICKS = range(12)
DELAYS = (0.0002, 0.0005, 0.001, 0.002, 0.004)

#: Seconds in which a write that goes on after its cancellation would take effect.
AFTERMATH = 0.02


async def _ticks(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def _cancelled(call: Awaitable[object], when: Awaitable[object]) -> None:
    """Cancel *call* when *when* has ended, and wait until it ends, by the cancellation or not."""
    task = asyncio.ensure_future(call)
    await when
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


class Cancellation(Harness):
    """A cancelled call leaves nothing half done, and does nothing later."""

    def _moments(self, ticks: range = TICKS) -> dict[str, Callable[[], Awaitable[object]]]:
        """Return the moments at which to cancel, by names that are used as keys."""
        # mypy cannot infer a lambda whose default is what binds the loop's variable
        return {
            **{f"tick{count}": lambda count=count: _ticks(count) for count in ticks},  # type: ignore[misc]
            **{f"delay{delay}": lambda delay=delay: asyncio.sleep(delay) for delay in DELAYS},  # type: ignore[misc]
        }

    @pytest.mark.parametrize(("size", "ticks"), [(10, TICKS), (1_200_000, TICKS[::3])], ids=["small", "large"])
    async def test_cancelled_put_is_whole_or_nothing(self, store: ObjectStore, size: int, ticks: range) -> None:
        """After a put is cancelled at any moment, the object is the old or the new one, and a later put replaces it."""
        old, new, later = b"old", b"n" * size, b"later"
        moments = self._moments(ticks)
        await self.fill(store, dict.fromkeys(moments, old))

        for key, moment in moments.items():
            await _cancelled(store.put(key, new), moment())

            found = await self.raw(store, key)
            assert found in (old, new), key
            assert self.late_writes or found == await store.get(key), key
            await store.put(key, later)
        await asyncio.sleep(AFTERMATH)

        await self._left(store, moments, later, late=new)
        assert sorted(moments) == await listed(store.keys())

    async def _left(
        self, store: ObjectStore, keys: Iterable[str], expected: bytes | None, *, late: bytes | None
    ) -> None:
        """Check that objects are as the last call left them or, with `late_writes`, as the cancelled call wrote."""
        allowed = {expected, late} if self.late_writes else {expected}

        assert {} == {key: found for key in keys if (found := await self.raw(store, key)) not in allowed}

    async def test_cancelled_put_is_over(self, store: ObjectStore) -> None:
        """A cancelled put changes nothing after it has ended."""
        moments = self._moments()
        await self.fill(store, dict.fromkeys(moments, b"old"))
        found = {}

        for key, moment in moments.items():
            await _cancelled(store.put(key, b"new"), moment())
            found[key] = await self.raw(store, key)
        await asyncio.sleep(AFTERMATH)

        for key, data in found.items():
            await self._left(store, [key], data, late=b"new")

    async def test_cancelled_creation_is_whole_or_nothing(self, store: ObjectStore) -> None:
        """A cancelled put of a new key leaves the whole object or none, and a later delete removes it for good."""
        moments = self._moments()

        for key, moment in moments.items():
            await _cancelled(store.put(key, [b"new", b"new"]), moment())

            assert await self.raw(store, key) in (None, b"newnew"), key
            await store.delete(key)
        await asyncio.sleep(AFTERMATH)

        await self._left(store, moments, None, late=b"newnew")
        await store.delete_many(moments)
        assert [] == await listed(store.keys())

    async def test_cancelled_delete_is_over(self, store: ObjectStore) -> None:
        """A cancelled delete does not delete an object that is put after it."""
        moments = self._moments()
        await self.fill(store, dict.fromkeys(moments, b"old"))

        for key, moment in moments.items():
            await _cancelled(store.delete(key), moment())
            await store.put(key, b"later")
        await asyncio.sleep(AFTERMATH)

        await self._left(store, moments, b"later", late=None)

    async def test_cancelled_while_the_producer_waits(self, store: ObjectStore) -> None:
        """A put that waits for its stream can be cancelled: the old object stays and nothing of the new one is left."""
        begun = asyncio.Event()

        async def pieces() -> AsyncIterator[bytes]:
            yield b"x" * 1_500_000
            begun.set()
            await asyncio.Event().wait()

        await self.fill(store, {"k": b"old"})
        for key in ("k", "new"):
            begun.clear()
            task = asyncio.create_task(store.put(key, pieces()))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        assert b"old" == await self.raw(store, "k")
        assert ["k"] == await listed(store.keys())
        await store.put("new", b"works")
        assert b"works" == await self.raw(store, "new")

    async def test_cancelled_bulk_put_leaves_whole_objects(self, store: ObjectStore) -> None:
        """After a cancelled put_many each object is the old one or the new one, and none of them changes later."""
        objects = {f"k{number:02}": b"new" for number in range(20)}

        for moment in list(self._moments().values())[::2]:
            await self.fill(store, dict.fromkeys(objects, b"old"))
            await _cancelled(store.put_many(objects), moment())

            first = await store.get_many(objects)
            assert set(first.values()) <= {b"old", b"new"}
            await asyncio.sleep(AFTERMATH if self.late_writes else 0.001)
            second = await store.get_many(objects)
            assert first == second or (self.late_writes and set(second.values()) <= {b"old", b"new"})

    async def test_cancelled_reads_leave_the_store_usable(self, store: ObjectStore) -> None:
        """After reads and listings were cancelled at any moment, the next ones work."""
        await self.fill(store, {"k": b"v" * 100_000, "l": b"w"})

        for moment in self._moments().values():
            await _cancelled(store.get("k"), moment())
            await _cancelled(listed(store.scan()), moment())
            await _cancelled(self._streamed(store, "k"), moment())

        assert b"v" * 100_000 == await store.get("k")
        assert ["k", "l"] == await listed(store.keys())

    async def _streamed(self, store: ObjectStore, key: str) -> bytes:
        async with store.open(key) as reader:
            return b"".join([piece async for piece in reader])
