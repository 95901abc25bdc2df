"""Ctrl-C in the middle of a stepped call."""

from __future__ import annotations

import pytest
from interrupts import interrupted_at

from storage._concurrency.stepping import is_stepping
from storage.sync import DictStore


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")  # between its creation and its first step
def test_interrupt_at_any_moment_leaves_the_thread_as_it_was() -> None:
    """Otherwise its next call on an event loop would run in place, and wait there for locks."""
    store = DictStore()
    store.put("k", b"1")
    moment = 1

    while interrupted_at(moment, lambda: store.get("k")):
        assert not is_stepping()
        moment += 1

    assert moment > 10
