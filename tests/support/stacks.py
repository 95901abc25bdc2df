"""
Every store, every decorator and some deep stacks of them, named once, for the suite and for the tests with processes.

A new store is one line in `STORES`, a new decorator one line in `DECORATORS`, a deep stack one line in `DEEP`.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

from examples import BackwardsStore, EndingStore, MinimalStore, SaltedStore
from raw_reads import ARCHIVE, DATABASE, Raw, in_dict, in_file, in_hashed_file, in_minimal, in_sqlite, in_zip
from value_views import buffers, documents, in_document, texts
from zstd import zstd

from storage import (
    Base64Store,
    BufferStore,
    CachingStore,
    Capabilities,
    ChecksumStore,
    ConcurrencyLimitStore,
    DictStore,
    EncryptingStore,
    ExceptionLoggingStore,
    ExpiringStore,
    ExtensionFilterStore,
    FallbackStore,
    FilesystemStore,
    GzipStore,
    HashdirStore,
    HashPrefixStore,
    Interceptor,
    JsonStore,
    KeyValidatingStore,
    LoggingStore,
    MirroringStore,
    NotifyingStore,
    ObjectStore,
    PrefixStore,
    ReadonlyStore,
    RegexValidatingStore,
    RetryingStore,
    RoutingStore,
    SafeFilesystemStore,
    SqliteStore,
    StoreDecorator,
    TelemetryStore,
    TextEncodingStore,
    ThrottlingStore,
    TieredStore,
    TimeoutStore,
    UrlEncodingStore,
    UrlValidatingStore,
    WriteonlyStore,
    ZipStore,
    ZstdStore,
)

__all__ = ["ALONE", "CRASHING", "DECORATORS", "DEEP", "STACKS", "STORES", "AnyStore", "Over", "Stack", "over"]

#: A store that takes and gives what it likes; `ObjectStore` is one that takes and gives bytes, as the suite does.
AnyStore: TypeAlias = ObjectStore[Any, Any]

#: What adapts a store for the suite, or finds one below it.
Wrap: TypeAlias = Callable[[AnyStore], ObjectStore]

#: How the suite may use a stack: awaited; through its synchronous face; through that on the loop, though it could step.
VIEWS = ("awaited", "sync", "on-loop")

#: Keys on a page of stores that are also in another stack, there with pages of the usual size.
PAGE = 100


def itself(store: AnyStore) -> ObjectStore:
    return store


@dataclass(frozen=True, kw_only=True)
class Stack:
    """
    How a stack is made, and how its objects are read without it.

    Attributes:
        make: makes the stack in an empty directory, or again in one that has its objects.
        raw: reads an object past the stack; None where there is no other way to it.
        code: the bytes of an object from those that `raw` finds.
        name: the key below from the key above.
        inner: the store that `raw` is given, from the stack.
        writable: the store to write to, from the stack, of one that cannot be written to itself.
        wrap: adapts the stack for the suite, which knows bytes only and plain keys.
        views: those of `VIEWS` in which the suite runs.
        chain: the names of its decorators, the outermost first, and of its store.
        page: keys that the stores list per page in the suite, None for their usual number: with small pages a few
            objects fill several, and each object takes time on a disk.
    """

    make: Callable[[Path], AnyStore]
    raw: Raw | None = None
    code: Callable[[bytes], bytes] = bytes
    name: Callable[[str], str] = str
    inner: Wrap = itself
    writable: Callable[[AnyStore], AnyStore] = itself
    wrap: Wrap = itself
    views: tuple[str, ...] = VIEWS
    chain: tuple[str, ...] = ()
    page: int | None = None

    @property
    def capabilities(self) -> Capabilities:
        """What the stack can do."""
        return self.make(Path("nowhere")).capabilities

    def adapted(self, root: Path) -> ObjectStore:
        """Return the stack as the suite uses it when it is awaited."""
        return self.wrap(self.make(root))

    def read(self, store: AnyStore, root: Path, key: str) -> bytes | None:
        """Return the object's bytes, read past the stack; None where there is no object."""
        assert self.raw is not None
        found = self.raw(self.inner(store), root, self.name(key))
        return None if found is None else self.code(found)


@dataclass(frozen=True, kw_only=True)
class Over:
    """
    How a decorator is put over a store, and how its objects look from below; each default is that it changes nothing.

    Attributes:
        make: makes the decorator over a store.
        code: the bytes above from those below; None where they cannot be had without the decorator.
        name: the key below from the key above.
        below: the store that has the objects, from the decorator; for one that has several stores.
        writable: whether it can be written to.
        wrap: adapts it for the suite, with a `StoreDecorator`, where its values are not bytes or its keys not any.
        bases: the stores over which the suite runs it alone.
    """

    make: Callable[[ObjectStore], AnyStore]
    code: Callable[[bytes], bytes] | None = bytes
    name: Callable[[str], str] = str
    below: Callable[[Any], ObjectStore] = attrgetter("base")
    writable: bool = True
    wrap: Wrap | None = None
    bases: tuple[str, ...] = ("dict", "filesystem", "sqlite")


def over(store: str, *names: str) -> Stack:
    """Return the stack of decorators, the outermost first, over the store of that name."""
    base, chain = STORES[store], [DECORATORS[name] for name in names]

    def build(store: AnyStore, chain: list[Over]) -> AnyStore:
        for number, each in enumerate(reversed(chain), start=1):
            store = each.make(store)
            if each.wrap is not None and number < len(chain):  # the outermost is adapted where it is used
                store = each.wrap(store)
        return store

    def inner(store: AnyStore) -> ObjectStore:
        for number, each in enumerate(chain):
            if each.wrap is not None and number > 0:
                store = attrgetter("base")(store)
            store = each.below(store)
        return store

    def code(data: bytes) -> bytes:
        for each in reversed(chain):
            assert each.code is not None
            data = each.code(data)
        return data

    def name(key: str) -> str:
        for each in chain:
            key = each.name(key)
        return key

    def writable(store: AnyStore) -> AnyStore:
        able = [each for each in chain if each.writable]
        return store if able == chain else build(inner(store), able)

    return Stack(
        make=lambda root: build(base.make(root), chain),
        raw=base.raw if all(each.code for each in chain) else None,
        code=code,
        name=name,
        inner=inner,
        writable=writable,
        wrap=chain[0].wrap or itself,
        views=("awaited", "sync"),
        chain=(*names, store),
        page=None if store in ("dict", "minimal") else PAGE,
    )


SITE = "https://example.org/"

#: A key for encryption.
SECRET = bytes(range(32))

#: Bytes before and after an object in the store of examples.py.
SALT = 4


def url_encoded(key: str) -> str:
    return "/".join({".": "%2E", "..": "%2E%2E"}.get(each, quote(each, safe="")) for each in key.split("/"))


def routed(base: ObjectStore) -> ObjectStore:
    """Return a store with routes of both kinds to three parts of one store."""
    return RoutingStore(
        {"a": PrefixStore(base, "of-a/"), "a/": PrefixStore(base, "below-a/")},
        patterns={r".*\d": PrefixStore(base, "numbered/")},
        default=PrefixStore(base, "rest/"),
    )


def routed_name(key: str) -> str:
    if re.fullmatch(r".*\d", key):
        return f"numbered/{key}"
    return f"below-a/{key}" if key.startswith("a/") else f"of-a/{key}" if key.startswith("a") else f"rest/{key}"


def stripped(base: ObjectStore) -> ObjectStore:
    """Return a store with routes to three parts of one store, whose prefixes are removed."""
    return RoutingStore(
        {"a/": PrefixStore(base, "below-a/"), "a/c/": PrefixStore(base, "below-c/")},
        default=PrefixStore(base, "rest/"),
        strip_prefix=True,
    )


def stripped_name(key: str) -> str:
    if key.startswith("a/c/"):
        return f"below-c/{key[4:]}"
    return f"below-a/{key[2:]}" if key.startswith("a/") else f"rest/{key}"


STORES: dict[str, Stack] = {
    "dict": Stack(make=lambda root: DictStore(), raw=in_dict),
    "minimal": Stack(make=lambda root: MinimalStore(), raw=in_minimal),
    "filesystem": Stack(make=FilesystemStore, raw=in_file),
    "filesystem-fsync": Stack(make=lambda root: FilesystemStore(root, durability="fsync"), raw=in_file, page=PAGE),
    "safe-filesystem": Stack(make=SafeFilesystemStore),
    "hashdir": Stack(make=HashdirStore, raw=in_hashed_file),
    "sqlite": Stack(make=lambda root: SqliteStore(root / DATABASE), raw=in_sqlite),
    "sqlite-memory": Stack(make=lambda root: SqliteStore(":memory:")),
    "zip": Stack(make=lambda root: ZipStore(root / ARCHIVE), raw=in_zip),
    "zip-stored": Stack(make=lambda root: ZipStore(root / ARCHIVE, compression="stored"), raw=in_zip),
}

#: Each over DictStore, FilesystemStore and SqliteStore; the last ones are not of the package.
DECORATORS: dict[str, Over] = {
    "transparent": Over(make=StoreDecorator),
    "interceptor": Over(make=Interceptor),
    "retrying": Over(make=RetryingStore),
    "timeout": Over(make=lambda base: TimeoutStore(base, 60)),
    "concurrency-limit": Over(make=lambda base: ConcurrencyLimitStore(base, 1)),
    "throttling": Over(make=lambda base: ThrottlingStore(base, rate=1e6, burst=100, bytes_per_second=1e9)),
    "notifying": Over(make=lambda base: NotifyingStore(base, on_change=hash)),
    "logging": Over(make=LoggingStore),
    "exception-logging": Over(make=lambda base: ExceptionLoggingStore(base, answers=True)),
    "telemetry": Over(make=TelemetryStore),
    "prefix": Over(make=lambda base: PrefixStore(base, "a/"), name="a/".__add__),
    "gzip": Over(make=GzipStore, code=gzip.decompress),
    "base64": Over(make=Base64Store, code=base64.b64decode),
    "zstd": Over(make=ZstdStore, code=zstd.decompress),
    "checksum": Over(make=ChecksumStore, code=lambda data: data[:-32]),
    "encrypting": Over(
        make=lambda base: EncryptingStore(base, {"old": SECRET[::-1], "new": SECRET}, active="new"), code=None
    ),
    "text": Over(make=lambda base: TextEncodingStore(base, "latin-1"), wrap=texts),
    "json": Over(make=JsonStore, code=in_document, wrap=documents),
    "buffer": Over(make=BufferStore, wrap=buffers),
    "readonly": Over(make=ReadonlyStore, writable=False),
    "expiring": Over(make=lambda base: ExpiringStore(base, 3600)),
    "expiring-bounded": Over(make=lambda base: ExpiringStore(base, max_count=100_000, max_bytes=1 << 30)),
    "hash-prefix": Over(make=HashPrefixStore, name=lambda key: f"{hashlib.sha256(key.encode()).hexdigest()[:8]}/{key}"),
    "url-encoding": Over(make=UrlEncodingStore, name=url_encoded),
    "key-validating": Over(make=lambda base: KeyValidatingStore(base, lambda key: "\0" not in key)),
    "regex-validating": Over(make=lambda base: RegexValidatingStore(base, r"[^\0]+")),
    "url-validating": Over(
        make=UrlValidatingStore,
        name=SITE.__add__,
        wrap=lambda store: PrefixStore(store, SITE),
        bases=("dict", "safe-filesystem", "sqlite"),  # no plain path has the two slashes
    ),
    "extension-filter": Over(
        make=lambda base: ExtensionFilterStore(base, {".tif"}), name=lambda key: f"{key}.tif", wrap=EndingStore
    ),
    "routing": Over(make=routed, name=routed_name, below=attrgetter("default.base")),
    "routing-stripped": Over(make=stripped, name=stripped_name, below=attrgetter("default.base")),
    "writeonly": Over(make=WriteonlyStore),
    "caching": Over(make=lambda base: CachingStore(base, DictStore()), below=attrgetter("main_store")),
    "caching-all": Over(
        make=lambda base: CachingStore(base, MinimalStore(), max_count=3, write="through", negative=60, revalidate=0),
        below=attrgetter("main_store"),
        bases=("dict",),
    ),
    "tiered": Over(
        make=lambda base: TieredStore([DictStore(), DictStore(), base], ttl=60), below=lambda store: store.tiers[-1]
    ),
    "mirroring": Over(make=lambda base: MirroringStore([base, DictStore()])),
    "mirrored": Over(
        make=lambda base: MirroringStore([DictStore(), MinimalStore(), base]),
        below=lambda store: store.stores[2],
    ),
    "fallback": Over(make=lambda base: FallbackStore([base, DictStore()])),
    "prefix-p": Over(make=lambda base: PrefixStore(base, "p"), name="p".__add__, bases=()),
    "backwards": Over(make=BackwardsStore, name=lambda key: key[::-1], bases=("dict",)),
    "salted": Over(make=SaltedStore, code=lambda data: data[SALT:-SALT], bases=("dict",)),
}

#: Decorators, the outermost first, over a store, in one string.
DEEP = [
    "gzip prefix-p base64 minimal",
    "gzip prefix sqlite",
    "prefix gzip base64 filesystem",
    "base64 prefix zip",
    "zstd encrypting checksum filesystem",
    "json gzip encrypting prefix sqlite",
    "salted backwards hashdir",
    "gzip routing url-encoding filesystem",
    "regex-validating hash-prefix gzip sqlite",
    "gzip caching mirroring filesystem",
    "logging expiring caching gzip encrypting prefix sqlite",
    "retrying concurrency-limit timeout filesystem",
    "notifying checksum zstd hash-prefix filesystem",
    "telemetry tiered retrying sqlite",
    "json gzip fallback dict",
]

ALONE: dict[str, Stack] = {
    f"{name}-{base}": over(base, name) for name, each in DECORATORS.items() for base in each.bases
}

STACKS: dict[str, Stack] = {
    **STORES,
    **ALONE,
    **{chain.replace(" ", "-"): over(chain.split()[-1], *chain.split()[:-1]) for chain in DEEP},
}

#: What the tests of crashes use besides: the suite has judged all parts of these.
CRASHING: dict[str, Stack] = {
    "hashdir-fsync": Stack(make=lambda root: HashdirStore(root, durability="fsync"), raw=in_hashed_file),
    "deep-fsync": over("filesystem-fsync", "gzip", "encrypting", "hash-prefix"),
    "zip-atomic": Stack(make=lambda root: ZipStore(root / ARCHIVE, durability="atomic"), raw=in_zip),
}
