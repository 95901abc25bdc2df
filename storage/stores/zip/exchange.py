"""`exchange`: swaps two names in a directory in one step, where the system can."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import cache

__all__ = ["exchange"]

_EXCHANGE = 2  # RENAME_EXCHANGE of renameat2(2)

#: Errors of renameat2 on systems and file systems that cannot exchange names.
_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM)


def exchange(directory: int, one: str, other: str) -> bool:
    """
    Swap two names in an open directory, and return False where that is not possible.

    Raises:
        OSError: the system reported another error, such as `FileNotFoundError` for a name that does not exist.
    """
    call = _renameat2()
    if call is None:
        return False
    number = call(directory, os.fsencode(one), directory, os.fsencode(other), _EXCHANGE)
    if number in _UNSUPPORTED:
        return False
    if number:
        raise OSError(number, os.strerror(number), other)
    return True


@cache
def _renameat2() -> Callable[[int, bytes, int, bytes, int], int] | None:
    """Return the system's function, which gives 0 or the number of an error; None if it has none."""
    import ctypes  # 3 ms, for few callers

    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # not Linux, or an old C library
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]

    def call(*args: int | bytes) -> int:
        return ctypes.get_errno() if function(*args) else 0

    return call
