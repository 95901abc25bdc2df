"""Servers that accept connections and then stop answering."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

__all__ = ["mute"]


@asynccontextmanager
async def mute(
    reads: bool = True, says: bytes = b"", answers: Callable[[str], bytes | None] = lambda line: None
) -> AsyncIterator[str]:
    """
    Run such a server and give its URL.

    Args:
        reads: whether it reads what is sent, or leaves it in the buffers.
        says: what it sends at the start of each connection.
        answers: returns the answer to a request with this first line and a short body, None to stop answering.
    """
    serving: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(cast(asyncio.Task[Any], asyncio.current_task()))
        writer.write(says)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                if (answer := answers(head.decode("latin-1").partition("\r\n")[0])) is None:
                    break
                writer.write(answer)
            if not reads:
                reader._transport.pause_reading()  # type: ignore[attr-defined]
            while reads and await reader.read(1 << 16):
                pass
            await asyncio.Event().wait()
        except (asyncio.CancelledError, asyncio.IncompleteReadError, OSError):
            pass  # the test is over, or the client has closed the connection
        finally:
            writer.transport.abort()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 16)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving)
        await listening.wait_closed()
