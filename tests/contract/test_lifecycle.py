"""Opening and closing."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from storage import DictStore, GzipStore, PrefixStore, StoreDecorator
from storage._core.lifecycle import enter_all


class CountedStore(DictStore):
    """A store that records when it is opened and closed, and can fail to."""

    def __init__(self, name: str = "s", log: list[str] | None = None, *, fails: bool = False) -> None:
        super().__init__()
        self.name = name
        self.log = [] if log is None else log
        self.fails = fails

    async def _open(self) -> None:
        await asyncio.sleep(0)
        if self.fails:
            raise ZeroDivisionError
        self.log.append(f"open {self.name}")

    async def _close(self) -> None:
        await asyncio.sleep(0)
        self.log.append(f"close {self.name}")


async def test_first_to_enter_opens_and_last_to_leave_closes() -> None:
    """The store is opened and closed once, however often it is entered."""
    store = CountedStore()

    async with store:
        async with store as entered:
            assert store is entered
        assert ["open s"] == store.log

    assert ["open s", "close s"] == store.log


async def test_concurrent_entering_opens_once() -> None:
    """Tasks that enter while another one is opening wait for it."""
    store = CountedStore()

    async def use() -> None:
        async with store:
            assert ["open s"] == store.log
            await anyio.sleep(0.001)

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(use)

    assert ["open s", "close s"] == store.log


async def test_store_can_be_opened_again() -> None:
    """A closed store can be opened again."""
    store = CountedStore()

    for _ in range(2):
        async with store:
            pass

    assert ["open s", "close s"] * 2 == store.log


async def test_aclose_closes_now_and_may_be_repeated() -> None:
    """After aclose the store is closed, even if others have entered it; leaving it then does nothing."""
    store = CountedStore()
    await store.aclose()
    assert [] == store.log

    async with store, store:
        await store.aclose()
        await store.aclose()
        assert ["open s", "close s"] == store.log

    assert ["open s", "close s"] == store.log


async def test_store_that_fails_to_open_is_not_closed() -> None:
    """A store that failed to open holds nothing, and can be entered again."""
    store = CountedStore(fails=True)

    with pytest.raises(ZeroDivisionError):
        await store.__aenter__()
    store.fails = False
    async with store:
        pass

    assert ["open s", "close s"] == store.log


async def test_decorators_enter_what_is_below_once() -> None:
    """Entering a stack enters its innermost store, once."""
    store = CountedStore()

    async with GzipStore(PrefixStore(store, "a/")) as stack, stack:
        assert ["open s"] == store.log

    assert ["open s", "close s"] == store.log


async def test_store_shared_by_two_branches_is_opened_once() -> None:
    """The last branch to leave closes it."""
    store = CountedStore()
    one, two = PrefixStore(store, "1/"), PrefixStore(store, "2/")

    async with one:
        async with two:
            pass
        assert ["open s"] == store.log

    assert ["open s", "close s"] == store.log


async def test_aclose_of_a_decorator_leaves_the_store_to_its_other_users() -> None:
    """A decorator leaves only what it has entered itself."""
    store = CountedStore()

    async with store:
        decorator = StoreDecorator(store)
        await decorator.__aenter__()
        await decorator.aclose()
        assert ["open s"] == store.log

    assert ["open s", "close s"] == store.log


async def test_entering_all_leaves_the_first_when_the_third_fails() -> None:
    """If one part cannot be opened, the others are left, in reverse."""
    log: list[str] = []
    stores = [CountedStore("1", log), CountedStore("2", log), CountedStore("3", log, fails=True)]

    with pytest.raises(ZeroDivisionError):
        await enter_all(stores)

    assert ["open 1", "open 2", "close 2", "close 1"] == log


async def test_all_that_were_entered_are_left_in_reverse() -> None:
    """The part that was opened first is closed last."""
    log: list[str] = []

    async with await enter_all([CountedStore("1", log), CountedStore("2", log)]):
        pass

    assert ["open 1", "open 2", "close 2", "close 1"] == log
