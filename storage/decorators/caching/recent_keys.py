"""`Recent`: keys remembered for a while, in bounded memory."""

from __future__ import annotations

import threading
from collections import OrderedDict

from storage._core.clock import CLOCK

__all__ = ["Recent", "now"]

#: Keys that are remembered at most, some 100 bytes each; the one remembered longest ago makes room.
LIMIT = 10_000


def now() -> float:
    """Return seconds on a clock that nobody sets."""
    return CLOCK.monotonic()


class Recent:
    """Keys of which something has been known for less than *seconds*. It may be used from several threads."""

    def __init__(self, seconds: float, limit: int = LIMIT) -> None:
        self.seconds = seconds
        self.limit = limit
        self._since: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def remember(self, key: str, since: float | None = None) -> None:
        """Remember *key*, from now on if not *since* an earlier time."""
        with self._lock:
            self._since[key] = now() if since is None else since
            self._since.move_to_end(key)
            if len(self._since) > self.limit:
                self._since.popitem(last=False)

    def __contains__(self, key: str) -> bool:
        since = self._since.get(key)
        return since is not None and now() - since < self.seconds

    def __len__(self) -> int:
        return len(self._since)

    def forget(self, key: str) -> None:
        """Forget *key*, if it was remembered."""
        with self._lock:
            self._since.pop(key, None)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._since.clear()
