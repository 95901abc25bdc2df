"""Small pages, so that few objects are more than one page."""

from __future__ import annotations

import sys

import pytest

__all__ = ["small_pages"]


def small_pages(page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the stores list so many keys per page."""
    for name, module in list(sys.modules.items()):
        if name.startswith("storage.") and hasattr(module, "PAGE"):
            monkeypatch.setattr(module, "PAGE", page)
