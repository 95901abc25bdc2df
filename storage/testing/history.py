"""`History`: concurrent calls to a store and their results, and a check that some sequential order explains them."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf
from typing import TypeAlias

__all__ = ["History", "HistoryError", "RecordedCall", "RecordedListing", "word_of"]

#: The most bytes of an object that an event shows as they are.
SHOWN = 24

#: The number of events that an error shows.
CONTEXT = 8


def word_of(data: bytes) -> str:
    """Return a short text that identifies the bytes: themselves, or their size and a hash."""
    if len(data) <= SHOWN:
        return repr(data)
    return f"{len(data)} bytes, {hashlib.sha256(data).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """
    One call for one object, and its outcome.

    Attributes:
        action: ``"put"``, ``"delete"``, or ``"read"`` for every call that changes nothing.
        key: the key of the object.
        begun: when the call began, in nanoseconds of a clock that all callers share.
        ended: when it ended; None if it may still take effect.
        outcome: ``"done"``; ``"there"``, ``"missing"`` or ``"other"`` if the object exists, does not exist, or has
            another version than the call requires; ``"unknown"`` for a write that failed and may have taken effect.
        word: identifies the bytes that were put or read; None if they are not known.
        etag: the etag of the version that was put or read; None if it is not known.
        if_absent: whether the put had ``if_absent``.
        if_match: the ``if_match`` of the call.
    """

    action: str
    key: str
    begun: int
    ended: int | None
    outcome: str
    word: str | None = None
    etag: str | None = None
    if_absent: bool = False
    if_match: str | None = None

    def __str__(self) -> str:
        about = {"if_absent": self.if_absent or None, "if_match": self.if_match, "etag": self.etag}
        options = "".join(f" {name}={value!r}" for name, value in about.items() if value is not None)
        word = "" if self.word is None else f" {self.word}"
        return f"{self.action}{word}{options}: {self.outcome}"


@dataclass(frozen=True, slots=True)
class RecordedListing:
    """
    One listing, from its first item to its end.

    Attributes:
        prefix: the prefix.
        start_after: the key after which it starts.
        begun: when the first key was requested, in nanoseconds.
        ended: when the end was reached.
        keys: the listed keys.
    """

    prefix: str
    start_after: str
    begun: int
    ended: int
    keys: tuple[str, ...]


class HistoryError(AssertionError):
    """No order of the calls explains their results, or a listing differs from what was in the store."""


#: The object: what identifies its bytes, and its etag, as far as they are known; None if there is no object.
_State: TypeAlias = tuple[str | None, str | None] | None


class History:
    """
    The calls to a store that was empty at first, by any number of tasks, threads and processes.

    A `RecordingStore` writes it. `extend` joins the histories of several processes.

    Attributes:
        events: the calls, in any order.
        listings: the listings.
    """

    def __init__(self) -> None:
        self.events: list[RecordedCall] = []
        self.listings: list[RecordedListing] = []

    def extend(self, other: History) -> None:
        """Add the history of other callers of the same objects in the same time."""
        self.events.extend(other.events)
        self.listings.extend(other.listings)

    def check(self) -> None:
        """
        Check that for each key some sequential order of the calls explains their results.

        In that order a call that ended before another one began comes before it: the history is *linearizable*. Each
        listing must have every key that existed all the time, no key that did not exist, each once and in order.

        Raises:
            HistoryError: there is no such order; the message shows how far the search came.
        """
        by_key: dict[str, list[RecordedCall]] = defaultdict(list)
        for event in self.events:
            by_key[event.key].append(event)
        for key, events in by_key.items():
            _check_order(key, events)
        for listing in self.listings:
            _check_listing(listing, by_key)


# -- one key ---------------------------------------------------------------------------------------------------------


def _check_order(key: str, events: list[RecordedCall]) -> None:
    """
    Search for an order, depth first: the next call is one that began before any of the remaining calls ended.

    This is the algorithm of Wing and Gong ("Testing and Verifying Concurrent Objects", 1993) with Lowe's addition
    ("Testing for linearizability", 2017): no set of calls is tried twice with the same state after it. Reads come as
    soon as they fit, because they change nothing for the other calls.
    """
    events = sorted(events, key=lambda event: event.begun)
    ends = [inf if event.ended is None else event.ended for event in events]
    todo, seen = list[_Place]([(0, 0, None)]), set[_Place]()
    furthest, stuck = -1, list[RecordedCall]()
    reached: _State = None
    while todo:
        first, mask, state = todo.pop()
        while mask & 1:
            first, mask = first + 1, mask >> 1
        if (first, mask, state) in seen:
            continue
        seen.add((first, mask, state))
        nexts = _nexts(events, ends, first, mask)
        if all(ends[number] == inf for number in nexts):  # the remaining calls need not have taken effect
            return
        if first + mask.bit_count() > furthest:
            furthest, stuck, reached = first + mask.bit_count(), [events[number] for number in nexts], state
        reads = (number for number in nexts if events[number].action == "read" and _fits(events[number], state))
        read = next(reads, None)
        if read is not None:
            todo.append((first, mask | 1 << (read - first), state))
            continue
        for number in nexts:
            todo.extend((first, mask | 1 << (number - first), after) for after in _after(events[number], state))
    shown = "".join(f"\n  {event}" for event in stuck[:CONTEXT])
    problem = f"after {furthest} calls it is {_described(reached)}, and none of these calls can come next"
    raise HistoryError(f"{key!r}: {problem}:{shown}")


#: A position of the search: all calls before a number are done, and those after it that are in a mask.
_Place: TypeAlias = tuple[int, int, _State]


def _nexts(events: list[RecordedCall], ends: list[float], first: int, mask: int) -> list[int]:
    """Return the numbers of the calls that can come next."""
    found: list[int] = []
    bound = inf
    for number in range(first, len(events)):
        if events[number].begun > bound:
            break
        if not mask >> (number - first) & 1:
            found.append(number)
            bound = min(bound, ends[number])
    return [number for number in found if events[number].begun <= bound]


def _is(etag: str | None, state: _State) -> bool | None:
    """Return whether the object has this etag; None if that is not known."""
    if state is None:
        return False
    return None if state[1] is None else state[1] == etag


def _fits(event: RecordedCall, state: _State) -> bool:
    """Return whether a read can have had its outcome in a state."""
    if event.outcome == "missing":
        return state is None
    if event.outcome == "other":
        return _is(event.if_match, state) is not True
    if state is None:
        return False
    pairs = zip((event.word, event.etag), state, strict=True)
    return all(given is None or known is None or given == known for given, known in pairs)


def _after(event: RecordedCall, state: _State) -> Iterator[_State]:
    """Yield the states that are possible after a call: none if it cannot have had its outcome."""
    if event.action == "read":
        return  # reads come first
    unknown = event.outcome == "unknown"
    if unknown and event.ended is not None:
        yield state
    if event.if_absent and state is not None:
        return
    if event.if_match is not None and _is(event.if_match, state) is False:
        return
    yield (event.word, event.etag) if event.action == "put" else None


def _described(state: _State) -> str:
    return "missing" if state is None else f"{state[0]} with etag {state[1]!r}"


# -- listings --------------------------------------------------------------------------------------------------------


def _check_listing(listing: RecordedListing, by_key: Mapping[str, list[RecordedCall]]) -> None:
    """Check a listing against the keys that certainly existed, or did not exist, all the time."""
    name = f"a listing of {listing.prefix!r} after {listing.start_after!r}"
    if list(listing.keys) != sorted(set(listing.keys)):
        raise HistoryError(f"{name} has keys twice or out of order: {listing.keys}")
    listed = set(listing.keys)
    for key, events in by_key.items():
        wanted = key.startswith(listing.prefix) and key > listing.start_after
        if wanted and key not in listed and _throughout(listing, events, "put", "delete"):
            raise HistoryError(f"{name} misses {key!r}, which existed all the time")
        if key in listed and not (wanted and _possible(listing, events)):
            raise HistoryError(f"{name} has {key!r}, which did not exist at any time")
    for key in listed - by_key.keys():
        raise HistoryError(f"{name} has {key!r}, which was never put")


def _possible(listing: RecordedListing, events: list[RecordedCall]) -> bool:
    """Return whether the object may have existed at some moment of a listing."""
    put = any(event.action == "put" and event.begun < listing.ended for event in events)
    return put and not _throughout(listing, events, "delete", "put")


def _throughout(listing: RecordedListing, events: list[RecordedCall], made: str, unmade: str) -> bool:
    """Return whether one action was certainly done before a listing began, and not undone until it had ended."""
    against = [event for event in events if event.action == unmade]
    return any(
        event.action == made
        and event.outcome == "done"
        and event.ended is not None
        and event.ended < listing.begun
        and all(
            other.begun > listing.ended or (other.ended is not None and other.ended < event.begun) for other in against
        )
        for event in events
    )
