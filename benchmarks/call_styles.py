"""The calls of the packages that have stores of several kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import storage.sync
from benchmarks.contenders import Calls
from storage import ObjectStore

__all__ = [
    "awaited_obstore",
    "awaited_opendal",
    "awaited_store",
    "sync_fsspec",
    "sync_obstore",
    "sync_opendal",
    "sync_store",
]


def awaited_store(store: ObjectStore) -> Calls:
    """Return the calls of one of our stores."""

    async def keys() -> list[str]:
        return [key async for key in store.keys()]

    return Calls(
        get=store.get,
        put=store.put,
        head=store.head,
        keys=keys,
        delete=store.delete,
        get_many=store.get_many,
        put_many=store.put_many,
        delete_many=store.delete_many,
        copy=lambda target: storage.copy_store(store, target.store),
        store=store,
    )


def sync_store(store: storage.sync.ObjectStore) -> Calls:
    """Likewise, without ``await``."""
    return Calls(
        get=store.get,
        put=store.put,
        head=store.head,
        keys=lambda: list(store.keys()),
        delete=store.delete,
        get_many=store.get_many,
        put_many=store.put_many,
        delete_many=store.delete_many,
        copy=lambda target: storage.sync.copy_store(store, target.store),
        store=store,
    )


def awaited_obstore(store: Any) -> Calls:
    """Return the calls of one of obstore's stores; it deletes many in one call, but reads and writes one by one."""

    async def get(key: str) -> bytes:
        return bytes(await (await store.get_async(key)).bytes_async())

    async def keys() -> list[str]:
        return [info["path"] async for infos in store.list() for info in infos]

    return Calls(
        get=get,
        put=store.put_async,
        head=store.head_async,
        keys=keys,
        delete=store.delete_async,
        delete_many=store.delete_async,
    )


def sync_obstore(store: Any) -> Calls:
    """Likewise, without ``await``."""
    return Calls(
        get=lambda key: bytes(store.get(key).bytes()),
        put=store.put,
        head=store.head,
        keys=lambda: [info["path"] for infos in store.list() for info in infos],
        delete=store.delete,
        delete_many=store.delete,
    )


def awaited_opendal(operator: Any) -> Calls:
    """Return the calls of one of OpenDAL's operators."""

    async def keys() -> list[str]:
        return [entry.path async for entry in await operator.list("", recursive=True) if entry.path[-1] != "/"]

    return Calls(get=operator.read, put=operator.write, head=operator.stat, keys=keys, delete=operator.delete)


def sync_opendal(operator: Any) -> Calls:
    """Likewise, without ``await``."""
    return Calls(
        get=operator.read,
        put=operator.write,
        head=operator.stat,
        keys=lambda: [entry.path for entry in operator.list("", recursive=True) if entry.path[-1] != "/"],
        delete=operator.delete,
    )


def sync_fsspec(files: Any, root: str) -> Calls:
    """Return the calls of one of fsspec's file systems, for the objects below *root*."""

    def below(call: Callable[..., Any]) -> Callable[..., Any]:
        return lambda key, *data: call(f"{root}/{key}", *data)

    return Calls(
        get=below(files.cat_file),
        put=below(files.pipe_file),
        head=below(files.info),
        keys=lambda: files.find(root),
        delete=below(files.rm_file),
        get_many=lambda keys: files.cat([f"{root}/{key}" for key in keys]),
        put_many=lambda objects: files.pipe({f"{root}/{key}": data for key, data in objects.items()}),
        delete_many=lambda keys: files.rm([f"{root}/{key}" for key in keys]),
    )
