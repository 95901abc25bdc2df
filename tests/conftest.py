"""What holds for all tests."""

from __future__ import annotations

import gc


def pytest_collection_finish() -> None:
    """
    Keep the garbage collector from the tests themselves.

    They are millions of objects, all of which stay; to look through them takes half a second every few seconds.
    """
    gc.collect()
    gc.freeze()
