"""The signer of requests to S3, compared with botocore's."""

from __future__ import annotations

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

from storage.stores.s3.signing import UNSIGNED, Credentials, presigned_query, quoted, sha256_hex, signed_headers
from storage.testing import NASTY_KEYS

NOW = datetime(2024, 2, 29, 23, 59, 58, tzinfo=UTC)
SECONDS = NOW.timestamp()

#: Keys that a store can send: a key without a UTF-8 form is refused before it is signed.
NASTY_PATHS = sorted(key for key in NASTY_KEYS.values() if key.encode(errors="ignore").decode() == key)

keys = st.one_of(st.sampled_from(NASTY_PATHS), st.text(st.characters(codec="utf-8"), min_size=1))
words = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=20)
values = st.text(st.characters(codec="ascii", min_codepoint=32, max_codepoint=126), max_size=30)
people = st.builds(Credentials, words, words, st.one_of(st.none(), words))


def path_of(key: str) -> str:
    return "/bucket/" + quote(key, safe="/-_.~")


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
    st.dictionaries(words, values, max_size=4),
    st.dictionaries(words.map(lambda word: f"x-amz-meta-{word.lower()}"), values, max_size=3),
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
    """The signatures are the same for every key, query and header."""
    headers = {"host": "storage.example:9000", **headers}
    text = "&".join(f"{quoted(name)}={quoted(value)}" for name, value in query.items())
    request = AWSRequest(method, f"http://storage.example:9000{path_of(key)}?{text}", headers)
    request.headers["X-Amz-Content-SHA256"] = payload
    request.context["payload_signing_enabled"] = payload != UNSIGNED
    with botocore_at(NOW.replace(tzinfo=None)):
        auth = S3SigV4Auth(boto(credentials), "s3", region)
        auth.payload = lambda request: payload  # the hash of the body is given, not computed
        auth.add_auth(request)

    ours = signed_headers(
        credentials, method, path_of(key), query, headers, region=region, now=SECONDS, payload=payload
    )

    assert request.headers["Authorization"] == ours["authorization"]
    assert (request.headers["X-Amz-Date"], credentials.token) == (ours["x-amz-date"], ours.get("x-amz-security-token"))


@given(people, st.sampled_from(["GET", "PUT"]), keys, words, st.integers(1, 604800))
def test_presigned_url_is_botocores(credentials: Credentials, method: str, key: str, region: str, expires: int) -> None:
    """The signature and all parameters are the same."""
    request = AWSRequest(method, f"https://storage.example{path_of(key)}", {"host": "storage.example"})
    with botocore_at(NOW.replace(tzinfo=None)):
        S3SigV4QueryAuth(boto(credentials), "s3", region, expires=expires).add_auth(request)

    ours = presigned_query(
        credentials, method, path_of(key), {}, {"host": "storage.example"}, region=region, now=SECONDS, expires=expires
    )

    assert sorted(request.url.partition("?")[2].split("&")) == sorted(ours.split("&"))


@pytest.mark.parametrize("expires", [0, 604801, -1])
def test_presigned_url_lives_up_to_a_week(expires: int) -> None:
    """Servers refuse a longer time, so the signer does as well."""
    with pytest.raises(ValueError, match="1 to 604800 seconds"):
        presigned_query(Credentials("a", "b"), "GET", "/", {}, {"host": "h"}, region="r", now=SECONDS, expires=expires)


def test_credentials_show_no_secret() -> None:
    """Credentials can appear in tracebacks and logs."""
    assert "very secret" not in repr(Credentials("access", "very secret", "very secret token"))
