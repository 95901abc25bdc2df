"""
The format of encrypted objects: a header, and segments that are encrypted and authenticated one by one.

    header     8 bytes    "sealed", a zero byte, and the version of this format: 1
              32 bytes    the id of the key, UTF-8, filled up with zero bytes
              32 bytes    salt: new each time an object is written; 24 random bytes and a mark of 8 bytes, which tells
                          whether there are attributes (`storage.decorators.encrypting.bound_attributes`)
    segments              64 KiB each, the last one 1 byte to 64 KiB, or 0 in an object of no bytes;
                          each encrypted, and followed by its tag of 16 bytes

A segment is encrypted with AES-256-GCM (NIST SP 800-38D):

    key        HKDF-SHA-256 (RFC 5869) of the key with that id, with the salt, and "stackstore sealed 1" as info
    nonce      the segment's number, from 0, in 11 bytes, big-endian; then a byte 1 for the last segment, 0 for others
    data       the header, then the object's name in UTF-8: authenticated with each segment

This is the STREAM construction (Hoang, Reyhanitabar, Rogaway and Vizár, 2015), with a separate key for each object, so
that no nonce is used twice. Segments that were changed, cut off, exchanged, repeated or added cannot be decrypted. Nor
can an object under another object's name.
"""

from __future__ import annotations

__all__ = ["ENCRYPTED_SEGMENT", "HEADER", "KEY_ID", "MAGIC", "SALT", "SEGMENT", "TAG", "decrypted_size"]

MAGIC = b"sealed\x00\x01"
KEY_ID = 32
SALT = 32

#: Bytes of the header.
HEADER = len(MAGIC) + KEY_ID + SALT

#: Bytes of a segment, of its tag, and of an encrypted segment, which is both.
SEGMENT = 64 << 10
TAG = 16
ENCRYPTED_SEGMENT = SEGMENT + TAG


def decrypted_size(size: int) -> int | None:
    """Return the decrypted size of an object of *size* encrypted bytes; None if no encrypted object has this size."""
    body = size - HEADER
    segments = -(-body // ENCRYPTED_SEGMENT)
    last = body - (segments - 1) * ENCRYPTED_SEGMENT
    if segments < 1 or last < TAG or (last == TAG and segments > 1):
        return None
    return body - segments * TAG
