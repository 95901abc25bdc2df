"""Names of entries and the keys that they are: which keys an entry can have as its name, and how names are decoded."""

from __future__ import annotations

import re
import zlib

from storage._core.keys import check_key, is_key
from storage.errors import InvalidKeyError
from storage.stores.zip.entry import UTF8, Entry, extra_fields

__all__ = ["check_zip_key", "key_of"]

#: The id of Info-ZIP's extra field with the name in UTF-8.
_UNICODE_NAME = 0x7075

#: The most bytes of a name.
_LONGEST = 0xFFFF

#: Systems, in the upper byte of "made by": FAT, NTFS in two numbers, VFAT; Unix, Macintosh, macOS.
_WINDOWS, _UNIX = frozenset({0, 10, 11, 14}), frozenset({3, 7, 19})

# Absolute, with "..", or a directory; on Windows "\" is a separator, so such a name would leave the directory, too.
_REFUSED = re.compile(r"^[/\\]|(?:^|[/\\])\.\.(?:[/\\]|\Z)|/\Z|\0")


def check_zip_key(key: str, store: object = None) -> str:
    """
    Return *key* if it can be the name of an entry.

    Raises:
        InvalidKeyError: it begins with a slash or backslash, has ``..`` as a segment, ends in a slash, contains a NUL,
            or has more than 65,535 bytes.
        TypeError: it is not a ``str``.
    """
    if _REFUSED.search(check_key(key, store)):
        raise InvalidKeyError(
            "the name of a zip entry cannot have a '..', a leading '/' or '\\', a trailing '/' or a NUL",
            key=key,
            store=store,
        )
    if len(key) * 4 > _LONGEST < len(key.encode()):  # a character has up to 4 bytes
        raise InvalidKeyError(f"the name of a zip entry can have at most {_LONGEST} bytes", key=key, store=store)
    return key


def key_of(entry: Entry) -> str | None:
    """
    Return the key of an entry; None for a directory, and for a name with ``..`` or in no valid encoding.

    A name is UTF-8 if the entry says so, or has Info-ZIP's field with it. Unix programs and macOS write UTF-8 and often
    do not say so: there it is UTF-8 where it is valid UTF-8. Any other name is in code page 437.
    """
    name, system, unicode_name = entry.name, entry.made_by >> 8, b""
    if not entry.size and name.endswith(b"\\") and system in _WINDOWS:
        return None  # a directory, as .NET and others wrote it
    if _UNICODE_NAME.to_bytes(2, "little") in entry.extra:
        unicode_name = dict(extra_fields(entry.extra)).get(_UNICODE_NAME, b"")
    if unicode_name[:5] == b"\1" + zlib.crc32(name).to_bytes(4, "little"):
        name = unicode_name[5:]
    elif not entry.flags & UTF8 and not (system in _UNIX and _is_utf8(name)):
        return _key_or_none(name.decode("cp437"))
    try:
        return _key_or_none(name.decode())
    except UnicodeDecodeError:
        return None


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _key_or_none(name: str) -> str | None:
    return name if is_key(name) and not _REFUSED.search(name) else None
