"""
The layers of the package: arrows run down only, and nowhere in a circle.

`LAYERS` is the table. A module may import from its own package and from all layers below it. This holds for every
import: at the top of a module, inside a function, and for type checkers only.

Why the layers are in this order, where it is not obvious:

- ``storage/__init__.py`` is above all that it names, and no module below may import a name from it. Its imports are for
  type checkers, but for that of the table of names.
- ``decorators`` are above ``functions``, because a mirror copies objects between stores. They are above ``stores``,
  because a store must work without any decorator.
- ``_sync``, the hand-written half of the synchronous face, knows the contract and configurations, but no store. So it
  is below ``functions``, where `describe` takes synchronous stores too, and far below the generated ``sync``.
- ``config`` is below ``stores``, because stores read their own URLs, and above ``base``, because the registry returns
  stores. ``base`` registers subclasses in ``_core/subclass_table.py``, which does not know the contract.
- ``types`` is below ``_core``, whose helpers take ranges and attributes.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from paths import ROOT

#: The modules and packages of `storage`, the highest first. The empty name is ``storage/__init__.py`` itself, and
#: ``benchmarks`` is a package of its own.
LAYERS = [
    ["testing", "_tools", "benchmarks"],
    ["sync"],
    [""],
    ["decorators"],
    ["functions"],
    ["stores"],
    ["_sync"],
    ["config"],
    ["base"],
    ["reader"],
    ["_core"],
    ["types"],
    ["_concurrency", "errors", "_names"],
]
HEIGHT = {name: -depth for depth, names in enumerate(LAYERS) for name in names}

#: Lines that a file may have, and the generated ones that may have more.
MOST_LINES = 400
GENERATED = {"storage/sync.py"}


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
        for path in (ROOT / folder).rglob("*.py")
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


def upward(modules: Mapping[str, str]) -> list[str]:
    """Return the imports of a module in a higher layer, or in another package of the same layer."""
    return [
        str(each)
        for each in imports(modules)
        if layer(each.importer) != layer(each.imported) and HEIGHT[layer(each.importer)] <= HEIGHT[layer(each.imported)]
    ]


def circles(modules: Mapping[str, str]) -> list[str]:
    """Return the imports of each circle, each circle once."""
    arrows = defaultdict(list)
    for each in imports(modules):
        arrows[each.importer].append(each)
    found: list[str] = []
    done: set[str] = set()

    def follow(module: str, way: list[Import]) -> None:
        passed = [each.importer for each in way]
        if module in passed:
            found.append("; ".join(map(str, way[passed.index(module) :])))
        elif module not in done:
            for each in arrows[module]:
                follow(each.imported, [*way, each])
            done.add(module)

    for module in modules:
        follow(module, [])
    return found


def test_arrows_run_down() -> None:
    """A module imports only from its own package and from lower layers."""
    assert [] == upward(sources())


def test_no_module_imports_itself_through_others() -> None:
    """Also inside a package, where there are no layers."""
    assert [] == circles(sources())


#: Some modules, without their imports.
EXAMPLE = dict.fromkeys(["storage", "storage.base", "storage.config", "storage.config.registry", "storage.sync"], "")
EXAMPLE["storage._concurrency.tasks"] = ""


@pytest.mark.parametrize(
    "line",
    [
        "from storage.config.registry import registry",
        "import storage.config.registry",
        "from storage.config import registry",
        "if TYPE_CHECKING:\n    from storage.config.registry import Registry",
        "def late():\n    from storage.config import registry as found",
    ],
)
def test_import_that_is_turned_round_is_named(line: str) -> None:
    """However it is written, and even if it does not run when the module is imported."""
    modules = {**EXAMPLE, "storage.base": f"1\n{line}\n"}
    number = 2 + line.count("\n")

    assert [f"storage.base, line {number}, imports storage.config.registry"] == upward(modules)


@pytest.mark.parametrize(("importer", "imported"), [("errors", "_concurrency.tasks"), ("types", ""), ("base", "sync")])
def test_neighbours_and_the_top_are_up_too(importer: str, imported: str) -> None:
    """Packages of one layer do not import each other, and lower modules do not import `storage` itself."""
    name = f"storage.{imported}".rstrip(".")
    modules = {**EXAMPLE, f"storage.{importer}": f"import {name}"}

    assert [f"storage.{importer}, line 1, imports {name}"] == upward(modules)


def test_circle_is_named() -> None:
    """The message has all its imports, so that one sees which to remove."""
    modules = {
        "storage.stores.a": "import storage.stores.b",
        "storage.stores.b": "def late():\n    from storage.stores.c import anything",
        "storage.stores.c": "from storage.stores import b, missing",
    }

    assert [
        "storage.stores.b, line 2, imports storage.stores.c; storage.stores.c, line 1, imports storage.stores.b"
    ] == (circles(modules))


def test_new_package_needs_a_place_in_the_table() -> None:
    """The table says what it may import."""
    with pytest.raises(AssertionError, match=r"storage\.wing has no place in LAYERS"):
        upward({**EXAMPLE, "storage.wing": "import storage.base"})


def test_every_layer_is_there() -> None:
    """The table names no package that does not exist."""
    assert set(HEIGHT) == {layer(module) for module in sources()}


def test_top_of_the_package_is_public() -> None:
    """Users import these modules; all others are in packages, but for the table of names."""
    public = {"__init__.py", "base.py", "errors.py", "reader.py", "sync.py", "types.py"}

    assert {*public, "_names.py"} == {path.name for path in (ROOT / "storage").glob("*.py")}


def test_no_file_is_too_long() -> None:
    """A longer file has two subjects, or can be split."""
    lines = {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8").count("\n")
        for folder in ("storage", "tests")
        for path in (ROOT / folder).rglob("*.py")
    }
    long = {f"{name}: {count} lines" for name, count in lines.items() if count > MOST_LINES and name not in GENERATED}

    assert set() == long
