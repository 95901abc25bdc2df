"""What is measured: the targets, the story that a run tells by default, and the whole matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from benchmarks import cold, copying, decorators, processes, settings
from benchmarks.cases import SIZES, Case, compared, matrix
from benchmarks.harness import Comparison, Plan
from benchmarks.promises import Promise, ahead
from benchmarks.session import Session

__all__ = ["Entry", "of_matrix", "story", "targets"]

SMALL, PAGE, LARGE = SIZES["100B"], SIZES["4KiB"], SIZES["1MiB"]

OBSTORE_MEMORY, OBSTORE_FILES, OBSTORE_BUCKET = "obstore MemoryStore", "obstore LocalStore", "obstore S3Store"

#: The operations on many objects.
MANY = ("keys", "get_many", "put_many", "delete_many", "copy_store")

#: What is promised for cases of the matrix.
PROMISES: dict[Case, tuple[Promise, ...]] = {
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
    """Return the entry of a case; only with those that something is promised against, where that is all one wants."""
    promises = PROMISES.get(case, ())
    only = {promise.against for promise in promises} if promised else set()
    return Entry(case.title, lambda session, plan: compared(case, session, plan, promises, only=only))


def of_function(prepare: Callable[[Session, Plan], AbstractContextManager[Comparison]]) -> Entry:
    """Return the entry of a comparison that is not of the matrix."""
    return Entry(f"{prepare.__module__.removeprefix('benchmarks.')} {prepare.__name__}", prepare)


#: What is promised for other comparisons is said where they are.
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
    """Yield what something is promised for."""
    yield from (of_case(case, promised=True) for case in PROMISES)
    yield from map(of_function, PROMISED)


def story() -> Iterator[Entry]:
    """Yield what says most: every operation and kind, one thing varied at a time; all targets are among it."""
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
    cases += [case for case in PROMISES if case not in cases]
    order = {kind: number for number, kind in enumerate(("memory", "file", "sqlite", "redis", "s3"))}
    cases = sorted(dict.fromkeys(map(_plain, cases)), key=lambda case: (order[case.kind], case.operation, case.face))
    yield from (of_case(case, promised=case.objects > 0) for case in cases)  # so many are too many for some peers
    yield from map(of_function, PROMISED + OTHERS)


def _plain(case: Case) -> Case:
    """Return a case as its promise has it, where what differs makes no difference."""
    return Case(case.kind, "keys", SMALL, objects=case.objects) if case.operation == "keys" else case


def of_matrix(cases: Iterable[Case]) -> Iterator[Entry]:
    """Yield the entries of cases."""
    return map(of_case, cases)
