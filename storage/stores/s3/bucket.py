"""`Bucket`: the operations of one bucket, each a single attempt."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

from storage.errors import StorageError
from storage.stores.s3.listing import Page

__all__ = ["Body", "Bucket"]


class Body(Protocol):
    """The body of a response, read while it arrives."""

    async def read(self, size: int = -1, /) -> bytes:
        """Return up to *size* bytes, ``b""`` at the end; all the rest for -1."""
        ...


class Bucket(ABC):
    """
    One bucket.

    Keys are those of the bucket. Every error is a `StorageError` and has the request id.
    """

    @abstractmethod
    def get(self, key: str, headers: Mapping[str, str]) -> AbstractAsyncContextManager[tuple[Mapping[str, str], Body]]:
        """Begin to read an object: give the response's headers and body. *headers* are a range and conditions."""

    @abstractmethod
    async def get_bytes(self, key: str, headers: Mapping[str, str]) -> tuple[Mapping[str, str], bytes]:
        """Read a whole object, or a range of one."""

    @abstractmethod
    async def head(self, key: str) -> Mapping[str, str]:
        """Return an object's headers."""

    @abstractmethod
    async def put(self, key: str, data: bytes, headers: Mapping[str, str]) -> str:
        """Put an object and return its etag; *headers* are attributes, conditions and checksums."""

    @abstractmethod
    async def delete(self, key: str, if_match: str | None) -> None:
        """Delete an object."""

    @abstractmethod
    async def delete_many(self, keys: Iterable[str]) -> dict[str, StorageError]:
        """Delete up to 1,000 objects with one request, and return the errors of those that could not be deleted."""

    @abstractmethod
    async def page(self, prefix: str, start_after: str, delimiter: str = "", limit: int = 1000) -> Page:
        """Return one page of the keys with *prefix* after *start_after*, in order."""

    @abstractmethod
    async def create(self, region: str | None) -> None:
        """Create the bucket, unless it exists and is ours."""

    @abstractmethod
    async def parts(self, key: str, upload: str) -> dict[int, tuple[int, str]]:
        """Return size and etag of every part of an upload that the server has, by number."""

    @abstractmethod
    async def copy(self, source: str, target: str, headers: Mapping[str, str]) -> str:
        """Copy an object of up to 5 GiB with its attributes inside the bucket, and return the copy's etag."""

    @abstractmethod
    async def create_upload(self, key: str, headers: Mapping[str, str]) -> str:
        """Begin an upload in parts, and return its id."""

    @abstractmethod
    async def upload_part(self, key: str, upload: str, number: int, data: bytes) -> str:
        """Send one part of an upload, and return its etag."""

    @abstractmethod
    async def copy_part(self, source: str, etag: str, key: str, upload: str, number: int, byte_range: str) -> str:
        """Copy a range of an object, if its etag is *etag*, to a part of an upload, and return the part's etag."""

    @abstractmethod
    async def complete_upload(self, key: str, upload: str, etags: list[str], headers: Mapping[str, str]) -> str:
        """Make one object of the parts, and return its etag; *headers* are conditions."""

    @abstractmethod
    async def abort_upload(self, key: str, upload: str) -> None:
        """Abort an upload, so that its parts take up no space."""

    @abstractmethod
    async def presign(self, method: Literal["GET", "PUT"], key: str, expires: int, content_type: str | None) -> str:
        """Return a URL with which anybody can get or put the object for *expires* seconds."""

    @abstractmethod
    def url(self, key: str) -> str:
        """Return the object's plain URL."""

    @abstractmethod
    async def set_acl(self, key: str, acl: Literal["public-read", "private"]) -> None:
        """Set who may read an object."""
