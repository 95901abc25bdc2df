"""
Writes ``storage/sync.py``, the synchronous face, from the source of the async code.

    python -m storage._tools.sync_api            write it
    python -m storage._tools.sync_api --check    only check that it is up to date

It imports no store, so that no back end must be installed. Each public store of `storage` becomes a class, each async
function a function: with the same signature and docstring, without ``async``. The lines are as ``ruff format`` would
leave them, so that the version of the formatter does not matter.
"""

from __future__ import annotations

import ast
import json
import re
import sys

from storage._names import PUBLIC
from storage._tools.generated import run
from storage._tools.signature import HOMES, Signature, sync_type
from storage._tools.source import ROOT, Class, Definition, Function, Module, chain, find, home_of, load, methods, rank

TARGET = ROOT / "storage" / "sync.py"
WIDTH = 120

#: Public base classes of users' own stores: they have no synchronous version.
BASES = {"ObjectStore", "StoreDecorator", "KeyTransform", "DataTransform", "ValueTransform", "Interceptor"}

#: Public names that only authors of async stores use.
APART = {*BASES, "offload"}

#: The type arguments of a store that takes and returns the same types as the store below.
PASSED_ON = "[In, Out]"

#: Functions that return a store, and so are not awaited.
MAKERS = {"open_store"}

HEADER = '''"""
The synchronous face: every store, decorator and function of `storage`, without ``await``.

GENERATED from the async code: change that, then run ``make generated``.
"""

from __future__ import annotations

'''

#: How docstrings lose their ``async``.
WORDS = [
    (r"\b[Aa]sync (with|for)\b", r"\1"),
    (r"\bawait ", ""),
    (r" or async iterable\b", ""),
    (r", or an async one\b", ""),
    (r"`aclose`", "`close`"),
]


class Writer:
    """Collects the lines of the synchronous face, and the types that they name."""

    def __init__(self) -> None:
        self.public: list[str] = []
        self.lines: list[str] = []
        self.types: dict[str, str] = {}  # each name, and the module it is imported from

    def store(self, definition: Definition) -> None:
        """Write the class of one store: its constructor, its own async methods."""
        module, node = definition
        assert isinstance(node, Class)
        self.public.append(node.name)
        family = [(home, base) for home, base in chain(definition) if isinstance(base, Class)]
        family = family[: next(at for at, (_, each) in enumerate(family) if each.name == "ObjectStore")]
        values = self._values(family)
        self.lines += ["", "", f"class {node.name}(ObjectStore{values}):", *_sync(module.docstring(node))]
        makers = [(home, each) for home, base in family for each in methods(base) if each.name == "__init__"]
        if makers:
            signature = self._signature(*makers[0], bound=True)
            declared = [each if values == PASSED_ON else each.replace(PASSED_ON, "") for each in signature.declared]
            self._define(1, "__init__", ["self", *declared], "None")
            self._call(2, "super().__init__(", f"storage.{node.name}", signature.passed)
        else:
            self._define(1, "__init__", ["self"], "None")
            self._call(2, "super().__init__(", f"storage.{node.name}", [])
        generic = "[Any, Out]" if values == PASSED_ON else ""
        self.lines += [
            *["", "    if TYPE_CHECKING:", ""],
            *["        @property", f"        def async_store(self) -> storage.{node.name}{generic}: ..."],
        ]

        inherited = {each.name: _parameters(each) for each in methods(_contract().node)}
        done: set[str] = set()
        for home, base in family:
            for method in methods(base):
                if method.name in done or method.name[0] == "_":
                    continue
                done.add(method.name)
                if _parameters(method) <= inherited.get(method.name, set()):
                    continue  # the contract's own, which `ObjectStore` has
                if _is_async(method):
                    self.method(home, method, "self.async_store")
                elif kind := _decorated(method) & {"property", "staticmethod"}:
                    self.plain(home, method, kind.pop(), f"storage.{node.name}")

    def _values(self, family: list[tuple[Module, Class]]) -> str:
        """Return the type arguments of a store of other values than bytes, or of the values of the store below."""
        if not family:
            return ""
        (module, node), *further = family
        base = node.bases[0] if node.bases else None
        if isinstance(base, ast.Subscript):
            inner = base.slice.elts if isinstance(base.slice, ast.Tuple) else [base.slice]
            names = [sync_type(module, each) for each in inner]
            self._name(module, " ".join(names))
            return f"[{', '.join(name if name in ('In', 'Out') else json.dumps(name) for name in names)}]"
        values = self._values(further)
        return "" if values == PASSED_ON else values

    def contract(self) -> None:
        """Write `ObjectStore`, method for method."""
        module, node = _contract()
        self.public.append(node.name)
        self.lines += [
            *["", "", "class ObjectStore(SyncStore[Out], Generic[In, Out]):"],
            *_sync(load("storage._sync.facade").docstring(_class("storage._sync.facade", "SyncStore").node)),
        ]
        for before, method in zip(node.body, node.body[1:], strict=False):
            if isinstance(method, ast.AsyncFunctionDef | ast.FunctionDef) and method.name[0] != "_":
                first = min([method.lineno, *(each.lineno for each in method.decorator_list)])
                between = module.lines[before.end_lineno : first - 1]
                comments = [line for line in between if line.lstrip().startswith("# --")]
                self.lines += [line for comment in comments for line in ("", comment)]
                if "property" in _decorated(method):
                    signature = self._signature(module, method, bound=True)
                    self.lines += ["", "    @property", f"    def {method.name}(self) -> {signature.returns}:"]
                    self.lines += [*_sync(module.docstring(method)), f"        return self._store.{method.name}"]
                else:
                    self.method(module, method, "self._store")

    def method(self, module: Module, node: Function, store: str) -> None:
        """Write one method, which calls that of *store*."""
        signature = self._signature(module, node, bound=True)
        self._define(1, node.name, ["self", *signature.declared], signature.returns)
        self.lines += _sync(module.docstring(node))
        if signature.lends:
            self.lines.append("        caller = self._call()")
            self._body(2, signature, f"{store}.{node.name}", "caller.run(", "caller.iterate(")
        else:
            self._body(2, signature, f"{store}.{node.name}", "self._run(", "self._call().iterate(")

    def plain(self, module: Module, node: Function, kind: str, async_class: str) -> None:
        """Write a property or a static method, which the async store has as well."""
        signature = self._signature(module, node, bound=kind == "property")
        self.lines += ["", f"    @{kind}"]
        owner = ["self"] if kind == "property" else []
        self._spread(1, f"def {node.name}(", [*owner, *signature.declared], f") -> {signature.returns}:")
        self.lines += _sync(module.docstring(node))
        if kind == "property":
            self.lines.append(f"        return self.async_store.{node.name}")
        else:
            self._call(2, "return ", f"{async_class}.{node.name}", signature.passed, "")

    def function(self, definition: Definition) -> None:
        """Write one function of `storage`."""
        module, node = definition
        assert not isinstance(node, Class)
        self.public.append(node.name)
        signature = self._signature(module, node, bound=False)
        stores = [each.name for each in signature.parameters if each.written == "ObjectStore"]
        self.lines.append("")
        self._define(0, node.name, signature.declared, signature.returns)
        self.lines += [*_sync(module.docstring(node)), f"    caller = caller_for({', '.join(stores)})"]
        self._body(1, signature, f"storage.{node.name}", "caller.run(", "caller.iterate(")

    def factory(self) -> None:
        """Write `StoreFactory`, whose methods are written by hand."""
        module, node = _class("storage._sync.factory", "SyncStoreFactory")
        self.public.append("StoreFactory")
        self.lines += ["", "", 'class StoreFactory(SyncStoreFactory["ObjectStore[Any, Any]"]):']
        self.lines += [*_sync(module.docstring(node)), "", "    _store_class = ObjectStore"]

    def maker(self, definition: Definition) -> None:
        """Write a function that returns a store."""
        module, node = definition
        assert not isinstance(node, Class)
        self.public.append(node.name)
        signature = self._signature(module, node, bound=False)
        self.lines.append("")
        self._define(0, node.name, signature.declared, signature.returns)
        self.lines += _sync(module.docstring(node))
        self._call(1, "return ObjectStore(", f"storage.{node.name}", signature.passed)

    def text(self) -> str:
        """Return the whole file."""
        public = sorted([*self.public, "Data", "ObjectFile"])
        body = "\n".join(self.lines)
        callbacks = "from storage._sync.callbacks import stored_callback\n" if "stored_callback(" in body else ""
        exported = "\n".join(f'    "{name}",' for name in public)
        return (
            HEADER
            + "from typing import TYPE_CHECKING, Any, Generic\n\nimport storage\n"
            + callbacks
            + "from storage._sync.caller import Data, In, Items, Keys\n"
            + "from storage._sync.facade import SyncStore, async_store_of, caller_for\n"
            + "from storage._sync.factory import SyncStoreFactory\n"
            + "from storage._sync.object_file import ObjectFile, open_file\n"
            + "from storage.types import Out\n\nif TYPE_CHECKING:\n"
            + "\n".join(self._imports())
            + f"\n\n__all__ = [\n{exported}\n]\n"
            + body
            + "\n"
        )

    def _signature(self, module: Module, node: Function, *, bound: bool) -> Signature:
        signature = Signature(module, node, bound=bound)
        self._name(module, signature.types())
        return signature

    def _name(self, module: Module, types: str) -> None:
        """Remember the names in *types*, so that they are imported."""
        for name in set(re.findall(r"(?<![\w.])[A-Za-z_]\w*", re.sub(r'"[^"]*"', "", types))):
            home = HOMES.get(name) or home_of(module, name)
            if home is not None and name not in BASES and self.types.setdefault(name, home) != home:
                raise SystemExit(f"{name} is defined in {self.types[name]} and in {home}: rename one of them")

    def _imports(self) -> list[str]:
        """Return the imports of the types' names, sorted as ruff sorts them."""
        homes: dict[str, list[str]] = {}
        imported = {"Any", "Data", "In", "Items", "Keys", "ObjectFile", "Out", *self.public}
        for name in sorted(set(self.types) - imported, key=rank):
            homes.setdefault(self.types[name], []).append(name)
        whole = [f"    import {name}" for name in homes.pop("", [])]
        groups: list[list[str]] = [whole, [], []]
        for home, names in sorted(homes.items()):
            root = home.partition(".")[0]
            place = 2 if root == "storage" else 0 if root in sys.stdlib_module_names else 1
            groups[place].append(f"    from {home} import {', '.join(names)}")
        return "\n\n".join("\n".join(group) for group in groups if group).split("\n")

    def _define(self, depth: int, name: str, parameters: list[str], returns: str) -> None:
        self.lines.append("")
        self._spread(depth, f"def {name}(", parameters, f") -> {returns}:")

    def _body(self, depth: int, signature: Signature, called: str, run: str, iterate: str) -> None:
        """Write the call of an async function, and the use of its result."""
        if signature.returns == "ObjectFile":
            self._call(depth, "return open_file(self._call, ", called, signature.passed, ", byte_range)")
        elif signature.returns.startswith("Iterator["):
            self._call(depth, f"return {iterate}", called, signature.passed)
        else:
            self._call(depth, run if signature.returns == "None" else f"return {run}", called, signature.passed)

    def _call(self, depth: int, outer: str, called: str, arguments: list[str], end: str = ")") -> None:
        """Write ``outer(called(arguments))``, in two statements where one line is too short."""
        line = "    " * depth + f"{outer}{called}({', '.join(arguments)}){end}"
        if len(line) <= WIDTH:
            self.lines.append(line)
        else:
            self._spread(depth, f"work = {called}(", arguments, ")")
            self.lines.append("    " * depth + f"{outer}work{end}")

    def _spread(self, depth: int, start: str, parts: list[str], end: str) -> None:
        """Write a list of parameters or arguments in as few lines as `WIDTH` allows."""
        indent, inner = "    " * depth, "    " * (depth + 1)
        together = ", ".join(parts)
        if len(indent + start + together + end) <= WIDTH:
            self.lines.append(indent + start + together + end)
        elif len(inner + together) <= WIDTH:
            self.lines += [indent + start, inner + together, indent + end]
        else:
            self.lines += [indent + start, *(f"{inner}{part}," for part in parts), indent + end]


def _is_async(node: Class | Function) -> bool:
    """Return whether a definition is a function that is awaited or iterated with ``async for``."""
    if isinstance(node, ast.FunctionDef):
        return isinstance(node.returns, ast.Subscript) and ast.unparse(node.returns.value) == "AsyncIterator"
    return isinstance(node, ast.AsyncFunctionDef)


def _parameters(node: Function) -> set[str]:
    """Return a function's name and those of its parameters."""
    return {node.name, *(each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs))}


def _decorated(node: Function) -> set[str]:
    """Return the plain names among the decorators of a function."""
    return {each.id for each in node.decorator_list if isinstance(each, ast.Name)}


def _sync(lines: list[str]) -> list[str]:
    """Return a docstring without its ``async``."""
    text = "\n".join(lines)
    for pattern, word in WORDS:
        text = re.sub(pattern, word, text)
    return text.splitlines()


def _class(module: str, name: str) -> Definition:
    found = find(load(module), name)
    assert found is not None
    return found


def _contract() -> Definition:
    return _class("storage.base", "ObjectStore")


def generate() -> str:
    """Return what ``storage/sync.py`` should be."""
    public = {name: find(load(home), name) for name, home in sorted(PUBLIC.items())}
    found = {name: definition for name, definition in public.items() if definition and name not in APART}

    writer = Writer()
    writer.contract()
    for definition in found.values():
        if any(each.node.name == "ObjectStore" for each in chain(definition)):
            writer.store(definition)
    writer.factory()
    for name, definition in found.items():
        if _is_async(definition.node):
            writer.function(definition)
        elif name in MAKERS:
            writer.maker(definition)
    return writer.text()


def main(arguments: list[str]) -> int:
    """Write the file, or with ``--check`` return 1 when it is not what it should be."""
    return run(arguments, lambda: {TARGET: generate()})


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
