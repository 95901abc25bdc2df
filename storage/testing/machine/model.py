"""`StoreModel`: what `StoreMachine` knows of a store, and how it checks a call against that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

from hypothesis.stateful import RuleBasedStateMachine

import storage.sync
from storage.base import ObjectStore
from storage.errors import (
    InvalidKeyError,
    KeyConflictError,
    KeyExistsError,
    KeyNotFoundError,
    PreconditionFailedError,
    RangeNotSatisfiableError,
    StorageError,
    UnsupportedOperationError,
)
from storage.testing.machine.drivers import Driver
from storage.types import ByteRange, Capabilities, ObjectInfo

__all__ = ["Held", "StoreModel"]


class Held(NamedTuple):
    """An object that must be in the store, and its description by `head` when it was written."""

    data: bytes
    info: ObjectInfo


class StoreModel(RuleBasedStateMachine):
    """
    A store and the objects that must be in it.

    Attributes:
        store: the store.
        able: its capabilities.
        resources: closed after the store; for temporary directories and servers.
    """

    store: ObjectStore | storage.sync.ObjectStore
    able: Capabilities
    _driver: Driver

    def __init__(self) -> None:
        super().__init__()
        self.resources: ExitStack = ExitStack()
        self._held: dict[str, Held] = {}
        self._valid: dict[str, bool] = {}
        self._etags: dict[tuple[str, str], bytes] = {}
        self._touched: dict[str, None] = {}
        self._entered = False

    def may_conflict(self, key: str, other: str) -> bool:
        """Return whether the store may refuse to hold both keys: as paths, one is a directory of the other."""
        return key.startswith(f"{other}/") or other.startswith(f"{key}/")

    def _attempt(
        self,
        keys: Sequence[str],
        due: Iterable[type[StorageError]],
        call: Callable[[], Any],
        *,
        writes: Sequence[str] = (),
    ) -> Any:
        """Return the result or the error of *call*. If errors are *due*, it must raise one of them."""
        self._touched.update(dict.fromkeys(keys))
        due = [*due, *(InvalidKeyError for key in keys if not self._is_valid(key))]
        possible = [KeyConflictError for key in writes if self._conflicts(key)]
        try:
            result = call()
        except StorageError as error:
            if not isinstance(error, (*due, *possible)) or error.key not in keys:
                raise
            return error
        assert not due, f"expected one of {[kind.__name__ for kind in due]}"
        return result

    def _is_valid(self, key: str) -> bool:
        """Return whether the store accepts the key, according to the first call of `exists`."""
        if key not in self._valid:
            try:
                self._driver.call("exists", key)
            except InvalidKeyError:
                self._valid[key] = False
            else:
                self._valid[key] = True
        return self._valid[key]

    def _conflicts(self, key: str, others: Iterable[str] | None = None) -> bool:
        return any(self.may_conflict(key, other) for other in (self._held if others is None else others))

    def _condition(
        self, key: str, condition: str | None, able: bool
    ) -> tuple[dict[str, Any], list[type[StorageError]]]:
        """Return the options for a condition, and the errors that must follow."""
        held = self._held.get(key)
        if condition is None:
            return {}, []
        options: dict[str, Any]
        due: list[type[StorageError]]
        if condition == "absent":
            options, due = {"if_absent": True}, [KeyExistsError] if held else []
        elif condition == "current" and held:
            options, due = {"if_match": held.info.etag}, []
        else:
            current = held.info.etag if held else None
            former = [etag for each, etag in self._etags if each == key and etag != current]
            options, due = {"if_match": former[-1] if former else "nonsense"}, [PreconditionFailedError]
        return options, due if able else [UnsupportedOperationError]

    def _part(self, key: str, byte_range: ByteRange | None) -> tuple[bytes, list[type[StorageError]]]:
        """Return the bytes of an object's range, and the errors that must follow."""
        if key not in self._held:
            return b"", [KeyNotFoundError]
        data = self._held[key].data
        if byte_range is None:
            return data, []
        if byte_range.last is None and byte_range.start > len(data):
            return b"", [RangeNotSatisfiableError]
        if byte_range.last is not None:
            return data[max(len(data) - byte_range.last, 0) :], []
        return data[byte_range.start : byte_range.stop], []

    def _in_form(self, data: bytes, form: str) -> Any:
        if form in ("list", "stream"):
            third = len(data) // 3
            pieces = [data[:third], b"", data[third:]]
            return pieces if form == "list" else self._driver.stream(pieces)
        return {"bytes": bytes, "bytearray": bytearray, "memoryview": memoryview}[form](data)

    def _in_many(self, keys: list[str], streamed: bool) -> Any:
        pieces: Any = keys
        return self._driver.stream(pieces) if streamed else keys

    def _wrote(self, key: str, data: bytes, attributes: Any, etag: str, *, fresh: bool = True) -> None:
        """Record what was written, and its etag; *fresh* means that it must be a new version."""
        info = self._driver.call("head", key)
        assert etag == info.etag
        if self.able.etags and fresh:
            assert (key, etag) not in self._etags, "two versions have the same etag"
        assert data == self._etags.setdefault((key, etag), data), "different bytes have the same etag"
        assert (key, len(data), dict(attributes)) == (info.key, info.size, dict(info.attributes))
        assert info.modified is None or info.modified.tzinfo is not None
        self._held[key] = Held(data, info)
        self._touched[key] = None

    def _gone(self, key: str) -> None:
        self._held.pop(key, None)
        self._touched[key] = None

    def _described(self, key: str, info: ObjectInfo) -> None:
        assert self._held[key].info == info
