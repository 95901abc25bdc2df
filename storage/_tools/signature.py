"""The synchronous signature of an async function."""

from __future__ import annotations

import ast
import re

from storage._tools.source import Function, Module, home_of, load

__all__ = ["HOMES", "Signature"]

#: The replacements of async types, the alternatives that are left out, and the modules of the replacements.
TYPES = {"AsyncIterator": "Iterator"}
READER = "AbstractAsyncContextManager[ObjectReader]"
GONE = {"AsyncIterable", "Awaitable"}
HOMES = {
    "Data": "storage._sync.caller",
    "In": "storage._sync.caller",
    "Items": "storage._sync.caller",
    "Keys": "storage._sync.caller",
    "Iterator": "collections.abc",
    "ObjectFile": "storage._sync.object_file",
}


#: Expressions for the async stores in a parameter of each type that may hold some.
STORES = {
    "ObjectStore": "async_store_of({})",
    "Sequence[ObjectStore]": "[async_store_of(store) for store in {}]",
    "Mapping[str, ObjectStore]": "{{name: async_store_of(store) for name, store in {}.items()}}",
}


class Parameter:
    """A parameter of an async function: how the synchronous version declares it, and how it passes it on."""

    def __init__(self, module: Module, node: ast.arg, default: ast.expr | None, star: str = "") -> None:
        if node.annotation is None:
            raise SystemExit(f"{module.name}: parameter {node.arg} has no type")
        self.name = node.arg
        self.star = star
        self.written = re.sub(r"\bObjectStore\[[^][]*\]", "ObjectStore", module.segment(node.annotation))
        self.type = sync_type(module, node.annotation)
        self.default = None if default is None else constant(module, default)

    def declared(self) -> str:
        return f"{self.star}{self.name}: {self.type}" + ("" if self.default is None else f" = {self.default}")

    def passed(self, *, stored: bool) -> str:
        """Return the expression that is passed on: the async store, what the caller lends, or a *stored* callback."""
        stores = self.written.removesuffix(" | None")
        if "ObjectStore" in stores:
            if stores not in STORES:
                raise SystemExit(f"{self.name}: {self.written}: the generator cannot find the stores in this type")
            passed = STORES[stores].format(self.name)
            return passed if stores == self.written else f"None if {self.name} is None else {passed}"
        if stored:
            return f"stored_callback({self.name})" if "Awaitable[" in self.written else self.star + self.name
        lend = self.lent()
        return f"caller.{lend}({self.name})" if lend else self.star + self.name

    def lent(self) -> str | None:
        """Return the method of `storage._sync.caller.Caller` that lends this argument, None for a plain value."""
        if re.search(r"\bItems\[", self.written):
            return "items"
        if re.search(r"\b(Data|In)\b", self.written):
            return "data"
        if re.search(r"\bKeys\b|\bAsyncIterable\[", self.written):
            return "iterable"
        if "Callable[" not in self.written:
            return None
        if "Awaitable[" in self.written:
            return "result_callback"
        if re.search(r"\], (None|object)\]", self.written):
            return "callback"
        raise SystemExit(
            f"{self.name}: {self.written}: let the callback return an Awaitable too, so that a thread can run it"
        )


class Signature:
    """The synchronous signature of an async function, and the arguments of the call to it."""

    def __init__(self, module: Module, node: Function, *, bound: bool) -> None:
        making = node.name == "__init__"  # callbacks of a constructor are stored, all others are lent
        arguments = node.args
        positional = arguments.posonlyargs + arguments.args
        defaults = [None] * (len(positional) - len(arguments.defaults)) + arguments.defaults
        plain = [Parameter(module, *each) for each in zip(positional[bound:], defaults[bound:], strict=True)]
        keywords = [Parameter(module, *each) for each in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
        rest = [Parameter(module, arguments.vararg, None, "*")] if arguments.vararg else []
        options = [Parameter(module, arguments.kwarg, None, "**")] if arguments.kwarg else []

        self.parameters = plain + rest + keywords + options
        self.declared = [each.declared() for each in plain + rest]
        if keywords and not rest:
            self.declared.append("*")
        self.declared += [each.declared() for each in keywords + options]
        if arguments.posonlyargs:
            self.declared.insert(len(arguments.posonlyargs) - bound, "/")
        self.passed = [each.passed(stored=making) for each in plain + rest]
        self.passed += [f"{each.name}={each.passed(stored=making)}" for each in keywords]
        self.passed += [each.passed(stored=making) for each in options]
        self.returns = "None" if node.returns is None else sync_type(module, node.returns)
        self.lends = any(each.lent() for each in self.parameters)

    def types(self) -> str:
        return " ".join([each.type for each in self.parameters] + [self.returns])


def constant(module: Module, default: ast.expr) -> str:
    """Return the source of a default; for a constant its value, so that its module need not be imported."""
    if isinstance(default, ast.Name):
        name = home_of(module, default.id)
        home = load(name) if name and name != module.name else module
        value = home.assigned(default.id)
        if value is None or any(isinstance(each, ast.Name) for each in ast.walk(value)):
            raise SystemExit(f"{module.name}: the default {default.id} is not a plain constant")
        return home.segment(value)
    return module.segment(default)


def sync_type(module: Module, node: ast.expr) -> str:
    """Return the source of a type without its async alternatives."""
    if isinstance(node, ast.BinOp):
        kept = [sync_type(module, each) for each in _alternatives(node) if not _gone(each)]
        return " | ".join(kept)
    if isinstance(node, ast.List):
        return f"[{', '.join(sync_type(module, each) for each in node.elts)}]"
    if isinstance(node, ast.Subscript):
        if module.segment(node) == READER:
            return "ObjectFile"
        origin = module.segment(node.value)
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return f"{TYPES.get(origin, origin)}[{', '.join(sync_type(module, each) for each in inner)}]"
    return module.segment(node)


def _alternatives(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _alternatives(node.left) + _alternatives(node.right)
    return [node]


def _gone(node: ast.expr) -> bool:
    return isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in GONE
