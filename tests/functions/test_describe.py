"""`describe`: a stack as a tree."""

from __future__ import annotations

import storage.sync
from storage import DictStore, GzipStore, PrefixStore, describe


def test_stack_is_a_tree_with_what_each_store_cannot_do() -> None:
    """The top line says what the whole stack cannot do, each other one what is lost from there on down."""
    stack = PrefixStore(GzipStore(DictStore()), "a/")

    assert (
        "PrefixStore(..., 'a/')   cannot: ranges, cheap_head, multi_process\n"
        "└── GzipStore(...)   cannot: ranges, cheap_head, multi_process\n"
        "    └── DictStore()   cannot: multi_process"
    ) == describe(stack)


def test_store_of_the_synchronous_face_is_described_as_what_it_calls() -> None:
    """It is the same stack."""
    assert describe(DictStore()) == describe(storage.sync.DictStore())
