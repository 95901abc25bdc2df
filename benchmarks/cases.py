"""
The matrix: every case is a kind of store, an operation, a size, so many tasks, and awaited (on one loop or the other)
or not. All sides of the kind that can do the operation compete in it.
"""

from __future__ import annotations

import itertools
import os
import random
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks import buckets, files, memory, redis, sqlite  # noqa: F401  # they register their sides
from benchmarks.harness import Comparison, Contender, Plan
from benchmarks.operations import OPERATIONS, Opened, contender, filled
from benchmarks.promises import Promise
from benchmarks.session import LOOPS, Session, installed
from benchmarks.sides import SIDES, Calls, Place, Side

__all__ = ["FACES", "KINDS", "SIZES", "TASKS", "Case", "compared", "matrix", "size_name"]

SIZES = {"100B": 100, "4KiB": 4 << 10, "1MiB": 1 << 20, "64MiB": 64 << 20}
TASKS = (1, 16, 64, 512)
FACES = ("await", "sync")

#: The kinds of stores, and what each needs beside a directory: how it is started, and what is missing to start it.
KINDS: dict[str, tuple[Callable[[], AbstractContextManager[Any]], str]] = {
    "memory": (nullcontext, ""),
    "file": (nullcontext, ""),
    "sqlite": (nullcontext, ""),
    "s3": (buckets.rclone, "" if buckets.RCLONE.exists() else "rclone (make servers)"),
    "redis": (redis.redis_server, "" if redis.SERVER else "redis-server"),
}


@dataclass(frozen=True)
class Case:
    """
    One cell of the matrix.

    Attributes:
        kind: of store.
        operation: by its name.
        size: of each object in bytes.
        tasks: that share the work; threads where nothing is awaited.
        face: ``await`` or ``sync``.
        loop: ``asyncio`` or ``uvloop``.
        objects: how many there are; by default some hundred, fewer where they are large, thousands to list.
    """

    kind: str
    operation: str
    size: int
    tasks: int = 1
    face: str = "await"
    loop: str = "asyncio"
    objects: int = 0

    @property
    def count(self) -> int:
        """How many objects there are; more than tasks, which would wait for each other at the same one."""
        if self.operation == "keys":
            return self.objects or (2_000 if self.kind == "s3" else 10_000)
        if self.size > 16 << 20:
            return self.objects or max(2, self.tasks)
        return self.objects or max(200 if self.size <= 64 << 10 else 16, 2 * self.tasks)

    @property
    def title(self) -> str:
        """The case in words."""
        how = ("sync" if self.face == "sync" else "await") + (f" on {self.loop}" if self.loop != "asyncio" else "")
        workers = "thread" if self.face == "sync" else "task"
        tasks = f"{self.tasks} {workers}{'s' * (self.tasks > 1)}"
        what = f"{self.count} objects" if self.operation == "keys" else size_name(self.size)
        return f"{self.kind} {self.operation}, {what}, {tasks}, {how}"


def size_name(size: int) -> str:
    """Return the size in words, as the command line has it."""
    unit, name = next((unit, name) for unit, name in [(1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")] if size % unit == 0)
    return f"{size // unit}{name}"


def matrix(
    kinds: Iterable[str] = KINDS,
    operations: Iterable[str] = OPERATIONS,
    sizes: Iterable[int] = tuple(SIZES.values()),
    tasks: Iterable[int] = TASKS,
    faces: Iterable[str] = FACES,
    loops: Iterable[str] = LOOPS,
) -> Iterator[Case]:
    """Yield all cases of these, once where something makes no difference: the loop without ``await``, sizes of keys."""
    seen = set()
    for cell in itertools.product(kinds, operations, sizes, tasks, faces, loops):
        kind, operation, size, at_once, face, loop = cell
        if operation == "keys":
            size, at_once = 100, 1
        case = Case(kind, operation, size, at_once, face, "asyncio" if face == "sync" else loop)
        if case not in seen and _sides(case):
            seen.add(case)
            yield case


def _sides(case: Case) -> list[Side]:
    return [side for side in SIDES if side.kind == case.kind and side.face == case.face]


@contextmanager
def compared(
    case: Case, session: Session, plan: Plan, promises: tuple[Promise, ...] = (), *, only: Iterable[str] = ()
) -> Iterator[Comparison]:
    """Open all sides of a case (or *only* some beside ours), each with the objects in it, and give their comparison."""
    start, absent = KINDS[case.kind]
    missing = [absent] if absent else []
    missing += [] if installed(case.loop) else [case.loop]
    contenders: dict[str, Contender] = {}
    with ExitStack() as opened:
        if not missing:
            given = _Given(case, session, plan, opened.enter_context(start()), opened.enter_context(_directory()))
            for side in _sides(case):
                if side.ours or not only or side.name in only:
                    missing += side.missing
                    made = None if side.missing else given.contender(side, opened)
                    contenders |= {} if made is None else {side.name: made}
        yield Comparison(
            title=case.title,
            contenders=contenders,
            ours=frozenset(side.name for side in _sides(case) if side.ours),
            promises=promises,
            missing=tuple(dict.fromkeys(missing)),
            about=asdict(case),
        )


def _directory() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="benchmarks-")


class _Given:
    """What all sides of a case are given: the same objects, the server, and a directory each."""

    def __init__(self, case: Case, session: Session, plan: Plan, server: Any, work: str) -> None:
        self._case, self._session, self._server, self._work = case, session, server, work
        self._objects = _objects(case, plan)
        self._tasks = min(case.tasks, 8) if plan.quick else case.tasks
        self._filled = case.kind == "file"  # by `_prepare`

    def contender(self, side: Side, opened: ExitStack) -> Contender | None:
        """Open a side and return its contender; None where it has no call for the operation."""
        case, objects = self._case, self._objects
        reads = case.operation not in {"put", "put_many", "delete_many"}
        calls = self._enter(side, opened, "shared" if reads and case.kind == "file" else "own")
        target = self._enter(side, opened, "target", 1) if case.operation == "copy_store" else None
        made = contender(case.operation, Opened(side, calls, objects, self._tasks, target), case.loop)
        if made is not None and not self._filled:
            self._session.done(case.loop, filled(side, calls, objects)())
            self._filled = case.kind == "s3"  # in the same bucket for all
        return made

    def _enter(self, side: Side, opened: ExitStack, use: str, number: int = 0) -> Calls:
        directory = f"{self._work}/{use if use == 'shared' else f'{side.name} {use}'}"
        if not os.path.exists(directory):
            self._prepare(directory, use)
        place = Place(directory, self._server, self._tasks, number)
        calls: Calls = opened.enter_context(side.entered(self._session, self._case.loop, place))
        return calls

    def _prepare(self, directory: str, use: str) -> None:
        """Make a directory; one for files has the objects in it, or at least their directories, which is for peers."""
        os.makedirs(f"{directory}.part")
        os.makedirs(directory)
        if self._case.kind != "file":
            return
        for folder in {key.partition("/")[0] for key in self._objects}:
            os.mkdir(f"{directory}/{folder}")
        for key, data in self._objects.items() if use != "target" else ():
            with open(f"{directory}/{key}", "wb") as file:
                file.write(data)


def _objects(case: Case, plan: Plan) -> Mapping[str, bytes]:
    """Return the objects of a case; the bytes of each are random, and those of small ones differ."""
    count = min(case.count, 20) if plan.quick else case.count
    size = min(case.size, 64 << 10) if plan.quick else case.size
    source = random.Random(0)
    large = source.randbytes(size)
    return {
        f"{number // 1000:03}/{number % 1000:03}": source.randbytes(size) if size <= 4 << 10 and count < 5000 else large
        for number in range(count)
    }
