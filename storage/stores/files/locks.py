"""
Locks on directories and drafts, by ``flock``.

A store holds a lock on the **directory** whenever it changes names in it, in a put or a delete. That makes a condition
and its write one atomic step among tasks, threads and processes, without a lock file or a table of locks. It costs two
system calls and delays other writers little: the kernel locks the directory for a rename anyway. Writing the bytes of a
draft takes no lock on the directory. A listing takes a shared lock while it reads the names where it must: some file
systems (tmpfs) move a name that is replaced, and a reader of many names would miss it (`root.names_in`).

Whoever may read a directory can lock it, and a process that is stopped keeps its locks. So nothing waits in the system:
a lock is tried, again and again, for no longer than `LOCK_TIMEOUT`, by one thread for all of the process. A stepped
call does that in its thread. A worker thread tries for a moment only, a longer one while another thread of this process
has the lock, and then raises `DirectoryLockedError`; its task waits without a thread (`storage.stores.files.waiting`).
"""

from __future__ import annotations

import errno
import fcntl
import os
import random
import time
from _thread import LockType, allocate_lock
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from threading import get_ident
from types import TracebackType

from storage._concurrency.forks import PROCESS, refuse_in_child
from storage._concurrency.offload import given_up
from storage._concurrency.stepping import is_stepping
from storage.errors import ReentrantCallError, StoreUnavailableError, UnsupportedOperationError

__all__ = [
    "LOCK_TIMEOUT",
    "LONGEST_PAUSE",
    "NO_LOCKS",
    "DirectoryLockedError",
    "all_locked",
    "lock",
    "locked",
    "longest_wait",
    "seeking",
    "unavailable",
]

#: Errors of flock(2) where there are no locks; network file systems may need a file open for writing (EBADF).
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF)

#: The longest wait for the lock of a directory, in seconds. Our own writers hold it for well below a millisecond; what
#: holds it for so long is another program, or a process that was stopped.
LOCK_TIMEOUT = 30.0

#: The longest pause between two attempts, in seconds: a call goes on at most so much later than it could.
LONGEST_PAUSE = 0.05

#: Seconds for which a worker thread tries to get a lock that another process holds, and one that this process holds.
#: The first is enough for turns with many processes of ours; the second bounds the wait for a disk that hangs.
_MOMENT = 0.1
_OWN_MOMENT = 1.0

#: Directories for which a worker thread has tried that in vain, and seconds for which the next ones try: so that a
#: process that is stopped takes the threads from other calls once, and not with each call.
_refused: set[tuple[int, int]] = set()
_SHORT_MOMENT = 0.001

#: The pauses between attempts of a thread, in seconds: the first, the longest, and as a part of the wait so far.
#: Measured on ext4 with two busy processors, in puts a second and how long 99 % of them take at most, and in brackets
#: where the system makes them wait: four processes with 16 tasks each 1,400 and 0.3 s (2,300 and 0.1 s); six processes
#: that sync 1,200 and 30 ms (1,900 and 15 ms). Shorter pauses change little.
_FIRST_POLL, _LONGEST_POLL, _PART = 0.0001, 0.005, 0.02

#: Directories whose lock a call has waited for in vain, and until when others do not do the same: a call for many keys
#: would wait for each of them.
_given_up: dict[tuple[int, int], float] = {}

_MOST_GIVEN_UP = 1000

#: Which thread holds, or is about to get, the lock of the directory that is open under this number.
_holders: dict[int, int] = {}

#: The directories for whose lock the calls under way are waiting, one for each call, and when this process last had it.
_sought: list[tuple[int, int]] = []
_had: dict[tuple[int, int], float] = {}

#: Which thread tries for all of this process to get a lock that another process holds.
_polling: dict[tuple[int, int], int] = {}

#: Threads that wait for a lock that another thread of this process holds, or tries to get: the directory, and what
#: wakes them. Measured with 8 threads of one process that put into one directory of ext4: 3,700 puts a second; 1,900
#: with pauses alone; 3,900 where the system makes them wait.
_waiting: deque[tuple[tuple[int, int], LockType]] = deque()

#: Seconds after which such a thread tries again even if nobody has woken it.
_OWN_PAUSE = 0.01


class DirectoryLockedError(StoreUnavailableError):
    """
    Another process holds the lock of a directory: run the work again later. Nothing has been changed.

    Attributes:
        place: the numbers of the directory's device and inode.
        path: its path, as far as the system tells.
    """

    def __init__(self, directory: int, place: tuple[int, int], store: object) -> None:
        super().__init__("another process holds the lock of the directory", store=store)
        self.place: tuple[int, int] = place
        self.path: str = _path_of(directory)


def longest_wait(place: tuple[int, int]) -> float:
    """Return how many seconds a call may wait for the lock of a directory: few if another call has just given up."""
    return LOCK_TIMEOUT if _given_up.get(place, 0.0) < time.monotonic() else LONGEST_PAUSE


@contextmanager
def seeking(place: tuple[int, int]) -> Iterator[None]:
    """Wait for the lock of a directory in this context: then `unavailable` knows who had it meanwhile."""
    _sought.append(place)
    try:
        yield
    finally:
        with suppress(ValueError):  # forked meanwhile
            _sought.remove(place)
        if place not in _sought:
            _had.pop(place, None)


def unavailable(
    path: str, place: tuple[int, int], since: float, store: object, key: str | None = None
) -> StoreUnavailableError:
    """
    Return the error for a wait that was too long, which began at the time *since*.

    If nobody in this process had the lock in that time, the next calls do not wait as long.
    """
    if _had.get(place, since) > since:
        return StoreUnavailableError(
            f"other writers had the lock of the directory {path} for all of {LOCK_TIMEOUT:g} s: "
            "write to it from fewer processes at one time, and try again",
            key=key,
            store=store,
        )
    if len(_given_up) >= _MOST_GIVEN_UP:
        _given_up.clear()
    if longest_wait(place) == LOCK_TIMEOUT:
        _given_up[place] = time.monotonic() + LOCK_TIMEOUT
    return StoreUnavailableError(
        f"the directory {path} has been locked for up to {LOCK_TIMEOUT:g} s by {_holder_of(place)}: "
        "end that program, or continue it if it is stopped, and try again",
        key=key,
        store=store,
    )


def lock(file: int) -> bool:
    """
    Lock a new file of this process; return False where the file system has no locks.

    Raises:
        BlockingIOError: somebody else has locked it.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as cause:
        if cause.errno in NO_LOCKS:
            return False
        raise
    return True


class locked:  # noqa: N801  # it is used like a function
    """
    A context in which the lock of an open directory is held.

    Args:
        directory: the number of the directory's descriptor.
        store: for error messages.
        needed: whether it is an error that the file system has no locks, because they are needed for a condition.
        shared: whether others may hold the lock too that only read the names.

    Raises:
        UnsupportedOperationError: the file system has no locks, and one is *needed*.
        ReentrantCallError: the calling thread holds the lock already; it is in a signal handler or a finalizer.
        DirectoryLockedError: in a worker thread: another process holds it.
        StoreUnavailableError: when stepped: it was held for longer than `LOCK_TIMEOUT`.
    """

    __slots__ = ("_begun", "_directory", "_held", "_needed", "_operation", "_process", "_store")

    def __init__(self, directory: int, store: object = None, needed: bool = False, shared: bool = False) -> None:
        self._directory = directory
        self._store = store
        self._needed = needed
        self._operation: int = _SHARED if shared else _EXCLUSIVE
        self._held = False
        self._process = PROCESS.number

    def __enter__(self) -> None:
        directory = self._directory
        _holders[directory] = get_ident()  # before the lock: a signal handler may come right after that
        try:
            fcntl.flock(directory, self._operation)
            self._held = True
        except BlockingIOError:
            _holders.pop(directory, None)
            self._wait()
        except OSError as cause:
            _holders.pop(directory, None)
            if cause.errno not in NO_LOCKS:
                raise
            if self._needed:
                raise UnsupportedOperationError(
                    "conditions need file locks, and this file system has none", store=self._store
                ) from cause

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._held:
            # Explicit: a child forked meanwhile shares the descriptor, so closing ours would not release the lock. And
            # in such a child the lock is the parent's, which is still in the section.
            if self._process == PROCESS.number:
                fcntl.flock(self._directory, fcntl.LOCK_UN)
            _holders.pop(self._directory, None)
            if _sought:
                _released(self._directory)

    def _wait(self) -> None:
        """Try to get the lock, which somebody holds, for as long as this thread may."""
        self._begun = time.monotonic()
        status = os.fstat(self._directory)
        place = status.st_dev, status.st_ino
        with seeking(place):
            try:
                while not self._has_waited(place):
                    pass
            finally:
                if _polling.get(place) == get_ident():
                    del _polling[place]
                    if not self._held:
                        _wake(place)
        _refused.discard(place)

    def _has_waited(self, place: tuple[int, int]) -> bool:
        """Wait a little and try again; return whether this thread has the lock."""
        me, now = get_ident(), time.monotonic()
        holder = _holding_thread(place)
        if holder == me:
            raise ReentrantCallError(_REENTRANT, store=self._store)
        if is_stepping():
            left = self._begun + longest_wait(place) - now
            if left <= 0:
                raise unavailable(_path_of(self._directory), place, self._begun, self._store)
        else:
            left = self._begun + (_OWN_MOMENT if holder else _SHORT_MOMENT if place in _refused else _MOMENT) - now
            if left <= 0 or given_up():
                _refused.add(place)
                raise DirectoryLockedError(self._directory, place, self._store)
        if holder or _polling.setdefault(place, me) != me:
            return self._wait_for_thread(place, min(_OWN_PAUSE, left)) or self._try()
        pause = min(max(_FIRST_POLL, _PART * (now - self._begun)), _LONGEST_POLL)
        time.sleep(min(random.uniform(pause / 2, pause), left))
        return self._try()

    def _wait_for_thread(self, place: tuple[int, int], seconds: float) -> bool:
        """Wait for *seconds*, or until another thread wakes this one; return whether it has the lock already."""
        turn = allocate_lock()
        turn.acquire()
        _waiting.append((place, turn))
        try:
            if self._try():  # released before it could know of this thread
                return True
            turn.acquire(timeout=seconds)
        finally:
            with suppress(ValueError):  # woken
                _waiting.remove((place, turn))
        return False

    def _try(self) -> bool:
        refuse_in_child(self._process, self._store)  # it shares the descriptor, and would get the lock with the parent
        _holders[self._directory] = get_ident()
        try:
            fcntl.flock(self._directory, self._operation)
            self._held = True
        except BlockingIOError:
            _holders.pop(self._directory, None)
            return False
        except BaseException:
            _holders.pop(self._directory, None)
            raise
        return True


def _released(directory: int) -> None:
    """Note that this process has just had the lock of an open directory, and wake the thread that comes next."""
    status = os.fstat(directory)
    place = status.st_dev, status.st_ino
    if place in _sought:
        _had[place] = time.monotonic()
        _wake(place)


def _wake(wanted: tuple[int, int]) -> None:
    """Wake the thread that has waited longest for the lock of a directory."""
    for place, turn in list(_waiting):
        if place == wanted:
            with suppress(ValueError):  # another thread has woken it
                _waiting.remove((place, turn))
                turn.release()
                return


_EXCLUSIVE, _SHARED = fcntl.LOCK_EX | fcntl.LOCK_NB, fcntl.LOCK_SH | fcntl.LOCK_NB

_REENTRANT = (
    "called from a signal handler or finalizer, while the same thread is in a call for the same directory: "
    "only set a flag there, and make this call when that one has returned"
)


@contextmanager
def all_locked(directories: Iterable[int], store: object, *, needed: bool) -> Iterator[None]:
    """
    Hold the locks of several open directories; a directory that is given twice is locked once.

    They are locked in a fixed order. Otherwise two renames in opposite directions would wait for each other.
    """
    inodes = {
        (status.st_dev, status.st_ino): directory for directory in directories for status in [os.fstat(directory)]
    }
    with ExitStack() as held:
        for _, directory in sorted(inodes.items()):
            held.enter_context(locked(directory, store, needed=needed))
        yield


def _holding_thread(place: tuple[int, int]) -> int:
    """Return the thread of this process that holds the lock of a directory, 0 for none."""
    for number, thread in list(_holders.items()):
        try:
            status = os.fstat(number)
        except OSError:  # an interrupt came before it was noted that the lock is released
            _holders.pop(number, None)
            continue
        if (status.st_dev, status.st_ino) == place:
            return thread
    return 0


def _path_of(directory: int) -> str:
    """Return the path of an open directory, as far as the system tells."""
    try:
        return os.readlink(f"/proc/self/fd/{directory}")
    except OSError:
        return "of this store"


def _holder_of(place: tuple[int, int]) -> str:
    """Return who holds the lock of a directory, as far as the system tells."""
    unknown = "another program (whoever may read the directory can lock it: `lslocks` names the process)"
    device, inode = place
    wanted = f"{os.major(device):02x}:{os.minor(device):02x}:{inode}"
    try:
        with open("/proc/locks", encoding="ascii") as file:
            holders = [words[4] for line in file if (words := line.split())[1:2] == ["FLOCK"] and wanted in words]
        with open(f"/proc/{holders[0]}/comm", encoding="utf-8", errors="replace") as name:
            return f"process {holders[0]} ({name.read().strip()})"
    except (OSError, IndexError, ValueError):  # not Linux, or not to be seen from this container
        return unknown


def _after_fork() -> None:
    """Forget the other threads of the parent."""
    _waiting.clear()
    _sought.clear()
    _polling.clear()
    mine = get_ident()
    for number, thread in list(_holders.items()):
        if thread != mine:
            del _holders[number]


_register: Callable[..., object] | None = getattr(os, "register_at_fork", None)
if _register is not None:
    _register(after_in_child=_after_fork)
