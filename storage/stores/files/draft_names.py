"""The names of drafts, and the other names that no key's file can have."""

from __future__ import annotations

import os
import re
from zlib import crc32

__all__ = ["DRAFT", "is_draft", "is_reserved", "new_draft_name", "reserved_name_in"]

#: The prefix of the names of drafts; no segment of a key may begin with it.
DRAFT = ".~storage-"

_DRAFT_NAME = re.compile(r"([0-9a-f]{16})[0-9a-f]{8}")

#: Names that NFS and FUSE give to a file that is replaced or deleted while somebody has it open. It goes when it is
#: closed: ``.nfs`` with the inode and a counter (fs/nfs/unlink.c), ``.fuse_hidden`` with two numbers (lib/fuse.c).
_HIDDEN = re.compile(r"\.nfs[0-9a-fA-F]{24}|\.fuse_hidden[0-9a-fA-F]+")

#: How many names are drawn together. That is 1.5 us of a put less than one by one, 1 in 30: code that has just been
#: run is still in the caches of the processor.
_DRAWN = 32

#: Names that no draft has had. To take one is one step in C, which no other thread or signal handler comes into.
_new: list[str] = []


def new_draft_name(target: bytes = b"") -> str:
    """
    Return the name of a new draft: a random number and its checksum.

    With the name of a *target*, it is that of a draft for this one only, and no store of files removes it.
    """
    if target:
        return _named(os.urandom(8).hex(), target)
    while True:
        try:
            return _new.pop()
        except IndexError:
            digits = os.urandom(8 * _DRAWN).hex()
            _new.extend([_named(digits[start : start + 16]) for start in range(0, len(digits), 16)])


def is_draft(name: str, target: bytes = b"") -> bool:
    """
    Return whether *name* is one that `new_draft_name` returns for *target*.

    The checksum shows it: a file that another program or a user called ``.~storage-notes`` is not removed as a draft.
    """
    if not name.startswith(DRAFT) or not (found := _DRAFT_NAME.fullmatch(name, len(DRAFT))):
        return False
    return name == _named(found[1], target)


def is_reserved(name: str) -> bool:
    """Return whether *name*, one segment of a path, belongs to drafts or to what NFS and FUSE leave for a while."""
    return name.startswith(".") and (name.startswith(DRAFT) or _HIDDEN.fullmatch(name) is not None)


def reserved_name_in(path: str) -> str | None:
    """Return the first segment of *path* that is reserved, or None."""
    if not path.startswith(".") and "/." not in path:
        return None
    return next((name for name in path.split("/") if is_reserved(name)), None)


#: The checksum of the prefix, with which that of a name goes on.
_BEGUN = crc32(DRAFT.encode())


def _named(number: str, target: bytes = b"") -> str:
    return f"{DRAFT}{number}{crc32(number.encode() + target, _BEGUN):08x}"


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new.clear)  # else the child would take the same names as its parent
