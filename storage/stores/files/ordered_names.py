"""`Ordered`: many names in their order, of which a bounded number of bytes is in memory."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Callable, Iterator
from itertools import islice
from typing import AnyStr, Generic, cast

__all__ = ["Ordered"]

#: Names that are sorted in one piece: sorting holds the interpreter's lock, here for some 3 ms.
RUN = 8192

#: Bytes of packed names in memory: some 150,000 names of 25 characters. While the largest are left out, half as many
#: are there a second time.
LIMIT = 4 << 20


class Ordered(Generic[AnyStr]):
    """
    What *scan* gives, which are different names, in order; it is called again for what did not fit into memory.

    Nothing of a scan is open when a name is yielded. Each call of *scan* may find other names: one that all of them
    find is yielded once. After an error of *scan*, another iterator goes on where the last one was.
    """

    def __init__(self, scan: Callable[[], Iterator[AnyStr]]) -> None:
        self._scan: Callable[[], Iterator[AnyStr]] = scan
        self._after: AnyStr | None = None

    def __iter__(self) -> Iterator[AnyStr]:
        while True:
            runs: _Runs[AnyStr] = _Runs()
            names = self._scan()
            while run := list(islice(names, RUN)):
                runs.add(run if self._after is None else [name for name in run if name > self._after])
            yield from runs
            if runs.bound is None:
                return
            self._after = runs.bound


class _Runs(Generic[AnyStr]):
    """
    The smallest names of those that were added.

    Attributes:
        bound: the largest that was kept, if larger ones were left out.
    """

    def __init__(self) -> None:
        self.bound: AnyStr | None = None
        self._new: list[AnyStr] = []
        self._packed: list[_Run[AnyStr]] = []
        self._size = 0

    def add(self, names: list[AnyStr]) -> None:
        """Add names, except those that are larger than what was left out before."""
        self._new += names if self.bound is None else [name for name in names if name <= self.bound]
        while len(self._new) >= RUN:
            self._pack(self._new[:RUN])
            del self._new[:RUN]
            if self._size > LIMIT:
                self._leave_out()
                self._new = [name for name in self._new if self.bound is None or name <= self.bound]

    def __iter__(self) -> Iterator[AnyStr]:
        self._new.sort()
        return heapq.merge(*self._packed, self._new) if self._packed else iter(self._new)

    def _pack(self, names: list[AnyStr]) -> None:
        run = _Run(sorted(names))
        self._packed.append(run)
        self._size += run.size

    def _leave_out(self) -> None:
        """Keep the smaller half of the names."""
        smallest = heapq.merge(*self._packed)
        self._packed, self._size = [], 0
        names: list[AnyStr] = []
        for name in smallest:
            names.append(name)
            if len(names) == RUN:
                self._pack(names)
                self.bound = name
                names = []
                if self._size > LIMIT // 2:
                    return
        self._pack(names)  # never: they were more than LIMIT bytes


class _Run(Generic[AnyStr]):
    """Sorted names, packed: 29 bytes for one of 25 characters, of which a list takes 82."""

    def __init__(self, names: list[AnyStr]) -> None:
        self._is_text = isinstance(names[0], str) if names else False
        parts = [name.encode() if isinstance(name, str) else name for name in names]
        self._bytes = b"".join(parts)
        self._lengths = array("I", map(len, parts))
        self.size = len(self._bytes) + self._lengths.itemsize * len(self._lengths)

    def __iter__(self) -> Iterator[AnyStr]:
        start = 0
        for length in self._lengths:
            part = self._bytes[start : start + length]
            yield cast(AnyStr, part.decode() if self._is_text else part)
            start += length
