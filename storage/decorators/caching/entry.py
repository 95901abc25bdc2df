"""
`Entry`: what a cache keeps of an object, which is its description by the main store and its bytes.

An entry is a line of text and then the object's bytes, so that any store can hold it, even one without attributes. The
number in the line is the crc32 of everything after it, in hex:

    storage-cache 1 4f1c2a90 {"key": "a/b", "size": 3, "etag": "17", "modified": null, "attributes": {}}
    abc
"""

from __future__ import annotations

import json
import zlib
from datetime import datetime
from typing import Self

from storage.types import ObjectInfo

__all__ = ["Entry"]

_MAGIC = b"storage-cache 1 "
_START = len(_MAGIC) + len(b"4f1c2a90 ")


class Entry:
    """
    An object as it is cached.

    Args:
        info: the main store's description; its etag can be used for conditions on the main store.
        data: the object's bytes.
    """

    __slots__ = ("_info", "_line", "data")

    def __init__(self, info: ObjectInfo, data: bytes) -> None:
        self._info: ObjectInfo | None = info
        self._line = b""
        self.data: bytes = data

    @property
    def info(self) -> ObjectInfo:
        """The main store's description. It is parsed when it is first used."""
        if self._info is None:
            found = json.loads(self._line)
            modified = found["modified"] and datetime.fromisoformat(found["modified"])
            self._info = ObjectInfo(found["key"], found["size"], found["etag"], modified, found["attributes"])
        return self._info

    def info_copy(self) -> ObjectInfo:
        """Return the description for a caller, with a dict of attributes that the caller may change."""
        info = self.info
        return ObjectInfo(info.key, info.size, info.etag, info.modified, dict(info.attributes))

    def pack(self) -> bytes:
        """Return the bytes that are put into the cache store."""
        info = self.info
        fields = {
            "key": info.key,
            "size": len(self.data),
            "etag": info.etag,
            "modified": info.modified and info.modified.isoformat(),
            "attributes": dict(info.attributes),
        }
        line = json.dumps(fields).encode() + b"\n"
        return b"".join([_MAGIC, b"%08x " % zlib.crc32(self.data, zlib.crc32(line)), line, self.data])

    @classmethod
    def unpack(cls, key: str, packed: bytes) -> Self | None:
        """Return the entry in *packed*, or None if it is damaged, of another key than *key*, or not an entry."""
        if not packed.startswith(_MAGIC) or not packed.startswith(b'{"key": %s, ' % json.dumps(key).encode(), _START):
            return None
        if packed[len(_MAGIC) : _START] != b"%08x " % zlib.crc32(memoryview(packed)[_START:]):
            return None
        end = packed.index(b"\n", _START) + 1  # there is one: the crc32 is right
        entry = cls.__new__(cls)
        entry._info, entry._line, entry.data = None, packed[_START:end], packed[end:]
        return entry
