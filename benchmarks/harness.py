"""
Measures contenders that do the same against each other: in one run, in turns, by the median, as ratios.

The speed of a machine changes from minute to minute. So contenders run in short rounds, one after the other in each
round: what slows the machine slows all of them. Absolute times are only for orientation.
"""

from __future__ import annotations

import gc
import inspect
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.session import Session
from benchmarks.targets import Target, Verdict

__all__ = ["Comparison", "Measures", "Plan", "Result", "Work", "Workload", "check_targets", "measure"]

#: Measured values by name: ``seconds`` and ``cpu`` (seconds of all threads of this process) per operation; some have
#: ``peak`` (additional bytes of memory), ``blocked`` (the longest time in seconds that the loop was blocked in a round)
#: and ``worst`` (likewise, in all rounds).
Measures = Mapping[str, float]

#: Does the operation so many times, async or not. Measures that it returns replace those that are taken here.
Work = Callable[[int], Awaitable[Measures | None] | Measures | None]


@dataclass(frozen=True, kw_only=True)
class Workload:
    """
    What one contender does in a comparison.

    Attributes:
        work: does the operation so many times.
        step: the number of operations is a multiple of this: the number of tasks, or of objects in a call.
        before: runs before each round and is not measured; each round is then one step.
        loop: the event loop on which it is awaited.
        less: what it does less than the others, in words.
        limit: whether it does the least that can be done, so that nothing else can be faster.
        over: the contender that this one wraps, if the time that it adds is of interest.
    """

    work: Work
    step: int = 1
    before: Callable[[], Any] | None = None
    loop: str = "asyncio"
    less: str = ""
    limit: bool = False
    over: str = ""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """
    Contenders that do the same.

    Attributes:
        title: what they do.
        contenders: the workload of each, by name; the first is ours, with which the others are compared.
        ours: the names of the contenders of this package.
        targets: what ours must reach.
        missing: peers that are not installed.
        rounds: the most rounds, if one takes long.
        about: the fields of the case, for readers of the JSON.
    """

    title: str
    contenders: Mapping[str, Workload]
    ours: frozenset[str]
    targets: tuple[Target, ...] = ()
    missing: tuple[str, ...] = ()
    rounds: int = 1000
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """
    How long to measure.

    Attributes:
        rounds: the number of rounds.
        seconds: how long each contender works in each round.
        enough_after: after so many seconds in one comparison, three rounds are enough.
        quick: run everything once, on few and small objects, and check no targets.
    """

    rounds: int = 9
    seconds: float = 0.05
    enough_after: float = 20.0
    quick: bool = False


#: The median of fewer rounds is meaningless.
FEWEST = 3

#: Enough to show that every benchmark still runs.
SMOKE = Plan(rounds=1, quick=True)


@dataclass(frozen=True, kw_only=True)
class Result:
    """
    The result of one contender.

    Attributes:
        contender: its name.
        measures: by name: the median of the rounds, but the maximum for ``peak`` and ``worst``.
        ratio: its seconds divided by those of the first contender, which is so many times faster.
        added: CPU seconds more than the contender that it wraps, the median of the rounds; None if it wraps none.
        spread: the width of the middle half of the rounds, divided by the median.
    """

    contender: str
    measures: Measures
    ratio: float
    added: float | None = None
    spread: float = 0.0

    @property
    def seconds(self) -> float:
        """The seconds of one operation."""
        return self.measures["seconds"]


def measure(comparison: Comparison, plan: Plan, session: Session) -> list[Result]:
    """Run the contenders in turns and return their results in the comparison's order."""
    contenders = comparison.contenders
    gc.collect()
    gc.freeze()  # existing objects are not scanned before every round
    try:
        rounds = _rounds(comparison, plan, session)
    finally:
        gc.unfreeze()
    return results(rounds, {name: workload.over for name, workload in contenders.items() if workload.over})


def _rounds(comparison: Comparison, plan: Plan, session: Session) -> dict[str, list[Measures]]:
    contenders = comparison.contenders
    counts = {name: _calibrated(workload, plan, session) for name, workload in contenders.items()}
    rounds: dict[str, list[Measures]] = {name: [] for name in contenders}
    turns, ends = list(contenders), time.perf_counter() + plan.enough_after
    for number in range(min(plan.rounds, comparison.rounds)):
        if number >= FEWEST and time.perf_counter() > ends:
            break
        for name in turns[number % len(turns) :] + turns[: number % len(turns)]:
            rounds[name].append(_timed(contenders[name], counts[name], session))
    return rounds


def results(rounds: Mapping[str, list[Measures]], over: Mapping[str, str]) -> list[Result]:
    """Return the results of the *rounds* of contenders, some of which are put *over* another one."""
    measures = {name: _summed(taken) for name, taken in rounds.items()}
    first = next(iter(measures.values()))["seconds"]
    return [
        Result(
            contender=name,
            measures=taken,
            ratio=taken["seconds"] / first,
            added=_added(rounds[name], rounds[over[name]]) if name in over else None,
            spread=_spread([measured["seconds"] for measured in rounds[name]]),
        )
        for name, taken in measures.items()
    ]


def check_targets(comparison: Comparison, measured: list[Result]) -> list[Verdict]:
    """Return the verdicts on the comparison's targets, without those against a missing peer."""
    values: dict[str, dict[str, float]] = {
        result.contender: {**result.measures, **({} if result.added is None else {"added": result.added})}
        for result in measured
    }
    ours = next(iter(values), "")
    verdicts = (target.verdict(values, target.ours or ours) for target in comparison.targets)
    return [verdict for verdict in verdicts if verdict is not None]


def _added(rounds: list[Measures], below: list[Measures]) -> float:
    """Return the median of the differences within rounds: what slowed one of the two slowed the other."""
    return statistics.median(own["cpu"] - base["cpu"] for own, base in zip(rounds, below, strict=True))


def _summed(rounds: list[Measures]) -> Measures:
    """Return the median of each measure, or the maximum of those that must never be large."""
    worst = {"peak", "worst"}
    return {
        name: (max if name in worst else statistics.median)([measured[name] for measured in rounds])
        for name in rounds[0]
    }


def _spread(values: list[float]) -> float:
    if len(values) < 2:
        return 0.0
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / middle


def _calibrated(workload: Workload, plan: Plan, session: Session) -> int:
    """Return how many operations take about the planned time; this is also the warm-up."""
    step = workload.step
    if workload.before is not None or plan.quick:
        return step
    steps = 1
    while (taken := _took(workload, steps * step, plan, session)) < plan.seconds / 2:
        steps *= 2 if taken > plan.seconds / 20 else 10
    return step * max(1, round(steps * plan.seconds / taken))


def _took(workload: Workload, count: int, plan: Plan, session: Session) -> float:
    """Return how long so many operations take: the best of three, without stalls, or a single long one."""
    times = [_timed(workload, count, session)["seconds"] * count]
    while len(times) < 3 and times[0] < 4 * plan.seconds:
        times.append(_timed(workload, count, session)["seconds"] * count)
    return min(times)


def _timed(workload: Workload, count: int, session: Session) -> Measures:
    """Return the measures of *count* operations, per operation."""
    if workload.before is not None:
        session.done(workload.loop, workload.before())
    gc.collect()
    gc.disable()
    try:
        if inspect.iscoroutinefunction(workload.work):
            measured: Measures = session.done(workload.loop, _awaited(workload.work, count))
            return measured
        began, busy = time.perf_counter(), time.process_time()
        own: Any = workload.work(count)
        return own or _each(began, busy, count)
    finally:
        gc.enable()


async def _awaited(work: Callable[[int], Awaitable[Measures | None]], count: int) -> Measures:
    """Likewise; the loop is already running when the measurement begins."""
    began, busy = time.perf_counter(), time.process_time()
    measured = await work(count)
    return measured or _each(began, busy, count)


def _each(began: float, busy: float, count: int) -> Measures:
    return {"seconds": (time.perf_counter() - began) / count, "cpu": (time.process_time() - busy) / count}
