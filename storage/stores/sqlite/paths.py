"""`checked_path`: the path of a database, which is a path and nothing else."""

from __future__ import annotations

import os

from storage.errors import ConfigError

__all__ = ["MEMORY", "checked_path"]

#: The path that stands for a database in memory.
MEMORY = ":memory:"


def checked_path(path: str | os.PathLike[str]) -> str:
    """
    Return a path as text.

    Raises:
        TypeError: it is no path.
        ConfigError: no file can have it.
    """
    text = os.fspath(path)
    if not isinstance(text, str):
        raise TypeError(f"path must be str or a path object, not {type(text).__name__}: use os.fsdecode(path)")
    if not text:
        raise ConfigError("path is empty: name a file, or ':memory:'")
    if "\0" in text:
        raise ConfigError(f"path {text!r} has a NUL character: name a file without it")
    if text.endswith(("/", os.sep)):
        raise ConfigError(f"path {text!r} names a directory: name a file in it")
    return text
