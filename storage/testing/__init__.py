"""
What users test their own stores and services with.

`StoreConformance` is the suite that judges every store of this package, `NASTY_KEYS` its table of keys that stores get
wrong, and `StoreMachine` holds a store against a dict under any sequence of calls. `RecordingStore` and `History` tell
whether many callers at once got what they should. `FaultyStore`, `SlowStore` and `CountingStore` go over a store, for
tests of what uses it, and `FaultProxy` stands in front of a server.

    class TestMyStore(storage.testing.StoreConformance):
        @pytest.fixture
        async def store(self):
            async with MyStore("somewhere") as store:
                yield store

Names are imported when they are first used. It needs the extra ``testing``: pytest, pytest-asyncio and Hypothesis.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from storage.testing.conformance import StoreConformance as StoreConformance
    from storage.testing.counting import CountingStore as CountingStore
    from storage.testing.faulty import Failing as Failing
    from storage.testing.faulty import FaultyStore as FaultyStore
    from storage.testing.harness import Harness as Harness
    from storage.testing.harness import needs as needs
    from storage.testing.history import History as History
    from storage.testing.history import HistoryError as HistoryError
    from storage.testing.history import RecordedCall as RecordedCall
    from storage.testing.history import RecordedListing as RecordedListing
    from storage.testing.keys import NASTY_KEYS as NASTY_KEYS
    from storage.testing.machine import StoreMachine as StoreMachine
    from storage.testing.proxy import Fault as Fault
    from storage.testing.proxy import FaultProxy as FaultProxy
    from storage.testing.recording import RecordingStore as RecordingStore
    from storage.testing.slow import SlowStore as SlowStore
    from storage.testing.wires import ProxiedRequest as ProxiedRequest

_HOMES = {
    "CountingStore": "storage.testing.counting",
    "Failing": "storage.testing.faulty",
    "Fault": "storage.testing.proxy",
    "FaultProxy": "storage.testing.proxy",
    "FaultyStore": "storage.testing.faulty",
    "Harness": "storage.testing.harness",
    "History": "storage.testing.history",
    "HistoryError": "storage.testing.history",
    "NASTY_KEYS": "storage.testing.keys",
    "ProxiedRequest": "storage.testing.wires",
    "RecordedCall": "storage.testing.history",
    "RecordedListing": "storage.testing.history",
    "RecordingStore": "storage.testing.recording",
    "SlowStore": "storage.testing.slow",
    "StoreConformance": "storage.testing.conformance",
    "StoreMachine": "storage.testing.machine",
    "needs": "storage.testing.harness",
}

#: The modules whose asserts pytest is to explain; it must be told before they are imported.
_EXPLAINED = [
    f"storage.testing.{topic}"
    for topic in (
        "attributes",
        "bulk",
        "cancellation",
        "conditions",
        "harness",
        "listing",
        "machine",
        "modelled",
        "moving",
        "naming",
        "reading",
        "sharing",
        "sinks",
        "streams",
        "writing",
    )
]

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'storage.testing' has no attribute {name!r}") from None
    if home in _EXPLAINED or home == "storage.testing.conformance":
        import pytest

        pytest.register_assert_rewrite(*(module for module in _EXPLAINED if module not in sys.modules))
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
