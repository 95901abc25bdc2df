"""
`claimed`: the capabilities of a store as far as they are known without any I/O.

Constructors do no I/O, but many of them refuse a store that cannot be read, for example. Some capabilities of the
stores on files depend on the file system, which has to be asked; those are asked for at the first use, or on entering.
"""

from __future__ import annotations

import threading
from typing import Any, Protocol

from storage.types import Capabilities

__all__ = ["claimed", "is_claiming"]


class _Able(Protocol):
    @property
    def capabilities(self) -> Capabilities: ...


class _Thread(threading.local):
    claiming = False


_THREAD: Any = _Thread()


def claimed(store: _Able) -> Capabilities:
    """Return the capabilities that the store has where the file systems below it, if any, can do everything."""
    outer = _THREAD.claiming
    _THREAD.claiming = True
    try:
        return store.capabilities
    finally:
        _THREAD.claiming = outer


def is_claiming() -> bool:
    """Return whether `claimed` is asking, in this thread: a store must not do any I/O to answer."""
    claiming: bool = _THREAD.claiming
    return claiming
