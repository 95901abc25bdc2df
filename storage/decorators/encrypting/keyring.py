"""`Keyring`, the keys of an `EncryptingStore`, and `Seal`, which encrypts and decrypts one object with one of them."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator, Mapping
from typing import NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from storage.decorators.encrypting.bound_attributes import RANDOM, AttributeKey, Binding, split_bare
from storage.decorators.encrypting.format import ENCRYPTED_SEGMENT, HEADER, KEY_ID, MAGIC, SALT, SEGMENT
from storage.errors import CorruptObjectError
from storage.types import Attributes

__all__ = ["Keyring", "Seal"]

#: Bytes of a key of AES-256.
KEY = 32

_INFO = b"stackstore sealed 1"
_INFO_ATTRIBUTES = b"stackstore sealed 1 attributes"

#: The nonce of the first segment that is the last one, too. Looking for it first saves a small object 1 us.
_ONLY = bytes(11) + b"\1"


class Keyring:
    """
    The keys of a store by their ids.

    Args:
        keys: 32 bytes each, as bytes or as text in hex or base64.
        active: the id of the key to encrypt with; may be None if there is only one key.
        store: the store that errors name.
    """

    def __init__(self, keys: Mapping[str, bytes | str], active: str | None, store: object) -> None:
        self._keys = {key_id: _key(key_id, key) for key_id, key in keys.items()}
        self._attribute_keys = {
            key_id: AttributeKey(HKDF(SHA256(), KEY, None, _INFO_ATTRIBUTES).derive(key))
            for key_id, key in self._keys.items()
        }
        if active is None and len(keys) == 1:
            active = next(iter(keys))
        if active not in self._keys:
            ids = ", ".join(map(repr, keys)) or "there are none"
            raise ValueError(f"active must be the id of the key to encrypt with ({ids}), not {active!r}")
        self.active = active
        self._beginning = MAGIC + active.encode().ljust(KEY_ID, b"\0")
        self._store = store

    def new_seal(self, name: str, attributes: Attributes | None = None) -> Seal:
        """Return a seal to write an object under *name*, with these attributes."""
        salt = self._attribute_keys[self.active].marked_salt(os.urandom(RANDOM), attributes)
        return Seal(self._keys[self.active], self._beginning + salt, name, self._store)

    def bind(self, attributes: Attributes | None, seal: Seal, name: str, size: int | None) -> Attributes:
        """Return the attributes to store below with the object that *seal* encrypts; its *size* if it is known."""
        return self._attribute_keys[self.active].seal(attributes, seal.salt[:RANDOM], name, size)

    def is_bound(self, binding: Binding, name: str, size: int) -> bool:
        """Return whether attributes were put with an object of this name and size, encrypted with any of the keys."""
        if binding.random is not None:
            for key in self._attribute_keys.values():  # `any` with a generator takes 0.4 us more
                if binding.holds(key, name, size):
                    return True
        return False

    def attributes_of(self, binding: Binding, header: bytes, name: str, size: int) -> Attributes | None:
        """
        Return the attributes of the object with this header; None if an earlier version wrote it, and bound none.

        Raises:
            CorruptObjectError: they are not the ones that the object was put with, it is not an encrypted object, or
                its key is not in the keyring.
        """
        key = self._attribute_keys[self._known_id(header, name)]
        salt = header[HEADER - SALT : HEADER]
        marks = key.marks(salt[:RANDOM])
        if salt[RANDOM:] not in marks:
            return None if binding.random is None else self._not_bound(name)
        if binding.random is None:  # an object without attributes is none the worse for the loss of their seal
            attributes, may_be = split_bare(binding.attributes)
            return attributes if salt[RANDOM:] == marks.bare and may_be else self._not_bound(name)
        if binding.random != salt[:RANDOM] or not binding.holds(key, name, size):
            self._not_bound(name)
        return binding.attributes

    def is_marked(self, header: bytes, name: str) -> bool:
        """Return whether it is known of the object with this header which attributes it was put with."""
        salt = header[HEADER - SALT : HEADER]
        return salt[RANDOM:] in self._attribute_keys[self._known_id(header, name)].marks(salt[:RANDOM])

    def _not_bound(self, name: str) -> NoReturn:
        raise CorruptObjectError(
            "the attributes are not those that the object was put with: they were changed, exchanged or removed in the "
            "store below; put the object again",
            key=name,
            store=self._store,
        )

    def seal_of(self, header: bytes, name: str) -> Seal:
        """
        Return the seal to read an object under *name*, from its header; more bytes may follow that.

        Raises:
            CorruptObjectError: it is not an encrypted object, or its key is not in the keyring.
        """
        return Seal(self._keys[self._known_id(header, name)], header[:HEADER], name, self._store)

    def _known_id(self, header: bytes, name: str) -> str:
        key_id = self.key_id(header, name)
        if key_id not in self._keys:
            raise CorruptObjectError(
                f"encrypted with the key {key_id!r}, which this store does not have", key=name, store=self._store
            )
        return key_id

    def key_id(self, header: bytes, name: str) -> str:
        """
        Return the id of the key with which an object was encrypted.

        Raises:
            CorruptObjectError: it is not an encrypted object.
        """
        if len(header) < HEADER or not header.startswith(MAGIC):
            raise CorruptObjectError("not an encrypted object", key=name, store=self._store)
        return header[len(MAGIC) : len(MAGIC) + KEY_ID].rstrip(b"\0").decode(errors="backslashreplace")


class Seal:
    """
    Encrypts and decrypts the segments of one object.

    Attributes:
        salt: the salt in the object's header.
    """

    def __init__(self, key: bytes, header: bytes, name: str, store: object) -> None:
        self.salt: bytes = header[-SALT:]
        self._header = header
        self._name = name
        self._store = store
        self._bound = header + name.encode()
        self._cipher = AESGCM(HKDF(SHA256(), KEY, header[-SALT:], _INFO).derive(key))

    def encrypt(self, data: bytes, *, number: int = 0, last: bool = True) -> bytes:
        """
        Return the encrypted segments of *data*, the first one being segment *number*; with the header before segment 0.

        Only the object's *last* segment may be shorter than the others.
        """
        encrypt, bound = self._cipher.encrypt, self._bound
        if last and not number and len(data) <= SEGMENT:
            return self._header + encrypt(_ONLY, data, bound)
        segments = [encrypt(nonce, part, bound) for nonce, part in _segments(data, SEGMENT, number, last)]
        return b"".join(segments if number else [self._header, *segments])

    def decrypt(self, sealed: bytes | memoryview, *, number: int = 0, last: bool = True) -> bytes:
        """
        Return the decrypted bytes of segments, of which the first is segment *number*.

        Args:
            sealed: the encrypted segments.
            number: the number of the first one, from 0.
            last: whether the object's last segment is among them.

        Raises:
            CorruptObjectError: they are not these segments of this object.
        """
        decrypt, bound = self._cipher.decrypt, self._bound
        try:
            if last and not number and len(sealed) <= ENCRYPTED_SEGMENT:
                return decrypt(_ONLY, sealed, bound)
            return b"".join(
                [decrypt(nonce, part, bound) for nonce, part in _segments(sealed, ENCRYPTED_SEGMENT, number, last)]
            )
        except InvalidTag as cause:
            raise CorruptObjectError(
                "cannot be decrypted: it was changed or truncated, or encrypted under another name or with another key",
                key=self._name,
                store=self._store,
            ) from cause


def _segments(data: bytes | memoryview, size: int, number: int, last: bool) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the nonce and the bytes of each segment of *size* bytes; no bytes are one empty segment."""
    view = memoryview(data)
    for start in range(0, len(view) or 1, size):
        ends = last and start + size >= len(view)
        yield (number + start // size).to_bytes(11, "big") + bytes([ends]), view[start : start + size]


def _key(key_id: str, key: bytes | str) -> bytes:
    """Return the bytes of a key; no error shows any of them."""
    if not isinstance(key_id, str):
        raise TypeError(f"the id of a key must be text: put {key_id!r} in quotes")
    if not 0 < len(key_id.encode()) <= KEY_ID or "\0" in key_id:
        raise ValueError(f"the id of a key must be 1 to {KEY_ID} bytes of text without NUL, not {key_id!r}")
    raw = _decoded(key.strip()) if isinstance(key, str) else key
    if not isinstance(raw, bytes) or len(raw) != KEY:
        raise ValueError(
            f"the key {key_id!r} is not {KEY} bytes, as bytes or in hex or base64; create one with generate_key()"
        )
    return raw


def _decoded(text: str) -> bytes:
    """Return the bytes of hex or base64 (either alphabet, padded or not); ``b""`` if it is neither."""
    if re.fullmatch(f"[0-9a-fA-F]{{{2 * KEY}}}", text):
        return bytes.fromhex(text)
    padded = text.translate(str.maketrans("-_", "+/")) + "=" * (-len(text) % 4)
    try:
        return base64.b64decode(padded, validate=True)
    except ValueError:
        return b""
