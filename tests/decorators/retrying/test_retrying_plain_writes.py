"""Puts and deletes without a condition that `RetryingStore` repeats: they undo no write that came later."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from doubles import ScriptedStore

from storage import (
    Capabilities,
    CorruptObjectError,
    Data,
    DictStore,
    ObjectStore,
    PreconditionFailedError,
    RetryingStore,
)
from storage._core import retry


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Awaitable[object]]], None]:
    """Return a function that sets what another writer does in the pause before a second attempt."""

    def set_action(act: Callable[[], Awaitable[object]]) -> None:
        async def pause(delay: float) -> None:
            await act()

        monkeypatch.setattr(retry, "pause", pause)

    return set_action


async def _put_one(store: ObjectStore) -> object:
    return await store.put("a", b"one")


async def _put_many(store: ObjectStore) -> object:
    return await store.put_many({"a": b"one"})


@pytest.mark.parametrize("put", [_put_one, _put_many])
@pytest.mark.parametrize("fails", ["before", "after"])
async def test_put_that_is_made_again_does_not_replace_a_later_put(
    put: Callable[[ObjectStore], Awaitable[object]],
    fails: str,
    meanwhile: Callable[[Callable[[], Awaitable[object]]], None],
) -> None:
    """The other writer's object was put after the first attempt: there it stays."""
    base = DictStore()
    await base.put("a", b"old")
    meanwhile(lambda: base.put("a", b"two"))

    await put(RetryingStore(ScriptedStore(base, put=[fails])))

    assert b"two" == await base.get("a")


async def test_put_that_is_made_again_does_not_bring_back_what_was_deleted(
    meanwhile: Callable[[Callable[[], Awaitable[object]]], None],
) -> None:
    """The object was put, its answer was lost, and another writer has deleted it."""
    base = DictStore()
    meanwhile(lambda: base.delete("a"))

    etag = await RetryingStore(ScriptedStore(base, put=["after"])).put("a", b"one")

    assert not await base.exists("a")
    with pytest.raises(PreconditionFailedError):
        await base.put("a", b"three", if_match=etag)


async def test_delete_that_is_made_again_does_not_delete_what_was_created_later(
    meanwhile: Callable[[Callable[[], Awaitable[object]]], None],
) -> None:
    """Whether the first attempt took effect or not: the object is another one then."""
    for fails in ("before", "after"):
        base = DictStore()
        await base.put("a", b"one")
        meanwhile(partial(base.put, "a", b"two"))

        await RetryingStore(ScriptedStore(base, delete=[fails])).delete("a")

        assert b"two" == await base.get("a")


async def test_put_is_made_again_without_a_condition_where_there_are_none() -> None:
    """In a store without conditions, and where the object cannot be described."""

    class Plain(DictStore):
        capabilities = Capabilities.all_but("conditional_put")

        async def put(self, key: str, data: Data, *, if_match: str | None = None, **options: Any) -> str:
            assert if_match is None
            return await super().put(key, data, **options)

    damaged = ScriptedStore(put=["before"])
    damaged.fail("head", error=lambda: CorruptObjectError("damaged", key="a"))
    for flaky in (ScriptedStore(Plain(), put=["before"]), damaged):
        await flaky.base.put("a", b"old")

        await RetryingStore(flaky).put("a", b"one")

        assert b"one" == await flaky.base.get("a")
