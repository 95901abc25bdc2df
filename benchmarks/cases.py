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
from benchmarks.sides import SIDES, Place, Side

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
        objects: how many there are; by default some hundred, fewer where they are large, 10 000 to list.
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
            return self.objects or 10_000
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
    missing: list[str] = []
    start, absent = KINDS[case.kind]
    if absent:
        missing.append(absent)
    if case.loop != "asyncio" and not installed(case.loop):
        missing.append(case.loop)
    with ExitStack() as opened:
        contenders: dict[str, Contender] = {}
        if not missing:
            objects = _objects(case, plan)
            work = opened.enter_context(tempfile.TemporaryDirectory(prefix="benchmarks-"))
            server = opened.enter_context(start())
            tasks = min(case.tasks, 8) if plan.quick else case.tasks
            peers = set(only)
            for number, side in enumerate(_sides(case)):
                if peers and not side.ours and side.name not in peers:
                    continue
                if side.missing:
                    missing += side.missing
                    continue
                place = Place(_prepared(case, f"{work}/{number}", f"{work}/shared", objects), server, tasks)
                calls = opened.enter_context(side.entered(session, case.loop, place))
                target = None
                if case.operation == "copy_store":
                    os.makedirs(f"{work}/{number}.copy/000")
                    another = Place(f"{work}/{number}.copy", server, tasks, 1)
                    target = opened.enter_context(side.entered(session, case.loop, another))
                made = contender(case.operation, Opened(side, calls, objects, tasks, target), case.loop)
                if made is None:
                    continue
                if case.kind != "file":  # whose objects are there
                    session.done(case.loop, filled(side, calls, objects)())
                contenders[side.name] = made
        yield Comparison(
            title=case.title,
            contenders=contenders,
            ours=frozenset(side.name for side in _sides(case) if side.ours),
            promises=promises,
            missing=tuple(dict.fromkeys(missing)),
            about=asdict(case),
        )


def _objects(case: Case, plan: Plan) -> Mapping[str, bytes]:
    """Return the objects of a case; the bytes of each are random, and those of small ones differ."""
    count = min(case.count, 20) if plan.quick else case.count
    size = min(case.size, 1 << 20) if plan.quick else case.size
    source = random.Random(0)
    large = source.randbytes(size)
    return {
        f"{number // 1000:03}/{number % 1000:03}": source.randbytes(size) if size <= 4 << 10 and count < 5000 else large
        for number in range(count)
    }


def _prepared(case: Case, own: str, shared: str, objects: Mapping[str, bytes]) -> str:
    """Return a directory; with the objects in it where it is one for files, which those that only read share."""
    if case.kind != "file":
        os.mkdir(own)
        return own
    reads = case.operation in {"get", "head", "keys", "get_many", "copy_store"}
    directory = shared if reads else own
    os.mkdir(f"{own}.part")
    if not os.path.exists(directory):
        for folder in {key.partition("/")[0] for key in objects}:
            os.makedirs(f"{directory}/{folder}")
        for key, data in objects.items():
            with open(f"{directory}/{key}", "wb") as file:
                file.write(data)
    return directory
