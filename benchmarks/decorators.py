"""What each decorator adds to a call, against py-key-value's wrapper of the same kind."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import storage
from benchmarks.harness import Comparison, Plan, Workload
from benchmarks.operations import each
from benchmarks.session import Session, installed
from benchmarks.targets import ahead
from storage import DictStore, ObjectStore

__all__ = ["added_to_get", "added_to_put"]

SMALL = bytes(100)
LATER = 3600.0

#: Silent, so that the wrapper is measured and not the handler.
QUIET = logging.getLogger("benchmarks.quiet")
QUIET.setLevel(logging.WARNING)

#: How each decorator is put over a store, and the value to put if it is not bytes.
DECORATORS: dict[str, Callable[[ObjectStore], ObjectStore[Any, Any]]] = {
    "Base64Store": storage.Base64Store,
    "BufferStore": storage.BufferStore,
    "CachingStore": lambda base: storage.CachingStore(base, DictStore()),
    "ChecksumStore": storage.ChecksumStore,
    "ConcurrencyLimitStore": lambda base: storage.ConcurrencyLimitStore(base, 16),
    "EncryptingStore": lambda base: storage.EncryptingStore(base, {"k": bytes(32)}),
    "ExceptionLoggingStore": lambda base: storage.ExceptionLoggingStore(base, logger=QUIET),
    "ExpiringStore": lambda base: storage.ExpiringStore(base, LATER),
    "ExtensionFilterStore": lambda base: storage.ExtensionFilterStore(base, {".bin"}),
    "FallbackStore": lambda base: storage.FallbackStore([base, DictStore()]),
    "GzipStore": storage.GzipStore,
    "HashPrefixStore": storage.HashPrefixStore,
    "JsonStore": storage.JsonStore,
    "KeyValidatingStore": lambda base: storage.KeyValidatingStore(base, str.isprintable),
    "LoggingStore": lambda base: storage.LoggingStore(base, logger=QUIET),
    "MirroringStore": lambda base: storage.MirroringStore([base, DictStore()]),
    "NotifyingStore": lambda base: storage.NotifyingStore(base, on_change=lambda event: None),
    "PrefixStore": lambda base: storage.PrefixStore(base, "a/"),
    "ReadonlyStore": storage.ReadonlyStore,
    "RegexValidatingStore": lambda base: storage.RegexValidatingStore(base, r"[a-z.]+"),
    "RetryingStore": storage.RetryingStore,
    "RoutingStore": lambda base: storage.RoutingStore({"key": base}),
    "TelemetryStore": storage.TelemetryStore,
    "TextEncodingStore": storage.TextEncodingStore,
    "ThrottlingStore": lambda base: storage.ThrottlingStore(base, 1e9, burst=1_000_000),
    "TieredStore": lambda base: storage.TieredStore([DictStore(), base]),
    "TimeoutStore": lambda base: storage.TimeoutStore(base, LATER),
    "UrlEncodingStore": storage.UrlEncodingStore,
    "WriteonlyStore": storage.WriteonlyStore,
    "ZstdStore": storage.ZstdStore,
}

KEY = "key.bin"
VALUES: dict[str, Any] = {"TextEncodingStore": "x" * 100, "JsonStore": {"data": "x" * 100}}
PEER_VALUE = {"data": "x" * 100}


def _wrappers() -> dict[str, Callable[[Any], Any]]:
    """Return py-key-value's wrappers, by the name of our decorator that does the same."""
    from cryptography.fernet import Fernet
    from key_value.aio.stores.memory import MemoryStore
    from key_value.aio.wrappers.compression import CompressionWrapper
    from key_value.aio.wrappers.encryption.fernet import FernetEncryptionWrapper
    from key_value.aio.wrappers.fallback import FallbackWrapper
    from key_value.aio.wrappers.logging import LoggingWrapper
    from key_value.aio.wrappers.passthrough_cache import PassthroughCacheWrapper
    from key_value.aio.wrappers.prefix_keys import PrefixKeysWrapper
    from key_value.aio.wrappers.read_only import ReadOnlyWrapper
    from key_value.aio.wrappers.retry import RetryWrapper
    from key_value.aio.wrappers.statistics import StatisticsWrapper
    from key_value.aio.wrappers.timeout import TimeoutWrapper
    from key_value.aio.wrappers.ttl_clamp import TTLClampWrapper

    return {
        "CachingStore": lambda base: PassthroughCacheWrapper(base, MemoryStore()),
        "EncryptingStore": lambda base: FernetEncryptionWrapper(base, fernet=Fernet(Fernet.generate_key())),
        "ExpiringStore": lambda base: TTLClampWrapper(base, min_ttl=1, max_ttl=LATER),
        "FallbackStore": lambda base: FallbackWrapper(base, MemoryStore()),
        "GzipStore": lambda base: CompressionWrapper(base, min_size_to_compress=0),
        "LoggingStore": lambda base: LoggingWrapper(base, logger=QUIET),
        "PrefixStore": lambda base: PrefixKeysWrapper(base, "a"),
        "ReadonlyStore": ReadOnlyWrapper,
        "RetryingStore": RetryWrapper,
        "TelemetryStore": StatisticsWrapper,
        "TimeoutStore": lambda base: TimeoutWrapper(base, LATER),
    }


#: The targets of decorators that change nothing: against the wrapper that does the same.
TRANSPARENT = {"PrefixStore": "PrefixKeysWrapper"}
WORDS = "one transparent decorator: against a py-key-value wrapper, a quarter of its cost"
TARGETS = tuple(
    ahead(f"{WORDS} ({ours})", f"{peer} ({ours})", 4, by="added", ours=ours) for ours, peer in TRANSPARENT.items()
)


@asynccontextmanager
async def _comparison(operation: str) -> AsyncIterator[Comparison]:
    contenders: dict[str, Workload] = {}
    missing: list[str] = []

    def contend(name: str, store: Any, value: Any, over: str = "") -> None:
        call, thing = (store.get, (KEY,)) if operation == "get" else (store.put, (KEY, value))
        contenders[name] = Workload(work=each(call, [thing], 1, "await"), over=over)

    async with AsyncExitStack() as opened:
        base = DictStore()
        await base.put(KEY, SMALL)
        contend("DictStore", base, SMALL)
        for name, make in DECORATORS.items():
            below, value = DictStore(), VALUES.get(name, SMALL)
            try:
                store = await opened.enter_async_context(make(below))
            except ImportError as error:
                missing.append(str(error).split(":")[0])
                continue
            able = store.capabilities
            if able.writable:
                await store.put(KEY, value)
            else:
                await below.put(KEY, value)
            if able.readable if operation == "get" else able.writable:
                contend(name, store, value, over="DictStore")
        if installed("key_value"):
            from key_value.aio.stores.memory import MemoryStore

            peer = MemoryStore()
            await peer.put(KEY, PEER_VALUE)
            contend(PEER, peer, PEER_VALUE)
            for name, wrap in _wrappers().items():
                wrapped = wrap(MemoryStore())
                writable = name != "ReadonlyStore"
                await (wrapped if writable else wrapped.key_value).put(KEY, PEER_VALUE)
                if operation == "get" or writable:
                    contend(f"{type(wrapped).__name__} ({name})", wrapped, PEER_VALUE, over=PEER)
        else:
            missing.append("py-key-value-aio")
        yield Comparison(
            title=f"decorated {operation}, 100B in memory",
            contenders=contenders,
            ours=frozenset({"DictStore", *DECORATORS}),
            targets=TARGETS if operation == "get" else (),
            missing=tuple(missing),
        )


PEER = "py-key-value MemoryStore"


def added_to_get(session: Session, plan: Plan) -> AbstractContextManager[Comparison]:
    """Compare gets: each decorator over a DictStore, each wrapper over a MemoryStore."""
    return session.entered("asyncio", _comparison("get"))


def added_to_put(session: Session, plan: Plan) -> AbstractContextManager[Comparison]:
    """Compare puts, likewise."""
    return session.entered("asyncio", _comparison("put"))
