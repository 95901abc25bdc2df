"""Compares a run with an older one: what became better or worse by more than the noise."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["Change", "changes", "lines"]

#: Medians of two runs differ by up to this, although nothing was changed.
NOISE = 0.1


@dataclass(frozen=True)
class Change:
    """
    The change of one contender of ours.

    Attributes:
        comparison: its title.
        contender: its name.
        times: its new time divided by its old one, without the machine's part.
        machine: the machine's part: the new times of the other contenders divided by their old ones.
        noise: the spread of the times among the rounds of a run, relative to the time.
    """

    comparison: str
    contender: str
    times: float
    machine: float
    noise: float

    @property
    def verdict(self) -> str:
        """``worse``, ``better`` or empty."""
        if self.times > 1 + self.noise:
            return "worse"
        return "better" if self.times < 1 / (1 + self.noise) else ""


def changes(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Change]:
    """
    Yield the changes of our contenders in the comparisons that both runs have.

    A machine is slower on some days: the other contenders of the same comparison, if there are any, show by how much.
    """
    before = {record["comparison"]: _results(record) for record in old["results"]}
    for record in new["results"]:
        earlier, later = before.get(record["comparison"], {}), _results(record)
        times = {
            name: later[name]["measures"]["seconds"] / earlier[name]["measures"]["seconds"]
            for name in later
            if name in earlier
        }
        others = [times[name] for name in times if not is_ours(record, name)]
        machine = statistics.median(others) if others else 1.0
        for name in times:
            if is_ours(record, name):
                noise = max(NOISE, earlier[name]["spread"], later[name]["spread"])
                yield Change(record["comparison"], name, times[name] / machine, machine, noise)


def is_ours(record: dict[str, Any], name: str) -> bool:
    """Return whether a contender belongs to this package."""
    return name in record["ours"]


def lines(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """Yield the lines that show the changes."""
    for name, version in new["machine"]["packages"].items():
        if (earlier := old["machine"]["packages"].get(name)) not in (None, version):
            yield f"{name} was {earlier}, is {version}: its part is not only the machine's"
    found = list(changes(old, new))
    for change in found:
        row = f"{change.comparison}: {change.contender}"
        yield f"{change.times:>7.2f} times the time  (machine {change.machine:.2f})  {change.verdict:<7} {row}"
    worse = sum(change.verdict == "worse" for change in found)
    yield f"{len(found)} rows, {worse} worse by more than the noise"


def _results(record: dict[str, Any]) -> dict[str, Any]:
    return {result["contender"]: result for result in record["results"]}
