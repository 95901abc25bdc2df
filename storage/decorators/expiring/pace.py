"""`Pace`: when to count again what a store has that several processes fill."""

from __future__ import annotations

__all__ = ["Pace"]

#: The first share of the bound after which a process counts again, when it knows of no others yet.
FIRST = 1 / 64

#: The share of the bound by which all processes together may fill the store between two counts of one of them.
AIM = 0.15

#: The least and the largest share. A count lists the whole store: in the worst case 256 times while as much is put as
#: the bound allows, and once in two such times by a process that is alone. That is not to be measured with a
#: FilesystemStore of 500 objects; with a largest share of 1/2 a put takes a tenth longer.
LEAST, MOST = 1 / 256, 2.0


class Pace:
    """
    Tells after how much growth a store is counted again: seldom by a process that is alone, else the more often the
    more the others put.

    Attributes:
        step: the growth after which the next count is due, as a share of the bound.
        grown: what this process has put since the last count.
    """

    def __init__(self) -> None:
        self.step: float = FIRST
        self.grown: float = 0.0

    def add(self, share: float) -> bool:
        """Add what was put, as a share of the bound, and return whether a count is due."""
        self.grown += share
        return self.grown >= self.step

    def counted(self, others: float) -> None:
        """Record that a count has found so much that others have put since the last one."""
        own = self.grown
        self.grown = 0.0
        if others <= 0:
            self.step = min(MOST, self.step * 2)
        else:
            self.step = min(MOST, max(LEAST, AIM * own / (own + others)))
