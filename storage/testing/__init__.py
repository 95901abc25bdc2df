"""
Tools for testing your own stores, and programs that use stores.

`StoreConformance` is the suite that tests every store of this package, and `NASTY_KEYS` its table of keys that stores
get wrong. `StoreMachine` compares a store with a dict under any sequence of calls. `RecordingStore` and `History` check
the results of concurrent calls. `FaultyStore`, `SlowStore` and `CountingStore` wrap a store, for tests of programs that
use it. `FaultProxy` stands between a client and a server.

    class TestMyStore(storage.testing.StoreConformance):
        @pytest.fixture
        async def store(self):
            async with MyStore("somewhere") as store:
                yield store

Names are imported when they are first used. It all needs the extra ``testing``: pytest, pytest-asyncio
and Hypothesis.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from storage._names import TESTING, import_name

# GENERATED from storage/_names.py: change that, then run `make generated`.
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
# END OF GENERATED

#: Packages whose asserts pytest explains, in all their modules; they must be registered before they are imported.
_EXPLAINED = ("storage.testing.suite", "storage.testing.machine")

__all__ = sorted(TESTING)


def __getattr__(name: str) -> Any:
    if name != "NASTY_KEYS" and TESTING.get(name, "").startswith(_EXPLAINED):  # the table does without pytest
        import pytest

        pytest.register_assert_rewrite(*(package for package in _EXPLAINED if package not in sys.modules))
    return import_name(__name__, TESTING, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *TESTING})
