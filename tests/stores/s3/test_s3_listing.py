"""Responses to a listing, as servers send them and as they should not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import StorageError, StoreUnavailableError
from storage.stores.s3.errors import ErrorResponse
from storage.stores.s3.listing import Page, PageParser

ANSWER = """<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult{space}>
  <Name>bucket</Name><Prefix>a</Prefix><MaxKeys>1000</MaxKeys>{encoding}<IsTruncated>{more}</IsTruncated>
  <Contents><Key>{key}</Key><Size>1</Size><Owner><ID>Key</ID></Owner></Contents>
  <Contents><Key>b</Key></Contents>
  <CommonPrefixes><Prefix>c/</Prefix></CommonPrefixes>
</ListBucketResult>"""

AMAZON = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def parsed(answer: bytes, size: int = 7) -> Page:
    parser = PageParser()
    for begin in range(0, len(answer), size):
        parser.feed(answer[begin : begin + size])
    return parser.page()


@pytest.mark.parametrize("space", [AMAZON, ""], ids=["namespace", "none"])
@pytest.mark.parametrize(
    ("encoding", "key", "expected"),
    [
        ("<EncodingType>url</EncodingType>", "a%2Fb+%C3%BC%01", "a/b ü\x01"),
        ("", "a&amp;b+%01", "a&b+%01"),
        ("", "<![CDATA[a<b]]>", "a<b"),
    ],
    ids=["quoted", "plain", "data"],
)
def test_page_is_read(space: str, encoding: str, key: str, expected: str) -> None:
    """Pieces may have any size, and the namespace may be missing; keys are unquoted only if the response says so."""
    answer = ANSWER.format(space=space, encoding=encoding, key=key, more="true").encode()

    for size in (1, 7, len(answer)):
        assert Page([expected, "b"], ["c/"], True) == parsed(answer, size)


def test_last_page_says_so() -> None:
    """There is no further page."""
    answer = ANSWER.format(space=AMAZON, encoding="", key="a", more="false").encode()

    assert not parsed(answer).more


def test_error_in_an_answer_that_says_it_is_none() -> None:
    """The server sent status 200 before it noticed the error."""
    with pytest.raises(ErrorResponse, match="InternalError") as caught:
        parsed(b"<Error><Code>InternalError</Code><Message>try again</Message></Error>")

    assert "try again" == caught.value.message


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html></html>",
        b"<ListBucketResult>",
        b"{}",
        b"\xff\xfe",
        b"<a>&lol;</a>",
        b'<?xml version="1.0" encoding="AUTF-8"?>',
        b'<?xml version="1.0" encoding="UTF-7"?>',
    ],
)
def test_what_is_no_listing_is_worth_another_try(answer: bytes) -> None:
    """It may be a proxy's page, or a response that was cut short."""
    with pytest.raises(StoreUnavailableError, match="not a listing"):
        parsed(answer)


@given(st.binary(max_size=60), st.integers(0, 400))
def test_any_bytes_are_a_page_or_an_error_of_ours(some: bytes, at: int) -> None:
    """Any bytes may be anywhere in a response."""
    answer = ANSWER.format(space=AMAZON, encoding="<EncodingType>url</EncodingType>", key="a", more="true").encode()
    try:
        page = parsed(answer[:at] + some + answer[at:])
    except (StorageError, ErrorResponse):
        return
    assert page.keys is not None


def test_entities_do_not_grow_beyond_bounds() -> None:
    """Entities that would expand to gigabytes are refused."""
    levels = "".join(f'<!ENTITY e{number} "{f"&e{number - 1};" * 10}">' for number in range(1, 12))
    answer = f'<!DOCTYPE a [<!ENTITY e0 "0123456789">{levels}]><ListBucketResult>&e11;</ListBucketResult>'

    with pytest.raises(StoreUnavailableError):
        parsed(answer.encode(), 1 << 20)
