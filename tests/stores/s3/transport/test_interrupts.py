"""Ctrl-C in a program that waits for a bucket: it ends at once, and leaves neither a connection nor an upload."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable

import pytest
from processes.programs import program
from servers.scripted import Peer, answer, scripted
from servers.tls import Certificate

pytestmark = [pytest.mark.process]

BEGUN = b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"


class StoppedUpload:
    """
    A script that begins an upload, and stops when parts come.

    Args:
        reads: whether it reads them.
    """

    def __init__(self, reads: bool) -> None:
        self.seen: list[str] = []
        self.waiting = threading.Event()
        self.over = threading.Event()
        self._reads = reads
        self._parts = 0

    def __call__(self, peer: Peer) -> None:
        while (found := peer.head()) is not None:
            self.seen.append(found.line)
            if "partNumber" in found.line:
                self._parts += 1
                if self._parts == 4:
                    self.waiting.set()
                if self._reads:
                    peer.wait_closed()
                self.over.wait(20)
                return
            peer.read(found.length)
            peer.send(answer(BEGUN) if "?uploads" in found.line else answer(status=204))


STORE = """
from storage.sync import BucketStore
store = BucketStore("b", endpoint_url={url!r}, s3_access_key="a", s3_secret_key="s", region="us-east-1",
                    ca_bundle={authority!r})
def parts():
    while True:
        yield bytes(1 << 20)
with store:
    print("open", flush=True)
    try:
        {call}
    except KeyboardInterrupt:
        print("interrupted", [thread.name for thread in threading.enumerate() if "parts" in thread.name])
print("closed")
"""


def run(port: int, shown: Certificate | None, call: str, waiting: Callable[[], object]) -> tuple[float, str, str]:
    """Run a program, press Ctrl-C when *waiting* returns; return the seconds until its end, and its output."""
    url = f"http{'s' if shown else ''}://127.0.0.1:{port}"
    code = STORE.format(url=url, call=call, authority=str(shown.authority) if shown else None)
    with subprocess.Popen(program(code), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            waiting()
            time.sleep(0.1)
            begun = time.monotonic()
            process.send_signal(signal.SIGINT)
            said, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    return time.monotonic() - begun, said, errors


def test_ctrl_c_ends_a_get(certificate: Certificate) -> None:
    """The program goes on without a trace."""
    waiting = threading.Event()

    def serve(peer: Peer) -> None:
        peer.request()
        waiting.set()
        peer.wait_closed()

    with scripted(serve, tls=certificate.shown()) as server:
        took, said, errors = run(server.port, certificate, 'store.get("k")', lambda: waiting.wait(20))
        assert server.wait_closed()
    assert ("open\ninterrupted []\nclosed\n", "") == (said, errors)
    assert took < 3


@pytest.mark.parametrize(("encrypted", "reads"), [(True, True), (False, False)], ids=["TLS", "plain, unread"])
def test_ctrl_c_ends_an_upload_in_parts(certificate: Certificate, encrypted: bool, reads: bool) -> None:
    """Its threads end, its connections are closed, and it is aborted."""
    script, shown = StoppedUpload(reads), certificate if encrypted else None
    with scripted(script, tls=None if shown is None else shown.shown()) as server:
        took, said, errors = run(server.port, shown, 'store.put("k", parts())', lambda: script.waiting.wait(20))
        script.over.set()
        assert server.wait_closed()
    assert ("open\ninterrupted []\nclosed\n", "") == (said, errors)
    assert "DELETE /b/k?uploadId=u HTTP/1.1" == script.seen[-1]
    assert 4 == sum("partNumber" in line for line in script.seen)
    assert took < 4
