"""`Target`: what our stores must reach against their peers, and whether they do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Target", "Verdict", "ahead", "within"]


@dataclass(frozen=True, kw_only=True)
class Target:
    """
    A promise: our contender is so many times as good as a peer, or stays within a bound.

    Attributes:
        words: the promise in words.
        by: the measure: ``seconds``, ``cpu``, ``added``, ``peak`` or ``blocked``.
        against: the peer; empty for a bound.
        at_least: the lowest allowed ratio of the peer's measure to ours.
        at_most: the greatest allowed measure of ours.
        ours: our contender; if empty, the first one.
    """

    words: str
    by: str = "seconds"
    against: str = ""
    at_least: float = 0.0
    at_most: float = 0.0
    ours: str = ""

    def verdict(self, values: Mapping[str, Mapping[str, float]], ours: str) -> Verdict | None:
        """Return the verdict by the measures of each contender; None if one of the two was not measured."""
        if self.by not in values.get(ours, {}) or (self.against and self.against not in values):
            return None
        own = values[ours][self.by]
        if not self.against:
            return Verdict(self.words, self.by, self.at_most, own, own <= self.at_most)
        reached = values[self.against][self.by] / own if own > 0 else float("inf")
        return Verdict(self.words, "times", self.at_least, reached, reached >= self.at_least)


@dataclass(frozen=True)
class Verdict:
    """
    The result of a target.

    Attributes:
        words: the promise in words.
        unit: ``times`` for a ratio to a peer; else the measure that has a bound.
        asked: the required ratio or the bound.
        reached: the measured value.
        kept: whether the target was reached.
    """

    words: str
    unit: str
    asked: float
    reached: float
    kept: bool


def ahead(words: str, against: str, at_least: float, *, by: str = "seconds", ours: str = "") -> Target:
    """Return the target to be at least *at_least* times as good as a peer."""
    return Target(words=words, against=against, at_least=at_least, by=by, ours=ours)


def within(words: str, by: str, at_most: float, *, ours: str = "") -> Target:
    """Return the target to stay within a bound."""
    return Target(words=words, by=by, at_most=at_most, ours=ours)
