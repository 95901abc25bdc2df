"""Decorators that allow only some keys: which they allow, and their errors for the others."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from contents import filled, opened

import storage.sync
from storage import (
    ConfigError,
    DictStore,
    ExtensionFilterStore,
    HashPrefixStore,
    InvalidKeyError,
    KeyValidatingStore,
    ObjectStore,
    RegexValidatingStore,
    StorageError,
    UrlEncodingStore,
    UrlValidatingStore,
)
from storage._core.keys import check_path
from storage.testing.suite.harness import listed

# -- those that take some keys only --------------------------------------------------------------------------------


def is_report(key: str) -> bool:
    """A validator as a user writes it."""
    return key.startswith("reports/")


def dated(key: str) -> bool:
    """A validator that says what is wrong."""
    if not re.match(r"\d{4}/", key):
        raise ValueError("a key begins with the year")
    return True


#: For each a way to make it, keys that it takes, others, and what the error says.
FILTERS: dict[str, tuple[Callable[[ObjectStore], ObjectStore], list[str], list[str], str]] = {
    "validator": (
        lambda base: KeyValidatingStore(base, is_report),
        ["reports/a", "reports/b/c"],
        ["a", "report/a", "xreports/"],
        "the validator is_report does not accept the key",
    ),
    "validator that raises": (
        lambda base: KeyValidatingStore(base, dated),
        ["2024/a", "2024/b/c"],
        ["a", "24/a"],
        "a key begins with the year",
    ),
    "validator of ours": (
        lambda base: KeyValidatingStore(base, check_path),
        ["a", "b/c"],
        ["../a", "a//b", "/a"],
        "the key must be a plain relative path: no '..', no '.', no leading, doubled or trailing '/', no NUL",
    ),
    "pattern": (
        lambda base: RegexValidatingStore(base, r"[a-z/]+\.csv"),
        ["a.csv", "b/c.csv"],
        ["a.csv.gz", "A.csv", "a.csv\n", "xa.txt"],
        r"the key must match '[a-z/]+\\.csv'",
    ),
    "compiled pattern": (
        lambda base: RegexValidatingStore(base, re.compile("[a-z]+", re.IGNORECASE)),
        ["A", "b"],
        ["A1", "b/c"],
        "the key must match '[a-z]+'",
    ),
    "URL": (
        UrlValidatingStore,
        ["http://example.org/b", "https://example.org/a"],
        ["example.org/a", "ftp://example.org/a", "https:///a"],
        "the key must be an absolute URL without blanks, with the scheme http or https",
    ),
    "extension": (
        lambda base: ExtensionFilterStore(base, {".tif", ".roi.zip"}),
        ["a.roi.zip", "b/c.tif"],
        ["a.zip", "b/.tif", "c.TIF", "tif", "d.tiff", ".roi.zip"],
        "the key must end in .roi.zip or .tif",
    ),
}
each_filter = pytest.mark.parametrize(("make", "taken", "refused", "says"), FILTERS.values(), ids=list(FILTERS))


@each_filter
async def test_keys_not_taken_are_invalid_in_every_method(
    make: Callable[[ObjectStore], ObjectStore], taken: list[str], refused: list[str], says: str
) -> None:
    """The error says which keys are allowed, and carries the key; nothing is written."""
    base = DictStore()
    store = make(base)
    await store.put(taken[0], b"v")
    calls: list[Callable[[str], Awaitable[object]]] = [
        store.get,
        store.head,
        store.exists,
        store.delete,
        lambda key: store.put(key, b"v"),
        lambda key: opened(store, key),
        lambda key: store.copy(key, taken[0]),
        lambda key: store.copy(taken[0], key),
        lambda key: store.rename(key, taken[0]),
        lambda key: store.rename(taken[0], key),
    ]

    for key in refused:
        for call in calls:
            with pytest.raises(InvalidKeyError) as caught:
                await call(key)
            assert (key, says) == (caught.value.key, caught.value.message)
        results = await store.put_many({taken[1]: b"v", key: b"v"}, raise_errors=False)
        assert [str, InvalidKeyError] == [type(results[taken[1]]), type(results[key])]
    assert sorted(taken) == await listed(base.keys())


@each_filter
async def test_keys_not_taken_are_not_listed(
    make: Callable[[ObjectStore], ObjectStore], taken: list[str], refused: list[str], says: str
) -> None:
    """Not by keys, scan or children; clear does not delete them."""
    base = await filled(*taken, *refused)
    store = make(base)

    assert taken == await listed(store.keys())
    assert taken == [info.key async for info in store.scan()]
    assert taken[1:] == await listed(store.keys(start_after=taken[0]))
    assert taken[:1] == await listed(store.keys(taken[0]))
    assert {key[: key.find("/") + 1] or key for key in taken} == set(await listed(store.children()))
    await store.clear()

    assert sorted(refused) == await listed(base.keys())


async def test_what_a_validator_raises_else_passes() -> None:
    """A bug in a validator does not count as its result."""

    def broken(key: str) -> bool:
        raise ZeroDivisionError

    store = KeyValidatingStore(await filled("a"), broken)

    with pytest.raises(ZeroDivisionError):
        await store.get("a")
    with pytest.raises(ZeroDivisionError):
        await listed(store.keys())


async def test_validator_that_raises_without_a_word_still_refuses() -> None:
    """An error without a message refuses the key, be it a built-in one or ours."""

    def silent(key: str) -> bool:
        raise ValueError

    def silent_too(key: str) -> bool:
        raise InvalidKeyError(key=key)

    for validator in (silent, silent_too):
        with pytest.raises(InvalidKeyError, match=f"validator {validator.__name__} does not accept the key"):
            await KeyValidatingStore(DictStore(), validator).put("a", b"")


def test_validator_can_be_called() -> None:
    validator: Any = "a.*"
    with pytest.raises(TypeError, match="function"):
        KeyValidatingStore(DictStore(), validator)


@pytest.mark.parametrize("pattern", ["[a-z", "(?P<a", re.compile(b"a"), b"a", None])
def test_pattern_is_a_regular_expression(pattern: Any) -> None:
    """It is checked when the store is built, not with the first key."""
    with pytest.raises(ConfigError, match=r"regular expression|remove the b"):
        RegexValidatingStore(DictStore(), pattern)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org",
        "HTTPS://EXAMPLE.ORG/",
        "http://example.org:8080/a?b=c&d#e",
        "http://user@example.org/",
        "http://localhost/~user/ä",
        "http://127.0.0.1/",
        "http://[::1]:80/",
        "http://bücher.example/",
        "http://example.org/a//b/../c",
        "http://example.org/a|b",
    ],
)
async def test_absolute_urls_are_taken_as_they_are(url: str) -> None:
    """They are not changed."""
    base = DictStore()
    store = UrlValidatingStore(base)
    await store.put(url, b"v")

    assert [url] == await listed(base.keys()) == await listed(store.keys())


@pytest.mark.parametrize(
    "key",
    [
        "/a",
        "a/b",
        "//example.org/a",
        "http:",
        "http:/example.org",
        "http://",
        "http:///a",
        "http://?a",
        "http://:80/",
        "http://user@/",
        "http://example.org:port/",
        "http://example.org:99999/",
        "http://[::1/",
        "http://a<b>/",
        "http://example.org\\a",
        " http://example.org",
        "http://example.org/a b",
        "http://example.org/a\n",
        "ht\ttp://example.org/",
        "http://example.org/\u2028",
        "http://example.org/\x7f",
        "http://exa\u00a0mple.org/",
        "mailto:a@example.org",
        "javascript:alert(1)",
        "file:///etc/hostname",
    ],
)
async def test_what_is_no_absolute_url_is_refused(key: str) -> None:
    """Also text that a lenient parser would trim to a URL."""
    with pytest.raises(InvalidKeyError):
        await UrlValidatingStore(DictStore()).put(key, b"")


async def test_schemes_of_urls_can_be_chosen() -> None:
    """They replace the two default schemes."""
    store = UrlValidatingStore(DictStore(), schemes={"s3", "gs"})
    await store.put("s3://bucket/a", b"")

    with pytest.raises(InvalidKeyError, match="gs or s3"):
        await store.put("https://example.org/", b"")


@pytest.mark.parametrize("schemes", [[], ["HTTP"], ["http:"], ["http", ""]])
def test_schemes_are_words(schemes: list[str]) -> None:
    with pytest.raises(ValueError, match="lower-case names"):
        UrlValidatingStore(DictStore(), schemes=schemes)


async def test_case_of_extensions_can_be_ignored() -> None:
    """In keys and in extensions."""
    store = ExtensionFilterStore(DictStore(), {".TIF", ".roi.zip"}, ignore_case=True)
    keys = ["A.tif", "B.Tif", "C.ROI.ZIP"]
    await store.put_many(dict.fromkeys(keys, b""))

    assert keys == await listed(store.keys())


@pytest.mark.parametrize("extensions", [[], ["tif"], ["*.tif"], ["."], [""], [".a/b"], "tif"])
def test_extensions_have_a_dot(extensions: Any) -> None:
    with pytest.raises(ValueError, match="must begin with a dot"):
        ExtensionFilterStore(DictStore(), extensions)


async def test_what_a_listing_skips_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Each skipped key at INFO, to the logger of the package; listed keys are not logged."""
    store = ExtensionFilterStore(await filled("a.tif", "b.png", "c"), {".tif"})

    with caplog.at_level(logging.INFO, "storage"):
        await listed(store.keys())

    assert [
        ("storage", logging.INFO, "skipped 'b.png' in DictStore(): the key must end in .tif"),
        ("storage", logging.INFO, "skipped 'c' in DictStore(): the key must end in .tif"),
    ] == caplog.record_tuples


# -- all ------------------------------------------------------------------------------------------------------------


def test_they_show_what_they_are_made_of() -> None:
    """In the order of their parameters."""
    base = DictStore()

    assert [
        "HashPrefixStore(DictStore(), hash_length=4, separator='-')",
        "UrlEncodingStore(DictStore())",
        "KeyValidatingStore(DictStore(), is_report)",
        "RegexValidatingStore(DictStore(), 'a+')",
        "UrlValidatingStore(DictStore(), schemes=['http', 'https'])",
        "ExtensionFilterStore(DictStore(), ['.a', '.b'])",
        "ExtensionFilterStore(DictStore(), ['.a'], ignore_case=True)",
    ] == [
        repr(store)
        for store in (
            HashPrefixStore(base, hash_length=4, separator="-"),
            UrlEncodingStore(base),
            KeyValidatingStore(base, is_report),
            RegexValidatingStore(base, "a+"),
            UrlValidatingStore(base),
            ExtensionFilterStore(base, {".b", ".a"}),
            ExtensionFilterStore(base, [".A"], ignore_case=True),
        )
    ]


def test_they_work_without_await(tmp_path: Path) -> None:
    """One over the other, in storage.sync, over files."""
    base = storage.sync.FilesystemStore(tmp_path)
    store = storage.sync.RegexValidatingStore(
        storage.sync.KeyValidatingStore(
            storage.sync.ExtensionFilterStore(
                storage.sync.HashPrefixStore(storage.sync.UrlEncodingStore(base)), {".csv"}
            ),
            lambda key: "secret" not in key,
        ),
        "[a-z ./]+",
    )
    store.put("a b.csv", b"v")

    assert [b"v", ["a b.csv"]] == [store.get("a b.csv"), list(store.keys())]
    assert [f"{hashlib.sha256(b'a b.csv').hexdigest()[:8]}/a%20b.csv"] == list(base.keys())
    for key in ("A.csv", "secret.csv", "a.txt"):
        with pytest.raises(StorageError):
            store.exists(key)


def test_urls_are_keys_without_await() -> None:
    """Likewise."""
    store = storage.sync.UrlValidatingStore(storage.sync.DictStore())
    store.put("https://example.org/", b"page")

    assert ["https://example.org/"] == list(store.keys())
