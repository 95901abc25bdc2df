"""
Any key as a path whose names every operating system takes: the encoding of `SafeFilesystemStore`.

A key is cut at its slashes, and each segment is a name:

- ``a-z``, ``0-9``, ``-``, ``_`` and ``.`` stand for themselves; ``A-Z`` are ``^a`` to ``^z``, because names that
  differ in case only are one name on some systems; every other byte of the UTF-8 text is ``%`` and two
  hex digits, and so are a dot at a name's beginning or end and the first letter of what Windows reserves (``con``);
- a directory's name ends in ``+``, so that the keys ``a`` and ``a/b`` can both be;
- a segment of 80 bytes and more is continued, every 80 bytes, in a directory whose name ends in ``~``; encoded these
  have at most 240 characters, of the 255 that a name may have;
- an empty segment is ``%``.

The names sort differently from the keys, which does not matter: a directory is read whole, decoded and then sorted.
"""

from __future__ import annotations

import re
import string

__all__ = ["decode_name", "encode_directory", "encode_path"]

#: Bytes of a segment in one name: escaped they are 240 characters.
SPAN = 80

_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_.")
_ENCODED = [chr(byte) if byte in _PLAIN else f"%{byte:02x}" for byte in range(256)]
for _letter in string.ascii_uppercase:
    _ENCODED[ord(_letter)] = f"^{_letter.lower()}"

#: Names that Windows keeps for devices, with any extension ("Naming Files, Paths, and Namespaces").
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9]|conin\$|conout\$|clock\$)(?:\.|\Z)")

_ESCAPE = re.compile(rb"\^([a-z])|%([0-9a-f]{2})")


def encode_path(key: str) -> str:
    """Return the relative path of the file for *key*."""
    directory, _, last = key.rpartition("/")
    names = encode_directory(directory) if "/" in key else []
    return "/".join([*names, *_spans(last.encode(), "")])


def encode_directory(directory: str) -> list[str]:
    """Return the names of the directories for the part of a key before a slash."""
    return [name for segment in directory.split("/") for name in _spans(segment.encode(), "+")]


def _spans(segment: bytes, mark: str) -> list[str]:
    """Return the names for one segment: as many continued ones as it needs, then one that ends in *mark*."""
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
    """Return what a name adds to the key, in UTF-8, or None for one that this encoding does not give."""
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


def _unescape(found: re.Match[bytes]) -> bytes:
    letter, digits = found.groups()
    return letter.upper() if letter else bytes.fromhex(digits.decode())
