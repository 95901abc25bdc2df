"""Where the project, its tests and what these are helped by are."""

from __future__ import annotations

from pathlib import Path

__all__ = ["ROOT", "SUPPORT", "TESTS"]

SUPPORT = Path(__file__).parent
TESTS = SUPPORT.parent
ROOT = TESTS.parent
