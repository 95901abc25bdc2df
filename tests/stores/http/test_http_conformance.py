"""The suite on `HttpStore`: on nginx, plain and with TLS, and on a server that checks conditions."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from servers.nginx import Nginx, nginx_server
from servers.odd_http import OddServer, odd_server
from servers.tls import Certificate
from sync_view import View

import storage.sync
from storage import BulkError, FilesystemStore, InvalidKeyError, KeyConflictError, KeyNotFoundError, ObjectStore
from storage.stores.http.store import HttpStore
from storage.testing import StoreConformance
from storage.testing.suite.harness import listed, unfit


def _seen(store: HttpStore, view: str) -> ObjectStore:
    return View(storage.sync.ObjectStore(store)) if view == "sync" else store


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test on the servers that support what it tests."""
    suite = metafunc.cls
    assert suite is not None
    able = {kind: HttpStore("http://nowhere", **options).capabilities for kind, options in suite.kinds.items()}
    chosen = [(kind, view) for kind, view in suite.combinations if unfit(metafunc.function, able[kind]) is None]
    metafunc.parametrize("store", chosen, ids=map("-".join, chosen), indirect=True)


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory, certificate: Certificate, uses_server: None) -> Iterator[Nginx]:
    with nginx_server(tmp_path_factory.mktemp("nginx"), certificate) as server:
        yield server


class TestNginx(StoreConformance):
    """On nginx objects are files, and what the store cannot put is written directly."""

    kinds: ClassVar[dict[str, dict[str, Any]]] = {
        "listed": {"writable": True, "listing": "autoindex"},
        "unlisted": {"writable": True},
        "readonly": {"listing": "autoindex"},
    }
    combinations = (
        ("listed", "awaited"),
        ("listed", "tls"),
        ("listed", "sync"),
        ("unlisted", "awaited"),
        ("readonly", "awaited"),
        ("readonly", "tls"),
    )
    late_writes = True
    many = 203
    root: Path
    url: str
    options: dict[str, Any]
    view: str

    @pytest.fixture
    async def store(
        self, request: pytest.FixtureRequest, nginx: Nginx, certificate: Certificate
    ) -> AsyncIterator[ObjectStore]:
        kind, self.view = request.param
        self.root = nginx.objects
        self.url, self.options = nginx.url, self.kinds[kind]
        if self.view == "tls":
            self.url, self.options = nginx.tls_url, {**self.options, "ca_bundle": str(certificate.authority)}
        async with self.another_one() as store:
            yield store
        for path in list(nginx.objects.iterdir()):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def another_one(self) -> ObjectStore:
        return _seen(HttpStore(self.url, **self.options), self.view)

    def another(self, store: ObjectStore) -> AbstractAsyncContextManager[ObjectStore]:
        return self.another_one()

    async def raw(self, store: ObjectStore, key: str) -> bytes | None:
        path = self.root / key
        return path.read_bytes() if path.is_file() else None

    async def fill(self, store: ObjectStore, objects: Mapping[str, bytes]) -> None:
        if store.capabilities.writable:
            await super().fill(store, objects)
            return
        results: dict[str, object] = {}
        for key, data in objects.items():
            try:
                await store.exists(key)
                await FilesystemStore(self.root).put(key, data)
            except (InvalidKeyError, KeyConflictError) as error:
                results[key] = error
        if results:
            raise BulkError(results)

    async def test_etags_of_different_bytes_differ(self, store: ObjectStore) -> None:
        """
        Not on nginx: its etag is made of the size and the second, so different objects may share it.

        The store accounts for that: it does not resume the read of such a recent object with another response.
        """
        await store.put("k", b"one")

        async with store.open("k") as reader:
            assert not reader.seekable()
        then = 1_500_000_000
        os.utime(self.root / "k", (then, then))
        async with store.open("k") as reader:
            assert reader.seekable()
            assert f"{then:x}-3" == reader.info.etag

    async def test_object_that_is_a_directory_too(self, store: ObjectStore) -> None:
        """As in the suite, except that nginx keeps the directory of a deleted object."""
        for first, second in (("a", "a/b"), ("d/e", "d"), ("f/g/h", "f")):
            await store.put(first, b"1")

            with pytest.raises(KeyConflictError) as caught:
                await store.put(second, [b"2" * 1_500_000] * 2)
            assert second == caught.value.key
            with pytest.raises(KeyConflictError):
                await store.put(second, b"2")
            assert not await store.exists(second)
            with pytest.raises(KeyNotFoundError):
                await store.get(second)
            await store.delete(second)
            assert b"1" == await self.raw(store, first)

            await store.delete(first)
            assert [] == await listed(store.keys())
            if first == "a":
                await store.put(second, b"2")
                await store.delete(second)
            else:
                with pytest.raises(KeyConflictError):
                    await store.put(second, b"2")


class TestKeepingConditions(StoreConformance):
    """On a server over a dict that checks conditions, with conditions='trust'."""

    kinds: ClassVar[dict[str, dict[str, Any]]] = {
        "kept": {"writable": True, "listing": "autoindex", "conditions": "trust"},
    }
    combinations = (("kept", "awaited"), ("kept", "sync"))
    late_writes = True
    many = 203
    server: OddServer
    view: str

    @pytest.fixture
    async def store(self, request: pytest.FixtureRequest) -> AsyncIterator[ObjectStore]:
        kind, self.view = request.param
        async with odd_server() as self.server:
            self.options = self.kinds[kind]
            async with self.another_one() as store:
                yield store

    def another_one(self) -> ObjectStore:
        return _seen(HttpStore(self.server.url, **self.options), self.view)

    def another(self, store: ObjectStore) -> AbstractAsyncContextManager[ObjectStore]:
        return self.another_one()

    async def raw(self, store: ObjectStore, key: str) -> bytes | None:
        found = self.server.objects.get(key)
        return None if found is None else found.data
