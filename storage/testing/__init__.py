"""
What users test their own stores with: `StoreConformance`, the suite that judges every store of this package, and
`NASTY_KEYS`, its table of keys that stores get wrong; and `FaultProxy`, for stores behind a network.

    class TestMyStore(storage.testing.StoreConformance):
        @pytest.fixture
        async def store(self):
            async with MyStore("somewhere") as store:
                yield store

Names are imported when they are first used. It needs the extra ``testing``: pytest and pytest-asyncio.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from storage.testing.conformance import StoreConformance as StoreConformance
    from storage.testing.harness import Harness as Harness
    from storage.testing.harness import needs as needs
    from storage.testing.keys import NASTY_KEYS as NASTY_KEYS
    from storage.testing.proxy import Fault as Fault
    from storage.testing.proxy import FaultProxy as FaultProxy
    from storage.testing.wires import ProxiedRequest as ProxiedRequest

_HOMES = {
    "Fault": "storage.testing.proxy",
    "FaultProxy": "storage.testing.proxy",
    "Harness": "storage.testing.harness",
    "NASTY_KEYS": "storage.testing.keys",
    "ProxiedRequest": "storage.testing.wires",
    "StoreConformance": "storage.testing.conformance",
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
