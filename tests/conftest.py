"""What holds for all tests."""

from __future__ import annotations

import gc

from hypothesis import settings

#: An example may take its time: a machine that is busy is no fault of the code.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def pytest_collection_finish() -> None:
    """
    Keep the garbage collector from the tests themselves.

    They are millions of objects, all of which stay; to look through them takes half a second every few seconds.
    """
    gc.collect()
    gc.freeze()
