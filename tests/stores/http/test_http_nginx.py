"""`HttpStore` on nginx with passwords, compression, without ranges, and with redirects."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.nginx import Nginx, nginx_server
from servers.tls import Certificate

import storage.sync
from storage import (
    ByteRange,
    ConfigError,
    FilesystemStore,
    HttpStore,
    KeyNotFoundError,
    PermissionDeniedError,
    StorageError,
    UnsupportedOperationError,
    copy_store,
    sync_stores,
)

TEXT = b"0123456789" * 20_000

#: Long enough ago for a time to tell a version.
THEN = 1_500_000_000


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory, certificate: Certificate, uses_server: None) -> Iterator[Nginx]:
    with nginx_server(tmp_path_factory.mktemp("nginx"), certificate) as server:
        (server.objects / "table.csv").write_bytes(TEXT)
        (server.objects / "page.html.gz").write_bytes(gzip.compress(TEXT))
        (server.objects / "d").mkdir()
        (server.objects / "d" / "empty").write_bytes(b"")
        for path in server.objects.rglob("*"):
            os.utime(path, (THEN, THEN))
        yield server


async def test_certificate_must_be_trusted(nginx: Nginx, certificate: Certificate) -> None:
    """An untrusted certificate is refused, also by the synchronous store."""
    async with HttpStore(nginx.tls_url, retry_timeout=0) as store:
        with pytest.raises(StorageError, match="CertificateError; ca_bundle= sets"):
            await store.get("table.csv")

    with storage.sync.HttpStore(nginx.tls_url, ca_bundle=str(certificate.authority)) as trusting:
        assert TEXT == trusting.get("table.csv")
    with pytest.raises(ConfigError, match="leave out ca_bundle"):
        HttpStore(nginx.tls_url, ca_bundle=str(certificate.authority), session=object())


async def test_password_is_asked_for(nginx: Nginx) -> None:
    """Basic credentials give access; without them it is a permission error, not a missing key."""
    async with HttpStore(f"{nginx.url}/private") as store:
        for call in (store.get("table.csv"), store.head("missing"), store.exists("table.csv")):
            with pytest.raises(PermissionDeniedError):
                await call
    for wrong in ("s3cre", ""):
        async with HttpStore(f"{nginx.url}/private", username="reader", password=wrong) as store:
            with pytest.raises(PermissionDeniedError):
                await store.get("table.csv")
    async with HttpStore(f"{nginx.url}/private", username="reader", password="s3cret") as store:
        assert TEXT == await store.get("table.csv")
        with pytest.raises(KeyNotFoundError):
            await store.get("missing")


async def test_server_that_would_compress_does_not(nginx: Nginx) -> None:
    """Sizes, ranges and the strong etag are those of the file, though the server could compress it."""
    async with HttpStore(f"{nginx.url}/compressed") as store:
        info = await store.head("table.csv")

        assert (len(TEXT), f"{THEN:x}-{len(TEXT):x}") == (info.size, info.etag)
        assert {"content-type": "text/csv"} == info.attributes
        assert TEXT == await store.get("table.csv")
        assert TEXT[7:77] == await store.get("table.csv", byte_range=ByteRange(7, 77))


async def test_server_without_ranges_and_etags(nginx: Nginx) -> None:
    """The store replaces what is missing: it cuts ranges, and tells versions apart by time and size."""
    part = ByteRange(50_000, 50_100)
    async with HttpStore(f"{nginx.url}/wholes") as store, store.open("table.csv", byte_range=part) as reader:
        assert f"{THEN:x}-{len(TEXT):x}" == reader.info.etag
        assert TEXT[50_000:50_010] == await reader.read(10)
        await reader.seek(90)
        assert TEXT[50_090:50_100] == await reader.read()


async def test_redirect_to_another_place(nginx: Nginx) -> None:
    """Followed only if enabled; the name of a directory is a missing key in both cases."""
    async with HttpStore(f"{nginx.url}/moved") as store:
        with pytest.raises(UnsupportedOperationError, match="redirects=True"):
            await store.get("table.csv")
    async with HttpStore(nginx.url) as store:
        assert not await store.exists("d")


async def test_copy_of_a_tree_and_back(nginx: Nginx, tmp_path: Path) -> None:
    """A tree is downloaded and uploaded; existing objects are not sent again."""
    files = FilesystemStore(tmp_path / "files")
    async with HttpStore(nginx.url, writable=True, listing="autoindex") as store:
        await copy_store(store, files)
        assert ["d/empty", "page.html.gz", "table.csv"] == [key async for key in files.keys()]
        assert {"content-type": "text/csv"} == (await files.head("table.csv")).attributes

        async with HttpStore(f"{nginx.url}/copies", writable=True, listing="autoindex") as copies:
            assert 3 == (await sync_stores(files, copies)).objects
            assert 0 == (await sync_stores(files, copies)).objects
            assert TEXT == await copies.get("table.csv")
            assert TEXT == (nginx.objects / "copies" / "table.csv").read_bytes()
            await copies.clear()
            assert [] == [key async for key in copies.keys()]
