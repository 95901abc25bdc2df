"""The counts of a cache are exact, whatever interrupts their reading."""

from __future__ import annotations

import pytest
from processes.programs import run


@pytest.mark.process
def test_interrupt_between_two_instructions_of_reading_the_counts_changes_none() -> None:
    """A trace function raises where Ctrl-C could, once at each instruction."""
    done = run(
        """
        from storage import DictStore
        from storage.decorators.caching.cache import CacheStats, GuardedCache
        cache = GuardedCache(DictStore(), None, None)
        cache.count("hits")

        def trace(frame, event, argument):
            global seen
            if frame.f_code.co_filename != GuardedCache.stats.__code__.co_filename:
                return None
            frame.f_trace_opcodes = True
            if event == "opcode":
                seen += 1
                if seen == chosen:
                    raise KeyboardInterrupt
            return trace

        for chosen in range(1, 5000):
            seen = 0
            sys.settrace(trace)
            try:
                cache.stats()
            except KeyboardInterrupt:
                pass
            sys.settrace(None)
            assert CacheStats(hits=chosen) == cache.stats(), (chosen, cache.stats())
            if seen < chosen:
                break
            cache.count("hits")
        print("ended", chosen > 20)
        """
    )

    assert (0, "ended True\n") == (done.returncode, done.stdout), done.stderr
