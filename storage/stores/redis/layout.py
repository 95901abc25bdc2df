"""The layout of objects in Redis: the names of their keys and their fields, as described in docs/stores/redis.md."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit, urlunsplit

from storage._core.keys import is_key
from storage._core.stored_attributes import decode_attributes
from storage._core.stored_descriptions import stored_etag, stored_size, stored_time
from storage.types import ObjectInfo

__all__ = ["DESCRIPTION", "KeySpace", "info_of", "text_of", "without_secrets"]

#: The fields of an object that `info_of` needs, in this order.
DESCRIPTION = ("etag", "size", "modified", "attributes", "expires")

#: Greater than any byte of UTF-8.
_LAST = b"\xff"


class KeySpace:
    """
    The names in Redis of everything of one store; they share the part in braces, so a cluster puts them in one slot.

    Attributes:
        common: the beginning of all names.
        start: the beginning of the names of objects.
        index: the name of the sorted set of their keys.

    Args:
        prefix: separates this store from others in the same database.

    Raises:
        ValueError: it has braces, or does not encode to UTF-8.
    """

    def __init__(self, prefix: str) -> None:
        if prefix and (not is_key(prefix) or set("{}") & set(prefix)):
            raise ValueError(
                f"prefix must be text without braces, which mark the hash slots of a cluster, not {prefix!r}"
            )
        self.common: bytes = f"{{storage:{prefix}}}".encode()
        self.start: bytes = self.common + b":o:"
        self.index: bytes = self.common + b":keys"

    def object(self, key: str) -> bytes:
        """Return the name of an object."""
        return self.start + key.encode()

    def draft(self, token: str) -> bytes:
        """Return the name of the draft of an object."""
        return self.common + b":d:" + token.encode()

    def reader_names(self, etag: str) -> list[bytes]:
        """Return the names of the number of a version's readers, and of the data kept for them after it is replaced."""
        return [self.common + b":r:" + etag.encode(), self.common + b":v:" + etag.encode()]

    @staticmethod
    def bounds(prefix: str, start_after: str) -> tuple[bytes, bytes]:
        """Return the bounds in the index, as ``ZRANGEBYLEX`` takes them, of the keys that `ObjectStore.keys` lists."""
        first, after = prefix.encode("utf-8", "surrogatepass"), start_after.encode("utf-8", "surrogatepass")
        return b"(" + after if after and after >= first else b"[" + first, b"(" + first + _LAST


def info_of(key: str, fields: Sequence[bytes], store: object) -> ObjectInfo:
    """
    Return the description of an object from the fields of `DESCRIPTION`; the last two are empty for none.

    Raises:
        CorruptObjectError: a field has not what a store writes.
    """
    etag, size, modified, attributes, expires = fields
    return ObjectInfo(
        key,
        stored_size(size, key=key, store=store),
        stored_etag(etag, key=key, store=store),
        stored_time(modified, unit=1000, key=key, store=store),
        decode_attributes(attributes, key=key, store=store),
        stored_time(expires, unit=1000, key=key, store=store) if expires else None,
    )


def text_of(etag: bytes) -> str:
    """Return an etag that a server sent, to compare it with the caller's; a damaged one equals none."""
    return etag.decode(errors="backslashreplace")


def without_secrets(url: str) -> str:
    """
    Return a server's URL without user, password and query.

    Raises:
        ValueError: it is not the URL of a Redis server.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ValueError(
            "the URL of a Redis server must have the form redis://host:port/database, rediss://... or unix:///path"
        )
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
