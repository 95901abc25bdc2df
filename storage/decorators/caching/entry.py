"""
What a cache keeps of an object: its description, as the main store gives it, and its bytes.

An entry is a line of text and then the object's bytes as they are, so that any store can hold it, also one without
attributes. The number is the crc32 of all that stands behind it, in hex:

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
        info: the main store's description; its etag is the main store's, and good for conditions there.
        data: the object's bytes.
    """

    __slots__ = ("_info", "_line", "data")

    def __init__(self, info: ObjectInfo, data: bytes) -> None:
        self._info: ObjectInfo | None = info
        self._line = b""
        self.data: bytes = data

    @property
    def info(self) -> ObjectInfo:
        """The main store's description, which is read from the entry when it is first asked for."""
        if self._info is None:
            found = json.loads(self._line)
            modified = found["modified"] and datetime.fromisoformat(found["modified"])
            self._info = ObjectInfo(found["key"], found["size"], found["etag"], modified, found["attributes"])
        return self._info

    def described(self) -> ObjectInfo:
        """Return the description for one caller: its attributes are nobody else's."""
        info = self.info
        return ObjectInfo(info.key, info.size, info.etag, info.modified, dict(info.attributes))

    def pack(self) -> bytes:
        """Return what is put into the cache store."""
        info = self.info
        described = {
            "key": info.key,
            "size": len(self.data),
            "etag": info.etag,
            "modified": info.modified and info.modified.isoformat(),
            "attributes": dict(info.attributes),
        }
        line = json.dumps(described).encode() + b"\n"
        return b"".join([_MAGIC, b"%08x " % zlib.crc32(self.data, zlib.crc32(line)), line, self.data])

    @classmethod
    def unpack(cls, key: str, packed: bytes) -> Self | None:
        """Return what was packed for *key*, or None where *packed* is damaged, another key's or no entry at all."""
        if not packed.startswith(_MAGIC) or not packed.startswith(b'{"key": %s, ' % json.dumps(key).encode(), _START):
            return None
        if packed[len(_MAGIC) : _START] != b"%08x " % zlib.crc32(memoryview(packed)[_START:]):
            return None
        end = packed.index(b"\n", _START) + 1  # pack wrote one, or the crc32 would be another
        entry = cls.__new__(cls)
        entry._info, entry._line, entry.data = None, packed[_START:end], packed[end:]
        return entry
