"""
The encoding of `SafeFilesystemStore`: any key as a path whose names are valid on every operating system.

A key is split at its slashes, and each segment becomes a name:

- ``a-z``, ``0-9``, ``-``, ``_`` and ``.`` stay as they are; ``A-Z`` become ``^a`` to ``^z``, because some systems take
  names that differ only in case for the same name; every other byte of the UTF-8 text becomes ``%`` and two
  hex digits, and so do a dot at the beginning or end of a name and the first letter of a name that Windows reserves
  (``con``);
- a directory's name ends in ``+``, so that the keys ``a`` and ``a/b`` can both exist;
- a segment of 80 bytes and more is split: every 80 bytes become a directory whose name ends in ``~``; encoded they have
  at most 240 characters, of the 255 that a name may have;
- an empty segment is ``%``.

The names sort differently from the keys. That does not matter: a directory is read whole, decoded, then sorted.
"""

from __future__ import annotations

import re
import string

__all__ = ["decode_name", "encode_directory", "encode_name", "encode_path"]

#: Bytes of a segment in one name; escaped they have at most 240 characters.
SPAN = 80

_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_.")
_ENCODED = [chr(byte) if byte in _PLAIN else f"%{byte:02x}" for byte in range(256)]
for _letter in string.ascii_uppercase:
    _ENCODED[ord(_letter)] = f"^{_letter.lower()}"

#: Names that Windows reserves for devices, with any extension ("Naming Files, Paths, and Namespaces").
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9]|conin\$|conout\$|clock\$)(?:\.|\Z)")

_ESCAPE = re.compile(rb"\^([a-z])|%([0-9a-f]{2})")


def encode_path(key: str) -> str:
    """Return the relative path of the file for *key*."""
    directory, _, last = key.rpartition("/")
    names = encode_directory(directory) if "/" in key else []
    return "/".join([*names, *_spans(last.encode(), "")])


def encode_directory(directory: str) -> list[str]:
    """Return the names of the directories for the part of a key before its last slash."""
    return [name for segment in directory.split("/") for name in _spans(segment.encode(), "+")]


def _spans(segment: bytes, mark: str) -> list[str]:
    """Return the names for one segment: full ones that end in ``~``, then one that ends in *mark*."""
    full = len(segment) // SPAN
    names = [_name(segment[i * SPAN : (i + 1) * SPAN]) + "~" for i in range(full)]
    return [*names, _name(segment[full * SPAN :]) + mark]


def _name(part: bytes) -> str:
    name = "".join([_ENCODED[byte] for byte in part])
    if name.startswith("."):
        name = f"%2e{name[1:]}"
    elif _RESERVED.match(name):
        name = f"%{ord(name[0]):02x}{name[1:]}"
    if name.endswith("."):
        name = f"{name[:-1]}%2e"
    return name or "%"


def decode_name(name: str, is_directory: bool) -> bytes | None:
    """Return the part of the key that a name stands for, in UTF-8; None for a name that `encode_path` never returns."""
    mark = name[-1] if is_directory else ""
    if is_directory and mark not in "+~":
        return None
    bare = name.removesuffix(mark) if mark else name
    if not bare.isascii():
        return None
    part = b"" if bare == "%" else _ESCAPE.sub(_unescape, bare.encode())
    if _name(part) != bare or (len(part) == SPAN) != (mark == "~") or len(part) > SPAN:
        return None  # another program's
    return part + b"/" if mark == "+" else part


def encode_name(part: bytes) -> tuple[str, bool]:
    """Return the name for a part of a key that `decode_name` has returned, and whether it is a directory's."""
    if part.endswith(b"/"):
        return _name(part[:-1]) + "+", True
    return (_name(part) + "~", True) if len(part) == SPAN else (_name(part), False)


def _unescape(found: re.Match[bytes]) -> bytes:
    letter, digits = found.groups()
    return letter.upper() if letter else bytes.fromhex(digits.decode())
