"""What must hold for an HTTP exchange, whatever bytes the server sends; `http.client` is the second opinion."""

from __future__ import annotations

import http.client
import io
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, cast

from storage.stores.s3.transport.exchange import BadAnswerError, Exchange

__all__ = ["Answer", "check", "read", "second_opinion"]


class Answer(NamedTuple):
    """What was read back; *reusable* is of the moment before the server closed the connection."""

    status: int
    headers: dict[str, str]
    body: bytes
    length: int | None
    reusable: bool


class Opinion(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes
    end: int  # the position after the answer


def read(method: str, pieces: Iterable[bytes], taking: int = -1) -> Answer | None:
    """Return the answer in *pieces*, after which the connection is closed; None if it is refused or cut short."""
    exchange = Exchange(method)
    body = []
    try:
        for piece in pieces:
            exchange.feed(piece)
            body.append(exchange.take(taking))
            assert taking < 0 or len(body[-1]) <= taking
        ended, reusable = exchange.ended, exchange.reusable
        exchange.feed_eof()
    except BadAnswerError:
        assert (False, False) == (exchange.ended, exchange.reusable)
        return None
    assert exchange.ended
    assert not exchange.reusable
    assert ended or not reusable
    body.append(exchange.take())
    assert b"" == exchange.take()
    assert 0 == exchange.available
    return Answer(exchange.status, exchange.headers, b"".join(body), exchange.length, reusable)


def check(method: str, data: bytes, cuts: Sequence[int] = (), taking: int = -1) -> Answer | None:
    """
    Return the answer in *data*, or None if it is refused, after a check that it is the right one.

    Args:
        method: The method of the request.
        data: All that the server sends.
        cuts: Where *data* is split into what arrives together; the result must be that of one piece.
        taking: Bytes of body that are taken after each piece; -1 for all.
    """
    answer = read(method, [data])
    places = [0, *sorted(each % (len(data) + 1) for each in cuts), len(data)]
    in_pieces = read(method, [data[first:last] for first, last in pairwise(places)], taking)
    assert answer == in_pieces, f"{answer} in one piece, {in_pieces} when split at {places[1:-1]}"
    if answer is None or (method == "CONNECT" and answer.status < 300):
        return answer
    opinion = second_opinion(method, data)
    if opinion is None:
        assert data.count(b"\r\n") > 100, f"{answer}, but http.client refuses it"  # it allows so many headers
        return answer
    assert opinion[:3] == answer[:3], f"{opinion} is what http.client reads, not {answer}"
    assert answer.length in (None, len(answer.body))
    assert opinion.end == len(data) or not answer.reusable, "bytes came after the end, which would be the next answer"
    return answer


class _Stream(io.BytesIO):
    """What `http.client` reads from; it closes what it has read to the end."""

    def close(self) -> None:
        pass

    def makefile(self, mode: str) -> _Stream:
        return self


def second_opinion(method: str, data: bytes) -> Opinion | None:
    """Return what `http.client` reads from *data*; None if it finds no whole answer."""
    stream = _Stream(data)
    response: Any
    try:
        while True:
            response = http.client.HTTPResponse(cast(Any, stream), method=method)
            response.begin()
            if response.status >= 200:
                break
        if response.status in (204, 304):
            response.chunked = False  # it would read a body that these cannot have
        body = response.read()
    except (http.client.HTTPException, ValueError):
        return None
    headers: dict[str, str] = {}
    for name, value in response.headers.items():
        name, value = name.lower(), value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Opinion(response.status, headers, body, stream.tell())
