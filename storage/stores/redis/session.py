"""What a `RedisStore` holds while it is used: a client of redis-py, and how it asks the server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from typing import Any, TypeAlias, TypeVar

import anyio

from storage._concurrency.tasks import uninterrupted
from storage._core.opened import OpenState
from storage.errors import ANSWERS, OutcomeUnknownError, StorageError
from storage.stores.network import Timeouts
from storage.stores.redis.errors import error_of, reply_was_lost
from storage.stores.redis.scripts import Script

__all__ = ["Command", "Session"]

T = TypeVar("T")

#: A command of Redis, word by word; or a script, the list of its keys and the list of its arguments.
Command: TypeAlias = tuple[Any, ...]

#: Connections to the server at once; a call beyond waits for one that is free.
MAX_CONNECTIONS = 32

#: Seconds that a cancelled write has for its end, so that nothing of it lands later. A server answers in far less.
GRACE = 1.0


class Session:
    """
    The open half of a store; it belongs to one event loop and one process.

    Args:
        url: of the server.
        client: the caller's own to use instead; it stays open.
        timeouts: how long to wait, and to try again.
        store: what errors call the store.
    """

    def __init__(self, url: str, client: Any, timeouts: Timeouts, store: str) -> None:
        try:
            from redis import asyncio as redis
            from redis.client import NEVER_DECODE
        except ImportError as cause:
            raise ImportError("RedisStore needs redis-py: pip install 'stackstore[redis]'") from cause

        self.state: OpenState = OpenState()
        self.policy = timeouts.policy
        self._store = store
        self._pool: Any = None
        if client is None:
            self._pool = redis.ConnectionPool.from_url(
                url,
                socket_connect_timeout=timeouts.connect,
                socket_timeout=timeouts.read,
                retry=_no_retries(),  # we try again ourselves, and know what may be tried twice
            )
            client = redis.Redis(connection_pool=self._pool)
        self._client = client
        # redis-py's own pool that waits sets a timer for every call; those who have a connection are held to their time
        self._slots = asyncio.Semaphore(MAX_CONNECTIONS) if self._pool is not None else nullcontext()
        self._options: dict[str, object] = {NEVER_DECODE: []}  # a client may be set to decode what it reads

    def check(self) -> None:
        """
        Refuse to be used where the session does not belong.

        Raises:
            StoreClosedError: it is closed, or open under another loop or in another process.
        """
        self.state.check(self._store)

    async def close(self) -> None:
        """Close what was opened; a client that was given stays open."""
        self.state.close()
        if self._pool is not None:
            with anyio.CancelScope(shield=True):
                await self._pool.disconnect()

    # -- asking ------------------------------------------------------------------------------------------------------

    async def query(self, command: Command, key: str | None = None) -> Any:
        """Return the answer to what changes nothing, however often it takes to ask."""
        return await self.policy.retry(lambda: self.run_once(command, key))

    async def modify(self, attempt: Callable[[], Awaitable[T]], key: str | None = None) -> T:
        """
        Return what *attempt* to change something returns, made again as often as need be; a cancellation waits for it.

        It has to know itself when it is made again: what it has done already it finds done.

        Raises:
            OutcomeUnknownError: an answer was lost, and since then somebody else has written or deleted.
        """
        lost: StorageError | None = None

        async def made() -> T:
            nonlocal lost
            try:
                return await attempt()
            except ANSWERS as error:
                if lost is None:
                    raise
                raise OutcomeUnknownError(
                    "a reply was lost, and the object has been changed or deleted since", key=key, store=self._store
                ) from error
            except StorageError as error:
                lost = error if reply_was_lost(error) else lost
                raise

        return await uninterrupted(self.policy.retry(made), GRACE)

    async def run_once(self, command: Command, key: str | None = None) -> Any:
        """
        Return the answer to a single attempt.

        Raises:
            StorageError: about *key*.
        """
        from redis.exceptions import NoScriptError, RedisClusterException, RedisError

        try:
            async with self._slots:
                self.check()
                try:
                    return await self._client.execute_command(*_arguments(command), **self._options)
                except NoScriptError:
                    return await self._client.execute_command(*_arguments(command, whole=True), **self._options)
        except (RedisError, RedisClusterException, OSError) as cause:
            raise error_of(cause, key, self._store) from cause

    async def run_pipeline(self, commands: Sequence[Command]) -> list[Any]:
        """Return the answer to each command, or its error as a value, after a single attempt at all of them at once."""
        from redis.exceptions import NoScriptError, RedisClusterException, RedisError

        if len(commands) == 1:
            try:
                return [await self.run_once(commands[0])]
            except StorageError as error:
                return [error]
        try:
            async with self._slots, self._client.pipeline(transaction=False) as pipeline:
                self.check()
                for command in commands:
                    pipeline.execute_command(*_arguments(command), **self._options)
                answers: list[Any] = await pipeline.execute(raise_on_error=False)
        except (RedisError, RedisClusterException, OSError) as cause:
            answers = [cause] * len(commands)
        for number, answer in enumerate(answers):
            if isinstance(answer, NoScriptError):
                [answers[number]] = await self.run_pipeline([commands[number]])
            elif isinstance(answer, Exception):
                answers[number] = error_of(answer, None, self._store)
                answers[number].__cause__ = answer
        return answers


def _no_retries() -> Any:
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    return Retry(NoBackoff(), 0)


def _arguments(command: Command, *, whole: bool = False) -> Command:
    """Return a command as redis-py takes it; a script by its name, or as a *whole*."""
    if not isinstance(command[0], Script):
        return command
    script, keys, arguments = command
    name = ("EVAL", script.text) if whole else ("EVALSHA", script.sha)
    return (*name, len(keys), *keys, *arguments)
