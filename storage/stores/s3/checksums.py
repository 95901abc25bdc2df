"""The checksums by which a server says what an object is, held against the bytes that came."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable, Mapping
from typing import Protocol

from storage.errors import CorruptObjectError

__all__ = ["WITH_CHECKSUM", "Checksum", "crc32", "verify"]

#: Asks for the checksum of a whole object.
WITH_CHECKSUM = {"x-amz-checksum-mode": "ENABLED"}


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


#: Those for which Python has something fast; for CRC-32C and CRC-64/NVME it has not.
_KINDS: dict[str, Callable[[], _Hash]] = {
    "x-amz-checksum-crc32": _Crc32,
    "x-amz-checksum-sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "x-amz-checksum-sha256": hashlib.sha256,
}


def crc32(data: bytes) -> str:
    """Return the CRC-32 of bytes, as a header has it."""
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


class Checksum:
    """
    What an object's checksum is said to be, and what it is of the bytes so far.

    Args:
        said: the digest in base64.
        found: takes the bytes.
    """

    def __init__(self, said: str, found: _Hash) -> None:
        self._said = said
        self._found = found

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Checksum | None:
        """
        Return the checksum that came with a whole object, None where none did that can be held against its bytes.

        That of an object in parts may be one of its parts' checksums: it ends in ``-`` and their number.
        """
        if "content-range" in headers:
            return None
        for name, kind in _KINDS.items():
            said = headers.get(name)
            if said and "-" not in said:
                return cls(said, kind())
        return None

    def update(self, data: bytes) -> None:
        """Take the next bytes."""
        self._found.update(data)

    def check(self, key: str, store: str) -> None:
        """
        Hold all that was taken against what was said.

        Raises:
            CorruptObjectError: it is something else.
        """
        if base64.b64encode(self._found.digest()).decode() != self._said:
            raise CorruptObjectError(
                "the bytes do not match the checksum that was sent with them", key=key, store=store
            )


def verify(headers: Mapping[str, str], data: bytes, key: str, store: str) -> None:
    """
    Hold a whole object against the checksum that came with it, if one did.

    Raises:
        CorruptObjectError: it is another one's.
    """
    checksum = Checksum.of(headers)
    if checksum is not None:
        checksum.update(data)
        checksum.check(key, store)
