"""One HTTP exchange: good answers are read back however they arrive, and what is no answer is refused."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterable

import pytest
from fuzzing.answers import Answer, check, read

from storage.stores.s3.transport.exchange import (
    MAX_FRAMING,
    MAX_HEAD,
    MAX_INFORMATIONAL,
    MAX_LINES,
    BadAnswerError,
    Exchange,
)

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
FIVE = OK + b"content-length: 5\r\n\r\nhello"
HELLO = Answer(200, {"content-length": "5"}, b"hello", 5, True)


def empty(status: int, reusable: bool = True, **headers: str) -> Answer:
    """Return an answer without a body."""
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, b"", 0, reusable)


def text(length: int | None, reusable: bool = True, **headers: str) -> Answer:
    """Return the answer 200 with the body ``hello``."""
    return empty(200, reusable, **headers)._replace(body=b"hello", length=length)


GOOD = {
    "a length": ("GET", FIVE, HELLO),
    "no body": ("PUT", OK + b"Content-Length: 0\r\n\r\n", empty(200, content_length="0")),
    "spaces around a length": ("GET", OK + b"Content-Length:   5  \r\n\r\nhello", HELLO),
    "spaces around a value": ("HEAD", OK + b"x: \t a \tb \t \r\n\r\n", empty(200, x="a \tb")),
    "no space before a value": ("GET", OK + b"Content-Length:5\r\n\r\nhello", HELLO),
    "an empty value": ("GET", OK + b"x:\r\ncontent-length:0\r\n\r\n", empty(200, x="", content_length="0")),
    "a value in latin-1": ("HEAD", OK + b"x: caf\xe9\r\n\r\n", empty(200, x="caf\xe9")),
    "a name that comes thrice": ("HEAD", OK + b"X: a\r\nx: b\r\ny: c\r\nX: a\r\n\r\n", empty(200, x="a, b, a", y="c")),
    "no reason": ("HEAD", b"HTTP/1.1 200\r\n\r\n", empty(200)),
    "a reason in latin-1": ("HEAD", b"HTTP/1.1 404 Pas trouv\xe9\r\n\r\n", empty(404)),
    "HEAD with a length": ("HEAD", OK + b"content-length: 5\r\n\r\n", empty(200, content_length="5")),
    "HEAD that is chunked": ("HEAD", CHUNKED, empty(200, transfer_encoding="chunked")),
    "HEAD with a body": ("HEAD", FIVE, empty(200, False, content_length="5")),
    "204": ("DELETE", b"HTTP/1.1 204 No Content\r\n\r\n", empty(204)),
    "204 with a length": ("GET", b"HTTP/1.1 204 X\r\ncontent-length: 5\r\n\r\n", empty(204, content_length="5")),
    "204 with a body": ("GET", b"HTTP/1.1 204 X\r\n\r\nhello", empty(204, False)),
    "304 with a length": ("GET", b"HTTP/1.1 304 X\r\ncontent-length: 5\r\n\r\n", empty(304, content_length="5")),
    "304 with a body": ("GET", b"HTTP/1.1 304 X\r\n\r\nh", empty(304, False)),
    "until the connection is closed": ("GET", OK + b"\r\nhello", text(None, False)),
    "HTTP/1.0": ("GET", b"HTTP/1.0 200 OK\r\n\r\nhello", text(None, False)),
    "HTTP/1.0 that keeps alive": (
        "GET",
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 5\r\n\r\nhello",
        text(5, False, connection="keep-alive", content_length="5"),
    ),
    "the server closes": (
        "GET",
        OK + b"Connection: x , Close\r\ncontent-length: 5\r\n\r\nhello",
        text(5, False, connection="x , Close", content_length="5"),
    ),
    "an upgrade is offered": (
        "HEAD",
        OK + b"connection: upgrade\r\nupgrade: h2c\r\n\r\n",
        empty(200, connection="upgrade", upgrade="h2c"),
    ),
    "bytes after a length": ("GET", FIVE + b"!", HELLO._replace(reusable=False)),
    "a second answer": ("GET", FIVE + FIVE, HELLO._replace(reusable=False)),
    "a line break after a length": ("GET", FIVE + b"\r\n", HELLO._replace(reusable=False)),
    "chunks": ("GET", CHUNKED + b"2\r\nhe\r\n03\r\nllo\r\n0\r\n\r\n", text(None, transfer_encoding="chunked")),
    "chunks in capitals": (
        "GET",
        OK + b"Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n000\r\n\r\n",
        text(None, transfer_encoding="Chunked"),
    ),
    "extensions and trailers": (
        "GET",
        CHUNKED + b'5;a=b;c="d e";f\r\nhello\r\n0;g\r\nx: y\r\ncontent-md5: z\r\n\r\n',
        text(None, transfer_encoding="chunked"),
    ),
    "bytes after chunks": (
        "GET",
        CHUNKED + b"5\r\nhello\r\n0\r\n\r\nH",
        text(None, False, transfer_encoding="chunked"),
    ),
    "a second answer after chunks": (
        "GET",
        CHUNKED + b"5\r\nhello\r\n0\r\n\r\n" + FIVE,
        text(None, False, transfer_encoding="chunked"),
    ),
    "a line break after chunks": (
        "GET",
        CHUNKED + b"5\r\nhello\r\n0\r\n\r\n\r\n",
        text(None, False, transfer_encoding="chunked"),
    ),
    "a CR after chunks": (
        "GET",
        CHUNKED + b"5\r\nhello\r\n0\r\nx: y\r\n\r\n\r",
        text(None, False, transfer_encoding="chunked"),
    ),
    "informational answers": ("PUT", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 X\r\nlink: a\r\n\r\n" + FIVE, HELLO),
    "100 that closes": ("PUT", b"HTTP/1.1 100 Continue\r\nconnection: close\r\n\r\n" + FIVE, HELLO),
    "100 with a length": ("PUT", b"HTTP/1.1 100 Continue\r\ncontent-length: 9\r\n\r\n" + FIVE, HELLO),
    "as many informational answers as allowed": ("PUT", b"HTTP/1.1 100 X\r\n\r\n" * MAX_INFORMATIONAL + FIVE, HELLO),
    "a tunnel": ("CONNECT", b"HTTP/1.0 200 Connection established\r\n\r\n", empty(200, False)),
    "a tunnel with a length": ("CONNECT", OK + b"content-length: 5\r\n\r\n", empty(200, False, content_length="5")),
    "a tunnel that is refused": (
        "CONNECT",
        b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 2\r\n\r\nno",
        Answer(407, {"content-length": "2"}, b"no", 2, True),
    ),
}

#: What is refused before the connection is closed, with words of the error.
REFUSED = {
    "another protocol": (b"SSH-2.0-OpenSSH_9.6\r\n", "begins with b'SSH-2.0-OpenSSH"),
    "a port for TLS": (b"\x15\x03\x01\x00\x02\x02\x46", "expects TLS: use https://"),
    "HTTP/0.9": (b"<html>hello</html>", "no answer of HTTP"),
    "HTTP/2": (b"HTTP/2.0 200 OK\r\n\r\n", "no answer of HTTP 1.0 or 1.1"),
    "HTTP/1.2": (b"HTTP/1.2 200 OK\r\n\r\n", "no answer of HTTP 1.0 or 1.1"),
    "HTTP in lower case": (b"http/1.1 200 OK\r\n\r\n", "no answer"),
    "a line break first": (b"\r\n" + FIVE, "no answer"),
    "a space first": (b" " + FIVE, "no answer"),
    "two spaces before the status": (b"HTTP/1.1  200 OK\r\n\r\n", "no answer"),
    "a status of two digits": (b"HTTP/1.1 20 OK\r\n\r\n", "no answer"),
    "a status of four digits": (b"HTTP/1.1 2000 OK\r\n\r\n", "no answer"),
    "status 099": (b"HTTP/1.1 099 OK\r\n\r\n", "no answer"),
    "status 600": (b"HTTP/1.1 600 OK\r\n\r\n", "no answer"),
    "a signed status": (b"HTTP/1.1 -20 OK\r\n\r\n", "no answer"),
    "a NUL in the reason": (b"HTTP/1.1 200 O\0K\r\n\r\n", "no answer"),
    "a CR in the reason": (b"HTTP/1.1 200 O\rK\r\n\r\n", "no answer"),
    "an LF after the status line": (b"HTTP/1.1 200 OK\ncontent-length: 0\r\n\r\n", "no answer"),
    "only LF": (b"HTTP/1.1 200 OK\ncontent-length: 0\n\n", "does not end with CR and LF"),
    "an LF after a header": (OK + b"a: b\ncontent-length: 0\r\n\r\n", "malformed"),
    "a CR in a value": (OK + b"a: b\rc\r\n\r\n", "malformed"),
    "a NUL in a value": (OK + b"a: b\0c\r\n\r\n", "malformed"),
    "a control character in a value": (OK + b"a: b\x01c\r\n\r\n", "malformed"),
    "DEL in a value": (OK + b"a: b\x7fc\r\n\r\n", "malformed"),
    "a folded value": (OK + b"a: b\r\n c\r\n\r\n", "malformed"),
    "a value folded by a tab": (OK + b"a: b\r\n\tc\r\n\r\n", "malformed"),
    "a folded empty value": (OK + b"a:\r\n b\r\n\r\n", "malformed"),
    "a space before the first name": (OK + b" a: b\r\n\r\n", "malformed"),
    "a space before the colon": (OK + b"content-length : 5\r\n\r\nhello", "malformed"),
    "a space in a name": (OK + b"content length: 5\r\n\r\nhello", "malformed"),
    "a name in latin-1": (OK + b"caf\xe9: b\r\n\r\n", "malformed"),
    "no name": (OK + b": b\r\n\r\n", "malformed"),
    "no colon": (OK + b"ab\r\n\r\n", "malformed"),
    "a negative length": (OK + b"content-length: -1\r\n\r\n", "malformed"),
    "a length with a plus": (OK + b"content-length: +5\r\n\r\nhello", "malformed"),
    "a hexadecimal length": (OK + b"content-length: 0x5\r\n\r\nhello", "malformed"),
    "a length with a point": (OK + b"content-length: 5.0\r\n\r\nhello", "malformed"),
    "a length with an underscore": (OK + b"content-length: 1_0\r\n\r\nhello", "malformed"),
    "an empty length": (OK + b"content-length: \r\n\r\n", "malformed"),
    "a superscript as a length": (OK + b"content-length: \xb2\r\n\r\n", "malformed"),
    "a huge length": (OK + b"content-length: " + b"9" * 40 + b"\r\n\r\n", "malformed"),
    "a length of 2^63": (OK + b"content-length: 9223372036854775808\r\n\r\n", "no length"),
    "two lengths": (OK + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello", "malformed"),
    "the same length twice": (OK + b"content-length: 5\r\ncontent-length: 5\r\n\r\nhello", "malformed"),
    "a list of lengths": (OK + b"content-length: 5, 5\r\n\r\nhello", "malformed"),
    "a length and chunks": (OK + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n5", "malformed"),
    "chunks and a length": (OK + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n5", "malformed"),
    "a length and a coding": (
        OK + b"content-length: 5\r\ntransfer-encoding: x\r\n\r\nhello",
        "malformed|Transfer-Encoding",
    ),
    "gzip, chunked": (OK + b"transfer-encoding: gzip, chunked\r\n\r\n", "'gzip, chunked'"),
    "chunked, gzip": (OK + b"transfer-encoding: chunked, gzip\r\n\r\n", "Transfer-Encoding"),
    "chunked twice": (OK + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n", "Transfer-Encoding"),
    "gzip and chunked in two lines": (
        OK + b"transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n",
        "Transfer-Encoding",
    ),
    "identity": (OK + b"transfer-encoding: identity\r\n\r\nhello", "Transfer-Encoding"),
    "an empty coding": (OK + b"transfer-encoding:\r\n\r\nhello", "Transfer-Encoding"),
    "a quoted coding": (OK + b'transfer-encoding: "chunked"\r\n\r\n', "Transfer-Encoding"),
    "a coding with a vertical tab": (OK + b"transfer-encoding: \x0bchunked\r\n\r\n", "malformed"),
    "chunks in HTTP/1.0": (b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "Transfer-Encoding"),
    "another protocol from now on": (
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
        "another protocol",
    ),
    "101 without a protocol": (b"HTTP/1.1 101 X\r\n\r\n", "another protocol"),
    "too many informational answers": (b"HTTP/1.1 100 X\r\n\r\n" * (MAX_INFORMATIONAL + 1), "informational"),
    "a malformed answer after 100": (b"HTTP/1.1 100 X\r\n\r\n\r\n" + FIVE, "no answer"),
    "an endless value": (OK + b"a: " + b"b" * MAX_HEAD, "longer than 65536 bytes"),
    "an endless reason": (b"HTTP/1.1 200 " + b"b" * MAX_HEAD, "longer than 65536 bytes"),
    "a head of a byte too many": (OK + b"a: " + b"b" * (MAX_HEAD - 23) + b"\r\n\r\n", "longer than 65536 bytes"),
    "too many lines": (OK + b"a: b\r\n" * MAX_LINES + b"\r\n", "more than 1024 lines"),
    "a chunk without a size": (CHUNKED + b"\r\nhello\r\n", "chunked body is malformed"),
    "a size with 0x": (CHUNKED + b"0x5\r\nhello\r\n", "chunked body is malformed"),
    "a size with a plus": (CHUNKED + b"+5\r\nhello\r\n", "chunked body is malformed"),
    "a negative size": (CHUNKED + b"-5\r\nhello\r\n", "chunked body is malformed"),
    "a huge size": (CHUNKED + b"1" + b"0" * 16 + b"\r\nhello\r\n", "chunked body is malformed"),
    "a space before a size": (CHUNKED + b" 5\r\nhello\r\n", "chunked body is malformed"),
    "a size that ends with LF": (CHUNKED + b"5\nhello\r\n", "chunked body is malformed"),
    "a NUL in an extension": (CHUNKED + b"5;a\0\r\nhello\r\n", "chunked body is malformed"),
    "an LF in an extension": (CHUNKED + b'5;a="b\nc"\r\nhello\r\n', "chunked body is malformed"),
    "a chunk that is too long": (CHUNKED + b"5\r\nhello!\r\n", "chunked body is malformed"),
    "a chunk that ends with LF": (CHUNKED + b"5\r\nhello\n0\r\n\r\n", "chunked body is malformed"),
    "a last chunk that ends with LF": (CHUNKED + b"0\n\r\n", "chunked body is malformed"),
    "trailers that end with LF": (CHUNKED + b"0\r\n\n", "chunked body is malformed"),
    "a malformed trailer": (CHUNKED + b"0\r\na b\r\n\r\n", "chunked body is malformed"),
    "a folded trailer": (CHUNKED + b"0\r\na: b\r\n c\r\n\r\n", "chunked body is malformed"),
    "a length in the trailers": (CHUNKED + b"0\r\ncontent-length: 5\r\n\r\n", "chunked body is malformed"),
    "an endless size": (CHUNKED + b"0" * (MAX_FRAMING + 1), "nearly all framing"),
    "an endless extension": (CHUNKED + b"5;" + b"a" * MAX_FRAMING, "nearly all framing"),
    "endless trailers": (CHUNKED + b"0\r\n" + b"a: b\r\n" * (MAX_FRAMING // 6 + 1), "nearly all framing"),
    "tiny chunks with large extensions": (CHUNKED + (b"1;" + b"a" * 1000 + b"\r\nx\r\n") * 70, "nearly all framing"),
}

#: What only the end of the connection shows.
CUT_SHORT = {
    "nothing": (b"", "closed the connection without an answer"),
    "a part of the status line": (b"HTTP/1.1 20", "cut short after 11 bytes of its head"),
    "a part of the head": (OK + b"content-length: 5\r\n", "cut short after 36 bytes of its head"),
    "only 100": (b"HTTP/1.1 100 Continue\r\n\r\n", "without an answer"),
    "a head without its body": (OK + b"content-length: 5\r\n\r\n", "cut short after 0 of 5 bytes of its body"),
    "a part of the body": (FIVE[:-1], "cut short after 4 of 5 bytes of its body"),
    "chunks without an end": (CHUNKED + b"5\r\nhello\r\n", "cut short after 5 bytes of its body"),
    "chunks without the empty line": (CHUNKED + b"5\r\nhello\r\n0\r\n", "cut short after 5 bytes of its body"),
    "a part of a chunk": (CHUNKED + b"ffffffffffffffff\r\nhello", "cut short after 5 bytes of its body"),
}


def accepts(pieces: Iterable[bytes]) -> bool:
    """Return whether an exchange accepts all pieces."""
    exchange = Exchange("GET")
    try:
        for piece in pieces:
            exchange.feed(piece)
    except BadAnswerError:
        return False
    return True


@pytest.mark.parametrize(("method", "data", "expected"), GOOD.values(), ids=GOOD)
def test_answer_is_read_back_however_it_is_split(method: str, data: bytes, expected: Answer) -> None:
    """Each answer in one piece, in two pieces split at each byte, and byte by byte; and as `http.client` reads it."""
    assert expected == check(method, data, range(len(data)))
    for cut in range(len(data) + 1):
        assert expected == read(method, [data[:cut], data[cut:]], 3)


@pytest.mark.parametrize(("data", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_answer_is_refused(data: bytes, words: str) -> None:
    """At once, and not when the connection is closed or a timeout is over; and nothing after it is accepted."""
    exchange = Exchange("GET")
    with pytest.raises(BadAnswerError, match=words):
        exchange.feed(data)

    assert (False, False) == (exchange.ended, exchange.reusable)
    with pytest.raises(BadAnswerError, match="refused before"):
        exchange.feed(FIVE)
    with pytest.raises(BadAnswerError, match="refused before"):
        exchange.feed_eof()
    for cut in range(1, min(len(data), 200)):
        assert not accepts([data[:cut], data[cut:]])


@pytest.mark.parametrize("data", [data for data, _ in REFUSED.values()], ids=REFUSED)
def test_what_is_no_answer_is_refused_byte_by_byte(data: bytes) -> None:
    """However slowly it comes."""
    assert not accepts([bytes([each]) for each in data])


@pytest.mark.parametrize(("data", "words"), CUT_SHORT.values(), ids=CUT_SHORT)
def test_answer_that_is_cut_short_is_refused(data: bytes, words: str) -> None:
    """The error tells what was missing."""
    for pieces in ([data], [bytes([each]) for each in data]):
        exchange = Exchange("GET")
        for piece in pieces:
            exchange.feed(piece)
        assert not exchange.ended

        with pytest.raises(BadAnswerError, match=words):
            exchange.feed_eof()
        assert (False, False) == (exchange.ended, exchange.reusable)


def test_bytes_in_a_tunnel_before_its_use_are_refused() -> None:
    """They would be taken for what the server said over TLS; they may come with the head or after it."""
    together, later = Exchange("CONNECT"), Exchange("CONNECT")
    later.feed(OK + b"\r\n")
    assert later.ended

    for exchange, data in ((together, OK + b"\r\nx"), (later, b"x")):
        with pytest.raises(BadAnswerError, match="into the tunnel"):
            exchange.feed(data)
        assert not exchange.ended


def test_head_of_the_greatest_size_is_read() -> None:
    """The bounds are those of the docstrings, not one byte or line less."""
    value = b"b" * (MAX_HEAD - 24)
    lines = MAX_LINES - 3
    longest, most = Exchange("HEAD"), Exchange("HEAD")
    longest.feed(OK + b"a: " + value + b"\r\n\r\n")
    most.feed(OK + b"a: b\r\n" * lines + b"\r\n")

    assert {"a": value.decode()} == longest.headers
    assert {"a": ", ".join(["b"] * lines)} == most.headers
    assert [True, True] == [longest.ended, most.ended]


def test_what_has_arrived_is_told_while_it_arrives() -> None:
    """A driver sees the head before the body, and how much of the body it can take."""
    exchange = Exchange("PUT")
    seen = []
    for piece in (b"HTTP/1.1 100 Continue\r\n\r\n", OK + b"content-le", b"ngth: 5\r\n\r\n", b"he", b"llo", b"x"):
        exchange.feed(piece)
        seen.append((exchange.informational, exchange.status, exchange.length, exchange.available, exchange.ended))

    expected = [(1, 0, None, 0, False), (1, 0, None, 0, False), (1, 200, 5, 0, False), (1, 200, 5, 2, False)]
    assert [*expected, (1, 200, 5, 5, True), (1, 200, 5, 5, True)] == seen
    assert [b"h", b"ell", b"", b"o", b""] == [exchange.take(size) for size in (1, 3, 0, 9, -1)]
    assert not exchange.reusable


def test_body_in_one_piece_is_not_copied() -> None:
    """Of a large object each copy would cost as much as receiving it."""
    exchange = Exchange("GET")
    body = bytes(1000)
    exchange.feed(OK + b"content-length: 2000\r\n\r\n")
    exchange.feed(body)

    assert exchange.take() is body
    exchange.feed(body)
    assert exchange.take(1000) is body
    assert exchange.reusable


@pytest.mark.parametrize("head", [OK + b"content-length: 30000\r\n\r\n", OK + b"\r\n", CHUNKED + b"7530\r\n"])
def test_body_sent_byte_by_byte_takes_little_memory(head: bytes) -> None:
    """A slow server, or a hostile one, does not cost 40 times the memory of what it sends."""
    exchange = Exchange("GET")
    exchange.feed(head)
    tracemalloc.start()
    try:
        for _ in range(30_000):
            exchange.feed(b"x")
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

    assert used < 100_000
    assert b"x" * 30_000 == exchange.take()


def test_small_chunks_with_their_share_of_framing_are_read() -> None:
    """One byte a chunk is wasteful, and allowed; trailers after a long body are bounded as others."""
    exchange = Exchange("GET")
    exchange.feed(CHUNKED)
    for _ in range(10):
        exchange.feed(b"1;ab=cdef\r\nx\r\n" * 10_000)
    assert b"x" * 100_000 == exchange.take()

    with pytest.raises(BadAnswerError, match="framing"):
        exchange.feed(b"0\r\n" + b"a: b\r\n" * (MAX_FRAMING // 6 + 1))


def test_exchange_leaves_no_reference_cycle() -> None:
    """Thousands of exchanges a second would keep the garbage collector busy."""
    gc.collect()
    gc.disable()
    try:
        for data in (FIVE, CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", CHUNKED + b"5\r\nhe", OK):
            Exchange("GET").feed(data)
        assert 0 == gc.collect()
    finally:
        gc.enable()
