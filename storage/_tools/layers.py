"""
The layers of the package, and the imports between them.

`LAYERS` is the table. A module may import from its own package and from all layers below it. A test holds that for
every import: at the top of a module, inside a function, and for type checkers only. The picture in
``docs/architecture.md`` is drawn from the same table and the same imports.

Why the layers are in this order, where it is not obvious:

- ``storage/__init__.py`` is above all that it names, and no module below may import a name from it. Its imports are for
  type checkers, but for that of the table of names.
- ``decorators`` are above ``functions``, because a mirror copies objects between stores. They are above ``stores``,
  because a store must work without any decorator.
- ``_sync``, the hand-written half of the synchronous face, knows the contract and configurations, but no store. So it
  is below ``functions``, where `describe` takes synchronous stores too, and far below the generated ``sync``.
- ``config`` is below ``stores``, because stores read their own URLs, and above ``base``, because the registry returns
  stores. ``base`` registers subclasses in ``_core/subclass_table.py``, which does not know the contract.
- ``_concurrency`` is above ``errors``, because a lock may refuse a call.
- ``types`` is below ``_core``, whose helpers take ranges and attributes.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from storage._tools.source import ROOT

__all__ = ["HEIGHT", "LAYERS", "Import", "imports", "layer", "sources"]

#: The modules and packages of `storage`, the highest first, and what each is. Those in one layer do not import each
#: other. The empty name is ``storage/__init__.py`` itself, and ``benchmarks`` is a package of its own.
LAYERS: list[dict[str, str]] = [
    {
        "testing": "for tests: the conformance suite, stores that fail or count, a state machine",
        "_tools": "write the generated files; no other module imports them",
        "benchmarks": "measure the package beside its peers; not installed with it",
    },
    {"sync": "the synchronous face, generated from the async classes"},
    {"": "the public names, imported when they are first used"},
    {"decorators": "stores on top of one or more other stores"},
    {"functions": "copy_store, sync_stores, describe, ...: they use only the contract"},
    {"stores": "stores on memory, files, SQLite, zip, S3, HTTP and Redis"},
    {"_sync": "the hand-written half of the synchronous face"},
    {"config": "stores from files and URLs; the registry"},
    {"base": "the contract, ObjectStore, with the default methods"},
    {"reader": "ObjectReader, what open returns"},
    {"_core": "parts of the contract that all stores share"},
    {"types": "the types of the contract"},
    {"_concurrency": "worker threads, the background loop, tasks, locks"},
    {
        "errors": "the tree of errors",
        "_names": "the table of public names",
    },
]

#: How high the layer of each name is.
HEIGHT = {name: -depth for depth, names in enumerate(LAYERS) for name in names}


class Import(NamedTuple):
    """An import of one module by another."""

    importer: str
    imported: str
    line: int

    def __str__(self) -> str:
        return f"{self.importer}, line {self.line}, imports {self.imported}"


def sources() -> dict[str, str]:
    """Return the text of every module of `storage` and of the benchmarks, by dotted name."""
    return {
        _module_name(path): path.read_text(encoding="utf-8")
        for folder in ("storage", "benchmarks")
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


def _module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(modules: Mapping[str, str]) -> Iterator[Import]:
    """Yield all imports of one of the modules by another, also those inside functions."""
    for importer, text in modules.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                names = [each.name for each in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{importer}, line {node.lineno}: write the whole name of the module"
                whole = [f"{node.module}.{each.name}" for each in node.names]
                names = [name if name in modules else str(node.module) for name in whole]
            else:
                continue
            yield from (Import(importer, name, node.lineno) for name in names if name in modules and name != importer)


def layer(module: str) -> str:
    """Return the name of the layer that a module is in."""
    package, _, inside = module.partition(".")
    name = inside.partition(".")[0] if package == "storage" else package
    assert name in HEIGHT, f"{module} has no place in LAYERS"
    return name
