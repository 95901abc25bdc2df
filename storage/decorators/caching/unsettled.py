"""`Unsettled`: keys that a write of unknown outcome may still change."""

from __future__ import annotations

from collections import OrderedDict

from storage.decorators.caching.recent_keys import now

__all__ = ["UNSETTLED", "Unsettled"]

#: Seconds in which a write may land whose caller got no answer: a request lies in the buffers of the system, of a proxy
#: or of a server that is overloaded. The stores on networks give up after a minute, proxies usually after one to five.
UNSETTLED = 300.0

#: Keys at most, and prefixes at most. Beyond them all keys are unsettled: 10,000 keys take about a megabyte, and so
#: many writes without an answer mean that the main store is down.
KEYS, PREFIXES = 10_000, 100


class Unsettled:
    """
    The keys, and prefixes of keys, that calls of unknown outcome have written within `UNSETTLED` seconds.

    It is empty nearly always. The caller holds a lock.

    Attributes:
        empty: whether it is empty; looked up with every read, and a method would take 0.1 us.
    """

    def __init__(self) -> None:
        self._keys: OrderedDict[str, float] = OrderedDict()  # until when, the earliest first
        self._prefixes: OrderedDict[str, float] = OrderedDict()
        self.empty: bool = True

    def __len__(self) -> int:
        return len(self._keys) + len(self._prefixes)

    def __contains__(self, key: str) -> bool:
        return key in self._keys or (bool(self._prefixes) and any(map(key.startswith, self._prefixes)))

    def add(self, key: str) -> None:
        """Add a key that was written just now."""
        self.empty = False
        _add(self._keys, key)
        if len(self._keys) > KEYS:
            self._keys.clear()
            self.add_prefix("")

    def add_prefix(self, prefix: str) -> None:
        """Add all keys that start with *prefix*, which were cleared just now."""
        self.empty = False
        _add(self._prefixes, prefix)
        if len(self._prefixes) > PREFIXES:
            self._prefixes.clear()
            _add(self._prefixes, "")

    def settle(self) -> tuple[list[str], list[str]]:
        """Remove and return the keys and prefixes whose time is over."""
        ended = _pop_ended(self._keys), _pop_ended(self._prefixes)
        self.empty = not (self._keys or self._prefixes)
        return ended


def _add(ends: OrderedDict[str, float], name: str) -> None:
    ends[name] = now() + UNSETTLED
    ends.move_to_end(name)


def _pop_ended(ends: OrderedDict[str, float]) -> list[str]:
    ended: list[str] = []
    if ends:
        time = now()
        while ends and ends[first := next(iter(ends))] <= time:
            del ends[first]
            ended.append(first)
    return ended
