"""`NotifyingStore`: handlers are called after every change of an object."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypeAlias, TypeVar

import anyio

from storage._core.bulk import raise_failures
from storage._core.outcomes import outcome_of_one
from storage._core.traits import Trait
from storage.base import ObjectStore
from storage.decorators.bases.store_decorator import StoreDecorator
from storage.decorators.bases.streams import changed_items, recorded_keys
from storage.errors import OutcomeUnknownError, StorageError
from storage.types import Attributes, Capabilities, In, Items, Keys, Out

__all__ = ["Event", "NotifyingStore"]

T = TypeVar("T")

_logger = logging.getLogger("storage")

#: Seconds that handlers may take when a call is cancelled: the caller waits for them.
GRACE = 2.0


@dataclass(frozen=True, slots=True)
class Event:
    """
    A change of an object, or the failure of one.

    Attributes:
        store: the `NotifyingStore` through which it was made.
        action: ``"put"`` or ``"delete"``. A copy is a put of its target; a rename is that, and a delete of
            its source.
        key: the object.
        error: the error of a change that failed; None if it succeeded. After an error that is ``retryable``, or an
            `OutcomeUnknownError`, the change may have been made all the same.
    """

    store: ObjectStore[Any, Any]
    action: Literal["put", "delete"]
    key: str
    error: Exception | None = None


#: A handler, synchronous or asynchronous.
Handler: TypeAlias = Callable[[Event], object | Awaitable[object]]

#: One change: the action, the key, and the error if it failed.
Change: TypeAlias = tuple[Literal["put", "delete"], str, Exception | None]


class NotifyingStore(StoreDecorator[In, Out]):
    """
    Handlers are called after every put and delete of an object, successful or failed, with an `Event`.

    Each object of a bulk call or of `clear` is an event of its own. A delete is an event even if there was no object.
    An operation that is cancelled may have taken effect: its event has an `OutcomeUnknownError`, and its handlers have
    two seconds. So may each change of a bulk call that breaks off, as by an error of the caller's iterable.

    Handlers are called one after the other before the operation returns, and no lock is held meanwhile. They may use
    this store, which calls the handlers again for what they do; or the store below (``event.store.base``), which does
    not.

    Args:
        base: the store below.
        on_put: called when an object was put, or could not be put.
        on_delete: called when an object was deleted, or could not be deleted.
        on_change: called for both, after the other handler.
        on_error: what to do when a handler raises. ``"raise"``: raise its error after all handlers have been called,
            although the operation has taken effect; if the operation failed, raise its own error and log the handler's.
            ``"log"``: log the error with its traceback. ``"ignore"``: nothing.
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
            raise ValueError(f"on_error must be 'raise', 'log' or 'ignore', not {on_error!r}")
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
        return await self._notify_after(put, ("put", key))

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        await self._notify_after(super().delete(key, if_match=if_match), ("delete", key))

    async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        return await self._notify_after(super().copy(source, target, if_absent=if_absent), ("put", target))

    async def rename(self, source: str, target: str, *, if_absent: bool = False) -> str:
        rename = super().rename(source, target, if_absent=if_absent)
        if source == target and not if_absent:  # it changes nothing
            return await rename
        return await self._notify_after(rename, ("put", target), ("delete", source))

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
        return await self._notify_after_bulk("put", call, keys, raise_errors)

    async def delete_many(self, keys: Keys, *, raise_errors: bool = True) -> dict[str, None | StorageError]:
        recorded: list[str] = []
        call = partial(self.base.delete_many, recorded_keys(keys, recorded), raise_errors=False)
        return await self._notify_after_bulk("delete", call, recorded, raise_errors)

    @property
    def capabilities(self) -> Capabilities:
        below = self.base.capabilities
        return self._supported(replace(below, steppable=below.steppable and not any(map(_needs_loop, self._handlers))))

    @property
    def _handlers(self) -> tuple[Handler | None, ...]:
        return self.on_put, self.on_delete, self.on_change

    async def _notify_after(self, call: Awaitable[T], *changes: tuple[Literal["put", "delete"], str]) -> T:
        """Await *call*, and call the handlers for the changes that it made or failed to make."""
        try:
            result = await call
        except asyncio.CancelledError:
            await self._notify_cancelled(changes)
            raise
        except Exception as error:
            await self._notify([(action, key, error) for action, key in changes], failed=True)
            raise
        await self._notify([(action, key, None) for action, key in changes], failed=False)
        return result

    async def _notify_after_bulk(
        self,
        action: Literal["put", "delete"],
        call: Callable[[], Awaitable[dict[str, Any]]],
        keys: list[str],
        raise_errors: bool,
    ) -> dict[str, Any]:
        """Return the results of a bulk call, and call the handlers for each; *keys* are those that it has read."""
        try:
            results = await call()
        except asyncio.CancelledError:
            await self._notify_cancelled([(action, key) for key in dict.fromkeys(keys)])
            raise
        except Exception as error:  # perhaps of the caller's iterable: what was under way then is cancelled
            await self._notify(
                [(action, key, outcome_of_one(error, key, self)) for key in dict.fromkeys(keys)], failed=True
            )
            raise
        changes: list[Change] = [
            (action, key, result if isinstance(result, StorageError) else None) for key, result in results.items()
        ]
        await self._notify(changes, failed=raise_errors and any(error is not None for _, _, error in changes))
        return raise_failures(results, self, raise_errors)

    async def _notify_cancelled(self, changes: Sequence[tuple[Literal["put", "delete"], str]]) -> None:
        """Call the handlers for changes that were cancelled, and may have been made; not for longer than `GRACE`."""
        unknown: list[Change] = [
            (action, key, OutcomeUnknownError("the call was cancelled", key=key, store=self)) for action, key in changes
        ]
        with anyio.move_on_after(GRACE, shield=True) as scope:
            await self._notify(unknown, failed=True)
        if scope.cancelled_caught:
            _logger.error("the handlers for %d cancelled changes did not end within %g s", len(unknown), GRACE)

    async def _notify(self, changes: Iterable[Change], *, failed: bool) -> None:
        """Call all handlers. The first error of one is raised at the end, unless the operation *failed* itself."""
        first: Exception | None = None
        for action, key, error in changes:
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


def _needs_loop(handler: Handler | None) -> bool:
    """Return whether a handler needs an event loop; those made by the synchronous API do not."""
    return not getattr(handler, "_steppable", False) and (
        inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(getattr(handler, "__call__", None))  # noqa: B004
    )
