"""
The drafts of `backup`: how they are made, and how those of killed backups are told from all other files.

The name of a draft has a checksum over the name of the backup that it is for, and the process that writes it holds a
lock on it (``flock``) until it is complete. The lock is that of the descriptor returned by `create_draft`. SQLite opens
the draft without its own, POSIX locks (`uri_of_draft`): those would be dropped when another descriptor of the file is
closed, and network file systems may take the two kinds of locks for the same.
"""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress
from itertools import islice
from pathlib import Path

from storage._core.descriptors import Descriptor
from storage.errors import StoreUnavailableError
from storage.stores.files.draft_names import is_draft, new_draft_name
from storage.stores.sqlite.database_files import descriptors_of
from storage.stores.sqlite.header import is_database
from storage.stores.sqlite.schema import APPLICATION
from storage.stores.sqlite.side_files import SIDE_FILES

if sys.platform != "win32":
    import fcntl

__all__ = ["create_draft", "remove_leftovers", "uri_of_draft"]

#: How often a draft that another backup takes for a leftover, before it is locked, is made again.
_ATTEMPTS = 100

#: Names in a directory that are looked at for leftovers; reading them takes 50 ms.
_NAMES = 100_000

_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)


def create_draft(target: str, mode: int, store: str) -> tuple[str, Descriptor]:
    """
    Create an empty draft beside the file *target*; return its path, and the descriptor that keeps it locked.

    Raises:
        OSError: it cannot be created.
        StoreUnavailableError: other backups remove it as often as it is created.
    """
    directory, name = os.path.split(target)
    for _ in range(_ATTEMPTS):
        draft = os.path.join(directory, new_draft_name(os.fsencode(name)))
        opened = Descriptor.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR | _NOFOLLOW, mode)
        if sys.platform == "win32":  # where an open file cannot be renamed, and leftovers stay
            opened.close()
            return draft, opened
        try:
            fcntl.flock(opened.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # another backup has taken it for a leftover, and is about to remove it
            continue
        except OSError:
            pass  # a file system without locks, where no backup removes a leftover
        if _has_name(draft, os.fstat(opened.fileno())):
            return draft, opened
    raise StoreUnavailableError(f"the draft of {target} is removed as often as it is created", store=store)


def uri_of_draft(draft: str) -> str:
    """Return the URI by which SQLite opens a draft: without locks, and only if it is there."""
    return f"{Path(draft).as_uri()}?nolock=1&mode=rw"


def remove_leftovers(target: str) -> None:
    """Remove the drafts that killed backups to the file *target* have left beside it."""
    if sys.platform == "win32":  # no lock tells the drafts of killed backups from those of running ones
        return
    directory, name = os.path.split(target)
    raw = os.fsencode(name)
    with suppress(OSError):  # a directory that may not be read or changed
        with os.scandir(directory) as found:
            drafts = [each.name for each in islice(found, _NAMES) if is_draft(each.name, raw)]
        for draft in drafts:
            with suppress(OSError):
                _remove_leftover(os.path.join(directory, draft), target)


def _remove_leftover(draft: str, target: str) -> None:
    """Remove a file with the name of a draft, if nobody has it open and its content is that of a draft."""
    found = os.lstat(draft)
    if not stat.S_ISREG(found.st_mode) or any(os.path.lexists(draft + end) for end in SIDE_FILES):
        return
    if found.st_nlink > 1 and not _has_name(target, found):  # a backup that was killed in `_publish` gave it two
        return
    if descriptors_of(((found.st_dev, found.st_ino),)):
        return  # closing another descriptor would drop the locks that this process has
    with Descriptor.open(draft, os.O_RDWR | os.O_NONBLOCK | _NOFOLLOW) as opened:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        header = os.read(opened, 100)
        if (not header or is_database(header, APPLICATION)) and _has_name(draft, os.fstat(opened)):
            os.unlink(draft)


def _has_name(path: str, file: os.stat_result) -> bool:
    """Return whether this file is at *path*, and not behind a link."""
    try:
        return os.path.samestat(os.lstat(path), file)
    except FileNotFoundError:
        return False
