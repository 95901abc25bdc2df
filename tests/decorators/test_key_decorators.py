"""What is special about the decorators of keys: what they write below, what they refuse, and what is not theirs."""

from __future__ import annotations

import hashlib
import logging
import re
import string
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import storage.sync
from storage import (
    ConfigError,
    DictStore,
    ExtensionFilterStore,
    FilesystemStore,
    HashPrefixStore,
    InvalidKeyError,
    KeyValidatingStore,
    ObjectStore,
    PrefixStore,
    RegexValidatingStore,
    SqliteStore,
    StorageError,
    StoreDecorator,
    UrlEncodingStore,
    UrlValidatingStore,
    clear_store,
)
from storage._core.keys import check_path

KEYS = st.text(min_size=1) | st.lists(st.sampled_from([".", "..", "", "a", "%", "%2E", "é", "..."])).map("/".join)


async def _listed(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


async def _filled(*keys: str) -> DictStore:
    store = DictStore()
    await store.put_many(dict.fromkeys(keys, b"v"))
    return store


class WatchedStore(StoreDecorator):
    """Writes down below which prefixes is listed."""

    def __init__(self, base: ObjectStore) -> None:
        super().__init__(base)
        self.prefixes: list[str] = []

    def keys(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[str]:
        self.prefixes.append(prefix)
        return super().keys(prefix, start_after=start_after)


# -- PrefixStore ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [lambda root: DictStore(), FilesystemStore, lambda root: SqliteStore(root / "objects.db")],
    ids=["dict", "filesystem", "sqlite"],
)
async def test_clear_store_through_a_prefix_touches_only_its_own(
    make: Callable[[Path], ObjectStore], tmp_path: Path
) -> None:
    """Neighbours, also those whose names begin alike, stay."""
    others = ["a", "a-b/c", "aa/b", "b/a/c", "A/b"]
    async with make(tmp_path) as base:
        await base.put_many(dict.fromkeys([*others, "x/b", "x/c/d", "x/ä"], b"v"))
        part = PrefixStore(base, "x/")

        await clear_store(part, "c")
        assert ["b", "ä"] == await _listed(part.keys())
        await clear_store(part)

        assert sorted(others) == await _listed(base.keys())


# -- HashPrefixStore -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("length", "separator"), [(1, "/"), (8, ""), (16, "--"), (64, "_")])
async def test_hash_of_any_length_and_separator(length: int, separator: str) -> None:
    """The key below is the start of the sha-256, the separator and the key."""
    base = DictStore()
    store = HashPrefixStore(base, hash_length=length, separator=separator)
    keys = ["b/c", "a", "é"]
    await store.put_many(dict.fromkeys(keys, b"v"))

    assert {hashlib.sha256(key.encode()).hexdigest()[:length] + separator + key for key in keys} == set(
        await _listed(base.keys())
    )
    assert ["a", "b/c", "é"] == await _listed(store.keys())


async def test_keys_without_their_hash_are_not_there() -> None:
    """Neither is what another program put into the same store listed, nor does clear delete it."""
    right = hashlib.sha256(b"a").hexdigest()[:8]
    foreign = ["a", "00000000/a", right, f"{right}/", f"{right}-a", f"{right}/b", f"x{right}/a", right.upper() + "/a"]
    base = await _filled(f"{right}/a", *foreign)
    store = HashPrefixStore(base)

    assert ["a"] == await _listed(store.keys())
    await store.clear()

    assert sorted(foreign) == await _listed(base.keys())


@pytest.mark.parametrize("length", [0, -1, 65])
def test_hash_has_1_to_64_digits(length: int) -> None:
    with pytest.raises(ValueError, match="1 to 64"):
        HashPrefixStore(DictStore(), hash_length=length)


# -- UrlEncodingStore ----------------------------------------------------------------------------------------------


@given(KEYS.filter(bool))
def test_any_key_is_encoded_and_comes_back(key: str) -> None:
    """Below are only letters that need no quoting, the same number of slashes, and no '.' or '..'."""
    store = UrlEncodingStore(DictStore())
    below = store.encode(key)

    assert set() == set(below) - set(string.ascii_letters + string.digits + "-._~%/")
    assert key.count("/") == below.count("/")
    assert set() == {".", ".."} & set(below.split("/"))
    assert key == store.decode(below)


@given(KEYS, st.integers(0, 30))
def test_prefix_below_has_every_key_below_it(key: str, length: int) -> None:
    """Whatever a prefix ends in, half a name of dots for one, no key is missed."""
    store = UrlEncodingStore(DictStore())

    assert store.encode(key).startswith(store.encode_prefix(key[:length]))


async def test_encoded_keys_keep_their_hierarchy_in_files(tmp_path: Path) -> None:
    """Slashes stay directories; what is not a plain path is one below, but for empty names."""
    store = UrlEncodingStore(FilesystemStore(tmp_path))
    await store.put_many({"reports/50 % off": b"1", "../up": b"2", "nul\0": b"3"})

    assert b"1" == (tmp_path / "reports" / "50%20%25%20off").read_bytes()
    assert ["%2E%2E", "nul%00", "reports"] == sorted(path.name for path in tmp_path.iterdir() if path.name[0] != ".")
    assert ["../up", "nul\0", "reports/50 % off"] == await _listed(store.keys())
    with pytest.raises(InvalidKeyError) as caught:
        await store.put("ä//b", b"")
    assert "ä//b" == caught.value.key


async def test_keys_that_are_not_encoded_are_not_there() -> None:
    """Only the one right form of a key is that key: others would be two objects of one name."""
    foreign = ["é", "a b", "%61", "%2f", "%", "%zz", "%ff", "..", "a/./b", "a%2Fb", "%2e", "b+c%"]
    base = await _filled("%2E%2E/a%20b", *foreign)
    store = UrlEncodingStore(base)

    assert ["../a b"] == await _listed(store.keys())
    await store.clear()

    assert sorted(foreign) == await _listed(base.keys())


@pytest.mark.parametrize(
    ("prefix", "below"),
    [("", ""), ("a b/c", "a%20b/c"), ("a/.", "a/"), ("..", ""), ("a/..", "a/"), ("../", "%2E%2E/"), (".x", ".x")],
)
async def test_listing_below_a_prefix_reads_no_more(prefix: str, below: str) -> None:
    """The store below is asked for what can be there only, and dots at the end are left open."""
    base = WatchedStore(DictStore())
    store = UrlEncodingStore(base)
    keys = ["..", ".", "../x", "./x", ".x", "...", "a/.", "a/..", "a/.b", "a/./c", "a/../d", "a b/c", "a b/cd", "a"]
    await store.put_many(dict.fromkeys(keys, b"v"))

    assert sorted(key for key in keys if key.startswith(prefix)) == await _listed(store.keys(prefix))
    assert [below] == base.prefixes


async def test_prefix_that_no_key_can_have_lists_nothing() -> None:
    """A lone surrogate is in no key."""
    store = UrlEncodingStore(await _filled("a"))

    assert [] == await _listed(store.keys("\ud800"))


# -- those that take some keys only --------------------------------------------------------------------------------


def is_report(key: str) -> bool:
    """A validator as a user writes it."""
    return key.startswith("reports/")


def dated(key: str) -> bool:
    """Another one, which says what is wrong."""
    if not re.match(r"\d{4}/", key):
        raise ValueError("a key begins with the year")
    return True


#: For each a way to make it, keys that it takes, others, and what the error says.
FILTERS: dict[str, tuple[Callable[[ObjectStore], ObjectStore], list[str], list[str], str]] = {
    "validator": (
        lambda base: KeyValidatingStore(base, is_report),
        ["reports/a", "reports/b/c"],
        ["a", "report/a", "xreports/"],
        "the validator is_report does not take it",
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
        "a key here is a plain relative path: no '..', no '.', no leading, doubled or trailing '/', no NUL",
    ),
    "pattern": (
        lambda base: RegexValidatingStore(base, r"[a-z/]+\.csv"),
        ["a.csv", "b/c.csv"],
        ["a.csv.gz", "A.csv", "a.csv\n", "xa.txt"],
        r"a key here matches '[a-z/]+\\.csv'",
    ),
    "compiled pattern": (
        lambda base: RegexValidatingStore(base, re.compile("[a-z]+", re.IGNORECASE)),
        ["A", "b"],
        ["A1", "b/c"],
        "a key here matches '[a-z]+'",
    ),
    "URL": (
        UrlValidatingStore,
        ["http://example.org/b", "https://example.org/a"],
        ["example.org/a", "ftp://example.org/a", "https:///a"],
        "a key here is an absolute URL without blanks, http or https",
    ),
    "extension": (
        lambda base: ExtensionFilterStore(base, {".tif", ".roi.zip"}),
        ["a.roi.zip", "b/c.tif"],
        ["a.zip", "b/.tif", "c.TIF", "tif", "d.tiff", ".roi.zip"],
        "a key here ends in .roi.zip or .tif",
    ),
}
each_filter = pytest.mark.parametrize(("make", "taken", "refused", "says"), FILTERS.values(), ids=list(FILTERS))


async def _read(store: ObjectStore, key: str) -> bytes:
    async with store.open(key) as reader:
        return await reader.read()


@each_filter
async def test_keys_not_taken_are_invalid_in_every_method(
    make: Callable[[ObjectStore], ObjectStore], taken: list[str], refused: list[str], says: str
) -> None:
    """The error says which keys are taken, and carries this one; nothing is written."""
    base = DictStore()
    store = make(base)
    await store.put(taken[0], b"v")
    calls: list[Callable[[str], Awaitable[object]]] = [
        store.get,
        store.head,
        store.exists,
        store.delete,
        lambda key: store.put(key, b"v"),
        lambda key: _read(store, key),
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
    assert sorted(taken) == await _listed(base.keys())


@each_filter
async def test_keys_not_taken_are_not_listed(
    make: Callable[[ObjectStore], ObjectStore], taken: list[str], refused: list[str], says: str
) -> None:
    """Not by keys, scan or children, and clear leaves them where they are."""
    base = await _filled(*taken, *refused)
    store = make(base)

    assert taken == await _listed(store.keys())
    assert taken == [info.key async for info in store.scan()]
    assert taken[1:] == await _listed(store.keys(start_after=taken[0]))
    assert taken[:1] == await _listed(store.keys(taken[0]))
    assert {key[: key.find("/") + 1] or key for key in taken} == set(await _listed(store.children()))
    await store.clear()

    assert sorted(refused) == await _listed(base.keys())


async def test_what_a_validator_raises_else_passes() -> None:
    """A mistake in it is not taken for its answer."""

    def broken(key: str) -> bool:
        raise ZeroDivisionError

    store = KeyValidatingStore(await _filled("a"), broken)

    with pytest.raises(ZeroDivisionError):
        await store.get("a")
    with pytest.raises(ZeroDivisionError):
        await _listed(store.keys())


async def test_validator_that_raises_without_a_word_still_refuses() -> None:
    """No message is no approval, be it of Python's error or of ours."""

    def silent(key: str) -> bool:
        raise ValueError

    def silent_too(key: str) -> bool:
        raise InvalidKeyError(key=key)

    for validator in (silent, silent_too):
        with pytest.raises(InvalidKeyError, match=f"validator {validator.__name__} does not take it"):
            await KeyValidatingStore(DictStore(), validator).put("a", b"")


def test_validator_can_be_called() -> None:
    validator: Any = "a.*"
    with pytest.raises(TypeError, match="function"):
        KeyValidatingStore(DictStore(), validator)


@pytest.mark.parametrize("pattern", ["[a-z", "(?P<a", re.compile(b"a"), b"a", None])
def test_pattern_is_a_regular_expression(pattern: Any) -> None:
    """Found out when the store is built, not with the first key."""
    with pytest.raises(ConfigError, match=r"regular expression|leave out the b"):
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
    """Nothing in them is changed."""
    base = DictStore()
    store = UrlValidatingStore(base)
    await store.put(url, b"v")

    assert [url] == await _listed(base.keys()) == await _listed(store.keys())


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
    """Also what a lenient parser would trim until it is one."""
    with pytest.raises(InvalidKeyError):
        await UrlValidatingStore(DictStore()).put(key, b"")


async def test_schemes_of_urls_can_be_chosen() -> None:
    """They replace the two that are taken by default."""
    store = UrlValidatingStore(DictStore(), schemes={"s3", "gs"})
    await store.put("s3://bucket/a", b"")

    with pytest.raises(InvalidKeyError, match="gs or s3"):
        await store.put("https://example.org/", b"")


@pytest.mark.parametrize("schemes", [[], ["HTTP"], ["http:"], ["http", ""]])
def test_schemes_are_words(schemes: list[str]) -> None:
    with pytest.raises(ValueError, match="lower case"):
        UrlValidatingStore(DictStore(), schemes=schemes)


async def test_case_of_extensions_can_be_ignored() -> None:
    """On both sides."""
    store = ExtensionFilterStore(DictStore(), {".TIF", ".roi.zip"}, ignore_case=True)
    keys = ["A.tif", "B.Tif", "C.ROI.ZIP"]
    await store.put_many(dict.fromkeys(keys, b""))

    assert keys == await _listed(store.keys())


@pytest.mark.parametrize("extensions", [[], ["tif"], ["*.tif"], ["."], [""], [".a/b"], "tif"])
def test_extensions_have_a_dot(extensions: Any) -> None:
    with pytest.raises(ValueError, match="have a dot before them"):
        ExtensionFilterStore(DictStore(), extensions)


async def test_what_a_listing_skips_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Each at INFO, to the logger of the package, and not what is listed."""
    store = ExtensionFilterStore(await _filled("a.tif", "b.png", "c"), {".tif"})

    with caplog.at_level(logging.INFO, "storage"):
        await _listed(store.keys())

    assert [
        ("storage", logging.INFO, "skipped 'b.png' in DictStore(): a key here ends in .tif"),
        ("storage", logging.INFO, "skipped 'c' in DictStore(): a key here ends in .tif"),
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
