"""`NotifyingStore`: whoever wants to know is told what changes."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypeAlias, TypeVar

from storage._core.bulk import raise_failures
from storage._core.traits import Trait
from storage.base import ObjectStore
from storage.decorators.bases.store_decorator import StoreDecorator
from storage.decorators.bases.streams import changed_items, noted_keys
from storage.errors import StorageError
from storage.types import Attributes, Capabilities, In, Items, Keys, Out

__all__ = ["Event", "NotifyingStore"]

T = TypeVar("T")

_logger = logging.getLogger("storage")


@dataclass(frozen=True, slots=True)
class Event:
    """
    A change of an object, or the failure of one.

    Attributes:
        store: the `NotifyingStore` that tells of it.
        action: ``"put"`` or ``"delete"``. A copy is a put of its target, a rename that and a delete of its source.
        key: the object.
        error: None for a change; what was raised for a failure.
    """

    store: ObjectStore[Any, Any]
    action: Literal["put", "delete"]
    key: str
    error: Exception | None = None


#: What a handler is, sync or async.
Handler: TypeAlias = Callable[[Event], object | Awaitable[object]]

#: What becomes of each object: its key, the action, and the error if it failed.
Told: TypeAlias = tuple[Literal["put", "delete"], str, Exception | None]


class NotifyingStore(StoreDecorator[In, Out]):
    """
    Handlers are called after every put and delete of an object, and after every one that failed, with an `Event`.

    Each object of a bulk call and of `clear` is told by itself. A delete is told whether there was an object or not. An
    operation that is cancelled is not told, though it may have taken effect.

    Handlers are called one after the other before the operation returns, and nothing is held meanwhile: they may use
    this store as well, and are then told of what they do, or the one below (``event.store.base``), and are not.

    Args:
        base: the store below.
        on_put: called when an object was put, or could not be.
        on_delete: called when one was deleted, or could not be.
        on_change: called for either, after the other handlers.
        on_error: what happens when a handler raises. ``"raise"``: it is raised as it is, when all handlers have been
            called, though the operation has taken effect; unless that failed itself, which is raised then, and the
            handler's error logged. ``"log"``: it is logged with its traceback. ``"ignore"``: nothing.
    """

    _steppable = True
    _traits = frozenset({Trait.NOTIFIES})

    def __init__(
        self,
        base: ObjectStore[In, Out],
        *,
        on_put: Callable[[Event], object | Awaitable[object]] | None = None,
        on_delete: Callable[[Event], object | Awaitable[object]] | None = None,
        on_change: Callable[[Event], object | Awaitable[object]] | None = None,
        on_error: Literal["raise", "log", "ignore"] = "raise",
    ) -> None:
        if on_error not in ("raise", "log", "ignore"):
            raise ValueError(f"on_error is 'raise', 'log' or 'ignore', not {on_error!r}")
        super().__init__(base)
        self.on_put = on_put
        self.on_delete = on_delete
        self.on_change = on_change
        self.on_error = on_error

    async def put(
        self,
        key: str,
        data: In,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        put = super().put(key, data, if_absent=if_absent, if_match=if_match, attributes=attributes)
        return await self._telling(put, ("put", key))

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        await self._telling(super().delete(key, if_match=if_match), ("delete", key))

    async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        return await self._telling(super().copy(source, target, if_absent=if_absent), ("put", target))

    async def rename(self, source: str, target: str, *, if_absent: bool = False) -> str:
        rename = super().rename(source, target, if_absent=if_absent)
        if source == target and not if_absent:  # which does nothing
            return await rename
        return await self._telling(rename, ("put", target), ("delete", source))

    async def put_many(
        self,
        items: Items[In],
        *,
        raise_errors: bool = True,
    ) -> dict[str, str | StorageError]:
        keys: list[str] = []

        def note(key: str, data: In) -> In:
            keys.append(key)
            return data

        call = partial(self.base.put_many, changed_items(items, note), raise_errors=False)
        return await self._telling_all("put", call, keys, raise_errors)

    async def delete_many(self, keys: Keys, *, raise_errors: bool = True) -> dict[str, None | StorageError]:
        noted: list[str] = []
        call = partial(self.base.delete_many, noted_keys(keys, noted), raise_errors=False)
        return await self._telling_all("delete", call, noted, raise_errors)

    @property
    def capabilities(self) -> Capabilities:
        below = self.base.capabilities
        return self._supported(replace(below, steppable=below.steppable and not any(map(_suspends, self._handlers))))

    @property
    def _handlers(self) -> tuple[Handler | None, ...]:
        return self.on_put, self.on_delete, self.on_change

    async def _telling(self, call: Awaitable[T], *changes: tuple[Literal["put", "delete"], str]) -> T:
        """Await *call* and tell of the changes that it makes or fails to make."""
        try:
            result = await call
        except Exception as error:
            await self._tell([(action, key, error) for action, key in changes], failed=True)
            raise
        await self._tell([(action, key, None) for action, key in changes], failed=False)
        return result

    async def _telling_all(
        self,
        action: Literal["put", "delete"],
        call: Callable[[], Awaitable[dict[str, Any]]],
        keys: list[str],
        raise_errors: bool,
    ) -> dict[str, Any]:
        """Return the results of a bulk call and tell of each; *keys* are those that it has been given."""
        try:
            results = await call()
        except Exception as error:  # of the caller's iterable maybe: what was put before it may have been changed
            await self._tell([(action, key, error) for key in dict.fromkeys(keys)], failed=True)
            raise
        told: list[Told] = [
            (action, key, result if isinstance(result, StorageError) else None) for key, result in results.items()
        ]
        await self._tell(told, failed=raise_errors and any(error is not None for _, _, error in told))
        return raise_failures(results, self, raise_errors)

    async def _tell(self, told: Iterable[Told], *, failed: bool) -> None:
        """Call all handlers; what one raises is raised at the end, unless the operation *failed* itself."""
        first: Exception | None = None
        for action, key, error in told:
            event = Event(self, action, key, error)
            for handler in (self.on_put if action == "put" else self.on_delete, self.on_change):
                if handler is None:
                    continue
                try:
                    answer = handler(event)
                    if inspect.isawaitable(answer):
                        await answer
                except Exception as raised:
                    if first is None and self.on_error == "raise" and not failed:
                        first = raised
                    elif self.on_error != "ignore":
                        _logger.error("a handler failed after a %s of %r", action, key, exc_info=raised)
        if first is not None:
            raise first


def _suspends(handler: Handler | None) -> bool:
    """Return whether a handler needs an event loop; the synchronous face makes async ones that do not."""
    return not getattr(handler, "_steppable", False) and (
        inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(getattr(handler, "__call__", None))  # noqa: B004
    )
