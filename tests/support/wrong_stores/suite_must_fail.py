"""
The suite on stores that are wrong, each in one way, with the test that must find it in ``found_by``.

Run by test_suite.py; nothing here is collected by itself.
"""

from __future__ import annotations

import pytest
from wrong_stores import keys as wrong_keys
from wrong_stores import objects as wrong_objects
from wrong_stores import sinks as wrong_sinks
from wrong_stores.keys import Wrong

from storage import DictStore, ObjectStore
from storage.testing import StoreConformance

__all__ = ["WRONG"]

WRONG: dict[str, type[Wrong]] = {
    name: kind
    for name, kind in {**vars(wrong_keys), **vars(wrong_objects), **vars(wrong_sinks)}.items()
    if isinstance(kind, type) and hasattr(kind, "found_by")
}


def _suite(kind: type[Wrong]) -> type[StoreConformance]:
    """Return the suite for one of them."""

    class Suite(StoreConformance):
        @pytest.fixture
        def store(self) -> ObjectStore:
            return kind()

        async def raw(self, store: ObjectStore, key: str) -> bytes | None:
            assert isinstance(store, DictStore)
            found = store._objects.get(key)
            return None if found is None else found.data

    return Suite


for _name, _kind in WRONG.items():
    globals()[f"Test{_name}"] = _suite(_kind)
