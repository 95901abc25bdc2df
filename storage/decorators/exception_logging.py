"""`ExceptionLoggingStore`: logs the exceptions of calls, and can suppress those of writes."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from storage._core.bulk import raise_failures
from storage._core.outcomes import outcome_of_one
from storage._core.traits import Trait
from storage.base import ObjectStore
from storage.decorators.bases.interceptor import Call, Interceptor
from storage.decorators.bases.streams import changed_items, recorded_keys
from storage.decorators.logging import level_of
from storage.errors import ANSWERS, StorageError
from storage.types import Attributes, In, Items, Keys, Out

__all__ = ["ExceptionLoggingStore"]

T = TypeVar("T")


class ExceptionLoggingStore(Interceptor[In, Out]):
    """
    The exceptions of calls are logged with their tracebacks, and raised unchanged.

    A key that is missing, exists already or has another version is an answer, not a failure: it is logged only with
    *answers*. A cancellation is never logged.

    With *swallow*, failed writes and deletes do not raise a `StorageError`: a put, copy or rename returns ``""``, which
    is no object's etag, a delete or `clear` returns None, and a bulk call returns its results instead of raising a
    `BulkError`. Reads still raise, because there is nothing correct to return. So do answers, calls with a condition,
    and all exceptions that are not a `StorageError`.

    Args:
        base: the store below.
        logger: the logger, or its name.
        level: the level of the log records.
        answers: whether answers are logged, too.
        swallow: whether failed writes and deletes are only logged.
    """

    _steppable = True

    def __init__(
        self,
        base: ObjectStore[In, Out],
        *,
        logger: logging.Logger | str = "storage",
        level: int | str = "ERROR",
        answers: bool = False,
        swallow: bool = False,
    ) -> None:
        if swallow:
            self._traits = frozenset({Trait.SWALLOWS})
        super().__init__(base)
        self.logger: logging.Logger = logging.getLogger(logger) if isinstance(logger, str) else logger
        self.level: int = level_of(level)
        self.answers = answers
        self.swallow = swallow

    async def _intercept(self, action: str, key: str | None, call: Call[T]) -> T:
        try:
            return await call()
        except Exception as error:
            self._log(action, key, error)
            raise

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
        return await (put if if_absent or if_match is not None else self._swallowing(put, ""))

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        delete = super().delete(key, if_match=if_match)
        await (delete if if_match is not None else self._swallowing(delete, None))

    async def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        copy = super().copy(source, target, if_absent=if_absent)
        return await (copy if if_absent else self._swallowing(copy, ""))

    async def rename(self, source: str, target: str, *, if_absent: bool = False) -> str:
        rename = super().rename(source, target, if_absent=if_absent)
        return await (rename if if_absent else self._swallowing(rename, ""))

    async def clear(self, prefix: str = "") -> None:
        await self._swallowing(self._intercept("clear", None, Call(partial(self.base.clear, prefix))), None)

    async def get_many(self, keys: Keys) -> dict[str, Out | StorageError]:
        results = await self._intercept("get_many", None, Call(partial(self.base.get_many, keys)))
        self._log_failed("get_many", results)
        return results

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
        return await self._bulk("put_many", call, keys, raise_errors)

    async def delete_many(self, keys: Keys, *, raise_errors: bool = True) -> dict[str, None | StorageError]:
        noted: list[str] = []
        call = partial(self.base.delete_many, recorded_keys(keys, noted), raise_errors=False)
        return await self._bulk("delete_many", call, noted, raise_errors)

    async def _bulk(
        self, action: str, call: Callable[[], Awaitable[dict[str, Any]]], keys: list[str], raise_errors: bool
    ) -> dict[str, Any]:
        """Return the results of a bulk write; *keys* are those that the caller gave, noted as they are used."""
        try:
            results = await self._intercept(action, None, Call(call))
        except StorageError as error:
            if not self.swallow:
                raise
            return {key: outcome_of_one(error, key, self) for key in keys}
        self._log_failed(action, results)
        return raise_failures(results, self, raise_errors and not self.swallow)

    async def _swallowing(self, write: Awaitable[T], instead: T) -> T:
        """Return the result of *write*, or *instead* if it failed and failures are swallowed."""
        try:
            return await write
        except StorageError as error:
            if not self.swallow or isinstance(error, ANSWERS):
                raise
            return instead

    def _log_failed(self, action: str, results: Mapping[str, object]) -> None:
        for key, result in results.items():
            if isinstance(result, StorageError):
                self._log(action, key, result)

    def _log(self, action: str, key: str | None, error: Exception) -> None:
        if self.answers or not isinstance(error, ANSWERS):
            what = action if key is None else f"{action} of {key!r}"
            self.logger.log(self.level, "%s failed: %s", what, type(error).__name__, exc_info=error)
