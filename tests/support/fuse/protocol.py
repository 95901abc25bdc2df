"""The parts of the FUSE protocol (<linux/fuse.h>, version 7.31) that the file system of the tests speaks."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag

__all__ = ["DIRECT_IO", "HEADER", "NO_ANSWER", "Op", "Set", "Status", "directory_entry", "init_answer", "names_of"]

#: What each request begins with: length, operation, its number, the node, user, group, process, padding.
HEADER = struct.Struct("<IIQQIIIHH")

#: An open file's flag: reads go to the server, and may be short.
DIRECT_IO = 1

_LOCKS = 1 << 1 | 1 << 10  # FUSE_POSIX_LOCKS, FUSE_FLOCK_LOCKS: the server has the last word on locks
_BIG_WRITES = 1 << 5

#: Bytes of one write.
MAX_WRITE = 1 << 17


class Op(IntEnum):
    """The operations."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    SETXATTR = 21
    GETXATTR = 22
    LISTXATTR = 23
    REMOVEXATTR = 24
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    GETLK = 31
    SETLK = 32
    SETLKW = 33
    CREATE = 35
    INTERRUPT = 36
    DESTROY = 38
    BATCH_FORGET = 42
    RENAME2 = 45
    COPY_FILE_RANGE = 47


#: Requests that get no answer.
NO_ANSWER = (Op.FORGET, Op.BATCH_FORGET, Op.INTERRUPT)


class Set(IntFlag):
    """What a SETATTR sets."""

    MODE = 1
    USER = 2
    GROUP = 4
    SIZE = 8
    ATIME = 16
    MTIME = 32
    HANDLE = 64
    ATIME_NOW = 128
    MTIME_NOW = 256


@dataclass
class Status:
    """What the file system says of a file; times in ns."""

    inode: int
    size: int
    atime: int
    mtime: int
    ctime: int
    mode: int
    links: int
    user: int
    group: int
    device: int

    def pack(self) -> bytes:
        """Return it as a ``fuse_attr``."""
        times = [divmod(time, 10**9) for time in (self.atime, self.mtime, self.ctime)]
        seconds, parts = zip(*times, strict=True)
        blocks = (self.size + 511) // 512
        return struct.pack(
            "<QQQqqqIIIIIIIIII",
            self.inode,
            self.size,
            blocks,
            *seconds,
            *parts,
            self.mode,
            self.links,
            self.user,
            self.group,
            self.device,
            4096,
            0,
        )


def init_answer(body: bytes, granularity: int, *, asks_for_locks: bool) -> bytes:
    """Return the answer to INIT, for times in units of *granularity* ns."""
    _, _, readahead = struct.unpack_from("<III", body)
    flags = _BIG_WRITES | (_LOCKS if asks_for_locks else 0)
    unit = min(granularity, 10**9)
    return struct.pack("<IIIIHHIIHHI28x", 7, 31, readahead, flags, 12, 9, MAX_WRITE, unit, 0, 0, 0)


def directory_entry(number: int, name: bytes, kind: int) -> bytes:
    """Return the entry of a directory that is the *number*th; *kind* as in ``st_mode >> 12``."""
    entry = struct.pack("<QQII", 999, number, len(name), kind) + name
    return entry + bytes(-len(entry) % 8)


def names_of(body: bytes, count: int) -> list[bytes]:
    """Return the *count* names that a request contains, each with a zero at its end."""
    return body.split(b"\0")[:count]
