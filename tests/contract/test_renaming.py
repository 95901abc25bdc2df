"""A rename by copy and delete, while others write."""

from __future__ import annotations

from dataclasses import replace

import pytest

from storage import Capabilities, DictStore, KeyExistsError, ObjectInfo, StoreDecorator


@pytest.mark.parametrize("meanwhile", [b"new", None])
async def test_rename_loses_no_put_that_comes_between_its_two_steps(meanwhile: bytes | None) -> None:
    """Where a rename is a copy and a delete, what was put or deleted in between is the last word all the same."""

    class Interrupted(StoreDecorator):
        done = False

        async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
            etag = await self.base.copy(source, target, if_absent=if_absent)
            if not self.done:
                self.done = True
                await (self.base.delete(source) if meanwhile is None else self.base.put(source, meanwhile))
            return etag

    store = Interrupted(DictStore())
    await store.put("a", b"old")
    etag = await store.rename("a", "b", if_absent=True)

    assert ["b"] == [key async for key in store.keys()]
    assert (meanwhile or b"old") == await store.get("b")
    assert etag == (await store.head("b")).etag


@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("step", ["copy", "head"])
async def test_rename_loses_no_put_without_conditional_deletes(conditional: bool, step: str) -> None:
    """A version that is put before the last look at the source is renamed, too."""

    class Interrupted(StoreDecorator):
        left = 3
        last = b""

        async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
            etag = await self.base.copy(source, target, if_absent=if_absent)
            await self._interrupt("copy", source)
            return etag

        async def head(self, key: str) -> ObjectInfo:
            info = await self.base.head(key)
            await self._interrupt("head", key)
            return info

        async def _interrupt(self, where: str, key: str) -> None:
            if where == step and self.left and (step == "copy" or self.left % 2):
                self.last = b"newer by %d" % self.left
                await self.base.put(key, self.last)
            self.left -= where == step and self.left > 0

        @property
        def capabilities(self) -> Capabilities:
            return replace(self.base.capabilities, conditional_delete=conditional)

    store = Interrupted(DictStore())
    await store.put("a", b"old")
    await store.rename("a", "b")
    assert ["b"] == [key async for key in store.keys()]
    assert store.last == await store.get("b") != b""


async def test_rename_overwrites_nothing_that_others_have_put_under_the_new_key() -> None:
    """Not even after its own copy was there; then the source stays, in its last version."""

    class Interrupted(StoreDecorator):
        async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
            etag = await self.base.copy(source, target, if_absent=if_absent)
            await self.base.put(source, b"newer")
            await self.base.put(target, b"theirs")
            return etag

    store = Interrupted(DictStore())
    await store.put("a", b"old", attributes={"color": "red"})
    with pytest.raises(KeyExistsError):
        await store.rename("a", "b", if_absent=True)
    assert {"a": b"newer", "b": b"theirs"} == await store.get_many(["a", "b"])
