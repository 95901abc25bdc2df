"""What the file system of a directory cannot give."""

from __future__ import annotations

import fcntl
import os

from storage.stores.files.attributes import has_attributes
from storage.stores.files.locks import NO_LOCKS

__all__ = ["lacking"]


def lacking(path: str) -> list[str]:
    """Return the capabilities that the file system of a directory, or of where it will be, cannot give."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    missing = []
    if not has_attributes(path):
        missing.append("attributes")
    try:
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # a file, or not to be read: every method says so
        return missing
    try:
        # A writer's lock: network file systems that refuse it give a reader's. Waiting is not needed to know.
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(directory, fcntl.LOCK_UN)
    except OSError as cause:
        if cause.errno in NO_LOCKS:
            missing += ["conditional_put", "conditional_delete", "multi_process"]
    finally:
        os.close(directory)
    return missing
