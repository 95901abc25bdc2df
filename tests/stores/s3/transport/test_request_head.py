"""The head of a request: the bytes that are meant, or an error."""

from __future__ import annotations

import pytest

from storage.stores.s3.transport.exchange import request_head


def test_head_of_a_request_is_as_sent() -> None:
    """The bytes of the standard."""
    assert b"GET /a%20b?c HTTP/1.1\r\nhost: h\r\nx: caf\xe9\r\n\r\n" == request_head(
        "GET", "/a%20b?c", {"host": "h", "x": "caf\xe9"}
    )
    assert b"DELETE / HTTP/1.1\r\n\r\n" == request_head("DELETE", "/", {})


@pytest.mark.parametrize("bad", ["\r", "\n", "\r\n", "\0", "\u0100", "\U0001f600", "\udc80", "\u2028"])
def test_request_that_would_be_read_otherwise_is_refused(bad: str) -> None:
    """A line break in a value would begin a header, or a request, of someone else's choice; the value is not shown."""
    for arguments, part in (
        (("GE" + bad, "/", {}), "the method"),
        (("GET", "/" + bad, {}), "the target"),
        (("GET", "/", {"a": "b", "x" + bad: "y"}), "the header 'x"),
        (("GET", "/", {"a": "b", "x": "secret" + bad + "y: z"}), "the header 'x'"),
    ):
        with pytest.raises(ValueError, match=part) as raised:
            request_head(*arguments)
        assert "secret" not in str(raised.value)
        assert raised.value.__cause__ is None
        assert raised.value.__context__ is None


def test_space_in_a_target_is_refused() -> None:
    """What follows it would be read as the version."""
    for method, target in (("GET", "/a b"), ("GET x", "/")):
        with pytest.raises(ValueError, match="%20"):
            request_head(method, target, {})
