"""
Measuring contenders beside each other: in one run, in turns, by the median, as ratios.

A machine is never twice as fast as it was a minute ago: what is compared is run in short rounds, one contender after
the other in every round, so that what slows the machine slows all of them. Absolute times are for orientation.
"""

from __future__ import annotations

import gc
import inspect
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

__all__ = ["Comparison", "Plan", "Result", "measure"]

#: Does the measured operation so many times, awaited or not.
Work = Callable[[int], Awaitable[None] | None]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """
    Contenders that do the same.

    Attributes:
        title: what they do.
        contenders: by name; the first is what the others are held against.
        at_most: how many times the first one's time the second may take, where that is a promise.
        adds_at_most: how many seconds more than the first the others may take, where that is a promise.
        over: for a contender that is put over another one, that one's name: what it adds is told too.
        missing: peers that are not installed.
    """

    title: str
    contenders: Mapping[str, Work]
    at_most: float | None = None
    adds_at_most: float | None = None
    over: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """How long to measure: so many rounds, in each of which every contender works for so many seconds."""

    rounds: int = 15
    seconds: float = 0.05


@dataclass(frozen=True)
class Result:
    """
    What one contender took.

    Attributes:
        contender: its name.
        seconds: for one operation, the median of the rounds.
        ratio: this, by the first contender's.
        added: seconds more than the contender that it is put over, None where it is over none.
        kept: whether it kept the comparison's promise; None where there is none for it.
        rounds: seconds for one operation, by round.
    """

    contender: str
    seconds: float
    ratio: float
    added: float | None
    kept: bool | None
    rounds: list[float] = field(repr=False)


async def measure(comparison: Comparison, plan: Plan) -> list[Result]:
    """Run the contenders in turns and return their results in the comparison's order."""
    contenders = comparison.contenders
    counts = {name: await _calibrated(work, plan.seconds) for name, work in contenders.items()}
    rounds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(plan.rounds):
        turns = list(contenders)
        for name in turns[number % len(turns) :] + turns[: number % len(turns)]:
            rounds[name].append(await _timed(contenders[name], counts[name]) / counts[name])

    medians = {name: statistics.median(taken) for name, taken in rounds.items()}
    base = next(iter(medians.values()))
    added = {name: medians[name] - medians[below] for name, below in comparison.over.items()}
    return [
        Result(name, median, median / base, added.get(name), _kept(comparison, name, median, base), rounds[name])
        for name, median in medians.items()
    ]


async def _calibrated(work: Work, seconds: float) -> int:
    """Return how many operations take about so long; also warms up. The best of three, for a stall is no measure."""
    count = 1
    while (taken := min([await _timed(work, count) for _ in range(3)])) < seconds / 2:
        count *= 2 if taken > seconds / 20 else 10
    return max(1, round(count * seconds / taken))


async def _timed(work: Work, count: int) -> float:
    gc.collect()
    gc.disable()
    try:
        began = time.perf_counter()
        done = work(count)
        if inspect.isawaitable(done):
            await done
        return time.perf_counter() - began
    finally:
        gc.enable()


def _kept(comparison: Comparison, name: str, median: float, base: float) -> bool | None:
    first, second, *_ = (*comparison.contenders, None)
    if name == first:
        return None
    if comparison.adds_at_most is not None:
        return median - base <= comparison.adds_at_most
    return median <= comparison.at_most * base if comparison.at_most is not None and name == second else None
