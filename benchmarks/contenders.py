"""
Who is compared: each contender is one short function that opens a package's store and yields its calls.

The contenders themselves are in `memory`, `files`, `sqlite`, `buckets` and `redis`, ours first, the raw limit last::

    @contender("file", "aiofiles", needs="aiofiles", less="no fsync")
    async def by_aiofiles(place):
        ...
        yield Calls(get=get, put=put)
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.session import Session, installed

__all__ = ["CONTENDERS", "Calls", "Contender", "Place", "contender"]


@dataclass(frozen=True, kw_only=True)
class Calls:
    """
    The calls of a contender, async or synchronous; None if it has no such call.

    Attributes:
        get: key -> the whole object as bytes.
        put: key, data -> anything; the whole object is stored when it returns.
        head: key -> anything, with size and time.
        keys: () -> the list of all keys.
        get_many: keys -> the objects.
        put_many: a dict of objects -> anything.
        delete_many: keys -> anything.
        copy: the calls of another store of the contender -> anything; all objects are stored there too.
        store: the store itself, for `copy` of another one.
    """

    get: Callable[[str], Any]
    put: Callable[[str, bytes], Any]
    head: Callable[[str], Any] | None = None
    keys: Callable[[], Any] | None = None
    delete: Callable[[str], Any] | None = None
    get_many: Callable[[list[str]], Any] | None = None
    put_many: Callable[[dict[str, bytes]], Any] | None = None
    delete_many: Callable[[list[str]], Any] | None = None
    copy: Callable[[Calls], Any] | None = None
    store: Any = None


@dataclass(frozen=True)
class Place:
    """
    Where a contender keeps its objects.

    Attributes:
        directory: its own directory; for the kind ``file`` it already holds the objects as files.
        server: the server, for kinds that have one.
        tasks: how many tasks use the contender concurrently.
        number: 0, or 1 for another store on the same server.
    """

    directory: str
    server: Any
    tasks: int
    number: int = 0


@dataclass(frozen=True)
class Contender:
    """
    One package's store of one kind.

    Attributes:
        kind: where it keeps objects: ``memory``, ``file``, ``sqlite``, ``s3`` or ``redis``.
        name: its name in tables.
        face: ``await`` or ``sync``.
        needs: the packages that it requires.
        less: what it does less than the others, in words.
        ours: whether it belongs to this package.
        limit: whether it does the least that can be done.
    """

    kind: str
    name: str
    face: str
    needs: tuple[str, ...]
    less: str
    ours: bool
    limit: bool
    opens: Callable[[Place], Any]

    @property
    def missing(self) -> tuple[str, ...]:
        """Its packages that are not installed, by their names for pip."""
        return tuple(DISTRIBUTIONS.get(package, package) for package in self.needs if not installed(package))

    def entered(self, session: Session, loop: str, place: Place) -> Any:
        """Return the context that opens it and yields its calls."""
        return session.entered(loop, self.opens(place)) if self.face == "await" else self.opens(place)


#: The names for pip of packages that are imported by another name.
DISTRIBUTIONS = {"key_value": "py-key-value-aio"}

#: All contenders, in the order of the tables.
CONTENDERS: list[Contender] = []

#: Opens a contender: an async one if this is an asynchronous generator.
Opening = Callable[[Place], AsyncIterator[Calls] | Iterator[Calls]]


def contender(
    kind: str, name: str, *, needs: str = "", less: str = "", ours: bool = False, limit: bool = False
) -> Callable[[Opening], Opening]:
    """Make a contender of a generator that opens it, yields its calls and closes it."""

    def register(opening: Opening) -> Opening:
        awaited = inspect.isasyncgenfunction(opening)
        opens: Any = asynccontextmanager(opening) if awaited else contextmanager(opening)  # type: ignore[arg-type]
        face = "await" if awaited else "sync"
        CONTENDERS.append(Contender(kind, name, face, tuple(needs.split()), less, ours, limit, opens))
        return opening

    return register
