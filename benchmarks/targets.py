"""What the package is to reach beside its peers, and whether it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Target", "Verdict", "ahead", "within"]


@dataclass(frozen=True, kw_only=True)
class Target:
    """
    What ours is to reach: so many times as much as a peer does, or not more than so much of something.

    Attributes:
        words: what is promised, for people.
        by: the measure: ``seconds``, ``cpu``, ``added``, ``peak`` or ``blocked``.
        against: the peer; none for a bound.
        at_least: how many times the peer's measure is to be ours.
        at_most: how great ours may be.
        ours: the contender that promises; the first one where this is empty.
    """

    words: str
    by: str = "seconds"
    against: str = ""
    at_least: float = 0.0
    at_most: float = 0.0
    ours: str = ""

    def judged(self, values: Mapping[str, Mapping[str, float]], ours: str) -> Verdict | None:
        """Return what became of it, by the measures of each contender; None where one of the two is not there."""
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
    What became of a promise.

    Attributes:
        words: what was promised.
        unit: ``times`` for a ratio to a peer, which is to be reached; else the measure, which is a bound.
        asked: the ratio or the bound.
        reached: what was measured.
        kept: whether that is enough.
    """

    words: str
    unit: str
    asked: float
    reached: float
    kept: bool


def ahead(words: str, against: str, at_least: float, *, by: str = "seconds", ours: str = "") -> Target:
    """Target to be *at_least* so many times as good as a peer."""
    return Target(words=words, against=against, at_least=at_least, by=by, ours=ours)


def within(words: str, by: str, at_most: float, *, ours: str = "") -> Target:
    """Target to stay within a bound."""
    return Target(words=words, by=by, at_most=at_most, ours=ours)
