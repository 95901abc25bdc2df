"""
Attributes that are bound to their encrypted object, so that nobody below can change, exchange, add or remove them.

They are stored as they were put, and one more with them, `SEAL`, which is 42 bytes in base64:

    salt        24 bytes   the first ones of the object's salt
    covered      1 byte    bits 0 to 6: which of `OPTIONAL`, in their order, were put; bit 7: the size is covered
    tag         17 bytes   keyed BLAKE2b (RFC 7693) of the text below, of this length

The text is the salt and the byte above, and then in UTF-8: the object's size in decimal digits, nothing if it is not
covered, and a line end; the lengths in code points of the texts that follow, with spaces between them, and a line end;
and these texts: the object's name, and the names and values of the attributes in the order of their names. The key is
HKDF-SHA-256 of the encryption key, without a salt, with "stackstore sealed 1 attributes" as info.

The last 8 bytes of the object's salt are a mark, which tells whether the object was put with attributes. They are taken
from the BLAKE2b of 16 bytes of the 24 bytes before them, with the same key: its first half for an object without
attributes, its second half for one with attributes. Objects of earlier versions have no mark, as their salt is random:
their attributes are bound to nothing. A marked object cannot be made to pass for one of these, nor for one without
attributes, as its salt is authenticated: where there is no seal, the first segment is decrypted before the mark counts.

Not covered are those `OPTIONAL` attributes that were not put, because servers add them; they are left out of
descriptions, but for the deadline. The lifetime is not covered either, as stores turn it into a deadline.
"""

from __future__ import annotations

import binascii
import hmac
from hashlib import blake2b
from typing import NamedTuple

from storage._core.deadlines import DEADLINE, LIFETIME
from storage.types import Attributes

__all__ = ["RANDOM", "SEAL", "AttributeKey", "Binding", "Marks", "split_bare"]

#: The attribute with the seal. The caller's own attribute of this name is kept in it, before the seal.
SEAL = "seal"

#: Attributes that stores and servers below add by themselves: they are bound if they were put, else left out.
OPTIONAL = (
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
    DEADLINE,
)
_BITS = {name: 1 << bit for bit, name in enumerate(OPTIONAL)}
_SIZED = 1 << 7

#: The random bytes of a salt, of the mark after them, and of a tag.
RANDOM, _MARK, _TAG = 24, 8, 17


class Marks(NamedTuple):
    """
    The two marks that the salt of an object can have.

    Attributes:
        bare: of an object without attributes.
        bound: of one with attributes.
    """

    bare: bytes
    bound: bytes


class AttributeKey:
    """
    The key that binds the attributes of objects to them.

    It costs a put 2 to 4 us and a head 1 to 2 us. The states of BLAKE2b that have taken the key in are copied for each
    object, which takes two thirds of the time of new ones.

    Args:
        key: 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        self._marking = blake2b(key=key, digest_size=2 * _MARK)
        self._sealing = blake2b(key=key, digest_size=_TAG)

    def marks(self, random: bytes) -> Marks:
        """Return the marks for the random bytes of a salt."""
        digest = self._mark_digest(random)
        return Marks(digest[:_MARK], digest[_MARK:])

    def marked_salt(self, random: bytes, attributes: Attributes | None) -> bytes:
        """Return the salt of a new object with these attributes."""
        digest = self._mark_digest(random)
        return random + (digest[_MARK:] if attributes and _covered(attributes) else digest[:_MARK])

    def _mark_digest(self, random: bytes) -> bytes:
        state = self._marking.copy()
        state.update(random)
        return state.digest()

    def seal(self, attributes: Attributes | None, random: bytes, name: str, size: int | None) -> Attributes:
        """
        Return the attributes to store below: the caller's, and their seal.

        Args:
            attributes: the caller's.
            random: the random bytes of the object's salt.
            name: the name of the object.
            size: its size, None if it is not known yet.
        """
        given = 0 if size is None else _SIZED
        covered = _covered(attributes or {})
        for each in covered:
            given |= _BITS.get(each, 0)
        tag = self.tag(random, given, name, size or 0, covered)
        seal = binascii.b2a_base64(b"%b%c%b" % (random, given, tag), newline=False).decode()
        if not attributes:
            return {SEAL: seal}
        return {**attributes, SEAL: f"{attributes[SEAL]} {seal}" if SEAL in attributes else seal}

    def tag(self, random: bytes, given: int, name: str, size: int, covered: Attributes) -> bytes:
        """
        Return the tag of a seal.

        Args:
            random: the random bytes of the object's salt.
            given: the byte *covered* of the seal.
            name: the name of the object.
            size: its size.
            covered: the attributes that are bound.
        """
        lengths, texts = str(len(name)), name
        if covered:
            each = [name]
            for pair in sorted(covered.items()):
                each += pair
            lengths, texts = " ".join([str(len(text)) for text in each]), "".join(each)
        text = f"{size if given & _SIZED else ''}\n{lengths}\n{texts}"
        state = self._sealing.copy()
        state.update(b"%b%c%b" % (random, given, text.encode()))
        return state.digest()


class Binding:
    """
    The seal of attributes that a store below has returned.

    Args:
        below: all attributes of the object below.

    Attributes:
        random: the random bytes of the salt of the object to which they were bound; None if there is no seal.
        attributes: those for the caller.
    """

    __slots__ = ("_given", "_tag", "attributes", "random")

    def __init__(self, below: Attributes) -> None:
        self.random: bytes | None = None
        self.attributes: Attributes = below
        text = below.get(SEAL)
        if text is None:
            return
        own, more, seal = text.rpartition(" ")
        try:
            raw = binascii.a2b_base64(seal, strict_mode=True)
        except ValueError:
            return
        if len(raw) != RANDOM + 1 + _TAG:
            return
        attributes = dict(below)
        del attributes[SEAL]
        given = raw[RANDOM]
        if attributes:
            for name in below:
                if name in _BITS and not given & _BITS[name] and name != DEADLINE:
                    del attributes[name]
        if more:
            attributes[SEAL] = own
        self.random = raw[:RANDOM]
        self.attributes = attributes
        self._given = given
        self._tag = raw[RANDOM + 1 :]

    @property
    def covers_size(self) -> bool:
        """Whether the size of the object is bound, too: it was known when the object was put."""
        return self.random is not None and bool(self._given & _SIZED)

    def holds(self, key: AttributeKey, name: str, size: int) -> bool:
        """Return whether these attributes were put with an object of this name, under this key."""
        assert self.random is not None
        covered = _covered(self.attributes)
        if DEADLINE in covered and not self._given & _BITS[DEADLINE]:
            covered = {each: value for each, value in covered.items() if each != DEADLINE}
        return hmac.compare_digest(key.tag(self.random, self._given, name, size, covered), self._tag)


def split_bare(below: Attributes) -> tuple[dict[str, str], bool]:
    """
    Return the attributes for the caller of an object that was put without any, and whether there may be these below.

    Those that stores and servers add by themselves are left out, but for the lifetime and the deadline.
    """
    times = {name: value for name, value in below.items() if name in (LIFETIME, DEADLINE)}
    return times, all(name == LIFETIME or name in OPTIONAL for name in below)


def _covered(attributes: Attributes) -> Attributes:
    if LIFETIME not in attributes:
        return attributes
    return {name: value for name, value in attributes.items() if name != LIFETIME}
