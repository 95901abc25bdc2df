"""The checksums that a server sends with an object, and their comparison with the received bytes."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable, Mapping
from typing import Protocol

from storage.errors import CorruptObjectError

__all__ = ["WITH_CHECKSUM", "Checksum", "crc32", "verify"]

#: The headers that request the checksum of a whole object.
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


#: The algorithms that Python computes fast; it does not for CRC-32C and CRC-64/NVME.
_KINDS: dict[str, Callable[[], _Hash]] = {
    "x-amz-checksum-crc32": _Crc32,
    "x-amz-checksum-sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "x-amz-checksum-sha256": hashlib.sha256,
}


def crc32(data: bytes) -> str:
    """Return the CRC-32 of *data* in the form of a header."""
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


class Checksum:
    """
    The expected checksum of an object, and the checksum of the bytes received so far.

    Args:
        said: the expected digest in base64.
        found: the hash of the bytes.
    """

    def __init__(self, said: str, found: _Hash) -> None:
        self._said = said
        self._found = found

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Checksum | None:
        """
        Return the checksum that was sent with a whole object; None if there is none that its bytes can be checked with.

        The checksum of an object in parts may be computed from those of the parts: it ends in ``-`` and their number.
        """
        if "content-range" in headers:
            return None
        for name, kind in _KINDS.items():
            said = headers.get(name)
            if said and "-" not in said:
                return cls(said, kind())
        return None

    def update(self, data: bytes) -> None:
        """Add the next bytes."""
        self._found.update(data)

    def check(self, key: str, store: str) -> None:
        """
        Compare the checksum of all bytes with the expected one.

        Raises:
            CorruptObjectError: they differ.
        """
        if base64.b64encode(self._found.digest()).decode() != self._said:
            raise CorruptObjectError(
                "the bytes do not match the checksum that was sent with them", key=key, store=store
            )


def verify(headers: Mapping[str, str], data: bytes, key: str, store: str) -> None:
    """
    Compare a whole object with the checksum that was sent with it, if there is one.

    Raises:
        CorruptObjectError: they differ.
    """
    checksum = Checksum.of(headers)
    if checksum is not None:
        checksum.update(data)
        checksum.check(key, store)
