"""The strategies of `StoreMachine`: keys, contents, attributes, ranges and sizes of reads."""

from __future__ import annotations

import random
from functools import lru_cache
from typing import NamedTuple

from hypothesis import strategies as st

from storage.testing.suite.nasty_keys import NASTY_KEYS
from storage.types import ByteRange

__all__ = ["Content", "attributes", "contents", "keys", "ranges", "sizes_to_read"]

#: Sizes at which stores and codecs change what they do, and their neighbours.
_EDGES = [size + by for size in (1 << 10, 1 << 16, 1 << 20) for by in (-1, 0, 1)]

_LARGEST = 2_500_000


class Content(NamedTuple):
    """
    The bytes of an object in a short form. Contents of one *seed* start alike; seed 0 is zeros, which compress well.

    Attributes:
        seed: determines the bytes.
        size: their number.
    """

    seed: int
    size: int

    @property
    def data(self) -> bytes:
        """The bytes."""
        return _data(self.seed, self.size)


@lru_cache(64)
def _data(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size) if seed else bytes(size)


#: Contents: mostly small, some empty, and sometimes one that does not fit into a piece or a page.
contents: st.SearchStrategy[Content] = st.builds(
    Content,
    st.integers(0, 5),
    st.one_of(
        *[st.integers(0, 40)] * 7,
        *[st.sampled_from(_EDGES[:6])] * 2,
        st.sampled_from([*_EDGES, _LARGEST]),
    ),
)

_plain = st.sampled_from(["a", "b", "a/b", "a/c", "a/b/c", "b/a", "a0", "a1", "A"])
_any = _plain | _plain | st.sampled_from(list(NASTY_KEYS.values())) | st.text(min_size=1, max_size=8)

#: Keys: plain ones, nasty ones, any text, and neighbours of all these.
keys: st.SearchStrategy[str] = _any | st.builds(
    str.__add__, _any, st.sampled_from(["/", "/x", "/x/y", "0", ".", "-", " ", "\0", "\uffff", "é"])
)

#: Attributes: fewer than the 2,048 bytes that every store with attributes takes.
attributes: st.SearchStrategy[dict[str, str]] = st.dictionaries(
    st.from_regex(r"[a-z0-9][a-z0-9-]{0,8}", fullmatch=True), st.text(max_size=12), max_size=4
)

_positions = st.integers(0, 40) | st.integers(0, 40) | st.sampled_from([*_EDGES, _LARGEST, 1 << 40])

#: Ranges within contents, across their end, and after it.
ranges: st.SearchStrategy[ByteRange] = st.one_of(
    st.builds(ByteRange, _positions),
    st.builds(lambda start, length: ByteRange(start, start + length), _positions, _positions),
    st.builds(ByteRange.suffix, _positions),
)

#: Sizes of the reads of an open object; -1 for the rest.
sizes_to_read: st.SearchStrategy[list[int]] = st.lists(
    st.integers(-1, 10) | st.sampled_from([1 << 16, (1 << 20) + 1]), max_size=4
)
