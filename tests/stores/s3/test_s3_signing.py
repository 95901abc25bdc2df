"""The signer of requests to S3, compared with botocore's."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from unittest import mock
from urllib.parse import quote

import botocore.auth
import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import ConfigError
from storage.stores.s3.signing import UNSIGNED, Credentials, Signer, canonical_query, quoted_path, sha256_hex
from storage.testing import NASTY_KEYS

NOW = datetime(2024, 2, 29, 23, 59, 58, tzinfo=UTC)
SECONDS = NOW.timestamp()

HOST = "storage.example:9000"
SIGNER = Signer(HOST, "here")
ALICE = Credentials("alice", "hers")

#: Keys that a store can send: a key without a UTF-8 form is refused before it is signed.
NASTY_PATHS = sorted(key for key in NASTY_KEYS.values() if key.encode(errors="ignore").decode() == key)

keys = st.one_of(st.sampled_from(NASTY_PATHS), st.text(st.characters(codec="utf-8"), min_size=1))
words = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=20)
values = st.text(st.characters(codec="ascii", min_codepoint=32, max_codepoint=126), max_size=30)
names = st.text("abcz09-_.%", min_size=1, max_size=20)
people = st.builds(Credentials, words, words, st.one_of(st.none(), words))


def path_of(key: str) -> str:
    return "/bucket/" + quoted_path(key)


def received(head: str) -> dict[str, str]:
    """Return the headers that a server finds in these lines."""
    *lines, end = head.split("\r\n")
    assert end == ""
    assert not {"\r", "\n", "\0"} & set("".join(lines))
    assert len(lines) == len({line.partition(":")[0] for line in lines})
    return {name: value.strip(" \t") for name, _, value in (line.partition(":") for line in lines)}


def boto(credentials: Credentials) -> BotoCredentials:
    return BotoCredentials(credentials.access_key, credentials.secret_key, credentials.token)


def botocore_at(now: datetime) -> AbstractContextManager[object]:
    """Let botocore sign at the time *now*; older versions take it from the module datetime."""
    if hasattr(botocore.auth, "get_current_datetime"):
        return mock.patch("botocore.auth.get_current_datetime", return_value=now)
    module = mock.Mock(wraps=botocore.auth.datetime)
    module.datetime.utcnow.return_value = now
    return mock.patch("botocore.auth.datetime", module)


@given(
    people,
    st.sampled_from(["GET", "PUT", "DELETE", "HEAD", "POST"]),
    keys,
    st.dictionaries(st.text(st.characters(codec="utf-8"), min_size=1, max_size=9), st.text(max_size=9), max_size=4),
    st.dictionaries(st.one_of(names, names.map(lambda name: f"x-amz-meta-{name}")), values, max_size=3),
    words,
    st.sampled_from([UNSIGNED, sha256_hex(b""), sha256_hex(b"body")]),
)
def test_signed_request_is_botocores(
    credentials: Credentials,
    method: str,
    key: str,
    query: dict[str, str],
    headers: dict[str, str],
    region: str,
    payload: str,
) -> None:
    """The signature is the same for every key, query and header, also with blanks around and in the header's value."""
    text = canonical_query(query)
    request = AWSRequest(method, f"http://{HOST}{path_of(key)}?{text}", {"host": HOST, **headers})
    request.headers["X-Amz-Content-SHA256"] = payload
    request.context["payload_signing_enabled"] = payload != UNSIGNED
    with botocore_at(NOW.replace(tzinfo=None)):
        auth = S3SigV4Auth(boto(credentials), "s3", region)
        auth.payload = lambda request: payload  # the hash of the body is given, not computed
        auth.add_auth(request)

    head = Signer(HOST, region).head(
        credentials, method, path_of(key), text, headers, now=SECONDS + 0.9, payload=payload
    )

    expected = {name.lower(): " ".join(value.split()) for name, value in request.headers.items()}
    assert expected == received(head)


@given(
    people, st.sampled_from(["GET", "PUT"]), keys, st.dictionaries(names, values, max_size=2), st.integers(1, 604800)
)
def test_presigned_url_is_botocores(
    credentials: Credentials, method: str, key: str, headers: dict[str, str], expires: int
) -> None:
    """The signature and all parameters are the same."""
    request = AWSRequest(method, f"https://{HOST}{path_of(key)}", {"host": HOST, **headers})
    with botocore_at(NOW.replace(tzinfo=None)):
        S3SigV4QueryAuth(boto(credentials), "s3", "here", expires=expires).add_auth(request)

    ours = SIGNER.presigned_query(credentials, method, path_of(key), headers, now=SECONDS, expires=expires)

    assert sorted(request.url.partition("?")[2].split("&")) == sorted(ours.split("&"))


@given(keys)
def test_path_is_quoted_where_it_must(key: str) -> None:
    """Only slashes and the characters that RFC 3986 calls unreserved stay as they are."""
    assert quote(key, safe="/-_.~") == quoted_path(key)


def test_query_is_in_the_order_of_its_names() -> None:
    """The names are compared after they are quoted, and without what separates them from the values."""
    assert "%C3%A9=1&a=2&a-b=3&a.=%2F%20" == canonical_query({"a.": "/ ", "a-b": "3", "a": "2", "é": "1"})


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [ALICE, ALICE._replace(token="t"), ALICE._replace(secret_key="other"), Credentials("b", "c")]
            ),
            st.sampled_from([SECONDS, SECONDS + 1, SECONDS + 2, SECONDS + 86400, SECONDS - 86400]),
            st.sampled_from([{}, {"range": "bytes=0-1"}]),
        ),
        max_size=8,
    )
)
def test_signer_follows_credentials_and_time(requests: list[tuple[Credentials, float, dict[str, str]]]) -> None:
    """What a signer keeps for later requests is used for none of other credentials, seconds or days."""
    signer = Signer(HOST, "here")

    for credentials, now, headers in requests:
        fresh = Signer(HOST, "here").head(credentials, "GET", "/k", "", headers, now=now)
        assert fresh == signer.head(credentials, "GET", "/k", "", headers, now=now)


def test_threads_share_a_signer() -> None:
    """Each request has the signature of its credentials and its second while other threads use others."""
    signer = Signer(HOST, "here")

    def sign(number: int) -> str:
        return signer.head(ALICE._replace(token=str(number % 3)), "GET", "/k", "", {}, now=SECONDS + number % 2)

    expected = [sign(number) for number in range(6)] * 200
    with ThreadPoolExecutor(4) as threads:
        assert expected == list(threads.map(sign, range(1200)))


@given(st.text(st.sampled_from("a\r\n\0\t \x0b\x85\u2028:é"), max_size=8), st.sampled_from([None, ALICE]))
def test_value_begins_no_line(value: str, credentials: Credentials | None) -> None:
    """A line end in a value is sent as a blank, signed or not; a NUL is refused."""
    if "\0" in value:
        with pytest.raises(ValueError, match="NUL"):
            SIGNER.head(credentials, "GET", "/k", "", {"if-match": value}, now=SECONDS)
    else:
        head = SIGNER.head(credentials, "GET", "/k", "", {"if-match": value}, now=SECONDS)
        assert " ".join(value.split()) == received(head)["if-match"]


@pytest.mark.parametrize("name", ["a\nb", "a\n", "a\r", "a:b", "a b", "Range", "", "é", "\0"])
@pytest.mark.parametrize("credentials", [None, ALICE], ids=["anonymous", "signed"])
def test_wrong_name_is_refused(name: str, credentials: Credentials | None) -> None:
    """A name begins no line; one with capitals would be signed in another form than it is sent."""
    with pytest.raises(ValueError, match=re.escape(f"the header {name!r}")):
        SIGNER.head(credentials, "GET", "/k", "", {name: "v"}, now=SECONDS)


@pytest.mark.parametrize("name", ["host", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token"])
def test_header_of_the_signer_is_refused(name: str) -> None:
    """No header has two lines, of which a server could take the other one."""
    with pytest.raises(ValueError, match=f"the header '{name}' is given twice"):
        SIGNER.head(ALICE._replace(token="t"), "GET", "/k", "", {name: "v"}, now=SECONDS)


@pytest.mark.parametrize("text", ["a b", "a\nb", "a\r\nb: c", "a\0", "a\x7f", "a\u2028"])
@pytest.mark.parametrize("credentials", [None, ALICE], ids=["anonymous", "signed"])
def test_target_that_is_not_quoted_is_refused(text: str, credentials: Credentials | None) -> None:
    """A path or a query does not end the request line, and no line of what is signed."""
    with pytest.raises(ValueError, match="not quoted"):
        SIGNER.head(credentials, "GET", f"/{text}", "", {}, now=SECONDS)
    with pytest.raises(ValueError, match="not quoted"):
        SIGNER.head(credentials, "GET", "/", f"a={text}", {}, now=SECONDS)
    with pytest.raises(ValueError, match="not quoted"):
        SIGNER.presigned_query(ALICE, "GET", f"/{text}", {}, now=SECONDS, expires=1)


def test_access_key_with_a_line_end_is_refused() -> None:
    """It often comes from a file; the server would say only that it knows no such key."""
    with pytest.raises(ConfigError, match=r"'alice\\n' has a line end"):
        SIGNER.head(Credentials("alice\n", "hers"), "GET", "/", "", {}, now=SECONDS)


@pytest.mark.parametrize("headers", [{}, {"range": "bytes=0-1"}], ids=["none", "range"])
def test_token_is_sent_without_its_line_end(headers: dict[str, str]) -> None:
    """It begins no line, whether or not there are other headers."""
    token, ended = ALICE._replace(token="token"), ALICE._replace(token="token\r\n")

    expected = Signer(HOST, "here").head(token, "GET", "/", "", headers, now=SECONDS)
    assert expected == Signer(HOST, "here").head(ended, "GET", "/", "", headers, now=SECONDS)


@pytest.mark.parametrize("headers", [{}, {"range": "bytes=0-1"}], ids=["none", "range"])
def test_unsigned_request_has_its_headers_and_the_host(headers: dict[str, str]) -> None:
    """Without credentials nothing is signed."""
    assert {"host": HOST, **headers} == received(SIGNER.head(None, "GET", "/k", "", headers, now=SECONDS))


def test_signed_headers_are_those_of_the_lines() -> None:
    """A client that writes the lines itself gets the same headers."""
    headers = {"x-amz-meta-b": "c:d", "a": ""}

    lines = SIGNER.head(ALICE, "PUT", "/k", "x=y", headers, now=SECONDS)

    assert received(lines) == SIGNER.signed_headers(ALICE, "PUT", "/k", "x=y", headers, now=SECONDS)


@pytest.mark.parametrize("expires", [0, 604801, -1])
def test_presigned_url_lives_up_to_a_week(expires: int) -> None:
    """Servers refuse a longer time, so the signer does as well."""
    with pytest.raises(ValueError, match="1 to 604800 seconds"):
        SIGNER.presigned_query(ALICE, "GET", "/", {}, now=SECONDS, expires=expires)


def test_credentials_show_no_secret() -> None:
    """Credentials can appear in tracebacks and logs."""
    assert "very secret" not in repr(Credentials("access", "very secret", "very secret token"))
