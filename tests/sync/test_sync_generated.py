"""The generated text of the synchronous face is up to date, complete and correct."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from paths import ROOT

import storage
import storage.sync
from storage._tools import sync_api as generator
from storage._tools.signature import Signature
from storage._tools.source import Function, Module, find
from storage._tools.sync_api import TARGET, Writer, generate


def test_generated_file_is_fresh() -> None:
    """`make generated` writes the synchronous face from the async source."""
    assert generate() == TARGET.read_text(encoding="utf-8")


@pytest.mark.slow
def test_check_names_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stale file is not accepted, and the message says how to update it."""
    stale = tmp_path / "sync.py"
    stale.write_text(generate() + "\n")
    monkeypatch.setattr(generator, "TARGET", stale)

    assert 1 == generator.main(["--check"])
    assert "make generated" in capsys.readouterr().err
    assert 0 == generator.main([])
    assert 0 == generator.main(["--check"])


def test_every_method_of_the_contract_is_there() -> None:
    """A method that is added to the contract is there after the next `make generated`, with its signature."""
    renamed = {"aclose": "close"}
    public = {renamed.get(name, name) for name in dir(storage.ObjectStore) if not name.startswith("_")}

    assert set() == public - set(dir(storage.sync.ObjectStore))
    for name in public - {"close", "capabilities"}:
        theirs = inspect.signature(getattr(storage.ObjectStore, name)).parameters
        ours = inspect.signature(getattr(storage.sync.ObjectStore, name)).parameters
        assert [(each.name, each.kind, each.default) for each in theirs.values()] == [
            (each.name, each.kind, each.default) for each in ours.values()
        ]


def test_every_store_and_function_is_there() -> None:
    """All stores and functions of `storage` are in `storage.sync`, except those for authors of async stores."""
    values = {name: getattr(storage, name) for name in storage.__all__}
    stores = {name for name, value in values.items() if _is_store(value)}
    functions = {name for name, value in values.items() if inspect.iscoroutinefunction(value)}

    apart = {"Data", "ObjectFile", "ObjectStore", "StoreFactory", *generator.MAKERS}
    assert (stores | functions) - generator.APART == set(storage.sync.__all__) - apart


def _is_store(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, storage.ObjectStore)


def test_constructors_have_the_async_signature() -> None:
    """`storage.sync.GzipStore` takes what `storage.GzipStore` takes."""
    for name in storage.sync.__all__:
        theirs: Any = getattr(storage, name, None)
        if _is_store(theirs) and name != "ObjectStore":
            ours = inspect.signature(getattr(storage.sync, name)).parameters.values()
            expected = inspect.signature(theirs).parameters.values()

            assert [(each.name, each.kind, each.default) for each in expected] == [
                (each.name, each.kind, each.default) for each in ours
            ]


def test_nothing_async_is_left_in_the_text() -> None:
    """Docstrings and types are those of synchronous code."""
    words = {"async with", "async for", "await ", "AsyncIter", "aclose", "async def"}

    assert [] == [
        line
        for line in TARGET.read_text().splitlines()
        if any(word in line.replace("without ``await``", "") for word in words)
    ]


def signature_of(definition: str, *, bound: bool = False) -> Signature:
    """Return the synchronous signature of a function's source."""
    module = Module("made.up", definition)
    node = module.tree.body[0]
    assert isinstance(node, Function)
    return Signature(module, node, bound=bound)


def test_signatures_lose_what_is_async() -> None:
    """Types lose their async iterables, iterables and callbacks are lent, and stores are unwrapped."""
    signature = signature_of(
        "async def mirror(store: ObjectStore, others: Sequence[ObjectStore], data: Data, /,\n"
        " keys: Iterable[str] | AsyncIterable[str], *rest: int, word: Literal['a'] = 'a',\n"
        " decide: Callable[[str], bool | Awaitable[bool]], tell: Callable[[str], None] | None = None, **more: str)"
        " -> AsyncIterator[str]: ..."
    )

    assert [
        "store: ObjectStore",
        "others: Sequence[ObjectStore]",
        "data: Data",
        "/",
        "keys: Iterable[str]",
        "*rest: int",
        "word: Literal['a'] = 'a'",
        "decide: Callable[[str], bool]",
        "tell: Callable[[str], None] | None = None",
        "**more: str",
    ] == signature.declared
    assert [
        "async_store_of(store)",
        "[async_store_of(store) for store in others]",
        "caller.data(data)",
        "caller.iterable(keys)",
        "*rest",
        "word=word",
        "decide=caller.result_callback(decide)",
        "tell=caller.callback(tell)",
        "**more",
    ] == signature.passed
    assert "Iterator[str]" == signature.returns


def test_defaults_are_values_not_names() -> None:
    """A constant of the async module is written as its value, so that the module need not be imported."""
    module = Module("made.up", "LIMIT = 1 << 20\nasync def cut(size: int = LIMIT) -> None: ...")
    node = module.tree.body[1]
    assert isinstance(node, ast.AsyncFunctionDef)

    assert ["size: int = 1 << 20"] == Signature(module, node, bound=False).declared


def test_methods_of_a_stores_own_are_there_too() -> None:
    """Inherited ones too; private and synchronous methods are left to the async store."""
    text = '''
from storage.base import ObjectStore

class _Base(ObjectStore):
    """A base."""

    def __init__(self, root: str, *, limit: int = 3) -> None: ...

    async def flush(self) -> None:
        """Write it all."""

class Own(_Base):
    """A store with methods of its own."""

    async def compact(self, *, keep: Iterable[str] | AsyncIterable[str] = ()) -> int:
        """Make it smaller, and await nothing."""

    def history(self, key: str) -> AsyncIterator[bytes]:
        """Yield the versions."""

    def plain(self) -> int:
        """Add."""

    @property
    def size(self) -> int:
        """Its bytes."""

    @staticmethod
    def make_key(bits: int = 256) -> str:
        """Make a key."""

    async def _private(self) -> None: ...
'''
    module = Module("made.up", text)
    writer = Writer()
    own = find(module, "Own")
    assert own is not None
    writer.store(own)

    assert [
        "class Own(ObjectStore):",
        '    """A store with methods of its own."""',
        "    def __init__(self, root: str, *, limit: int = 3) -> None:",
        "        super().__init__(storage.Own(root, limit=limit))",
        "    if TYPE_CHECKING:",
        "        @property",
        "        def async_store(self) -> storage.Own: ...",
        "    def compact(self, *, keep: Iterable[str] = ()) -> int:",
        '        """Make it smaller, and nothing."""',
        "        caller = self._call()",
        "        return caller.run(self.async_store.compact(keep=caller.iterable(keep)))",
        "    def history(self, key: str) -> Iterator[bytes]:",
        '        """Yield the versions."""',
        "        return self._call().iterate(self.async_store.history(key))",
        "    @property",
        "    def size(self) -> int:",
        '        """Its bytes."""',
        "        return self.async_store.size",
        "    @staticmethod",
        "    def make_key(bits: int = 256) -> str:",
        '        """Make a key."""',
        "        return storage.Own.make_key(bits)",
        "    def flush(self) -> None:",
        '        """Write it all."""',
        "        self._run(self.async_store.flush())",
    ] == [line for line in writer.lines if line]


def test_constructor_takes_the_stores_out_and_keeps_callbacks() -> None:
    """One store, a list, a mapping or None; a callback that may be async is wrapped, a synchronous one is not."""
    signature = signature_of(
        "def __init__(self, base: ObjectStore[In, Out], more: Sequence[ObjectStore], *,"
        " routes: Mapping[str, ObjectStore],"
        " default: ObjectStore | None = None, on_put: Callable[[Event], object | Awaitable[object]] | None = None,"
        " valid: Callable[[str], bool]) -> None: ...",
        bound=True,
    )

    assert [
        "async_store_of(base)",
        "[async_store_of(store) for store in more]",
        "routes={name: async_store_of(store) for name, store in routes.items()}",
        "default=None if default is None else async_store_of(default)",
        "on_put=stored_callback(on_put)",
        "valid=valid",
    ] == signature.passed


@pytest.mark.parametrize(
    "definition",
    [
        "async def update(fn: Callable[[bytes], bytes]) -> None: ...",
        "async def route(stores: set[ObjectStore]) -> None: ...",
        "async def guess(thing) -> None: ...",
    ],
)
def test_what_the_generator_cannot_do_stops_it(definition: str) -> None:
    """It stops before it writes code that calls a function in the wrong thread or passes the wrong store."""
    with pytest.raises(SystemExit, match=r"fn|stores|thing"):
        _ = signature_of(definition).passed


@pytest.mark.process
def test_generator_needs_no_back_end() -> None:
    """It reads source text and imports no store."""
    code = "import sys, storage._tools.sync_api as g; g.generate(); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, cwd=ROOT
    )

    assert not {"aiosqlite", "storage.base"} & set(loaded.stdout.split())
