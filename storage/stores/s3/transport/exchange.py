"""
One HTTP/1.1 exchange without input or output: the bytes of a request's head, and the answer from the bytes that arrive.

A driver sends `request_head` and the body, and gives what it receives to `Exchange.feed`. Whether it waits in an event
loop or in a blocking socket makes no difference here.

`httptools` (llhttp) judges the grammar of each head and decodes chunked bodies. It refuses a bare CR or LF, folded
lines, a space before a colon, control characters in a value, a Content-Length given twice or beside Transfer-Encoding.
Refused here, since it accepts them: line breaks before the status line, versions other than 1.0 and 1.1, a status above
599, control characters in the reason, a Transfer-Encoding other than ``chunked``, a switch to another protocol, heads
and framing without a bound. A status line without a reason is accepted: servers send it.

An answer with 12 headers and 4 KiB of body in one piece costs 6.4 us, from ``Exchange("GET")`` to ``take()``; each
further piece of a large body costs 0.4 us, without a copy. The parser, made for each head and used as a judge only, is
0.7 us of it; its callbacks for each header would take 2 us more than `str.split` (CPython 3.11, x86_64).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping

import httptools

__all__ = ["BadAnswerError", "Exchange", "request_head"]

#: The longest head in bytes. S3 limits its own to 8 KiB; other servers and proxies allow 32 KiB and more.
MAX_HEAD = 64 * 1024

#: The most lines in a head; 2 KiB of user metadata, one letter a name, are some 500.
MAX_LINES = 1024

#: The most informational answers (100, 102, 103) before the final one. Servers send one or two.
MAX_INFORMATIONAL = 16

#: The most framing in bytes (sizes of chunks, extensions, trailers) beyond `_FRAMING_PER_BYTE` for each byte of body.
MAX_FRAMING = 64 * 1024

#: Framing in bytes that a byte of body may cost: a chunk of one byte needs 5, and some servers add short extensions.
_FRAMING_PER_BYTE = 16

#: The most digits of a Content-Length, which is then below 2^63: llhttp accepts what no file can have.
_MAX_LENGTH_DIGITS = 18

#: Pieces shorter than this are joined as they arrive: a body sent byte by byte would take 40 times its memory.
_SMALL_PIECE = 512

_NOT_IN_A_REQUEST = re.compile("[\r\n\0]|[^\0-\xff]")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [^\x00-\x08\x0a-\x1f\x7f]*)?\r\n")
_BEGINNING = b"HTTP/1."
_HEAD_END = b"\r\n\r\n"

#: The beginning of a TLS alert, which a TLS port sends when it receives plain HTTP.
_TLS_ALERT = b"\x15\x03"

#: What the decoder of a chunked body is given as its head: it needs none of the real one.
_CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"

# What the next bytes are.
_HEAD, _COUNTED, _CHUNKED, _UNTIL_CLOSE, _ENDED, _REFUSED = range(6)


class BadAnswerError(Exception):
    """The server sent what is no answer to the request; the connection must be closed."""


def request_head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    """
    Return the head of a request: its first line, *headers*, and the empty line after them.

    Raises:
        ValueError: a CR, LF or NUL, a space in *method* or *target*, or a character that is not in latin-1: a server
            would read another request than was meant. The text shows no value, which may be a secret.
    """
    text = f"{method} {target} HTTP/1.1\r\n" + "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    try:
        head = f"{text}\r\n".encode("latin-1")
    except UnicodeEncodeError:
        head = b""
    lines = len(headers) + 2
    if head.count(b"\n") != lines or head.count(b"\r") != lines or b"\0" in head or " " in target or " " in method:
        raise ValueError(_fault_in_request(method, target, headers))
    return head


def _fault_in_request(method: str, target: str, headers: Mapping[str, str]) -> str:
    parts = {"method": method, "target": target}
    parts |= {f"header {name!r}": name + value for name, value in headers.items()}
    for part, text in parts.items():
        if _NOT_IN_A_REQUEST.search(text):
            return f"the {part} of a request has a line break, a NUL or a character outside latin-1: quote or encode it"
    return "the method or the target of a request has a space: quote it as %20"


class _Chunks:
    """What httptools calls with the parts of a chunked body. It has no reference to the parser: no cycle is left."""

    __slots__ = ("ended", "framing", "on_body", "pieces", "surplus", "tail")

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.on_body = self.pieces.append
        self.ended = self.surplus = False
        self.framing = 0  # bytes of framing beyond those that the body allows
        self.tail = b""  # the last bytes received

    def on_message_complete(self) -> None:
        self.ended = True

    def decode(self, parser: httptools.HttpResponseParser, data: bytes) -> bytes:
        """Return the body in *data*; set whether it has ended, and whether anything came after the end."""
        try:
            parser.feed_data(data)
        except httptools.HttpParserError as cause:
            if not self.ended:
                raise BadAnswerError(f"the chunked body is malformed: {cause}") from cause
            self.surplus = True
        body = b"".join(self.pieces)
        self.pieces.clear()
        # What the body allows is not saved up: trailers are bounded after a long body too.
        self.framing = max(0, self.framing + len(data) - len(body) * (1 + _FRAMING_PER_BYTE))
        if self.framing > MAX_FRAMING:
            raise BadAnswerError("the chunked body is nearly all framing: chunk extensions, or trailers without end")
        self.tail = (self.tail + data[-5:])[-5:]
        if self.ended and (self.tail.startswith(b"\n") or not self.tail.endswith(_HEAD_END)):
            self.surplus = True  # llhttp skips line breaks after the end; only one empty line belongs to the body
        return body


class Exchange:
    """
    The answer to one request, as far as it has arrived.

    Attributes:
        status: The status of the final answer; 0 until its head is there.
        headers: Its headers, with names in lower case; the values of a repeated name are joined by ``", "``.
        length: Bytes of the whole body, where the head tells it; 0 for an answer without body (to HEAD, 204, 304, a
            tunnel); None for a chunked body and for one that ends with the connection.
        ended: Whether the body has been received to its end.
        reusable: Whether the connection can take another request: the answer has ended, the server keeps the connection
            open, and nothing came after the end. That the request has been sent wholly is the driver's to know.
        available: Bytes of body that were received and not taken.
        informational: How many informational answers came before the final one; the first permits to send the body of
            a request that has ``Expect: 100-continue``.

    Args:
        method: The method of the request: the answers to ``HEAD`` and ``CONNECT`` have no body of their own.
    """

    __slots__ = (
        "_chunks",
        "_kept_alive",
        "_method",
        "_offset",
        "_parser",
        "_partial",
        "_pieces",
        "_received",
        "_state",
        "available",
        "ended",
        "headers",
        "informational",
        "length",
        "reusable",
        "status",
    )

    _chunks: _Chunks  # these two are there for a chunked body only
    _parser: httptools.HttpResponseParser

    def __init__(self, method: str) -> None:
        self.status: int = 0
        self.headers: dict[str, str] = {}
        self.length: int | None = None
        self.ended: bool = False
        self.reusable: bool = False
        self.available: int = 0
        self.informational: int = 0
        self._method = method
        self._state = _HEAD
        self._partial = bytearray()  # a head that has arrived in part
        self._received = 0  # bytes of body
        self._pieces: deque[bytes] = deque()  # what was not taken of them
        self._offset = 0  # bytes of the first piece that were taken
        self._kept_alive = False

    def feed(self, data: bytes) -> None:
        """
        Read *data*, the next bytes that the server sent, split at any place.

        Raises:
            BadAnswerError: they are not, or do not continue, an answer to the request.
        """
        try:
            if self._state == _HEAD:
                data = self._read_heads(data)
            if data:
                self._read_body(data)
        except BadAnswerError:
            self._state = _REFUSED
            self.ended = self.reusable = False
            raise

    def feed_eof(self) -> None:
        """
        Note that the server closed the connection, which ends a body of which nothing else tells the end.

        Raises:
            BadAnswerError: the answer is incomplete.
        """
        self.reusable = False
        if self._state == _UNTIL_CLOSE:
            self.ended, self._state = True, _ENDED
        if not self.ended:
            fault = self._cut_short()
            self._state = _REFUSED
            raise BadAnswerError(fault)

    def take(self, size: int = -1) -> bytes:
        """Return up to *size* bytes of body that have arrived, and forget them; all with -1; none if none is there."""
        pieces = self._pieces
        if size < 0 or size > self.available:
            size = self.available
        self.available -= size
        if len(pieces) == 1 and len(pieces[0]) == size:
            return pieces.pop()
        taken = []
        while size:
            piece = pieces[0][self._offset : self._offset + size]
            taken.append(piece)
            size -= len(piece)
            self._offset += len(piece)
            if self._offset == len(pieces[0]):
                pieces.popleft()
                self._offset = 0
        return b"".join(taken)

    def _read_heads(self, data: bytes) -> bytes:
        """Read informational answers and the head of the final one; return what follows it, if it is there."""
        start = 0
        if self._partial:
            start = max(0, len(self._partial) - 3)
            self._partial += data
            end = self._partial.find(_HEAD_END, start, MAX_HEAD)
            if end < 0:
                self._check_partial(len(data))
                return b""
            data = bytes(self._partial)
            self._partial.clear()
        while not self.status:
            end = data.find(_HEAD_END, start, MAX_HEAD)
            if end < 0:
                self._partial += data
                self._check_partial(len(data))
                return b""
            self._read_head(data[: end + 4])
            data = data[end + 4 :]
            start = 0
        return data

    def _check_partial(self, new: int) -> None:
        """Refuse a head whose end will never come, now rather than after a timeout; *new* of its bytes are new."""
        head = self._partial
        known = len(head) - new
        if not head.startswith(_BEGINNING[: len(head)]):
            raise _not_http(bytes(head[:32]))
        if head.count(b"\n", known) != head.count(b"\r\n", max(0, known - 1)):
            raise BadAnswerError("the head of the answer has a line that does not end with CR and LF")
        if len(head) >= MAX_HEAD:
            raise BadAnswerError(f"the head of the answer is longer than {MAX_HEAD} bytes")

    def _read_head(self, head: bytes) -> None:
        """Read one whole head; set the status, unless it is informational."""
        match = _STATUS_LINE.match(head)
        if match is None:
            raise _not_http(head[:32])
        lines = head.decode("latin-1").split("\r\n")
        if len(lines) > MAX_LINES:
            raise BadAnswerError(f"the head of the answer has more than {MAX_LINES} lines")
        status = int(match[2])
        if status == 101:
            raise BadAnswerError("the server switched to another protocol, which nobody asked for")
        try:
            httptools.HttpResponseParser(None).feed_data(head)  # only judges: to split lines is faster than callbacks
        except httptools.HttpParserError as cause:
            raise BadAnswerError(f"the head of the answer is malformed: {cause}") from cause
        if status < 200:
            self.informational += 1
            if self.informational > MAX_INFORMATIONAL:
                raise BadAnswerError(f"more than {MAX_INFORMATIONAL} informational answers and no final one")
            return
        headers = self.headers
        for line in lines[1:-2]:
            name, _, value = line.partition(":")
            name = name.lower()
            value = value.strip(" \t")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        self._frame(status, match[1] == b"1")
        self.status = status

    def _frame(self, status: int, newest: bool) -> None:
        """Find how the body ends, and whether the connection can be kept; *newest*: the version is 1.1."""
        headers = self.headers
        coding, length = headers.get("transfer-encoding"), headers.get("content-length")
        if self._method == "CONNECT" and status < 300:
            # A tunnel: the two headers mean nothing here, and the connection takes no second request.
            self.length = 0
            self._end()
            return
        if newest:
            self._kept_alive = "close" not in headers.get("connection", "").lower()
        if coding is not None and (coding.lower() != "chunked" or not newest or length is not None):
            raise BadAnswerError(f"the answer has a Transfer-Encoding that is not understood here: {coding[:80]!r}")
        if length is not None and not (length.isdecimal() and len(length) <= _MAX_LENGTH_DIGITS):
            raise BadAnswerError(f"the answer has a Content-Length that is no length: {length[:80]!r}")
        if self._method == "HEAD" or status in (204, 304):
            self.length = 0
            self._end()
        elif coding is not None:
            self._state = _CHUNKED
            self._chunks = _Chunks()
            self._parser = httptools.HttpResponseParser(self._chunks)
            self._parser.feed_data(_CHUNKED_HEAD)
        elif length is not None:
            self._state = _COUNTED
            self.length = int(length)
            if not self.length:
                self._end()
        else:
            self._state = _UNTIL_CLOSE

    def _read_body(self, data: bytes) -> None:
        if self._state == _COUNTED:
            assert self.length is not None
            left = self.length - self._received
            self._keep(data[:left])  # no copy, unless data is longer
            if len(data) >= left:
                self._end()
                if len(data) > left:
                    self._read_surplus()
        elif self._state == _CHUNKED:
            chunks = self._chunks
            body = chunks.decode(self._parser, data)
            if body:
                self._keep(body)
            if chunks.ended:
                self._end()
                if chunks.surplus:
                    self._read_surplus()
        elif self._state == _UNTIL_CLOSE:
            self._keep(data)
        else:
            self._read_surplus()

    def _read_surplus(self) -> None:
        """Bytes came after the end: the answer is good, but the connection may be out of step."""
        self.reusable = False
        if self._state == _REFUSED:
            raise BadAnswerError("the answer has been refused before")
        if self._method == "CONNECT" and self.status < 300:
            raise BadAnswerError("the proxy sent bytes of its own into the tunnel, before TLS began")

    def _keep(self, data: bytes) -> None:
        pieces = self._pieces
        self.available += len(data)
        self._received += len(data)
        if len(data) < _SMALL_PIECE and pieces and len(pieces[-1]) < _SMALL_PIECE:
            pieces[-1] += data
        else:
            pieces.append(data)

    def _end(self) -> None:
        self.ended = True
        self.reusable = self._kept_alive
        self._state = _ENDED

    def _cut_short(self) -> str:
        if self._state == _REFUSED:
            return "the answer has been refused before"
        if self.status:
            whole = "" if self.length is None else f" of {self.length}"
            return f"the answer was cut short after {self._received}{whole} bytes of its body"
        if self._partial:
            return f"the answer was cut short after {len(self._partial)} bytes of its head"
        return "the server closed the connection without an answer"


def _not_http(beginning: bytes) -> BadAnswerError:
    hint = "; the port expects TLS: use https://" if beginning.startswith(_TLS_ALERT) else ""
    return BadAnswerError(f"the server sent no answer of HTTP 1.0 or 1.1: it begins with {beginning!r}{hint}")
