"""`PerLoop`: what belongs to one event loop, such as a lock that its tasks wait for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import asyncio

__all__ = ["PerLoop"]

T = TypeVar("T")


class PerLoop(Generic[T]):
    """
    A value for the running event loop; the first use under another loop makes a new one.

    A program may run one loop after another, and a forked child runs one of its own. The tasks of the loop before do
    not go on there, so nothing may wait for a lock that one of them has.

    Args:
        make: returns a new value.
    """

    __slots__ = ("_current", "_make")

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._current: tuple[asyncio.AbstractEventLoop, T] | None = None

    def get(self) -> T:
        """Return the value for the running loop."""
        import asyncio

        loop = asyncio.get_running_loop()
        current = self._current
        if current is None or current[0] is not loop:
            current = self._current = loop, self._make()
        return current[1]
