"""How `RetryingStore` reads on after a failure: open objects at their position, listings after their last key."""

from __future__ import annotations

from typing import Any

import pytest
from doubles import ScriptedStore

from storage import (
    ByteRange,
    DictStore,
    KeyNotFoundError,
    RetryingStore,
    StoreUnavailableError,
)


class _FrontToBackStore(DictStore):
    """A store whose readers cannot seek."""

    def open(self, key: str, *, byte_range: ByteRange | None = None) -> Any:
        manager = super().open(key, byte_range=byte_range)
        return _FrontToBack(manager)


class _FrontToBack:
    def __init__(self, manager: Any) -> None:
        self._manager = manager

    async def __aenter__(self) -> Any:
        reader = await self._manager.__aenter__()
        reader.seekable = lambda: False
        return reader

    async def __aexit__(self, *error: Any) -> None:
        await self._manager.__aexit__(*error)


@pytest.mark.parametrize("make", [DictStore, _FrontToBackStore])
@pytest.mark.parametrize(
    "byte_range", [None, ByteRange(5), ByteRange(3, 47), ByteRange.suffix(20), ByteRange(0, 0)], ids=str
)
async def test_open_object_is_read_on_where_it_broke_off(make: type[DictStore], byte_range: ByteRange | None) -> None:
    """Two of three pieces fail at first, and opening again fails too; no byte is missing or repeated."""
    data = bytes(range(50))
    base = make()
    await base.put("a", data)
    flaky = ScriptedStore(base, read=["", "before", "after", "", "after"], open=["before", "", "before"])

    async with RetryingStore(flaky).open("a", byte_range=byte_range) as reader:
        pieces = [await reader.read(7) for _ in range(9)]

    assert await base.get("a", byte_range=byte_range) == b"".join(pieces)


async def test_seek_survives_a_failure() -> None:
    """Reading continues at the caller's position."""
    base = DictStore()
    await base.put("a", b"0123456789")
    flaky = ScriptedStore(base, read=["", "before"])

    async with RetryingStore(flaky).open("a", byte_range=ByteRange(2)) as reader:
        await reader.read(3)
        await reader.seek(1)
        assert b"345" == await reader.read(3)
        await reader.seek(0)
        assert b"23" == await reader.read(2)


@pytest.mark.parametrize("make", [DictStore, _FrontToBackStore])
@pytest.mark.parametrize("new", [b"another version of the object", b"short", b""])
async def test_versions_are_never_mixed(make: type[DictStore], new: bytes) -> None:
    """If the object has changed when it is opened again, it is not read on; the error says to open it again."""
    base = make()
    await base.put("a", b"the object as it was at first")
    flaky = ScriptedStore(base, read=["", "before"])

    async with RetryingStore(flaky).open("a") as reader:
        await reader.read(10)
        await base.put("a", new)
        with pytest.raises(StoreUnavailableError, match="changed") as caught:
            await reader.read(10)
        with pytest.raises(StoreUnavailableError, match="changed"):
            await reader.read(10)

    assert "a" == caught.value.key
    assert caught.value.retryable


async def test_object_that_is_gone_is_not_found() -> None:
    """This holds in the middle of a read as well."""
    base = DictStore()
    await base.put("a", b"v")

    async with RetryingStore(ScriptedStore(base, read=["before"])).open("a") as reader:
        await base.delete("a")
        with pytest.raises(KeyNotFoundError):
            await reader.read()


async def test_every_reader_below_is_left() -> None:
    """A failed reader is closed before another is opened, and the last one when the caller leaves the block."""
    inside: list[int] = []
    most: list[int] = []

    class Counted(DictStore):
        def open(self, key: str, *, byte_range: ByteRange | None = None) -> Any:
            manager = super().open(key, byte_range=byte_range)

            class Counting(_FrontToBack):
                async def __aenter__(self) -> Any:
                    inside.append(1)
                    most.append(len(inside))
                    return await manager.__aenter__()

                async def __aexit__(self, *error: Any) -> None:
                    inside.pop()
                    await manager.__aexit__(*error)

            return Counting(manager)

    base = Counted()
    await base.put("a", b"v" * 10)
    async with RetryingStore(ScriptedStore(base, read=["before", "", "before"])).open("a") as reader:
        assert b"v" * 10 == b"".join([await reader.read(3) for _ in range(4)])

    assert ([], [1, 1, 1]) == (inside, most)


async def test_each_read_has_its_own_attempts() -> None:
    """A long transfer may fail more often than a short call."""
    base = DictStore()
    await base.put("a", b"v" * 20)
    flaky = ScriptedStore(base, read=["before", ""] * 20)

    async with RetryingStore(flaky, attempts=2).open("a") as reader:
        assert b"v" * 20 == b"".join([await reader.read(1) for _ in range(20)])


@pytest.mark.parametrize(
    ("method", "steps"),
    [("keys", ["", "before"] * 20), ("scan", ["", "before"] * 20), ("children", ["", "", "before"])],
)
async def test_listing_goes_on_behind_its_last_key(method: str, steps: list[Any]) -> None:
    """Whichever step fails, each name comes once and in order; each step has its own attempts."""
    base = DictStore()
    for number in range(20):
        await base.put(f"d/{number:02}" if number % 3 else f"d/{number:02}/x", b"")
    flaky = ScriptedStore(base, **{method: ["before"], "next": steps})

    found = [each async for each in getattr(RetryingStore(flaky, attempts=2), method)("d/")]

    assert [each async for each in getattr(base, method)("d/")] == found
    assert 20 == len(found)


async def test_listing_that_stays_broken_raises() -> None:
    """The names before the failure have been yielded."""
    base = DictStore()
    for key in "abc":
        await base.put(key, b"")
    flaky = ScriptedStore(base, keys=["", *["before"] * 9], next=["", "before"])
    listing = RetryingStore(flaky).keys()

    assert ["a", "b"] == [await anext(listing), await anext(listing)]
    with pytest.raises(StoreUnavailableError):
        await anext(listing)
    assert 5 == flaky.count("keys")
