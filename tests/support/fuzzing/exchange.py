"""
A fuzz run of the HTTP exchange, with atheris (``pip install atheris``), until something does not hold:

    PYTHONPATH=.:tests/support python -m fuzzing.exchange -max_total_time=300

The options are libFuzzer's; a folder keeps what was found for the next run.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["storage.stores.s3.transport"]):
    from fuzzing.answers import check

METHODS = ["GET", "HEAD", "PUT", "CONNECT"]

#: What mutations start from; one byte for the method, one for the size of takes, four for cuts come before each.
SEEDS = [
    b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: "a"\r\n\r\nhello',
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a\r\nhello\r\n00a\r\n0123456789\r\n0\r\nx: y\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.0 404 Not Found\r\nconnection: close\r\n\r\nuntil the end",
    b"HTTP/1.1 204\r\nconnection: keep-alive\r\nx: a\r\nx: b\r\n\r\n",
]

#: What mutations insert, in the form of libFuzzer's dictionaries.
WORDS = [
    *("HTTP/1.0 ", "HTTP/1.1 ", "100 ", "101 ", "200 ", "204 ", "304 ", "gzip, ", "ffffffffffffffff"),
    *("content-length: ", "transfer-encoding: chunked", "connection: close", "upgrade: h2c"),
    *(r"\x0a", r"\x0d\x0a", r"\x0d\x0a\x0d\x0a", r"0\x0d\x0a\x0d\x0a"),
]


def one(data: bytes) -> None:
    """Check the answer in *data*."""
    settings, answer = data[:6], data[6:]
    if len(settings) < 6:
        return
    cuts = [int.from_bytes(settings[2:4]), int.from_bytes(settings[4:6])]
    check(METHODS[settings[0] % len(METHODS)], answer, cuts, settings[1] % 8 - 1)
    if len(answer) < 300:
        check(METHODS[settings[0] % len(METHODS)], answer, range(len(answer)))  # byte by byte


def main() -> None:
    """Run until something does not hold, or as long as the options say."""
    with tempfile.TemporaryDirectory() as folder:
        seeds, words = Path(folder, "seeds"), Path(folder, "words")
        seeds.mkdir()
        for number, seed in enumerate(SEEDS):
            Path(seeds, str(number)).write_bytes(bytes([0, 0, 0, 30, 0, 60]) + seed)
        words.write_text("".join(f'"{word}"\n' for word in WORDS))
        own = [each for each in sys.argv[1:] if not each.startswith("-")]
        options = [each for each in sys.argv[1:] if each.startswith("-")]
        atheris.Setup([sys.argv[0], *options, f"-dict={words}", *own, str(seeds)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
