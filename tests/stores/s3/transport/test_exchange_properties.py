"""Properties of one HTTP exchange: random answers in random pieces, damaged ones, and random bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from typing import NamedTuple

import pytest
from fuzzing.answers import Answer, check
from hypothesis import given
from hypothesis import strategies as st
from paths import ROOT

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"


class Sent(NamedTuple):
    """An answer as a server sends it, and as it must be read."""

    method: str
    data: bytes
    answer: Answer


names = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyzABC0123456789-_.!~"), min_size=1, max_size=12)
values = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=20).map(
    lambda text: text.strip(" ")
)
methods = st.sampled_from(["GET", "HEAD", "PUT", "DELETE"])
spaces = st.sampled_from(["", " ", " \t"])
statuses = st.sampled_from([200, 204, 206, 301, 304, 400, 404, 412, 500, 503, 599])


@st.composite
def sent(draw: st.DrawFn) -> Sent:
    """Return an answer that a correct server may send."""
    method, status, body = draw(methods), draw(statuses), draw(st.binary(max_size=3000))
    fields = draw(st.lists(st.tuples(names.map("x-".__add__), values), max_size=8))
    framing = draw(st.sampled_from(["length", "chunks", "close"]))
    if framing == "length":
        fields.append(("Content-Length", str(len(body))))
    elif framing == "chunks":
        fields.append(("Transfer-Encoding", "chunked"))
    if draw(st.booleans()):
        fields.append(("connection", draw(st.sampled_from(["close", "keep-alive", "Close, x"]))))
    fields = draw(st.permutations(fields))
    head = "".join(f"{name}:{draw(spaces)}{value}\r\n" for name, value in fields)
    data = draw(st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Hints\r\nlink: a\r\n\r\n"]))
    data += f"HTTP/1.1 {status} Reason\r\n{head}\r\n".encode("latin-1")
    headers: dict[str, str] = {}
    for name, value in fields:
        before = headers.get(name.lower())
        headers[name.lower()] = value if before is None else f"{before}, {value}"
    kept = "close" not in headers.get("connection", "").lower()
    if method == "HEAD" or status in (204, 304):
        return Sent(method, data, Answer(status, headers, b"", 0, kept))
    if framing == "length":
        return Sent(method, data + body, Answer(status, headers, body, len(body), kept))
    if framing == "close":
        return Sent(method, data + body, Answer(status, headers, body, None, False))
    places = sorted(draw(st.lists(st.integers(0, len(body)), max_size=6)))
    for first, last in zip([0, *places], [*places, len(body)], strict=True):
        if first < last:
            data += f"{last - first:{draw(st.sampled_from(['x', 'X', '05x']))}}".encode()
            data += draw(st.sampled_from([b"", b";a", b";a=b", b';a="b c"'])) + b"\r\n" + body[first:last] + b"\r\n"
    data += b"0\r\n" + draw(st.sampled_from([b"", b"x: y\r\n", b"x-amz-checksum-crc32: AAAAAA==\r\n"])) + b"\r\n"
    return Sent(method, data, Answer(status, headers, body, None, kept))


cuts = st.lists(st.integers(0, 4000), max_size=12)


@given(sent(), cuts, st.integers(-1, 100))
def test_every_answer_in_any_pieces_is_read_back(sent: Sent, cuts: list[int], taking: int) -> None:
    """Status, headers and body are those sent, and `http.client` agrees."""
    assert sent.answer == check(sent.method, sent.data, cuts, taking)


@given(sent(), st.binary(min_size=1, max_size=20))
def test_connection_with_bytes_after_the_answer_is_not_reused(sent: Sent, surplus: bytes) -> None:
    """They would be taken for the answer to the next request."""
    answer = check(sent.method, sent.data + surplus)

    assert answer is not None
    assert not answer.reusable
    assert answer.length is None or sent.answer._replace(reusable=False) == answer


@given(sent(), cuts, st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 3), st.binary(max_size=4)), max_size=4))
def test_damaged_answer_is_read_as_others_read_it_or_refused(
    sent: Sent, cuts: list[int], changes: list[tuple[int, int, bytes]]
) -> None:
    """No hang, no other error, and no answer with which `http.client` does not agree."""
    data = sent.data
    for place, removed, inserted in changes:
        place %= len(data) + 1
        data = data[:place] + inserted + data[place + removed :]

    check(sent.method, data, cuts)


@given(methods | st.just("CONNECT"), st.sampled_from([b"", b"HTTP/1.1 ", OK, CHUNKED]), st.binary(max_size=200), cuts)
def test_random_bytes_are_read_as_others_read_them_or_refused(
    method: str, beginning: bytes, data: bytes, cuts: list[int]
) -> None:
    """Likewise."""
    check(method, beginning + data, cuts)


@given(sent())
def test_part_of_an_answer_is_not_taken_for_the_whole(sent: Sent) -> None:
    """A connection that breaks anywhere gives no object, unless nothing tells how long it is."""
    if sent.answer.body and not (sent.answer.length is None and "transfer-encoding" not in sent.answer.headers):
        for cut in {1, 2, 3, 5, len(sent.data) // 2}:
            assert check(sent.method, sent.data[:-cut]) is None


@pytest.mark.process
def test_short_fuzz_run_finds_nothing() -> None:
    """Some seconds of atheris, where it is installed; `tests/support/fuzzing/exchange.py` tells how to go on longer."""
    if find_spec("atheris") is None:
        pytest.skip("needs atheris: pip install atheris (Linux)")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])}
    command = [sys.executable, "-m", "fuzzing.exchange", "-runs=5000", "-max_total_time=5"]

    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    assert 0 == run.returncode, run.stderr[-3000:]
