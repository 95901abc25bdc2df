"""Wraps stores for tests: one that fails, one that is slow, one that counts, one that records."""
