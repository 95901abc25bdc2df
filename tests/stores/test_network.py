"""What the stores on a network share."""

from __future__ import annotations

import asyncio
import socket

from servers.tls import Certificate

from storage import HttpStore


async def test_no_socket_stays_open_after_a_cancelled_handshake(certificate: Certificate) -> None:
    """Asyncio ends a TLS handshake that was cancelled some time later; the store waits for it before it is closed."""
    made: list[socket.socket] = []
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=certificate.shown())
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    for steps in range(40):
        store = HttpStore(url, writable=True, ca_bundle=str(certificate.authority), retry_timeout=0)
        async with store:
            put = asyncio.create_task(store.put("k", b"v"))
            for _ in range(steps):
                await asyncio.sleep(0)
            put.cancel()
            await asyncio.wait([put])
            put.cancelled() or put.exception()
            made += store._opened().session._sockets._sockets
        assert [] == [each for each in made if each.fileno() >= 0], f"cancelled after {steps} steps"
    server.close()

    assert made
