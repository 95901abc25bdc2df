"""`describe`: a stack as a tree."""

from __future__ import annotations

import storage.sync
from storage import DictStore, GzipStore, PrefixStore, describe


def test_stack_is_a_tree_with_what_each_store_cannot_do() -> None:
    """Each line shows the capabilities that the stack below it lacks."""
    stack = PrefixStore(GzipStore(DictStore()), "a/")

    assert (
        "PrefixStore(..., 'a/')   cannot: ranges, cheap_head, multi_process\n"
        "└── GzipStore(...)   cannot: ranges, cheap_head, multi_process\n"
        "    └── DictStore()   cannot: multi_process"
    ) == describe(stack)


def test_store_of_the_synchronous_face_is_described_as_what_it_calls() -> None:
    """A synchronous store is described as the async one."""
    assert describe(DictStore()) == describe(storage.sync.DictStore())
