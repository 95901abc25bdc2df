"""`History`: what many callers did to a store at once, and whether one thing at a time explains what they got."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf
from typing import TypeAlias

__all__ = ["History", "HistoryError", "RecordedCall", "RecordedListing", "word_of"]

#: Bytes up to which an event shows an object as it is.
SHOWN = 24

#: Events that an error shows.
CONTEXT = 8


def word_of(data: bytes) -> str:
    """Return a short word for some bytes that other bytes do not have."""
    if len(data) <= SHOWN:
        return repr(data)
    return f"{len(data)} bytes, {hashlib.sha256(data).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """
    One call for one object, and what came of it.

    Attributes:
        action: ``"put"``, ``"delete"`` or, for all that asks, ``"read"``.
        key: the object.
        begun: when the call was made, in nanoseconds of a clock that all callers share.
        ended: when it was over; None where it may take effect later still.
        outcome: ``"done"``; ``"there"``, ``"missing"`` or ``"other"`` for an object that is there, is not, or is
            another version than asked for; ``"unknown"`` for a write that failed, and may have taken effect or not.
        word: stands for the bytes that were put or read; None where they are not known.
        etag: the version that was put or read; likewise.
        if_absent: whether the put was to create the object.
        if_match: the version that the call was for.
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
        told = "".join(f" {name}={value!r}" for name, value in about.items() if value is not None)
        word = "" if self.word is None else f" {self.word}"
        return f"{self.action}{word}{told}: {self.outcome}"


@dataclass(frozen=True, slots=True)
class RecordedListing:
    """
    One listing, from its first step to its last.

    Attributes:
        prefix: what the keys were to begin with.
        start_after: behind which key they were to come.
        begun: when the first was asked for, in nanoseconds.
        ended: when the end was reached.
        keys: what was listed.
    """

    prefix: str
    start_after: str
    begun: int
    ended: int
    keys: tuple[str, ...]


class HistoryError(AssertionError):
    """No order of the calls explains what they gave, or a listing is not of what was there."""


#: The object: the words for its bytes and its version, as far as they are known; None where there is none.
_State: TypeAlias = tuple[str | None, str | None] | None


class History:
    """
    What was done to a store that was empty at first, by any number of tasks, threads and processes.

    A `RecordingStore` writes it. Histories of several processes are put together with `extend`.

    Attributes:
        events: the calls, in any order.
        listings: the listings.
    """

    def __init__(self) -> None:
        self.events: list[RecordedCall] = []
        self.listings: list[RecordedListing] = []

    def extend(self, other: History) -> None:
        """Add what others did to the same objects at the same time."""
        self.events.extend(other.events)
        self.listings.extend(other.listings)

    def check(self) -> None:
        """
        Find for each key an order of its calls in which each gave what a store gives that does one thing at a time.

        A call that was over before another one began comes before it in that order: the history is *linearizable*. And
        each listing has every key that was there throughout, none that was not, each once and in order.

        Raises:
            HistoryError: there is no such order; the message shows where it comes to an end.
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
    Search for an order, depth first: next comes a call that had begun when none of those that are left was over.

    It is the algorithm of Wing and Gong ("Testing and Verifying Concurrent Objects", 1993), with what Lowe added
    ("Testing for linearizability", 2017): no set of calls is tried twice with the same state behind it. What reads
    comes as soon as it fits, for it changes nothing for the others.
    """
    events = sorted(events, key=lambda event: event.begun)
    ends = [inf if event.ended is None else event.ended for event in events]
    todo, seen = list[_Place]([(0, 0, None)]), set[_Place]()
    furthest, stuck = -1, list[RecordedCall]()
    behind: _State = None
    while todo:
        first, mask, state = todo.pop()
        while mask & 1:
            first, mask = first + 1, mask >> 1
        if (first, mask, state) in seen:
            continue
        seen.add((first, mask, state))
        nexts = _nexts(events, ends, first, mask)
        if all(ends[number] == inf for number in nexts):  # what is left need not have taken effect
            return
        if first + mask.bit_count() > furthest:
            furthest, stuck, behind = first + mask.bit_count(), [events[number] for number in nexts], state
        reads = (number for number in nexts if events[number].action == "read" and _fits(events[number], state))
        read = next(reads, None)
        if read is not None:
            todo.append((first, mask | 1 << (read - first), state))
            continue
        for number in nexts:
            todo.extend((first, mask | 1 << (number - first), after) for after in _after(events[number], state))
    shown = "".join(f"\n  {event}" for event in stuck[:CONTEXT])
    told = f"behind {furthest} calls it is {_told(behind)}, and none of these could come next"
    raise HistoryError(f"{key!r}: {told}:{shown}")


#: How far the search has come: all calls before a number are behind it, and of those from it on the ones in a mask.
_Place: TypeAlias = tuple[int, int, _State]


def _nexts(events: list[RecordedCall], ends: list[float], first: int, mask: int) -> list[int]:
    """Return which calls can come next, by their numbers."""
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
    """Return whether the object is the version of an etag; None where that is not known."""
    if state is None:
        return False
    return None if state[1] is None else state[1] == etag


def _fits(event: RecordedCall, state: _State) -> bool:
    """Return whether a call that changes nothing can have had its outcome in a state."""
    if event.outcome == "missing":
        return state is None
    if event.outcome == "other":
        return _is(event.if_match, state) is not True
    if state is None:
        return False
    pairs = zip((event.word, event.etag), state, strict=True)
    return all(told is None or known is None or told == known for told, known in pairs)


def _after(event: RecordedCall, state: _State) -> Iterator[_State]:
    """Yield the states that a call can leave behind: none where it cannot have had its outcome."""
    if event.action == "read":
        return  # it would have come before
    unknown = event.outcome == "unknown"
    if unknown and event.ended is not None:
        yield state
    if event.if_absent and state is not None:
        return
    if event.if_match is not None and _is(event.if_match, state) is False:
        return
    yield (event.word, event.etag) if event.action == "put" else None


def _told(state: _State) -> str:
    return "missing" if state is None else f"{state[0]} with etag {state[1]!r}"


# -- listings --------------------------------------------------------------------------------------------------------


def _check_listing(listing: RecordedListing, by_key: Mapping[str, list[RecordedCall]]) -> None:
    """Hold a listing against what was there for certain, and what was not, all the time that it took."""
    told = f"a listing of {listing.prefix!r} behind {listing.start_after!r}"
    if list(listing.keys) != sorted(set(listing.keys)):
        raise HistoryError(f"{told} gave keys twice or out of order: {listing.keys}")
    listed = set(listing.keys)
    for key, events in by_key.items():
        wanted = key.startswith(listing.prefix) and key > listing.start_after
        if wanted and key not in listed and _throughout(listing, events, "put", "delete"):
            raise HistoryError(f"{told} misses {key!r}, which was there throughout")
        if key in listed and not (wanted and _possible(listing, events)):
            raise HistoryError(f"{told} gave {key!r}, which was not there at any time")
    for key in listed - by_key.keys():
        raise HistoryError(f"{told} gave {key!r}, which was never put")


def _possible(listing: RecordedListing, events: list[RecordedCall]) -> bool:
    """Return whether the object may have been there at some moment of a listing."""
    put = any(event.action == "put" and event.begun < listing.ended for event in events)
    return put and not _throughout(listing, events, "delete", "put")


def _throughout(listing: RecordedListing, events: list[RecordedCall], made: str, unmade: str) -> bool:
    """Return whether, for certain, one action was done before a listing began, and not undone until it had ended."""
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
