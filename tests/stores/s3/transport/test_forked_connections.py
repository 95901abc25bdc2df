"""Processes that are forked while a bucket is open: a child leaves the connections of its parent alone."""

from __future__ import annotations

import os
import time

import pytest
from processes import programs
from servers.scripted import Peer, answer, scripted
from servers.tls import Certificate

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork"),
]

#: Bytes of the objects: their second half comes after the fork.
SIZE = 256 << 10

OPTIONS = """
import warnings

signal.alarm(20)
options = dict(endpoint_url={url!r}, s3_access_key="a", s3_secret_key="s", region="us-east-1", ca_bundle={authority!r})

def forked(child):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that this process has threads is the point
        pid = os.fork()
    if not pid:
        child()
        gc.collect()
        sys.stdout.flush()
        os._exit(0)
    print("child", os.waitpid(pid, 0)[1], flush=True)
"""

#: The child uses the store and closes it, between two calls of the parent and during one.
STEPPED = """
from storage.sync import BucketStore

def child():
    try:
        store.get("of the child")
    except storage.StoreClosedError:
        print("refused")
    store.close()

def parts():
    yield b"a"
    forked(child)
    yield b"b"

with BucketStore("b", **options) as store:
    print(len(store.get("1")))
    with store.open("2") as reader:
        reader.read(1)
        forked(child)
        print(len(reader.read()))
    print(store.put("3", parts()))
    print(len(store.get("4")))
"""

#: On an event loop, the child leaves the block in which its parent reads; more than that it cannot wait for.
AWAITED = """
def child():
    call = store.get("of the child")
    try:
        call.send(None)
    except storage.StoreClosedError:
        print("refused")
    try:
        manager.__aexit__(None, None, None).send(None)
    except StopIteration:
        print("left")

async def main():
    global store, manager
    async with storage.BucketStore("b", **options) as store:
        print(len(await store.get("1")))
        manager = store.open("2")
        reader = await manager.__aenter__()
        await reader.read(1)
        forked(child)
        print(len(await reader.read()))
        await manager.__aexit__(None, None, None)
        print(await store.put("3", b"ab"))
        print(len(await store.get("4")))

asyncio.run(main())
"""


@pytest.mark.parametrize("way", [STEPPED, AWAITED], ids=["stepped", "awaited"])
def test_child_leaves_the_connections_of_its_parent_alone(certificate: Certificate, way: str) -> None:
    """It neither sends on them nor takes what comes, and closing them is not noticed by the server and the parent."""
    seen: list[str] = []

    def serve(peer: Peer) -> None:
        for found in peer.requests():
            seen.append(found.line.split()[1])
            body = bytes(SIZE) if found.line.startswith("GET") else b""
            said = answer(body, etag=f'"{found.body.decode()}"')
            peer.send(said[: SIZE // 2])
            time.sleep(0.2)
            peer.send(said[SIZE // 2 :])

    with scripted(serve, tls=certificate.shown()) as server:
        url = f"https://127.0.0.1:{server.port}"
        options = OPTIONS.format(url=url, authority=str(certificate.authority))
        done = programs.run(options + way)
        assert server.wait_closed()
        assert 1 == server.accepted

    assert ["/b/1", "/b/2", "/b/3", "/b/4"] == seen
    assert "" == done.stderr
    child = ["refused", "child 0"] if way == STEPPED else ["refused", "left", "child 0"]
    of_the_put = child if way == STEPPED else []
    assert [f"{SIZE}", *child, f"{SIZE - 1}", *of_the_put, "ab", f"{SIZE}"] == done.stdout.split("\n")[:-1]
