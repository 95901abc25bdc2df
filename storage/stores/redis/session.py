"""`Session`: the client of an open `RedisStore`, and how it sends commands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from typing import Any, TypeAlias, TypeVar

import anyio

from storage._concurrency.tasks import uninterrupted
from storage._core.opened import OpenState
from storage._core.retry import RetryPolicy
from storage.errors import ANSWERS, OutcomeUnknownError, StorageError
from storage.stores.network import Timeouts
from storage.stores.redis.errors import error_of, reply_was_lost
from storage.stores.redis.scripts import Script

__all__ = ["Command", "Session"]

T = TypeVar("T")

#: The words of a Redis command; or a script, the list of its keys and the list of its arguments.
Command: TypeAlias = tuple[Any, ...]

#: Concurrent connections to the server; further calls wait for a free one.
MAX_CONNECTIONS = 32

#: Seconds that a cancelled write gets to finish, so that it has no later effect. A server needs far less.
GRACE = 1.0


class Session:
    """
    The client of an open store; it belongs to one event loop and one process.

    Args:
        url: of the server.
        client: a client of the caller to use instead; it stays open.
        timeouts: how long to wait and to retry.
        store: the name of the store in errors.
    """

    def __init__(self, url: str, client: Any, timeouts: Timeouts, store: str) -> None:
        try:
            from redis import asyncio as redis
            from redis.client import NEVER_DECODE
        except ImportError as cause:
            raise ImportError("RedisStore needs redis-py: pip install 'stackstore[redis]'") from cause

        self.state: OpenState = OpenState()
        self.policy: RetryPolicy = timeouts.policy
        self._store = store
        self._pool: Any = None
        if client is None:
            self._pool = redis.ConnectionPool.from_url(
                url,
                socket_connect_timeout=timeouts.connect,
                socket_timeout=timeouts.read,
                retry=_no_retries(),  # the store retries itself, and knows which calls may be repeated
            )
            client = redis.Redis(connection_pool=self._pool)
        self._client = client
        # The blocking pool of redis-py sets a timer for every call. Here the calls with a connection time out anyway.
        self._slots = asyncio.Semaphore(MAX_CONNECTIONS) if self._pool is not None else nullcontext()
        self._options: dict[str, object] = {NEVER_DECODE: []}  # the caller's client may be set to decode replies

    def check(self) -> None:
        """
        Raise an error where the session cannot be used.

        Raises:
            StoreClosedError: it is closed, or open under another loop or in another process.
        """
        self.state.check(self._store)

    async def close(self) -> None:
        """Close the connections; a client of the caller stays open."""
        self.state.close()
        if self._pool is not None:
            with anyio.CancelScope(shield=True):
                await self._pool.disconnect()

    # -- commands ------------------------------------------------------------------------------------------------------

    async def query(self, command: Command, key: str | None = None) -> Any:
        """Return the reply to a command that changes nothing, with retries."""
        return await self.policy.retry(lambda: self.run_once(command, key))

    async def modify(self, attempt: Callable[[], Awaitable[T]], key: str | None = None) -> T:
        """
        Return the result of *attempt*, which changes something, with retries; a cancellation waits for its end.

        A repeated attempt must recognize its own effect: what was done already counts as done.

        Raises:
            OutcomeUnknownError: a reply was lost, and since then another client has written or deleted the object.
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
                    "a reply was lost, and the object is now another version or gone, perhaps by this call",
                    key=key,
                    store=self._store,
                ) from error
            except StorageError as error:
                lost = error if reply_was_lost(error) else lost
                raise

        return await uninterrupted(self.policy.retry(made), GRACE)

    async def run_once(self, command: Command, key: str | None = None) -> Any:
        """
        Return the reply to a command, in one attempt.

        Raises:
            StorageError: with *key*.
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
        """Return the reply to each command, or its error as a value, in one attempt for all of them together."""
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
                replies: list[Any] = await pipeline.execute(raise_on_error=False)
        except (RedisError, RedisClusterException, OSError) as cause:
            replies = [cause] * len(commands)
        for number, reply in enumerate(replies):
            if isinstance(reply, NoScriptError):
                [replies[number]] = await self.run_pipeline([commands[number]])
            elif isinstance(reply, Exception):
                replies[number] = error_of(reply, None, self._store)
                replies[number].__cause__ = reply
        return replies


def _no_retries() -> Any:
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    return Retry(NoBackoff(), 0)


def _arguments(command: Command, *, whole: bool = False) -> Command:
    """Return the arguments of redis-py for a command; a script is sent by its hash, or as a *whole*."""
    if not isinstance(command[0], Script):
        return command
    script, keys, arguments = command
    name = ("EVAL", script.text) if whole else ("EVALSHA", script.sha)
    return (*name, len(keys), *keys, *arguments)
