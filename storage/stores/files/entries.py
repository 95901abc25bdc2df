"""The names in an open directory: what stands there, and renaming a file to one of them."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys

from storage.errors import KeyConflictError
from storage.stores.files.directory_marks import remove_own_directory
from storage.stores.files.refused_names import raise_if_refused

__all__ = ["check_replaceable", "file_status", "move", "status_of"]

#: renameat2(2): fail where the new name exists.
_NOREPLACE = 1

_renameat2 = None
if sys.platform == "linux":
    try:
        _renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:  # an old C library
        pass
    else:
        _renameat2.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]

#: Errors of renameat2 where the kernel or the file system does not know the flag, or a sandbox refuses the call.
_NO_FLAG = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM)


def status_of(directory: int, name: bytes, expected: bool = True) -> os.stat_result | None:
    """
    Return the status of what has the name, which is encoded; of a link itself; None when there is nothing.

    Where that is not *expected*, one call more finds it out, which costs 0.3 us; the exception costs 1.
    """
    if not expected and not os.access(name, os.F_OK, dir_fd=directory, follow_symlinks=False):
        return None
    try:
        return os.lstat(name, dir_fd=directory)
    except FileNotFoundError:
        return None
    except OSError as cause:
        raise_if_refused(cause, None)
        raise


def file_status(directory: int, name: bytes, expected: bool = True) -> os.stat_result | None:
    """Return the status of the regular file of that name, like `status_of`; None when there is none."""
    status = status_of(directory, name, expected)
    return status if status is not None and stat.S_ISREG(status.st_mode) else None


def check_replaceable(status: os.stat_result | None, store: object) -> None:
    """
    Raise unless an object may take the place of what has this status; a directory is judged by `move`.

    Raises:
        KeyConflictError: it is a link, a pipe, a socket or a device, which no store has made.
    """
    if status is not None and not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise KeyConflictError(
            "a symlink, pipe, socket or device of another program has the key's path: remove it, or take another key",
            store=store,
        )


def move(
    source: int, old: bytes, target: int, new: bytes, replaced: os.stat_result | None, path: str, store: object
) -> None:
    """
    Rename a file from one open directory to another; an empty directory that the store has made gives way.

    Args:
        source: the file's directory.
        old: its name there, encoded.
        target: the directory into which it goes.
        new: its name there, encoded.
        replaced: the status of what has that name, None for nothing; `check_replaceable` has judged it.
        path: the path of *new*, relative to the root, by which the store knows the directories it has made.
        store: for error messages.

    Raises:
        KeyConflictError: the new name is a directory that is not empty, or of another program.
        FileExistsError: something has got the name since *replaced* was found out.
    """
    if replaced is not None and not stat.S_ISREG(replaced.st_mode):
        if not remove_own_directory(target, path.rpartition("/")[2], path):
            raise KeyConflictError(
                "the path is a directory that is not empty, or that another program has made: remove it, or take "
                "another key",
                store=store,
            )
        replaced = None
    try:
        if replaced is None:
            if _move_to_free_name(source, old, target, new):
                return
            if os.access(new, os.F_OK, dir_fd=target, follow_symlinks=False):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new)
        os.rename(old, new, src_dir_fd=source, dst_dir_fd=target)
    except IsADirectoryError as cause:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new) from cause
    except FileExistsError:
        raise
    except OSError as cause:
        raise_if_refused(cause, store, directory=target, moved=(source, old))
        raise


def _move_to_free_name(source: int, old: bytes, target: int, new: bytes) -> bool:
    """
    Rename a file unless something has the new name; return False where the system cannot do that in one step.

    Without it, what another program makes in the last moment, a named pipe for example, would be replaced.

    Raises:
        FileExistsError: something has it.
    """
    if _renameat2 is None:
        return False
    if not _renameat2(source, old, target, new, _NOREPLACE):
        return True
    number = ctypes.get_errno()
    if number in _NO_FLAG:
        return False
    raise OSError(number, os.strerror(number), new)
