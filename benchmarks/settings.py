"""The effect of settings: our stores against themselves."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.harness import Comparison, Plan, Workload
from benchmarks.operations import each
from benchmarks.session import LOOPS, Session, installed
from storage import FilesystemStore, ObjectStore, SqliteStore

__all__ = ["durability", "loops_and_files", "loops_and_sqlite", "tasks_and_sqlite"]

PAGE = 4 << 10


@dataclass(frozen=True)
class Variant:
    """A store, the loop it is used on, and by how many tasks."""

    opens: Callable[[str], ObjectStore]
    tasks: int = 1
    loop: str = "asyncio"


@contextmanager
def _comparison(
    title: str, operation: str, size: int, variants: dict[str, Variant], session: Session, plan: Plan
) -> Iterator[Comparison]:
    objects = {f"{number:04}": bytes(size) for number in range(40 if plan.quick else 1024)}
    missing = {variant.loop for variant in variants.values()} - {"asyncio"}
    absent = tuple(loop for loop in missing if not installed(loop))
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as work, ExitStack() as opened:
        contenders = {}
        for number, (name, variant) in enumerate(variants.items()):
            if variant.loop in absent:
                continue
            store = opened.enter_context(session.entered(variant.loop, variant.opens(f"{work}/{number}")))
            session.done(variant.loop, store.put_many(objects))
            call: Any = getattr(store, operation)
            things: list[Any] = list(objects.items()) if operation == "put" else [(key,) for key in objects]
            contenders[name] = Workload(
                work=each(call, things, variant.tasks, "await"), step=variant.tasks, loop=variant.loop
            )
        yield Comparison(title=title, contenders=contenders, ours=frozenset(contenders), missing=absent)


def durability(session: Session, plan: Plan) -> AbstractContextManager[Comparison]:
    """Compare levels of durability: what waiting for the disk costs."""
    opens: dict[str, Callable[[str], ObjectStore]] = {
        "atomic": FilesystemStore,
        "fsync": lambda path: FilesystemStore(path, durability="fsync"),
    }
    variants = {
        f"durability={level!r}, {tasks} task{'s' * (tasks > 1)}": Variant(opens[level], tasks)
        for tasks in (1, 64)
        for level in opens
    }
    return _comparison("setting: durability of a FilesystemStore, put 4KiB", "put", PAGE, variants, session, plan)


def loops_and_files(session: Session, plan: Plan) -> AbstractContextManager[Comparison]:
    """Compare the loops where a thread does the work."""
    variants = {loop: Variant(lambda path: FilesystemStore(path), 64, loop) for loop in LOOPS}
    return _comparison("setting: loop, FilesystemStore put 4KiB, 64 tasks", "put", PAGE, variants, session, plan)


def loops_and_sqlite(session: Session, plan: Plan) -> AbstractContextManager[Comparison]:
    """Compare the loops where requests are gathered."""
    variants = {loop: Variant(SqliteStore, 64, loop) for loop in LOOPS}
    return _comparison("setting: loop, SqliteStore get 100B, 64 tasks", "get", 100, variants, session, plan)


def tasks_and_sqlite(session: Session, plan: Plan) -> AbstractContextManager[Comparison]:
    """Compare numbers of tasks: puts that do not wait for each other."""
    variants = {f"{tasks} task{'s' * (tasks > 1)}": Variant(SqliteStore, tasks) for tasks in (1, 16, 64, 512)}
    return _comparison("setting: tasks, SqliteStore put 100B", "put", 100, variants, session, plan)
