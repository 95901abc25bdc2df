"""Pure functions on keys: which texts are keys, and which keys can be plain paths."""

from __future__ import annotations

import os
import re

from storage.errors import InvalidKeyError

__all__ = ["check_key", "check_length", "check_path", "is_key"]


def is_key(key: object) -> bool:
    """Return whether *key* is a key: a non-empty ``str`` that can be encoded in UTF-8."""
    return isinstance(key, str) and key != "" and (key.isascii() or _encodes(key))


def check_key(key: str, store: object = None) -> str:
    """
    Return *key* if it is a key.

    Raises:
        InvalidKeyError: it is empty or has lone surrogates, which cannot be encoded in UTF-8.
        TypeError: it is not a ``str``.
    """
    if not isinstance(key, str):
        raise TypeError(f"a key must be a str, not {type(key).__name__}")
    if not key:
        raise InvalidKeyError("the key is empty", key=key, store=store)
    if not key.isascii() and not _encodes(key):
        raise InvalidKeyError("the key cannot be encoded in UTF-8: it has a lone surrogate", key=key, store=store)
    return key


#: The most bytes in one name (NAME_MAX) and in a path with its NUL (PATH_MAX): linux/limits.h; no system here has more.
_NAME_MAX, _PATH_MAX = 255, 4096


def check_length(path: str, root: str, key: str, store: object = None) -> str:
    """
    Return *path*, the path below *root* for *key*, if the operating system accepts its length.

    Raises:
        InvalidKeyError: a name in it has more than 255 bytes, or the whole path more than 4,095.
    """
    if len(path) * 4 > _NAME_MAX:  # a character has up to 4 bytes
        whole = len(os.fsencode(root)) + 1 + len(path.encode()) + 1
        if whole > _PATH_MAX or any(len(name.encode()) > _NAME_MAX for name in path.split("/")):
            raise InvalidKeyError(
                f"the key is too long for a path: {_NAME_MAX} bytes in a name, {_PATH_MAX} in all", key=key, store=store
            )
    return path


def _encodes(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


# One segment of a relative path: not empty, not "." or "..", no NUL.
_SEGMENT = r"(?!\.{1,2}(?:/|\Z))[^/\0]+"
_PATH = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*")


def check_path(key: str, store: object = None) -> str:
    """
    Return *key* if it is a plain relative path: segments between single slashes, none of them ``.`` or ``..``.

    Raises:
        InvalidKeyError: it is absolute, or has ``.`` or ``..``, an empty segment (``//``, a trailing slash) or a NUL.
        TypeError: it is not a ``str``.
    """
    if isinstance(key, str) and _PATH.fullmatch(key) and (key.isascii() or _encodes(key)):
        return key
    raise InvalidKeyError(
        "the key must be a plain relative path: no '..', no '.', no leading, doubled or trailing '/', no NUL",
        key=check_key(key, store),
        store=store,
    )
