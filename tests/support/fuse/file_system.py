"""`FileSystem`: answers the kernel's requests from a directory, in the way that a `Behaviour` says."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
import time
from collections.abc import Callable

from fuse.behaviour import Behaviour
from fuse.names import Names
from fuse.nodes import Node, Nodes
from fuse.protocol import DIRECT_IO, Op, Set, Status, directory_entry, init_answer, names_of

__all__ = ["FileSystem"]

#: Flags of open(2) that are the kernel's business, not that of the file below.
_KERNEL_FLAGS = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_APPEND | getattr(os, "O_DIRECT", 0)


def _fail(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class FileSystem:
    """
    A file system that shows the directory *back*.

    Attributes:
        operations: the method for each operation; it takes the node, the caller's user and group, and the request.
    """

    def __init__(self, back: str, behaviour: Behaviour) -> None:
        self._back = back
        self._behaviour = behaviour
        self._names = Names(behaviour)
        self._nodes = Nodes(back)
        self._listings: dict[int, list[str]] = {}
        self._written: set[int] = set()
        self._hidden = 0
        self._first_inode = int.from_bytes(os.urandom(4), "big") if behaviour.renumbers_inodes else 0
        self.operations: dict[Op, Callable[[Node, int, int, bytes], bytes]] = {
            op: method for op in Op if (method := getattr(self, f"_{op.name.lower()}", None)) is not None
        }

    def answer(self, op: int, number: int, user: int, group: int, body: bytes) -> bytes:
        """
        Return the answer to a request.

        Raises:
            OSError: the answer is an error; ``ENOSYS`` where there is no such operation.
        """
        if op == Op.INIT:
            behaviour = self._behaviour
            return init_answer(body, behaviour.granularity, asks_for_locks=bool(behaviour.lock_error))
        try:
            operation = self.operations[Op(op)]
        except (KeyError, ValueError):
            raise _fail(errno.ENOSYS) from None
        return operation(self._nodes[number], user, group, body)

    # -- what a file is ------------------------------------------------------------------------------------------

    def _status(self, node: Node) -> bytes:
        place = node.place
        found = os.fstat(place) if isinstance(place, int) else os.lstat(place)
        behaviour, is_file = self._behaviour, stat.S_ISREG(found.st_mode)
        atime, mtime, ctime = (
            when - when % behaviour.granularity for when in (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns)
        )
        return Status(
            inode=self._first_inode + found.st_ino,
            size=0 if is_file and behaviour.hides_sizes else found.st_size,
            atime=atime,
            mtime=mtime,
            ctime=ctime,
            mode=found.st_mode,
            links=behaviour.link_count if is_file and behaviour.link_count is not None else found.st_nlink,
            user=found.st_uid,
            group=found.st_gid,
            device=found.st_rdev,
        ).pack()

    def _attributes(self, node: Node) -> bytes:
        return struct.pack("<QII", 0, 0, 0) + self._status(node)

    def _entry(self, path: str) -> bytes:
        os.lstat(path)
        node = self._nodes.at(path)
        return struct.pack("<QQQQII", node.number, 0, 0, 0, 0, 0) + self._status(node)

    def _path(self, directory: Node, raw: bytes, *, new: bool = False) -> str:
        assert directory.path is not None
        name = os.fsdecode(raw)
        if new:
            self._names.check(name)
        return os.path.join(directory.path, self._names.kept(directory.path, name))

    def _lookup(self, node: Node, user: int, group: int, body: bytes) -> bytes:
        return self._entry(self._path(node, *names_of(body, 1), new=self._behaviour.refuses_lookups))

    def _getattr(self, node: Node, user: int, group: int, body: bytes) -> bytes:
        return self._attributes(node)

    def _setattr(self, node: Node, user: int, group: int, body: bytes) -> bytes:
        bits, _, _, size, _, atime, mtime, _, atime_ns, mtime_ns, _, mode, _, owner, owners, _ = struct.unpack_from(
            "<IIQQQqqqIIIIIIII", body
        )
        place, valid = node.place, Set(bits)
        if valid & (Set.ATIME | Set.MTIME):
            now = time.time_ns()
            both_now = Set.ATIME_NOW | Set.MTIME_NOW
            if not self._behaviour.sets_times and valid & both_now != both_now:
                raise _fail(errno.EPERM)
            old = os.stat(place) if isinstance(place, int) else os.lstat(place)
            accessed = atime * 10**9 + atime_ns if valid & Set.ATIME else old.st_atime_ns
            modified = mtime * 10**9 + mtime_ns if valid & Set.MTIME else old.st_mtime_ns
            times = now if valid & Set.ATIME_NOW else accessed, now if valid & Set.MTIME_NOW else modified
            if isinstance(place, int):
                os.utime(place, ns=times)
            else:
                os.utime(place, ns=times, follow_symlinks=False)
        if valid & (Set.USER | Set.GROUP):
            os.chown(place, owner if valid & Set.USER else -1, owners if valid & Set.GROUP else -1)
        if valid & Set.MODE:
            os.chmod(place, stat.S_IMODE(mode))
        if valid & Set.SIZE:
            os.truncate(place, size)
        return self._attributes(node)

    def _statfs(self, node: Node, user: int, group: int, body: bytes) -> bytes:
        found = os.statvfs(self._back)
        return struct.pack(
            "<QQQQQIIII24x",
            found.f_blocks,
            found.f_bfree,
            found.f_bavail,
            found.f_files,
            found.f_ffree,
            found.f_bsize,
            self._behaviour.longest_name,
            found.f_frsize,
            0,
        )

    # -- names ---------------------------------------------------------------------------------------------------

    def _adopt(self, directory: Node, path: str, user: int, group: int) -> None:
        """Give what was just made to the caller, or to the group of a directory that passes its own on."""
        assert directory.path is not None
        above = os.stat(directory.path)
        os.chown(path, user, above.st_gid if above.st_mode & stat.S_ISGID else group, follow_symlinks=False)

    def _readlink(self, node: Node, user: int, group: int, body: bytes) -> bytes:
        assert node.path is not None
        return os.fsencode(os.readlink(node.path))

    def _symlink(self, node: Node, user: int, group: int, body: bytes) -> bytes:
        name, target = names_of(body, 2)
        path = self._path(node, name, new=True)
        os.symlink(os.fsdecode(target), path)
        self._adopt(node, path, user, group)
        return self._entry(path)

    def _mknod(self, node: Node, user: int, group: int, body: bytes) -> bytes:
        mode, device, _, _ = struct.unpack_from("<IIII", body)
        path = self._path(node, *names_of(body[16:], 1), new=True)
        os.mknod(path, mode, device)
        self._adopt(node, path, user, group)
        return self._entry(path)

    def _mkdir(self, node: Node, user: int, group: int, body: bytes) -> bytes:
        mode, _ = struct.unpack_from("<II", body)
        path = self._path(node, *names_of(body[8:], 1), new=True)
        os.mkdir(path, mode)
        passed_on = os.stat(path).st_mode & stat.S_ISGID
        self._adopt(node, path, user, group)
        os.chmod(path, mode | passed_on)
        return self._entry(path)

    def _link(self, node: Node, user: int, group: int, body: bytes) -> bytes:
        (number,) = struct.unpack_from("<Q", body)
        if not self._behaviour.hard_links:
            raise _fail(errno.EPERM)
        path = self._path(node, *names_of(body[8:], 1), new=True)
        source = self._nodes[number].place
        os.link(f"/proc/self/fd/{source}" if isinstance(source, int) else source, path, follow_symlinks=False)
        return self._entry(path)

    def _unlink(self, node: Node, user: int, group: int, body: bytes) -> bytes:
        path = self._path(node, *names_of(body, 1))
        if not self._hide(path):
            os.unlink(path)
            self._nodes.removed(path)
        return b""

    def _rmdir(self, node: Node, user: int, group: int, body: bytes) -> bytes:
        path = self._path(node, *names_of(body, 1))
        os.rmdir(path)
        self._nodes.removed(path)
        return b""

    def _rename(self, node: Node, user: int, group: int, body: bytes) -> bytes:
        (number,) = struct.unpack_from("<Q", body)
        return self._move(node, number, *names_of(body[8:], 2))

    def _rename2(self, node: Node, user: int, group: int, body: bytes) -> bytes:
        number, flags = struct.unpack_from("<QI", body)
        if flags:
            raise _fail(errno.EINVAL)
        return self._move(node, number, *names_of(body[16:], 2))

    def _move(self, directory: Node, number: int, old_name: bytes, new_name: bytes) -> bytes:
        old, new = self._path(directory, old_name), self._path(self._nodes[number], new_name, new=True)
        moved = self._nodes.find(old)
        if not self._behaviour.renames_open_files and moved is not None and moved.handles:
            raise _fail(errno.EOPNOTSUPP)
        if old != new and os.path.lexists(new) and not stat.S_ISDIR(os.lstat(new).st_mode):
            self._hide(new)
        os.rename(old, new)
        if old != new:
            self._nodes.removed(new)
            self._nodes.moved(old, new)
        return b""

    def _hide(self, path: str) -> bool:
        """Rename an open file that is to be removed, where the file system does so; return whether it does."""
        node = self._nodes.find(path)
        if not self._behaviour.hides_removed or node is None or not node.handles:
            return False
        self._hidden += 1
        hidden = os.path.join(os.path.dirname(path), f"{self._behaviour.hides_removed}{self._hidden:016x}")
        os.rename(path, hidden)
        self._nodes.moved(path, hidden)
        return True

    # -- open files ----------------------------------------------------------------------------------------------

    def _opened(self, node: Node, handle: int) -> bytes:
        node.handles.add(handle)
        behaviour = self._behaviour
        direct = behaviour.short_reads is not None or behaviour.hides_sizes
        return struct.pack("<QII", handle, DIRECT_IO if direct else 0, 0)

    def _open(self, node: Node, user: int, group: int, body: bytes) -> bytes:
        (flags,) = struct.unpack_from("<I", body)
        if node.path is not None and os.path.basename(node.path) in self._behaviour.unreadable:
            raise _fail(self._behaviour.read_error)
        place = node.place
        path = f"/proc/self/fd/{place}" if isinstance(place, int) else place
        return self._opened(node, os.open(path, flags & ~_KERNEL_FLAGS))

    def _create(self, node: Node, user: int, group: int, body: bytes) -> bytes:
        flags, mode, _, _ = struct.unpack_from("<IIII", body)
        path = self._path(node, *names_of(body[16:], 1), new=True)
        flags = flags & ~_KERNEL_FLAGS | os.O_CREAT | flags & os.O_EXCL
        handle = os.open(path, flags, stat.S_IMODE(mode))
        self._adopt(node, path, user, group)
        entry = self._entry(path)
        return entry + self._opened(self._nodes.at(path), handle)

    def _read(self, node: Node, user: int, group: int, body: bytes) -> bytes:
        handle, offset, size = struct.unpack_from("<QQI", body)
        limit = self._behaviour.short_reads
        return os.pread(handle, size if limit is None else min(size, limit), offset)

    def _write(self, node: Node, user: int, group: int, body: bytes) -> bytes:
        handle, offset, size = struct.unpack_from("<QQI", body)
        self._written.add(handle)
        return struct.pack("<II", os.pwrite(handle, body[40 : 40 + size], offset), 0)

    def _copy_file_range(self, node: Node, user: int, group: int, body: bytes) -> bytes:
        source, offset, _, target, target_offset, size, _ = struct.unpack_from("<QQQQQQQ", body)
        at_once = self._behaviour.copied_at_once
        if at_once is None:
            raise _fail(errno.ENOSYS)
        left = max(self._behaviour.copied_at_all - offset, 0)
        data = os.pread(source, min(size, at_once, left), offset)
        self._written.add(target)
        return struct.pack("<II", os.pwrite(target, data, target_offset), 0)

    def _flush(self, node: Node, user: int, group: int, body: bytes) -> bytes:
        (handle,) = struct.unpack_from("<Q", body)
        quota = self._behaviour.quota
        if quota is not None and handle in self._written and os.fstat(handle).st_size > quota:
            os.ftruncate(handle, quota)
            raise _fail(errno.EDQUOT)
        return b""

    def _release(self, node: Node, user: int, group: int, body: bytes) -> bytes:
        (handle,) = struct.unpack_from("<Q", body)
        node.handles.discard(handle)
        self._written.discard(handle)
        os.close(handle)
        hidden = self._behaviour.hides_removed
        if hidden and not node.handles and node.path and os.path.basename(node.path).startswith(hidden):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(node.path)
            self._nodes.removed(node.path)
        return b""

    def _fsync(self, node: Node, user: int, group: int, body: bytes) -> bytes:
        (handle,) = struct.unpack_from("<Q", body)
        if self._behaviour.file_sync_error:
            raise _fail(self._behaviour.file_sync_error)
        os.fsync(handle)
        return b""

    def _lock(self, node: Node, user: int, group: int, body: bytes) -> bytes:
        raise _fail(self._behaviour.lock_error or errno.ENOSYS)

    _getlk = _setlk = _setlkw = _lock

    # -- directories ---------------------------------------------------------------------------------------------

    def _opendir(self, node: Node, user: int, group: int, body: bytes) -> bytes:
        assert node.path is not None
        if os.path.basename(node.path) in self._behaviour.unreadable:
            raise _fail(self._behaviour.read_error)
        handle = max(self._listings, default=0) + 1
        self._listings[handle] = [".", "..", *os.listdir(node.path)]
        return struct.pack("<QII", handle, 0, 0)

    def _readdir(self, node: Node, user: int, group: int, body: bytes) -> bytes:
        handle, offset, size = struct.unpack_from("<QQI", body)
        assert node.path is not None
        answer = b""
        for number, name in enumerate(self._listings[handle][offset:], offset + 1):
            try:
                kind = os.lstat(os.path.join(node.path, name)).st_mode >> 12
            except FileNotFoundError:
                continue
            entry = directory_entry(number, os.fsencode(name), kind)
            if len(answer) + len(entry) > size:
                break
            answer += entry
        return answer

    def _releasedir(self, node: Node, user: int, group: int, body: bytes) -> bytes:
        (handle,) = struct.unpack_from("<Q", body)
        self._listings.pop(handle, None)
        return b""

    def _fsyncdir(self, node: Node, user: int, group: int, body: bytes) -> bytes:
        if self._behaviour.sync_error:
            raise _fail(self._behaviour.sync_error)
        return b""

    # -- extended attributes -------------------------------------------------------------------------------------

    def _need_xattrs(self) -> None:
        if not self._behaviour.xattrs:
            raise _fail(errno.EOPNOTSUPP)

    def _setxattr(self, node: Node, user: int, group: int, body: bytes) -> bytes:
        self._need_xattrs()
        size, flags = struct.unpack_from("<II", body)
        (name,) = names_of(body[8:], 1)
        value, place, limit = body[8 + len(name) + 1 :][:size], node.place, self._behaviour.xattr_limit
        if limit is not None:
            others = [other for other in os.listxattr(place) if other != os.fsdecode(name)]
            if len(name) + size + sum(len(other) + len(os.getxattr(place, other)) for other in others) > limit:
                raise _fail(errno.ENOSPC)
        os.setxattr(place, name, value, flags)
        return b""

    def _getxattr(self, node: Node, user: int, group: int, body: bytes) -> bytes:
        self._need_xattrs()
        (size, _), (name,) = struct.unpack_from("<II", body), names_of(body[8:], 1)
        return self._sized(os.getxattr(node.place, name), size)

    def _listxattr(self, node: Node, user: int, group: int, body: bytes) -> bytes:
        self._need_xattrs()
        size, _ = struct.unpack_from("<II", body)
        return self._sized(b"".join(os.fsencode(name) + b"\0" for name in os.listxattr(node.place)), size)

    def _removexattr(self, node: Node, user: int, group: int, body: bytes) -> bytes:
        self._need_xattrs()
        os.removexattr(node.place, *names_of(body, 1))
        return b""

    @staticmethod
    def _sized(value: bytes, size: int) -> bytes:
        """Return what fits into the caller's *size*, or how much there is if that is 0."""
        if not size:
            return struct.pack("<II", len(value), 0)
        if len(value) > size:
            raise _fail(errno.ERANGE)
        return value
