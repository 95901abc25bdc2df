"""What a mirror guarantees while children fail: how many must write, what is not read, how children catch up."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest
from contents import all_of, contents, listed, read
from doubles import ScriptedStore, scripted
from examples import MinimalStore

import storage.sync
from storage import (
    BulkError,
    ConfigError,
    DictStore,
    ExceptionLoggingStore,
    FilesystemStore,
    InvalidKeyError,
    JsonStore,
    KeyNotFoundError,
    MirrorError,
    MirroringStore,
    PermissionDeniedError,
    ReadonlyStore,
    SqliteStore,
    StorageError,
    StoreClosedError,
    StoreFullError,
    StoreTimeoutError,
    StoreUnavailableError,
    UnsupportedOperationError,
    WriteonlyStore,
)

OLD, NEW = b"old", b"new"


# -- how many have to write --------------------------------------------------------------------------------------------


async def test_put_reaches_every_child() -> None:
    """Bytes and attributes are the same everywhere, and the etag is the first child's."""
    children = scripted(3)
    store = MirroringStore(children)

    etag = await store.put("k", bytearray(b"v"), attributes={"color": "red"})

    assert [{"k": b"v"}] * 3 == await all_of(*children)
    assert [{"color": "red"}] * 3 == [(await child.head("k")).attributes for child in children]
    assert etag == (await store.head("k")).etag == (await children[0].head("k")).etag


async def test_children_are_written_at_the_same_time() -> None:
    """No child waits for another: all writes have begun before any has ended."""
    children = scripted(3)
    holds = [child.hold("put") for child in children]

    writing = asyncio.create_task(MirroringStore(children).put("k", b"v"))
    for hold in holds:
        await hold.reached()
    for hold in holds:
        hold.open()
    await writing

    assert [{"k": b"v"}] * 3 == await all_of(*children)


async def test_error_says_who_holds_the_new_version_and_who_does_not() -> None:
    """All children are tried; the error has their numbers and their errors."""
    children = scripted(3)
    full, down = StoreFullError("no room left"), StoreUnavailableError("down")
    children[0].fail("put", error=lambda: full)
    children[2].fail("put", error=lambda: down)

    with pytest.raises(MirrorError) as caught:
        await MirroringStore(children).put("k", b"v")

    assert ((1,), {0: full, 2: down}) == (caught.value.succeeded, caught.value.failed)
    assert ("k", False) == (caught.value.key, caught.value.retryable)
    assert str(caught.value).startswith(
        "put must succeed on 3 of 3 children, and succeeded on children[1]; children[0]: StoreFullError, no room left; "
        "children[2]: StoreUnavailableError, down, key 'k', in MirroringStore(["
    )
    assert [{}, {"k": b"v"}, {}] == await all_of(*children)


@pytest.mark.parametrize("action", ["put", "delete", "copy", "rename"])
async def test_error_is_retryable_when_all_failures_are(action: str) -> None:
    """A retry helps if every child that failed may work again."""
    children = scripted(3)
    store = MirroringStore(children)
    await store.put("k", b"v")
    children[0].fail(action, error=lambda: StoreTimeoutError("late"))
    children[1].fail(action, error=lambda: StoreUnavailableError("down"))
    arguments = {"put": ("k", b"v"), "delete": ("k",), "copy": ("k", "l"), "rename": ("k", "l")}[action]

    with pytest.raises(MirrorError) as caught:
        await getattr(store, action)(*arguments)

    assert caught.value.retryable
    assert (2,) == caught.value.succeeded


@pytest.mark.parametrize(
    ("require", "children", "down", "enough"),
    [
        ("all", 2, 0, True),
        ("all", 2, 1, False),
        ("quorum", 3, 1, True),
        ("quorum", 3, 2, False),
        ("quorum", 4, 1, True),
        ("quorum", 4, 2, False),
        ("quorum", 2, 1, False),
        ("any", 3, 2, True),
        ("any", 3, 3, False),
        ("any", 1, 1, False),
    ],
)
async def test_require_is_how_many_have_to_succeed(require: Any, children: int, down: int, enough: bool) -> None:
    """All of them, more than half of them, or one."""
    stores = scripted(children)
    for store in stores[:down]:
        store.fail()
    mirror = MirroringStore(stores, require=require)

    for work in (mirror.put("k", b"v"), mirror.put("k", [b"v"]), mirror.delete("k"), mirror.delete_many(["k"])):
        if enough:
            await work
        else:
            with pytest.raises((MirrorError, BulkError)):
                await work


async def test_failure_that_is_tolerated_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """No error is raised, but a warning is logged."""
    first, second = scripted(2)
    second.fail("put", error=lambda: StoreFullError("no room left"))

    with caplog.at_level(logging.WARNING, "storage"):
        await MirroringStore([first, second], require="any").put("k", b"v")

    [record] = caplog.records
    assert record.getMessage().startswith("children[1] of MirroringStore, ScriptedStore(")
    assert record.getMessage().endswith("missed the put of 'k': no room left, key 'k'")


async def test_refusal_of_all_children_is_raised_as_it_is() -> None:
    """If all children refuse the same request, it is the caller's mistake, not a failure of the mirror."""
    first, second = scripted(2)
    refusal = InvalidKeyError("not here", key="k")
    first.fail("put", error=lambda: refusal)
    second.fail("put", error=lambda: InvalidKeyError("nor here", key="k"))

    with pytest.raises(InvalidKeyError) as caught:
        await MirroringStore([first, second]).put("k", b"v")

    assert refusal is caught.value


async def test_closed_children_and_missing_sources_are_no_failure_of_the_mirror(tmp_path: Path) -> None:
    """Nothing was written, and the error says what to do, or what is missing."""
    store = MirroringStore([SqliteStore(tmp_path / "a"), SqliteStore(tmp_path / "b")])

    with pytest.raises(StoreClosedError, match="async with"):
        await store.put("k", b"v")
    async with store:
        for move in (store.copy, store.rename):
            with pytest.raises(KeyNotFoundError):
                await move("missing", "k")


async def test_key_that_one_child_cannot_hold_is_held_by_none(tmp_path: Any) -> None:
    """A put that one child refuses leaves nothing on the other children."""
    child = DictStore()
    store = MirroringStore([child, FilesystemStore(tmp_path)])
    await store.put("a", b"file")

    for key in ("../up", "a/below"):
        with pytest.raises(ValueError, match="path"):
            await store.put(key, b"v")
        with pytest.raises(ValueError, match="path"):
            await store.put(key, iter([b"x" * 1_500_000] * 2))

    assert {"a": b"file"} == await contents(child)
    assert [["a"]] * 3 == await listed(store)


async def test_mistake_in_a_child_is_seen_as_it_is() -> None:
    """An error that is not a StorageError is a bug, which a mirror does not hide."""
    first, second = scripted(2)
    second.fail("put", error=ZeroDivisionError)

    with pytest.raises(ZeroDivisionError):
        await MirroringStore([first, second], require="any").put("k", b"v")


# -- building, entering and closing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: MirroringStore([]), ConfigError, "at least one child"),
        (lambda: MirroringStore([store := DictStore(), DictStore(), store]), ConfigError, "the same store twice"),
        (lambda: MirroringStore([DictStore(), ReadonlyStore(DictStore())]), ConfigError, r"children\[1\].*written to"),
        (lambda: MirroringStore([WriteonlyStore(DictStore()), DictStore()]), ConfigError, r"children\[0\].*be read"),
        (lambda: MirroringStore(cast(Any, DictStore())), TypeError, "over a list of stores"),
        (lambda: MirroringStore([cast(Any, "memory:")]), TypeError, "over a store, not over str"),
        (lambda: MirroringStore([DictStore()], require=cast(Any, "most")), ValueError, "'all', 'quorum' or 'any'"),
        (lambda: MirroringStore([DictStore()], max_behind=0), ValueError, "at least 1"),
        (lambda: MirroringStore([cast(Any, JsonStore(DictStore()))]), ConfigError, r"JsonStore\(MirroringStore"),
        (
            lambda: MirroringStore([DictStore(), ExceptionLoggingStore(DictStore(), swallow=True)]),
            ConfigError,
            "looks successful",
        ),
    ],
)
def test_mirror_that_cannot_be_right_is_refused(make: Any, error: type[Exception], text: str) -> None:
    """When it is built, and the message says what to do."""
    with pytest.raises(error, match=text):
        make()


async def test_write_only_child_is_written_and_never_read() -> None:
    """A write-only store can be a second child; a copy reads from a child that can be read."""
    below = ScriptedStore()
    store = MirroringStore([DictStore(), WriteonlyStore(below)])

    await store.put("k", b"v", attributes={"color": "red"})
    await store.copy("k", "copied")
    await store.rename("copied", "moved")
    assert [b"v"] * 3 == await read(store, "moved")
    assert [["k", "moved"]] * 3 == await listed(store)
    assert [] == [each async for each in store.verify(repair=True)]
    with pytest.raises(KeyNotFoundError):
        await store.get("missing")

    assert set() == {action for action, _ in below.calls} - {"put", "delete"}
    assert {"k": b"v", "moved": b"v"} == await contents(below.base)
    assert not store.capabilities.steppable


async def test_children_before_one_that_fails_to_open_are_left_again() -> None:
    """Whatever *require* is: a child that cannot be opened is an error."""
    log = []

    class Opening(DictStore):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        async def _open(self) -> None:
            if self.name == "third":
                raise PermissionDeniedError("no")
            log.append(f"open {self.name}")

        async def _close(self) -> None:
            log.append(f"close {self.name}")

    store = MirroringStore([Opening("first"), Opening("second"), Opening("third")], require="any")
    with pytest.raises(PermissionDeniedError):
        await store.__aenter__()

    assert ["open first", "open second", "close second", "close first"] == log


async def test_attributes_are_refused_where_not_all_keep_them() -> None:
    """Attributes would be lost with the child that keeps them; nothing is written."""
    first = DictStore()
    store = MirroringStore([first, MinimalStore()])

    with pytest.raises(UnsupportedOperationError, match="not every child"):
        await store.put("k", b"v", attributes={"color": "red"})

    assert {} == await contents(first)
    assert not store.capabilities.attributes
    assert store.capabilities.conditional_put


def test_mirror_over_real_back_ends_in_several_threads(tmp_path: Any) -> None:
    """The synchronous API, on the loop: the puts of all threads are on all children, each key the same everywhere."""
    files, database = FilesystemStore(tmp_path / "files"), SqliteStore(tmp_path / "objects.db")
    mirror = storage.sync.MirroringStore(
        [storage.sync.ObjectStore(files), storage.sync.ObjectStore(database)], require="quorum"
    )

    def work(number: int) -> None:
        for turn in range(5):
            mirror.put(f"own/{number}", b"%d" % turn)
            mirror.put("shared", b"%d-%d" % (number, turn))
            mirror.put("shared", iter([b"x" * 1_100_000, b"%d-%d" % (number, turn)]))

    with mirror, ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))

        assert [] == list(mirror.verify())
        assert [f"own/{number}" for number in range(4)] + ["shared"] == list(mirror.keys())
        assert [b"4"] * 4 == [mirror.get(f"own/{number}") for number in range(4)]


async def test_repr_names_the_children_and_what_they_must_do() -> None:
    """With the children and *require*."""
    assert "MirroringStore([DictStore(), DictStore()])" == repr(MirroringStore([DictStore(), DictStore()]))
    assert "MirroringStore([DictStore()], require='any')" == repr(MirroringStore([DictStore()], require="any"))


async def test_error_of_a_bulk_delete_is_per_key() -> None:
    """If one child misses some of the deletes, each key has a result of its own."""
    first, second = scripted(2)
    store = MirroringStore([first, second])
    await store.put_many({"a": b"1", "b": b"2"})
    second.fail("delete", error=lambda: StorageError("no"))

    results = await store.delete_many(["a", "b", ""], raise_errors=False)

    assert {"a": MirrorError, "b": MirrorError, "": InvalidKeyError} == {k: type(v) for k, v in results.items()}
    assert [None] * 3 == await read(store, "a")
