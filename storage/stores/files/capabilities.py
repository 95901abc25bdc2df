"""The capabilities that a store on files lacks because of its file system."""

from __future__ import annotations

import fcntl
import os

from storage._core.descriptors import Descriptor
from storage.stores.files.etags import Etags, Told
from storage.stores.files.locks import NO_LOCKS

__all__ = ["missing_capabilities"]


def missing_capabilities(path: str, etags: Etags) -> list[str]:
    """Return the capabilities that the file system of a directory, which need not exist yet, does not support."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    missing = []
    try:
        opened = Descriptor.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # a file, or not readable: every method raises an error for it
        return ["attributes"]
    with opened as directory:
        try:
            if not etags.keeps_attributes(directory):
                missing.append("attributes")
            if etags.told(directory) is Told.CONTENT:
                missing += ["etags", "cheap_head"]
            # Exclusive, because network file systems that refuse it may grant a shared lock. No need to wait for it.
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(directory, fcntl.LOCK_UN)
        except OSError as cause:
            if cause.errno in NO_LOCKS:
                missing += ["conditional_put", "conditional_delete", "multi_process"]
    return missing
