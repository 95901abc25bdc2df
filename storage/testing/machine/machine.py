"""`StoreMachine`: arbitrary sequences of calls to a store, whose results are compared with a dict."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, initialize, invariant, multiple, rule

import storage.sync
from storage.base import ObjectStore
from storage.errors import (
    InvalidKeyError,
    KeyConflictError,
    KeyExistsError,
    KeyNotFoundError,
    StorageError,
    UnsupportedOperationError,
)
from storage.testing.machine import strategies as strategies
from storage.testing.machine.drivers import driver_of
from storage.testing.machine.model import StoreModel
from storage.testing.machine.strategies import Content
from storage.testing.suite.listing import children_of
from storage.types import ByteRange, Capabilities

__all__ = ["StoreMachine"]

T = TypeVar("T")

KEYS: Bundle[str] = Bundle("keys")

#: The most bytes of an object that is read after every step, even if the step did not touch it.
SMALL = 100_000

#: The forms in which data is put.
_FORMS = ["bytes", "bytearray", "memoryview", "list", "stream"]

#: The conditions of a put.
_CONDITIONS = [None, None, None, "absent", "current", "stale"]

#: How many characters of a key are the prefix of a listing.
_LENGTHS = st.sampled_from([0, 0, 1, 2, 3, 8])

_contents = strategies.contents
_ranges = st.none() | strategies.ranges


class _ProducerError(Exception):
    """The exception of a failing stream."""


class StoreMachine(StoreModel):
    """
    A Hypothesis state machine that calls a store in any order and compares it with a dict.

    Derive a class, give it `make_store`, and let pytest run its ``TestCase``. After every step the store must hold what
    the dict holds: the keys in order, each object's bytes, size and attributes, and its etag, which changes exactly
    when the object is written. The store must refuse what it cannot do according to its capabilities.

    The store must be readable, writable and listable.

    Attributes:
        store: the store.
        able: its capabilities.
        resources: closed after the store; for temporary directories and servers.
        keeps: False for a store that is empty when it is opened again.
    """

    keeps: bool = True

    # -- for subclasses ------------------------------------------------------------------------------------------

    @abstractmethod
    def make_store(self) -> ObjectStore | storage.sync.ObjectStore:
        """Return an empty store, async or synchronous, for one run; the machine enters and leaves it."""
        raise NotImplementedError(f"{type(self).__name__} needs a method `make_store` that returns an empty store")

    def make_another(self) -> ObjectStore | storage.sync.ObjectStore | None:
        """Return another store over the objects of `store`, which is closed; None to open `store` again."""
        return None

    def draw(self, strategy: st.SearchStrategy[T]) -> T:
        """Draw a value in `make_store`: an option of the store, or a whole stack of decorators."""
        return self._data.draw(strategy)

    # -- begin and end -------------------------------------------------------------------------------------------

    @initialize(
        target=KEYS,
        data=st.data(),
        objects=st.dictionaries(strategies.keys, st.none() | _contents, min_size=2, max_size=4),
    )
    def begin(self, data: st.DataObject, objects: dict[str, Content | None]) -> Any:
        """Make the store, put some objects, and choose the keys that all steps use."""
        self._data = data
        self._enter(self.make_store())
        self.able: Capabilities = self.store.capabilities
        if not (self.able.readable and self.able.writable and self.able.listable):
            raise UnsupportedOperationError("the machine needs a store that can be read, written and listed")
        for key, content in objects.items():
            if content is not None:
                self.put(key, content, "bytes", None, None)
        return multiple(*objects)

    def teardown(self) -> None:
        """Leave the store and close its resources."""
        with self.resources:
            self._leave()

    def _enter(self, store: ObjectStore | storage.sync.ObjectStore) -> None:
        self.store = store
        self._driver = driver_of(store)
        self._driver.enter()
        self._entered = True

    def _leave(self) -> None:
        if self._entered:
            self._entered = False
            self._driver.leave()

    # -- writes ---------------------------------------------------------------------------------------------------

    @rule(target=KEYS, key=strategies.keys)
    def think_of_another(self, key: str) -> str:
        """Add one more key."""
        return key

    @rule(
        key=KEYS,
        content=_contents,
        form=st.sampled_from(_FORMS),
        attributes=st.none() | strategies.attributes,
        condition=st.sampled_from(_CONDITIONS),
    )
    def put(
        self, key: str, content: Content, form: str, attributes: dict[str, str] | None, condition: str | None
    ) -> None:
        """Put an object, with or without a condition."""
        options, due = self._condition(key, condition, self.able.conditional_put)
        if attributes is not None:
            options["attributes"] = attributes
            if attributes and not self.able.attributes:
                due = [*due, UnsupportedOperationError]
        data = self._in_form(content.data, form)
        etag = self._attempt([key], due, lambda: self._driver.call("put", key, data, **options), writes=[key])
        if isinstance(etag, str):
            self._wrote(key, content.data, attributes or {}, etag)

    @rule(key=KEYS, content=_contents, whole=st.booleans())
    def put_what_fails(self, key: str, content: Content, whole: bool) -> None:
        """Put a stream that fails in the middle or at its end: nothing is put."""
        error = _ProducerError()

        def pieces() -> Iterator[bytes]:
            data = content.data
            yield data[: len(data) // 2]
            if whole:
                yield data[len(data) // 2 :]
            raise error

        try:
            self._attempt([key], [], lambda: self._driver.call("put", key, self._driver.stream(pieces())), writes=[key])
        except _ProducerError as raised:
            if error is not raised:
                raise
        else:
            assert not self._is_valid(key) or self._conflicts(key), "a put of a failing stream succeeded"

    @rule(key=KEYS, condition=st.sampled_from([None, None, "current", "stale"]))
    def delete(self, key: str, condition: str | None) -> None:
        """Delete an object, with or without a condition."""
        options, due = self._condition(key, condition, self.able.conditional_delete)
        if not isinstance(self._attempt([key], due, lambda: self._driver.call("delete", key, **options)), StorageError):
            self._gone(key)

    @rule(source=KEYS, to=KEYS, if_absent=st.booleans(), rename=st.booleans())
    def move(self, source: str, to: str, if_absent: bool, rename: bool) -> None:
        """Copy or rename an object."""
        due: list[type[StorageError]] = []
        if source not in self._held:
            due.append(KeyNotFoundError)
        if if_absent and not self.able.conditional_put:
            due.append(UnsupportedOperationError)
        elif if_absent and to in self._held:
            due.append(KeyExistsError)
        action = "rename" if rename else "copy"
        options = {"if_absent": True} if if_absent else {}

        etag = self._attempt([source, to], due, lambda: self._driver.call(action, source, to, **options), writes=[to])

        if not isinstance(etag, str):
            return
        held = self._held[source]
        if rename and source == to:
            assert held.info.etag == etag
            return
        self._wrote(to, held.data, held.info.attributes, etag, fresh=not rename and source != to)
        if rename:
            self._gone(source)

    @rule(objects=st.dictionaries(KEYS, _contents, max_size=4), form=st.sampled_from(["mapping", "list", "stream"]))
    def put_many(self, objects: dict[str, Content], form: str) -> None:
        """Put several objects."""
        items = {key: content.data for key, content in objects.items()}
        pairs: Any = list(items.items())
        given = items if form == "mapping" else pairs if form == "list" else self._driver.stream(pairs)

        results = self._driver.call("put_many", given, raise_errors=False)

        assert set(results) == set(items)
        for key, result in results.items():
            if isinstance(result, KeyConflictError):
                assert self._conflicts(key, others=[*self._held, *items]), result
            elif self._is_valid(key):
                self._wrote(key, items[key], {}, _etag(result))
            else:
                assert isinstance(result, InvalidKeyError), result

    @rule(keys=st.lists(KEYS, max_size=4), streamed=st.booleans())
    def delete_many(self, keys: list[str], streamed: bool) -> None:
        """Delete several objects."""
        results = self._driver.call("delete_many", self._in_many(keys, streamed), raise_errors=False)

        assert set(results) == set(keys)
        for key, result in results.items():
            if self._is_valid(key):
                assert result is None, result
                self._gone(key)
            else:
                assert isinstance(result, InvalidKeyError), result

    @rule(key=KEYS, length=st.integers(0, 3))
    def clear(self, key: str, length: int) -> None:
        """Delete the objects with a common prefix."""
        prefix = key[: length + 1]
        self._driver.call("clear", prefix)
        for each in [each for each in self._held if each.startswith(prefix)]:
            self._gone(each)

    @rule()
    def restart(self) -> None:
        """Close the store, and open it or another store over its objects."""
        self._leave()
        self._enter(self.make_another() or self.store)
        assert self.able == self.store.capabilities
        if not self.keeps:
            self._held.clear()

    # -- reads ----------------------------------------------------------------------------------------------------

    @rule(key=KEYS, byte_range=_ranges)
    def get(self, key: str, byte_range: ByteRange | None) -> None:
        """Read an object or a range of it."""
        expected, due = self._part(key, byte_range)
        found = self._attempt([key], due, lambda: self._driver.call("get", key, byte_range=byte_range))
        assert isinstance(found, StorageError) or expected == found

    @rule(key=KEYS, byte_range=_ranges, sizes=strategies.sizes_to_read, offset=st.integers(0, 50))
    def read(self, key: str, byte_range: ByteRange | None, sizes: Sequence[int], offset: int) -> None:
        """Open an object, and read pieces of it."""
        expected, due = self._part(key, byte_range)
        found = self._attempt([key], due, lambda: self._driver.read(key, byte_range, sizes, offset))
        if isinstance(found, StorageError):
            return
        self._described(key, found.info)
        rest = expected
        for size, piece in zip(sizes, found.pieces, strict=True):
            assert piece == (rest if size < 0 else rest[:size])
            rest = rest[len(piece) :]
        assert found.sought is None or expected[offset:] == found.sought

    @rule(keys=st.lists(KEYS, max_size=5), streamed=st.booleans())
    def get_many(self, keys: list[str], streamed: bool) -> None:
        """Read several objects, also missing ones."""
        results = self._driver.call("get_many", self._in_many(keys, streamed))

        assert set(results) == set(keys)
        for key, result in results.items():
            if key in self._held:
                assert self._held[key].data == result
            else:
                assert isinstance(result, KeyNotFoundError if self._is_valid(key) else InvalidKeyError), result
                assert key == result.key

    @rule(key=KEYS)
    def look(self, key: str) -> None:
        """Call exists and head."""
        there = self._attempt([key], [], lambda: self._driver.call("exists", key))
        assert isinstance(there, StorageError) or (key in self._held) is there
        _, due = self._part(key, None)
        info = self._attempt([key], due, lambda: self._driver.call("head", key))
        if not isinstance(info, StorageError):
            self._described(key, info)

    @rule(
        key=KEYS,
        length=_LENGTHS,
        suffix=st.sampled_from(["", "", "", "/", "0", "\uffff"]),
        start=st.just("") | KEYS | KEYS,
        most=st.none() | st.integers(0, 3),
    )
    def list_keys(self, key: str, length: int, suffix: str, start: str, most: int | None) -> None:
        """List the keys with a common prefix after some key, to the end or not."""
        prefix = key[:length] + suffix
        expected = [each for each in sorted(self._held) if each.startswith(prefix) and each > start]
        assert expected[:most] == self._driver.listed("keys", prefix, start_after=start, most=most)
        infos = self._driver.listed("scan", prefix, start_after=start, most=most)
        assert [self._held[each].info for each in expected[:most]] == infos

    @rule(key=KEYS, length=_LENGTHS, delimiter=st.sampled_from(["/", "a", ".", "/x"]))
    def list_children(self, key: str, length: int, delimiter: str) -> None:
        """List one level."""
        found = self._driver.listed("children", key[:length], delimiter)
        assert children_of(self._held, key[:length], delimiter) == found

    # -- after every step -----------------------------------------------------------------------------------------

    @invariant()
    def all_is_as_it_should_be(self) -> None:
        """Check all objects, and in more detail those that the step touched."""
        keys = sorted(self._held)
        assert keys == self._driver.listed("keys")
        assert [self._held[key].info for key in keys] == self._driver.listed("scan")
        small = {key: held.data for key, held in self._held.items() if len(held.data) <= SMALL}
        assert small == self._driver.call("get_many", list(small))
        for key in list(self._touched):  # look touches, too
            self.look(key)
            self.get(key, None)
        self._touched.clear()


def _etag(result: object) -> str:
    assert isinstance(result, str), result
    return result
