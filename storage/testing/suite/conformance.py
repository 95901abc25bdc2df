"""`StoreConformance`: the whole suite."""

from __future__ import annotations

import pytest

from storage.testing.suite.attributes import StoredAttributes
from storage.testing.suite.bulk import Bulk
from storage.testing.suite.cancellation import Cancellation
from storage.testing.suite.conditions import Conditions
from storage.testing.suite.copy_rename_clear import CopyRenameClear
from storage.testing.suite.key_rules import KeyRules
from storage.testing.suite.listing import Listing
from storage.testing.suite.reading import Reading
from storage.testing.suite.several_processes import SeveralProcesses
from storage.testing.suite.streams import Streams
from storage.testing.suite.write_only import WriteOnly
from storage.testing.suite.writing import Writing

__all__ = ["StoreConformance"]


@pytest.mark.asyncio
class StoreConformance(
    Reading,
    Writing,
    Streams,
    Conditions,
    StoredAttributes,
    Listing,
    CopyRenameClear,
    Bulk,
    KeyRules,
    SeveralProcesses,
    Cancellation,
    WriteOnly,
):
    """
    Tests of everything that a store must do: derive a class and give it a fixture `store` that yields an open, empty
    store.

    Tests are selected by ``store.capabilities``: what the store cannot do is skipped, and the suite tests instead that
    the store refuses it. The hooks `raw`, `fill` and `another` of `Harness` make the suite stricter. It needs
    pytest-asyncio, in auto or strict mode (in strict mode the fixture is a ``pytest_asyncio.fixture``).
    """
