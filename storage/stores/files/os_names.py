"""
The names of files as the operating system gets them: UTF-8, whatever the locale is.

Python encodes a ``str`` path in the encoding of the locale, which is not UTF-8 everywhere (``LC_ALL=C`` without
Python's UTF-8 mode, Latin-1). A key would have a file of another name there, and could not be read under the next
locale. So names below a root are bytes in every system call. The root's own path is the caller's, as Python gave it.
"""

from __future__ import annotations

import os
import sys

from storage.errors import ConfigError

__all__ = ["encoded", "encoded_root", "from_listing", "joined"]

#: Whether names in listings are UTF-8 already; else they have to be encoded back as Python has decoded them.
_IS_UTF8 = sys.getfilesystemencoding().lower().replace("-", "") == "utf8"


def encoded(name: str) -> bytes:
    """Return a name, or a path below a root, for a system call; bytes that are not UTF-8 are lone surrogates in it."""
    return name.encode("utf-8", "surrogateescape")


def from_listing(name: str) -> str:
    """Return the name that `os.scandir` of an open directory gives, decoded from UTF-8."""
    return name if _IS_UTF8 else os.fsencode(name).decode("utf-8", "surrogateescape")


def joined(directory: str, name: str) -> str:
    """Return the path of *name* in a directory, whose own path is relative to the root, and ``""`` for the root."""
    return f"{directory}/{name}" if directory else name


def encoded_root(path: str) -> bytes:
    """
    Return a root's path for a system call, in the encoding in which the program's arguments and others came.

    Raises:
        ConfigError: it has characters that the locale's encoding lacks.
    """
    try:
        return os.fsencode(path)
    except UnicodeEncodeError as cause:
        raise ConfigError(
            f"the path {path!a} cannot be encoded in {sys.getfilesystemencoding()}, which the locale sets: run "
            "Python in UTF-8, with PYTHONUTF8=1 or LC_ALL=C.UTF-8"
        ) from cause
