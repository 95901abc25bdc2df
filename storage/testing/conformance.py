"""`StoreConformance`: the suite."""

from __future__ import annotations

import pytest

from storage.testing.attributes import Attributed
from storage.testing.bulk import Bulk
from storage.testing.cancellation import Cancellation
from storage.testing.conditions import Conditions
from storage.testing.listing import Listing
from storage.testing.moving import Moving
from storage.testing.naming import Naming
from storage.testing.reading import Reading
from storage.testing.sharing import Sharing
from storage.testing.sinks import Sinks
from storage.testing.streams import Streams
from storage.testing.writing import Writing

__all__ = ["StoreConformance"]


@pytest.mark.asyncio
class StoreConformance(
    Reading, Writing, Streams, Conditions, Attributed, Listing, Moving, Bulk, Naming, Sharing, Cancellation, Sinks
):
    """
    What every store does, as tests: derive a class and give it a fixture `store` that yields an open, empty one.

    Tests select themselves by ``store.capabilities``: what the store cannot do is skipped, and instead it is tested
    that the store says so. The hooks `raw`, `fill` and `another` of `Harness` make the suite sharper. It needs
    pytest-asyncio, in auto or strict mode (there the fixture is a ``pytest_asyncio.fixture``).
    """
