"""What the tests of `RetryingStore` share."""

from __future__ import annotations

import pytest
from doubles import HandClock

from storage._core import retry
from storage.decorators.retrying import reader as retrying_reader


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    """Replace the clock, so that no test really waits."""
    clock = HandClock()
    monkeypatch.setattr(retry, "monotonic", clock.monotonic)
    monkeypatch.setattr(retry, "pause", clock.sleep)
    monkeypatch.setattr(retrying_reader, "monotonic", clock.monotonic)
    return clock
