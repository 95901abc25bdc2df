"""`StoreMachine`, the state machine that compares a store with a dict, and its parts."""

from __future__ import annotations

from storage.testing.machine.machine import StoreMachine as StoreMachine

__all__ = ["StoreMachine"]
