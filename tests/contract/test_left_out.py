"""A damaged object in a listing: all others are listed, and the end says what was left out."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from left_out import scanned

from storage import (
    CachingStore,
    ChecksumStore,
    CorruptObjectError,
    DictStore,
    EncryptingStore,
    ExpiringStore,
    FallbackStore,
    FilesystemStore,
    GzipStore,
    HashdirStore,
    HashPrefixStore,
    IncompleteListingError,
    MirroringStore,
    ObjectInfo,
    ObjectStore,
    PrefixStore,
    RetryingStore,
    RoutingStore,
    StoreUnavailableError,
)
from storage.testing.suite.harness import listed


class DamagedStore(DictStore):
    """A store whose objects with "bad" in their keys have damaged descriptions."""

    async def head(self, key: str) -> ObjectInfo:
        info = await super().head(key)
        if "bad" in key:
            raise CorruptObjectError("the description is damaged", key=key, store=self)
        return info


async def _filled(store: ObjectStore) -> ObjectStore:
    for key in ("a", "bad", "c"):
        await store.put(key, b"data")
    return store


STACKS: dict[str, Callable[[], ObjectStore]] = {
    "the base's scan": DamagedStore,
    "caching": lambda: CachingStore(DamagedStore(), DictStore()),
    "checksum": lambda: ChecksumStore(DamagedStore()),
    "expiring": lambda: ExpiringStore(DamagedStore(), 60),
    "gzip": lambda: GzipStore(DamagedStore()),
    "prefix": lambda: PrefixStore(DamagedStore(), "p/"),
    "retrying": lambda: RetryingStore(DamagedStore()),
    "routing": lambda: RoutingStore({"a": DamagedStore(), "": DamagedStore()}),
    "several": lambda: PrefixStore(GzipStore(RetryingStore(ExpiringStore(DamagedStore(), 60))), "p/"),
}


@pytest.mark.parametrize("make", STACKS.values(), ids=list(STACKS))
async def test_scan_goes_on_over_the_others(make: Callable[[], ObjectStore]) -> None:
    """Through every decorator, under the caller's keys."""
    store = await _filled(make())

    assert (["a", "c"], ["bad"]) == await scanned(store)


async def test_keys_that_need_no_description_are_all_listed() -> None:
    """What can be read of a damaged object is its key: it can be found, and deleted."""
    store = await _filled(PrefixStore(DamagedStore(), "p/"))

    assert ["a", "bad", "c"] == await listed(store.keys())
    await store.clear()
    assert [] == await listed(store.keys())


async def test_keys_of_an_expiring_store_leave_out_what_may_have_expired() -> None:
    """Whether a damaged object has expired cannot be told."""
    store = await _filled(ExpiringStore(DamagedStore(), 60))

    keys = store.keys()
    assert ["a", "c"] == [await anext(keys), await anext(keys)]
    with pytest.raises(IncompleteListingError, match="'bad'"):
        await anext(keys)


async def test_damaged_object_below_does_not_stop_puts_that_count_objects() -> None:
    """A bounded store counts what it has at its first put; what cannot be counted is left out."""
    base = await _filled(DamagedStore())
    store = ExpiringStore(base, None, max_bytes=1000)

    await store.put("d", b"data")

    assert b"data" == await store.get("d")


@pytest.mark.parametrize("kind", [FallbackStore, MirroringStore])
async def test_copy_in_another_child_makes_the_listing_complete(kind: Callable[..., ObjectStore]) -> None:
    """What one child has damaged and another one whole is listed, and the listing is complete."""
    whole = await _filled(DictStore())
    damaged = await _filled(DamagedStore())

    assert (["a", "bad", "c"], []) == await scanned(kind([damaged, whole]))
    assert (["a", "c"], ["bad"]) == await scanned(kind([damaged, await _filled(DamagedStore())]))


@pytest.mark.parametrize("kind", [FilesystemStore, HashdirStore])
async def test_damaged_extended_attribute_is_left_out(kind: Any, tmp_path: Path) -> None:
    """The attributes of a file that another program wrote."""
    store: ObjectStore = kind(tmp_path)
    if not store.capabilities.attributes:
        pytest.skip("the file system has no extended attributes")
    await _filled(store)
    [path] = [found for found in tmp_path.rglob("*") if found.is_file() and found.suffix != ".key"][:1]
    os.setxattr(path, "user.storage.attributes", b"[" * 1000)

    found, left_out = await scanned(store)

    assert {"a", "bad", "c"} == {*found, *left_out}
    assert 1 == len(left_out)
    with pytest.raises(CorruptObjectError) as raised:
        await store.head(left_out[0])
    assert left_out[0] == raised.value.key


async def test_truncated_ciphertexts_are_left_out() -> None:
    """A length that no encrypted object has."""
    base = DictStore()
    store = await _filled(EncryptingStore(base, {"1": EncryptingStore.generate_key()}))
    await base.put("bad", b"short")

    assert (["a", "c"], ["bad"]) == await scanned(store)


async def test_order_of_keys_does_not_matter() -> None:
    """A decorator that has to sort the listing below reports the same."""
    store = await _filled(HashPrefixStore(ChecksumStore(base := DictStore())))
    [below] = [key async for key in base.keys() if key.endswith("bad")]
    await base.put(below, b"1")

    assert (["a", "c"], ["bad"]) == await scanned(store)


async def test_what_was_left_out_before_a_retry_is_reported() -> None:
    """A listing that fails and goes on after its last item does not forget what was damaged before it."""

    class FailingOnceStore(DamagedStore):
        failed = False

        async def keys(self, prefix: str = "", *, start_after: str = "") -> Any:
            async for key in super().keys(prefix, start_after=start_after):
                yield key
                if key == "c" and not self.failed:
                    self.failed = True
                    raise StoreUnavailableError("try again")

    base = FailingOnceStore()
    store = await _filled(RetryingStore(base, base_delay=0.001))
    await store.put("d", b"data")

    assert (["a", "c", "d"], ["bad"]) == await scanned(store)
    assert base.failed
