"""Python modules as text and syntax tree, found by name and never imported."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeAlias

__all__ = ["Class", "Definition", "Function", "Module", "chain", "find", "home_of", "load", "methods", "rank"]

ROOT = Path(__file__).resolve().parents[2]

Class: TypeAlias = ast.ClassDef
Function: TypeAlias = ast.AsyncFunctionDef | ast.FunctionDef


class Module:
    """A module: its text, and what it defines and imports."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self.lines = text.splitlines()
        self.tree = ast.parse(text)

    def segment(self, node: ast.expr) -> str:
        """Return the source of an expression, on one line."""
        return " ".join((ast.get_source_segment(self.text, node) or "").split())

    def docstring(self, node: Class | Function) -> list[str]:
        """Return the lines of a definition's docstring, quotes and indentation included."""
        first = node.body[0]
        if ast.get_docstring(node) is None or first.end_lineno is None:
            raise SystemExit(f"{self.name}.{node.name} has no docstring")
        return self.lines[first.lineno - 1 : first.end_lineno]

    def assigned(self, name: str) -> ast.expr | None:
        """Return the expression that the module assigns to *name*."""
        for statement in self.tree.body:
            if isinstance(statement, ast.Assign) and any(_is(target, name) for target in statement.targets):
                return statement.value
            if isinstance(statement, ast.AnnAssign) and _is(statement.target, name):
                return statement.value
        return None


class Definition(NamedTuple):
    """A class or function, and its module."""

    module: Module
    node: Class | Function


def _is(target: ast.expr, name: str) -> bool:
    return isinstance(target, ast.Name) and target.id == name


@cache
def load(name: str) -> Module:
    """Return the module of this package with this dotted name."""
    base = ROOT.joinpath(*name.split("."))
    path = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
    return Module(name, path.read_text(encoding="utf-8"))


def find(module: Module, name: str) -> Definition | None:
    """Return the definition of *name* in *module*, also if it is imported; None if it is not of this package."""
    for statement in module.tree.body:
        if isinstance(statement, Class | ast.AsyncFunctionDef | ast.FunctionDef) and statement.name == name:
            return Definition(module, statement)
    home = home_of(module, name)
    if not home or home == module.name or not home.startswith("storage."):
        return None
    return find(load(home), name)


def home_of(module: Module, name: str) -> str | None:
    """
    Return the name of the module that *module* imports *name* from; its own if it defines the name.

    It is ``""`` if *name* is a whole module, and None for a built-in.
    """
    for statement in ast.walk(module.tree):
        if isinstance(statement, ast.ImportFrom | ast.Import) and name in {each.name for each in statement.names}:
            return statement.module if isinstance(statement, ast.ImportFrom) else ""
    return None if hasattr(builtins, name) else module.name


def chain(definition: Definition) -> Iterator[Definition]:
    """Yield a class and those of its bases that are of this package, the nearest first."""
    yield definition
    if isinstance(definition.node, Class):
        for base in definition.node.bases:
            named = base.value if isinstance(base, ast.Subscript) else base
            found = find(definition.module, named.id) if isinstance(named, ast.Name) else None
            if found is not None:
                yield from chain(found)


def methods(node: Class | Function) -> Iterator[Function]:
    """Yield the functions in the body of a definition."""
    return (each for each in node.body if isinstance(each, ast.AsyncFunctionDef | ast.FunctionDef))


def rank(name: str) -> tuple[bool, bool, str]:
    """Sort imported names as ruff does: constants, classes, functions."""
    return not (name.isupper() and len(name) > 1), not name[0].isupper(), name
