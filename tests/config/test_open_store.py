"""`open_store`: a store from a URL."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import storage.sync
from storage import (
    ConfigError,
    DictStore,
    FilesystemStore,
    HashdirStore,
    ObjectStore,
    PrefixStore,
    SafeFilesystemStore,
    SqliteStore,
    StoreUrl,
    ZipStore,
    open_store,
)
from storage._names import SHORT_NAMES


class RemoteStore(DictStore, name=("remote", "remotes")):
    """A store behind a host, as a network store is."""

    def __init__(
        self,
        host: str,
        *,
        user: str = "",
        password: str = "",
        port: int = 80,
        tags: Iterable[str] = (),
        slow: bool = False,
    ) -> None:
        super().__init__()
        if port == 13:
            raise ValueError(f"no luck with {user}:{password}@{host}")
        self.host, self.user, self.password, self.port, self.tags, self.slow = (
            host,
            user,
            password,
            port,
            list(tags),
            slow,
        )

    @classmethod
    def _from_url(cls, url: StoreUrl) -> ObjectStore[Any, Any]:
        options = {} if url.port is None else {"port": url.port}
        store = url.make(cls, host=url.host, user=url.user, password=url.password, **options)
        return PrefixStore(store, url.path[1:]) if url.path[1:] else store


class AddressStore(DictStore, name="address"):
    """A store that parses its URL itself, and shows the password in an error."""

    def __init__(self, address: str) -> None:
        raise ValueError(f"no luck with {address.partition(':')[2].strip('/').partition('@')[0].partition(':')[2]}")

    @classmethod
    def _from_url(cls, url: StoreUrl) -> ObjectStore[Any, Any]:
        return url.make(cls, address=url.address)


class NumberedStore(DictStore, name="numbered"):
    """A store whose path is a number."""

    def __init__(self, number: int = 0) -> None:
        super().__init__()
        self.number = number


class OverStore(PrefixStore, name="over"):
    """A decorator with a short name."""


MADE = {
    "memory:": (DictStore, {}),
    "dict:": (DictStore, {}),
    "file:///data/reports": (FilesystemStore, {"root": "/data/reports"}),
    "file:/data/reports": (FilesystemStore, {"root": "/data/reports"}),
    "file://localhost/data": (FilesystemStore, {"root": "/data"}),
    "file:reports/2024": (FilesystemStore, {"root": "reports/2024"}),
    "file:a%20b%3Fc%23d%25%C3%A4": (FilesystemStore, {"root": "a b?c#d%ä"}),
    "file:a+b": (FilesystemStore, {"root": "a+b"}),
    "file:?root=a+b%2Bc": (FilesystemStore, {"root": "a b+c"}),
    "FILE:reports": (FilesystemStore, {"root": "reports"}),
    "filesystem:reports?durability=fsync": (FilesystemStore, {"root": "reports", "durability": "fsync"}),
    "safe:reports": (SafeFilesystemStore, {"root": "reports"}),
    "hashdir:objects?width=3&depth=2": (HashdirStore, {"root": "objects", "width": 3, "depth": 2}),
    "sqlite:objects.sqlite": (SqliteStore, {"path": "objects.sqlite", "busy_timeout": 5.0}),
    "sqlite:///data/objects.sqlite?busy_timeout=0.5": (
        SqliteStore,
        {"path": "/data/objects.sqlite", "busy_timeout": 0.5},
    ),
    "sqlite::memory:": (SqliteStore, {"path": ":memory:"}),
    "zip:objects.zip?durability=atomic": (ZipStore, {"path": "objects.zip", "durability": "atomic"}),
    "numbered:17": (NumberedStore, {"number": 17}),
    "remote://host": (RemoteStore, {"host": "host", "port": 80, "tags": []}),
    "remotes://us%40:p%2Fw%3A@Host:8080?tags=a&tags=b%26&slow=yes": (
        RemoteStore,
        {"host": "Host", "user": "us@", "password": "p/w:", "port": 8080, "tags": ["a", "b&"], "slow": True},
    ),
    "remote://[::1]:81?tags=one": (RemoteStore, {"host": "[::1]", "port": 81, "tags": ["one"]}),
}


@pytest.mark.parametrize(("url", "expected"), MADE.items())
def test_url_becomes_a_store(url: str, expected: tuple[type, dict[str, Any]]) -> None:
    """The scheme selects the class, the path is its first parameter, and the query has the others, converted."""
    store = open_store(url)

    assert expected == (type(store), {name: getattr(store, name) for name in expected[1]})


def test_home_directory_is_found() -> None:
    """``~`` is expanded, because a shell does not expand it in ``file:~/reports``."""
    assert str(Path.home() / "reports") == getattr(open_store("file:~/reports"), "root", "")


async def test_store_is_not_opened_yet(tmp_path: Path) -> None:
    """The store is opened by ``async with``."""
    store = open_store(f"sqlite://{tmp_path}/objects.sqlite")
    assert [] == list(tmp_path.iterdir())

    async with store:
        await store.put("k", b"1")
        assert b"1" == await store.get("k")


def test_without_await(tmp_path: Path) -> None:
    """`storage.sync.open_store` is the same."""
    with storage.sync.open_store(f"sqlite://{tmp_path}/objects.sqlite", busy_timeout=1.0) as store:
        store.put("k", b"1")

        assert b"1" == store.get("k")


def test_options_are_arguments_as_they_are() -> None:
    """Options are passed to the constructor unchanged, also a store below."""
    base = DictStore()

    over: Any = open_store("over:", base=base, prefix="p/")

    assert (base, "p/") == (over.base, over.prefix)
    assert 0.1 == getattr(open_store("sqlite:a", busy_timeout=0.1), "busy_timeout", None)


def test_class_may_put_more_around_itself() -> None:
    """``_from_url`` may return a wrapped store: here a prefix of it."""
    store: Any = open_store("remote://host/a%2Fb/")

    assert ("PrefixStore", "a/b/", "host") == (type(store).__name__, store.prefix, store.base.host)


WRONG = {
    "": "must begin with a scheme",
    "objects.sqlite": "must begin with a scheme",
    "/data/objects.sqlite": "must begin with a scheme",
    "C:\\data": "must begin with a scheme",
    "://host": "must begin with a scheme",
    "sqlit:x": "unknown scheme 'sqlit': did you mean 'sqlite'? Available: ",
    "GzipStore:": "unknown scheme 'gzipstore'",
    "memory:x": "memory URL: DictStore has no parameter for a path: remove the path",
    "memory:?size=1": "memory URL: DictStore has no parameter 'size': available: none",
    "sqlite:": "sqlite URL: SqliteStore needs the parameter 'path': a path",
    "sqlite:a?busy_timeot=1": "sqlite URL: SqliteStore has no parameter 'busy_timeot': did you mean 'busy_timeout'?",
    "sqlite:a?busy_timeout=soon": "parameter 'busy_timeout' of SqliteStore: expected a number, not a value in the URL",
    "sqlite:a?busy_timeout=": "parameter 'busy_timeout' of SqliteStore: expected a number",
    "sqlite:a?busy_timeout": "the query must have the form name=value&name=value",
    "sqlite:a?path=b": "the parameter 'path' is given twice",
    "hashdir:a?width=1&width=2": "the parameter 'width' is given twice",
    "sqlite://objects.sqlite": "it must have no host: write sqlite:relative/path or sqlite:///absolute/path",
    "file://user@/a": "it must have no host",
    "file:a#b": "write it as %23",
    "file:%ff": "not UTF-8",
    "file:a?root%ff=b": "not UTF-8",
    "file:a?durability=never": "expected 'atomic' or 'fsync', not a value in the URL",
    "zip:a?level=99": "zip URL: ZipStore: level must be 0 to 9, not 99",
    "over:?prefix=a": "OverStore is built on another store, which a URL cannot name: use StoreFactory",
    "over:?base=memory&prefix=a": "OverStore is built on another store, which a URL cannot name",
    "remote://host:port/": "remote URL: the part between '//' and the path must be user:password@host:port",
    "remote://host?tags=a&tgas=b": "RemoteStore has no parameter 'tgas': did you mean 'tags'?",
}


@pytest.mark.parametrize(("url", "message"), WRONG.items())
def test_wrong_url_is_an_error_that_says_what_is_right(url: str, message: str) -> None:
    """A wrong URL is a ConfigError that says what is right."""
    with pytest.raises(ConfigError) as caught:
        open_store(url)

    assert message in str(caught.value)


def test_options_are_checked_as_well() -> None:
    """A typo in an option is an error, and so is a parameter in both the query and the options."""
    with pytest.raises(ConfigError, match="no parameter 'busy_timeot': did you mean 'busy_timeout'"):
        open_store("sqlite:a", busy_timeot=1)
    with pytest.raises(ConfigError, match="'busy_timeout' is given twice"):
        open_store("sqlite:a?busy_timeout=1", busy_timeout=1)


SECRET = [
    "remote://user:hunter2@host:13",
    "remote://user:hunter2@host?port=thirteen",
    "remote://user:hunter2@host?prot=1",
    "remote://user:hunter2@host:port",
    "remote://user:hunter2@host#13",
    "remote://user:hunter2@host?13",
    "remote://host:13?password=hunter2",
    "remote://host?port=hunter2",
    "remote://us:hunter%32@host:13",
    "address://user:hunter2@host",
    "address://user:hunter%32@host",
    "romote://user:hunter2@host",
    "file://user:hunter2@host/",
    "user:hunter2@host",
    "hunter2@host",
    "//user:hunter2@host",
    "1remote://user:hunter2@host",
]


@pytest.mark.parametrize("url", SECRET)
def test_password_is_in_no_error(url: str) -> None:
    """No error shows the password, in its text or a traceback, whichever part of the URL is wrong."""
    with pytest.raises(ConfigError) as caught:
        open_store(url)

    assert "hunter" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert "hunter" not in repr(StoreUrl("remote://user:hunter2@host"))


@given(
    st.sampled_from([*SHORT_NAMES, "remote", "numbered", "over", "x"]), st.text("/@:?&=#%+[]ab1 \n\x00ä", max_size=20)
)
def test_any_url_gives_a_store_or_a_config_error(scheme: str, rest: str) -> None:
    """Any URL gives a store or a ConfigError."""
    try:
        store = open_store(f"{scheme}:{rest}")
    except ConfigError:
        return
    assert isinstance(store, ObjectStore)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20))
def test_any_path_can_be_written(path: str) -> None:
    """A percent-encoded path is decoded to the original, if a file can have it."""
    from urllib.parse import quote

    assume(not path.endswith("/"))
    store: Any = open_store(f"sqlite:{quote(path)}")

    assert path == store.path or path.startswith("~")


@pytest.mark.process
def test_one_scheme_imports_no_other_back_end() -> None:
    """A store in memory does not import SQLite or PyYAML."""
    code = (
        "import sys; from storage import open_store; open_store('memory:')\n"
        "print(*({'aiosqlite', 'sqlite3', 'storage.stores.zip.store', 'yaml'} & set(sys.modules)))"
    )

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert "\n" == result.stdout


def test_each_call_makes_a_store() -> None:
    """Each call returns a new store."""
    assert open_store("memory:") is not open_store("memory:")
