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
    from storage.testing.history import History as History
    from storage.testing.history import HistoryError as HistoryError
    from storage.testing.history import RecordedCall as RecordedCall
    from storage.testing.history import RecordedListing as RecordedListing
    from storage.testing.machine.machine import StoreMachine as StoreMachine
    from storage.testing.proxy.protocols import ProxiedRequest as ProxiedRequest
    from storage.testing.proxy.proxy import Fault as Fault
    from storage.testing.proxy.proxy import FaultProxy as FaultProxy
    from storage.testing.stores.counting import CountingStore as CountingStore
    from storage.testing.stores.faulty import Failing as Failing
    from storage.testing.stores.faulty import FaultyStore as FaultyStore
    from storage.testing.stores.recording import RecordingStore as RecordingStore
    from storage.testing.stores.slow import SlowStore as SlowStore
    from storage.testing.suite.conformance import StoreConformance as StoreConformance
    from storage.testing.suite.harness import Harness as Harness
    from storage.testing.suite.harness import needs as needs
    from storage.testing.suite.nasty_keys import NASTY_KEYS as NASTY_KEYS

_HOMES = {
    "CountingStore": "storage.testing.stores.counting",
    "Failing": "storage.testing.stores.faulty",
    "Fault": "storage.testing.proxy.proxy",
    "FaultProxy": "storage.testing.proxy.proxy",
    "FaultyStore": "storage.testing.stores.faulty",
    "Harness": "storage.testing.suite.harness",
    "History": "storage.testing.history",
    "HistoryError": "storage.testing.history",
    "NASTY_KEYS": "storage.testing.suite.nasty_keys",
    "ProxiedRequest": "storage.testing.proxy.protocols",
    "RecordedCall": "storage.testing.history",
    "RecordedListing": "storage.testing.history",
    "RecordingStore": "storage.testing.stores.recording",
    "SlowStore": "storage.testing.stores.slow",
    "StoreConformance": "storage.testing.suite.conformance",
    "StoreMachine": "storage.testing.machine.machine",
    "needs": "storage.testing.suite.harness",
}

#: The package whose asserts pytest is to explain, with all its modules; it must be told before they are imported.
_EXPLAINED = ("storage.testing.suite", "storage.testing.machine")

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'storage.testing' has no attribute {name!r}") from None
    if home.startswith(_EXPLAINED):
        import pytest

        pytest.register_assert_rewrite(*(package for package in _EXPLAINED if package not in sys.modules))
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
