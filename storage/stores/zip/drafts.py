"""
`Draft`: the new file of an archive that is being compacted; and what a killed compaction leaves.

The name of a draft is drawn at random, and its first record, the deletion of nothing, repeats that draw and says which
archive it is to replace. Only a file that this proves to be a draft of this archive, or the archive that a draft has
replaced, is ever removed; or one without any bytes, of a process that was killed when it had just made the file.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from itertools import chain, islice

from storage._concurrency.forks import PROCESS, refuse_in_child
from storage._core.data import CHUNK
from storage._core.descriptors import Descriptor
from storage.errors import CorruptObjectError, StoreUnavailableError, UnsupportedOperationError
from storage.stores.files.permissions import keep_permissions
from storage.stores.zip.content import CompressedData
from storage.stores.zip.directory import Directory
from storage.stores.zip.entry import DELETION, Entry, entry_of
from storage.stores.zip.exchange import exchange
from storage.stores.zip.file import OpenFile
from storage.stores.zip.foreign import foreign_parts
from storage.stores.zip.format import LOCAL, pack_descriptor, pack_local
from storage.stores.zip.tail import Tail

__all__ = ["Draft", "remove_leftovers"]

#: Names in a directory that are looked at for leftovers; reading them takes some milliseconds.
_NAMES = 10_000

#: The permissions of a draft; it gets those of the archive when it is complete.
_MODE = 0o600

#: How often a file that came between is given its place back.
_ATTEMPTS = 10


class Draft:
    """
    A new file that is to replace the archive in the file *original*, at *path*.

    Args:
        path: the archive; no symlink.
        original: its file.
        begin: the offset of the archive's first entry in it. Bytes of other programs before that are kept.

    Attributes:
        entries: the entries in the new file by those in the original.
        begin: the offset of the first entry in the new file.
    """

    def __init__(self, path: str, original: OpenFile, begin: int) -> None:
        self._original, self._target = original, os.path.basename(path)
        self.entries: dict[Entry, Entry] = {}
        self.begin: int = begin
        self._end = 0
        self._process = PROCESS.number
        self._stamp = os.urandom(16)
        self._name = f"{_beginning(path)}{self._stamp.hex()}.compacting"
        self._opened = Descriptor.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._file: OpenFile | None = None

    @property
    def _directory(self) -> int:
        return self._opened.fileno()

    @property
    def file(self) -> OpenFile:
        """The new file, locked; it is there from `prepare` on."""
        assert self._file is not None
        return self._file

    def prepare(self, entries: Sequence[Entry], tail: Tail) -> Generator[None, None, None]:
        """
        Make the file, and copy what is before the archive of these entries, in steps.

        Raises:
            UnsupportedOperationError: the file has other names, or bytes that are not the archive's between or after
                the entries: a new file would not have them.
        """
        names = self._original.status().st_nlink
        if names > 1:
            raise UnsupportedOperationError(
                f"the archive's file has {names} names (hard links), which compact would separate: only this one would "
                "get the new file. If that is what you want, give it a file of its own first: copy it, and rename the "
                "copy to it while the store is closed"
            )
        size = len(_first_record(bytes(16), self._original))
        stop = self._original.size() if tail.is_blocked else tail.end
        foreign = yield from foreign_parts(self._original, entries, tail.end, stop, size)
        first = min((entry.offset for entry in entries), default=tail.end)
        prefix = max((stop for _, stop in foreign if stop <= first), default=0)
        foreign = [part for part in foreign if part[0] >= prefix]
        if foreign:
            raise UnsupportedOperationError(
                f"the archive's file has {sum(stop - start for start, stop in foreign):,} bytes from offset "
                f"{foreign[0][0]:,} on that are not provably of the archive, and that compact would drop: those of "
                "others, such as a signature, or what a power failure left of a write. If they are not needed, copy "
                "the objects into a new archive with copy_store, close both, and rename the new one to the old one"
            )
        self._file = OpenFile(self._name, create=True, mode=_MODE, directory=self._directory)
        self._file.must_sync = self._original.must_sync
        self._file.lock()
        self.begin = self._file.append([_first_record(self._stamp, self._original)], prefix)
        for at in range(0, prefix, CHUNK):
            piece = self._original.read(min(CHUNK, prefix - at), at)
            if self._file.write(piece, at) != min(at + CHUNK, prefix):
                raise CorruptObjectError("the archive was cut short while it was compacted")
            yield
        self._end = self.begin

    def add(self, entries: Iterable[Entry]) -> Generator[None, None, None]:
        """
        Copy entries, in steps; their data stays compressed.

        Raises:
            CorruptObjectError: an entry is not where it should be, or two of them overlap.
        """
        position = 0
        for old in sorted(entries, key=lambda entry: entry.offset):
            if old.offset < position:
                raise CorruptObjectError("entries of the archive overlap: it is damaged, or made to harm")
            position = old.offset + LOCAL.size + old.compressed_size
            new = old._replace(offset=self._end)
            data = CompressedData(self._original, old)
            self._end = yield from self._copy(chain([pack_local(new)], data, [pack_descriptor(new)]))
            self.entries[old] = new

    def _copy(self, pieces: Iterable[bytes]) -> Generator[None, None, int]:
        """Append the pieces, and return their end."""
        end = self._end
        for piece in pieces:
            end = self.file.append([piece], end)
            yield
        return end

    def finish(self, entries: Iterable[Entry], comment: bytes) -> int:
        """Write the directory, of new entries, wait until all is on the disk, and return the archive's end."""
        new, old = self.file.status(), self._original.status()
        keep_permissions(self.file.descriptor, new, old, self._directory, os.fsencode(self._target))
        directory = Directory.of(entries, self._end, comment)
        directory.write(self.file)
        return directory.stop

    def publish(self) -> None:
        """
        Put the new file in the place of the original, in one step.

        Raises:
            StoreUnavailableError: another file is there, and stays there.
            StoreClosedError: the process was forked meanwhile: the file is the parent's.
        """
        refuse_in_child(self._process)
        try:
            exchanged = exchange(self._directory, self._name, self._target)
        finally:
            self._settle()
        if not exchanged:  # the system or the file system cannot do that
            self._check(self._target, self._original)
            os.rename(self._name, self._target, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        self._check(self._target, self.file)

    @property
    def is_published(self) -> bool:
        """Whether the new file is in the place of the original."""
        return self._has(self._target, self.file)

    def _settle(self) -> None:
        """Remove the original, if it was exchanged; a file that had its name at the last moment gets it back."""
        for _ in range(_ATTEMPTS):
            if self._process != PROCESS.number:  # the parent does it
                return
            if self._has(self._name, self.file) or self._has(self._name, self._original):
                break
            exchange(self._directory, self._name, self._target)
        if self._has(self._name, self._original):
            os.unlink(self._name, dir_fd=self._directory)

    def _has(self, name: str, file: OpenFile) -> bool:
        """Return whether the name is that of the file."""
        try:
            return os.path.samestat(os.stat(name, dir_fd=self._directory, follow_symlinks=False), file.status())
        except OSError:
            return False

    def _check(self, name: str, file: OpenFile) -> None:
        if not self._has(name, file):
            raise StoreUnavailableError(f"{name} was deleted or replaced while it was compacted: open the store again")

    def close(self) -> None:
        """Remove the new file, unless it was published; in a forked child only close it: it is the parent's."""
        try:
            if self._process == PROCESS.number and self._file and self._has(self._name, self._file):
                os.unlink(self._name, dir_fd=self._directory)
        finally:
            self._opened.close()


def remove_leftovers(path: str, archive: OpenFile, begin: int) -> None:
    """Remove what killed compactions of this archive, whose first entry is at *begin*, have left beside it."""
    is_one = re.compile(re.escape(_beginning(path)) + r"([0-9a-f]{32})\.compacting").fullmatch
    directory = os.path.dirname(path)
    with suppress(OSError):  # a directory that may not be read or changed
        with os.scandir(directory) as found:
            names = [each.name for each in islice(found, _NAMES) if is_one(each.name)]
        for name in names:
            stamp = bytes.fromhex(name.split(".")[-2])
            _remove_leftover(os.path.join(directory, name), stamp, archive, begin)


def _remove_leftover(path: str, stamp: bytes, archive: OpenFile, begin: int) -> None:
    if not stat.S_ISREG(os.lstat(path).st_mode):
        return
    leftover = OpenFile(path, follow=False)
    status = leftover.status()
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        return
    draft, replacing = _first_record(stamp, archive), _first_record(stamp, leftover)
    places = {0, begin, begin - len(draft)}
    is_empty = not status.st_size and stat.S_IMODE(status.st_mode) == _MODE and status.st_uid == os.geteuid()
    if (
        is_empty
        or any(at >= 0 and leftover.read(len(draft), at) == draft for at in places)
        or any(at >= 0 and archive.read(len(replacing), at) == replacing for at in places)
    ):
        leftover.lock()  # raises if it is in use
        if os.path.samestat(os.lstat(path), status):
            os.unlink(path)
        leftover.unlock()


def _beginning(path: str) -> str:
    """Return the beginning of the names of drafts; the longest name has 255 bytes."""
    name = os.fsencode(os.path.basename(path))[:180]
    return f".{os.fsdecode(name)}."


def _first_record(stamp: bytes, original: OpenFile) -> bytes:
    """Return the first record of the draft with that stamp which is to replace the file; the same in every call."""
    inode = original.status().st_ino.to_bytes(16, "little")
    replaces = hashlib.sha256(stamp + inode).hexdigest()[:32]
    return pack_local(entry_of("", DELETION, stamp=stamp, modified=0, attributes={"replaces": replaces}))
