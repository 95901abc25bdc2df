"""
What is measured: the matrix, the story that is measured by default, and the targets.

Each case of the matrix is a kind of store, an operation, a size, a number of tasks, and async (on one of the loops) or
synchronous. All contenders of the kind that have the operation compete in it.
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

from benchmarks import (  # noqa: F401  # the kinds of stores register their contenders
    buckets,
    cold,
    copying,
    decorators,
    files,
    memory,
    processes,
    redis,
    settings,
    sqlite,
)
from benchmarks.contenders import CONTENDERS, Calls, Contender, Place
from benchmarks.harness import Comparison, Plan, Workload
from benchmarks.operations import OPERATIONS, Opened, filled, workload
from benchmarks.report import size_name
from benchmarks.session import LOOPS, Session, installed
from benchmarks.targets import Target, ahead

__all__ = ["FACES", "KINDS", "SIZES", "TASKS", "Case", "Entry", "compared", "matrix", "of_matrix", "story", "targets"]

SIZES = {"100B": 100, "4KiB": 4 << 10, "1MiB": 1 << 20, "64MiB": 64 << 20}
TASKS = (1, 16, 64, 512)
FACES = ("await", "sync")

#: The kinds of stores; for each, what starts its server, and what is missing to start it.
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
        operation: the name of the operation.
        size: bytes of each object.
        tasks: the number of tasks, or of threads for synchronous calls.
        face: ``await`` or ``sync``.
        loop: ``asyncio`` or ``uvloop``.
        objects: the number of objects; by default some hundred, fewer large ones, and thousands to list.
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
        """The number of objects: more than tasks, which would otherwise wait for each other at one object."""
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


def matrix(
    kinds: Iterable[str] = KINDS,
    operations: Iterable[str] = OPERATIONS,
    sizes: Iterable[int] = tuple(SIZES.values()),
    tasks: Iterable[int] = TASKS,
    faces: Iterable[str] = FACES,
    loops: Iterable[str] = LOOPS,
) -> Iterator[Case]:
    """Yield all cases of these values, once where one is not used: the loop if synchronous, the size for keys."""
    seen = set()
    for cell in itertools.product(kinds, operations, sizes, tasks, faces, loops):
        kind, operation, size, at_once, face, loop = cell
        if operation == "keys":
            size, at_once = 100, 1
        case = Case(kind, operation, size, at_once, face, "asyncio" if face == "sync" else loop)
        if case not in seen and _contenders(case):
            seen.add(case)
            yield case


def _contenders(case: Case) -> list[Contender]:
    return [contender for contender in CONTENDERS if contender.kind == case.kind and contender.face == case.face]


@contextmanager
def compared(
    case: Case, session: Session, plan: Plan, targets: tuple[Target, ...] = (), *, only: Iterable[str] = ()
) -> Iterator[Comparison]:
    """Open all contenders of a case (or *only* some beside ours), each with the objects in it, and compare them."""
    start, absent = KINDS[case.kind]
    missing = [absent] if absent else []
    missing += [] if installed(case.loop) else [case.loop]
    contenders: dict[str, Workload] = {}
    with ExitStack() as opened:
        if not missing:
            given = _Given(case, session, plan, opened.enter_context(start()), opened.enter_context(_directory()))
            for contender in _contenders(case):
                if contender.ours or not only or contender.name in only:
                    missing += contender.missing
                    made = None if contender.missing else given.workload(contender, opened)
                    contenders |= {} if made is None else {contender.name: made}
        yield Comparison(
            title=case.title,
            contenders=contenders,
            ours=frozenset(contender.name for contender in _contenders(case) if contender.ours),
            targets=targets,
            missing=tuple(dict.fromkeys(missing)),
            about=asdict(case),
        )


def _directory() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="benchmarks-")


class _Given:
    """What all contenders of a case get: the same objects, the server, and a directory each."""

    def __init__(self, case: Case, session: Session, plan: Plan, server: Any, work: str) -> None:
        self._case, self._session, self._server, self._work = case, session, server, work
        self._objects = _objects(case, plan)
        self._tasks = min(case.tasks, 8) if plan.quick else case.tasks
        self._filled = case.kind == "file"  # by `_prepare`

    def workload(self, contender: Contender, opened: ExitStack) -> Workload | None:
        """Open a contender and return its workload; None where it has no call for the operation."""
        case, objects = self._case, self._objects
        reads = case.operation not in {"put", "put_many", "delete_many"}
        calls = self._enter(contender, opened, "shared" if reads and case.kind == "file" else "own")
        target = self._enter(contender, opened, "target", 1) if case.operation == "copy_store" else None
        made = workload(case.operation, Opened(contender, calls, objects, self._tasks, target), case.loop)
        if made is not None and not self._filled:
            self._session.done(case.loop, filled(contender, calls, objects)())
            self._filled = case.kind == "s3"  # in the same bucket for all
        return made

    def _enter(self, contender: Contender, opened: ExitStack, use: str, number: int = 0) -> Calls:
        directory = f"{self._work}/{use if use == 'shared' else f'{contender.name} {use}'}"
        if not os.path.exists(directory):
            self._prepare(directory, use)
        place = Place(directory, self._server, self._tasks, number)
        calls: Calls = opened.enter_context(contender.entered(self._session, self._case.loop, place))
        return calls

    def _prepare(self, directory: str, use: str) -> None:
        """Make a directory; for files with the objects in it, or at least with their directories, which peers need."""
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


SMALL, PAGE, LARGE = SIZES["100B"], SIZES["4KiB"], SIZES["1MiB"]

OBSTORE_MEMORY, OBSTORE_FILES, OBSTORE_BUCKET = "obstore MemoryStore", "obstore LocalStore", "obstore S3Store"

#: The operations on many objects.
MANY = ("keys", "get_many", "put_many", "delete_many", "copy_store")

#: What is promised for cases of the matrix.
TARGETS: dict[Case, tuple[Target, ...]] = {
    Case("memory", "get", SMALL): (
        ahead("async get, DictStore: against obstore's memory store", OBSTORE_MEMORY, 30),
        ahead("async get, DictStore: against py-key-value's memory store", "py-key-value MemoryStore", 10),
    ),
    Case("file", "get", PAGE): (
        ahead("async get, 4 KiB file, hot, one task: against obstore's LocalStore", OBSTORE_FILES, 10),
        ahead("async get, 4 KiB file, hot, one task: against the raw os loop", "os calls", 0.4),
    ),
    Case("file", "get", PAGE, 64): (ahead("async get, 4 KiB file, 64 tasks: against obstore", OBSTORE_FILES, 8),),
    Case("file", "get", LARGE, 16): (ahead("async get, 1 MiB file, 16 tasks: against obstore", OBSTORE_FILES, 1.5),),
    Case("file", "put", PAGE, 64): (
        ahead("async atomic put, 4 KiB, 64 tasks: against obstore", OBSTORE_FILES, 1.3),
        ahead("async atomic put, 4 KiB, 64 tasks: against the raw temp+rename loop", "os calls", 0.8),
    ),
    Case("file", "keys", SMALL, objects=100_000): (
        ahead("keys() over 100 000 files, in order: against obstore list", OBSTORE_FILES, 1.5),
    ),
    Case("sqlite", "put", SMALL): (ahead("SQLite durable put, one task: against aiosqlite", "aiosqlite", 0.9),),
    Case("sqlite", "put", SMALL, 64): (
        ahead("SQLite durable put, 64 tasks: against aiosqlite one at a time", "aiosqlite", 4),
    ),
    Case("sqlite", "put", SMALL, 512): (
        ahead("SQLite durable put, 512 tasks: against aiosqlite one at a time", "aiosqlite", 5),
    ),
    Case("sqlite", "get", SMALL, 64): (
        ahead("SQLite get, 64 tasks: against aiosqlite", "aiosqlite", 2.5),
        ahead("SQLite get, 64 tasks: against diskcache in threads", "diskcache in threads", 2),
    ),
    Case("memory", "get", SMALL, face="sync"): (
        ahead("sync get, DictStore: against obstore sync", OBSTORE_MEMORY, 1),
        ahead("sync get, DictStore: against plain function calls", "plain function calls", 0.2),
    ),
    Case("file", "get", PAGE, face="sync"): (
        ahead("sync get, 4 KiB file: against obstore sync", OBSTORE_FILES, 2),
        ahead("sync get, 4 KiB file: against fsspec local", "fsspec local", 1),
        ahead("sync get, 4 KiB file: against os calls", "os calls", 0.5),
    ),
    **{
        Case("s3", operation, PAGE, 32): (
            ahead(f"S3 {operation}, 4 KiB, 32 tasks: against aiobotocore", "aiobotocore", 5),
            ahead(f"S3 {operation}, 4 KiB, 32 tasks: against obstore", OBSTORE_BUCKET, 0.9),
            ahead(f"S3 {operation}, 4 KiB, 32 tasks: CPU time against obstore's", OBSTORE_BUCKET, 1, by="cpu"),
        )
        for operation in ("get", "put")
    },
}


@dataclass(frozen=True)
class Entry:
    """
    One comparison that can be prepared.

    Attributes:
        name: what it is chosen by.
        prepare: opens it, and closes it again.
    """

    name: str
    prepare: Callable[[Session, Plan], AbstractContextManager[Comparison]]


def of_case(case: Case, *, promised: bool = False) -> Entry:
    """Return the entry of a case; if *promised*, only with the peers of its targets."""
    wanted = TARGETS.get(case, ())
    only = {target.against for target in wanted} if promised else set()
    return Entry(case.title, lambda session, plan: compared(case, session, plan, wanted, only=only))


def of_function(prepare: Callable[[Session, Plan], AbstractContextManager[Comparison]]) -> Entry:
    """Return the entry of a comparison that is not of the matrix."""
    return Entry(f"{prepare.__module__.removeprefix('benchmarks.')} {prepare.__name__}", prepare)


#: Comparisons outside the matrix that have targets of their own.
PROMISED = [
    cold.cold_small_reads,
    cold.cold_large_reads,
    copying.copied_into_sqlite,
    decorators.added_to_get,
    processes.imports,
    processes.streams,
    processes.streams_into_bucket,
    processes.streams_from_bucket,
]

OTHERS = [
    decorators.added_to_put,
    settings.durability,
    settings.loops_and_files,
    settings.loops_and_sqlite,
    settings.tasks_and_sqlite,
]


def targets() -> Iterator[Entry]:
    """Yield the comparisons that have targets."""
    yield from (of_case(case, promised=True) for case in TARGETS)
    yield from map(of_function, PROMISED)


def story() -> Iterator[Entry]:
    """Yield the most informative comparisons: every operation and kind, one setting varied at a time; all targets."""
    cases: list[Case] = []
    for kind, many in {"memory": 64, "file": 64, "sqlite": 64, "redis": 64, "s3": 32}.items():
        for operation in ("get", "put", "head"):
            cases += [Case(kind, operation, PAGE, tasks) for tasks in (1, many)]
        cases += [Case(kind, operation, PAGE, 16) for operation in MANY]
        cases += matrix([kind], ["get", "put"], [PAGE], [1], ["sync"])
    for kind, sizes in {"file": (SMALL, LARGE, SIZES["64MiB"]), "sqlite": (SMALL, LARGE)}.items():
        cases += [Case(kind, operation, size) for size in sizes for operation in ("get", "put")]
        cases += [Case(kind, operation, LARGE, 16) for operation in ("get", "put")]
        cases += [Case(kind, operation, PAGE, 64, loop="uvloop") for operation in ("get", "put")]
    cases += [case for case in TARGETS if case not in cases]
    order = {kind: number for number, kind in enumerate(("memory", "file", "sqlite", "redis", "s3"))}
    cases = sorted(dict.fromkeys(map(_plain, cases)), key=lambda case: (order[case.kind], case.operation, case.face))
    yield from (of_case(case, promised=case.objects > 0) for case in cases)  # so many are too many for some peers
    yield from map(of_function, PROMISED + OTHERS)


def _plain(case: Case) -> Case:
    """Return a case without the settings that its operation does not use."""
    return Case(case.kind, "keys", SMALL, objects=case.objects) if case.operation == "keys" else case


def of_matrix(cases: Iterable[Case]) -> Iterator[Entry]:
    """Yield the entries of cases."""
    return map(of_case, cases)
