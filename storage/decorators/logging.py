"""`LoggingStore`: one line in the log for every operation."""

from __future__ import annotations

import logging
from asyncio import CancelledError
from collections.abc import Iterator

from storage.base import ObjectStore
from storage.decorators.bases.observer import Observer, Operation
from storage.errors import ANSWERS, StorageError
from storage.types import In, Out

__all__ = ["LoggingStore", "level_of"]


class LoggingStore(Observer[In, Out]):
    """
    Every operation is logged in one line when it has ended: its name, the key, how much data and how long.

    Keys are logged as Python literals, so that a key cannot forge a line. Data and attributes are not logged.

    A failure is logged as a warning; an exception that is not a `StorageError` is a mistake in a program, and is logged
    as an error. A key that is missing, exists already or has another version is an answer, and is logged like a
    success.

    Args:
        base: the store below.
        logger: the logger, or its name.
        level: the level for operations that succeed.
        store_name: the name of the store in the lines; without it they begin with the name of the operation.
    """

    def __init__(
        self,
        base: ObjectStore[In, Out],
        *,
        logger: logging.Logger | str = "storage",
        level: int | str = "DEBUG",
        store_name: str | None = None,
    ) -> None:
        super().__init__(base)
        self.logger: logging.Logger = logging.getLogger(logger) if isinstance(logger, str) else logger
        self.level: int = level_of(level)
        self.store_name = store_name

    def _on_end(self, operation: Operation) -> None:
        level = self._level_for(operation)
        if self.logger.isEnabledFor(level):
            line = f"{_subject(operation)}: {', '.join(_facts(operation))}"
            self.logger.log(level, "%s", line if self.store_name is None else f"{self.store_name}: {line}")

    def _level_for(self, operation: Operation) -> int:
        if operation.error is None:
            failures = [each for each in operation.failures if not isinstance(each, ANSWERS)]
            return max(self.level, logging.WARNING) if failures else self.level
        if isinstance(operation.error, ANSWERS) or not isinstance(operation.error, Exception):
            return self.level
        return max(self.level, logging.WARNING if isinstance(operation.error, StorageError) else logging.ERROR)


def level_of(level: int | str) -> int:
    """
    Return a logging level from its number or its name.

    Raises:
        ValueError: there is no level of this name.
    """
    if isinstance(level, int):
        return level
    levels = logging.getLevelNamesMapping()
    if level.upper() not in levels:
        raise ValueError(f"level must be a number or one of {', '.join(levels)}, not {level!r}")
    return levels[level.upper()]


def _subject(operation: Operation) -> str:
    """Return the operation and its keys."""
    parts = [operation.action]
    if operation.key is not None:
        parts.append(repr(operation.key))
    if operation.target is not None:
        parts.append(f"to {operation.target!r}")
    return " ".join(parts)


def _facts(operation: Operation) -> Iterator[str]:
    """Yield the failure if there was one, the amounts, and the time."""
    if isinstance(operation.error, CancelledError):
        yield "cancelled"
    elif isinstance(operation.error, StorageError):
        message = repr(operation.error.message)[1:-1]  # it may contain text from the back end, with line ends
        yield f"{type(operation.error).__name__}: {message}" if message else type(operation.error).__name__
    elif operation.error is not None:
        yield type(operation.error).__name__  # its text may contain anything, data too
    if operation.items is not None:
        yield _counted(operation.items, "item")
    if operation.failures:
        yield f"{len(operation.failures)} of them failed"
    if operation.sent is not None:
        yield f"{_counted(operation.sent, 'byte')} sent"
    if operation.received is not None:
        yield f"{_counted(operation.received, 'byte')} received"
    yield f"{operation.seconds * 1000:.3g} ms"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
