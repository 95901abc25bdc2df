"""The modules of the package keep to the layers of ``storage/_tools/layers.py``, and the picture of these is fresh."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import pytest
from paths import ROOT

from storage._tools import architecture
from storage._tools.layers import HEIGHT, LAYERS, Import, imports, layer, sources

#: Lines that a file may have, and the generated ones that may have more.
MOST_LINES = 400
GENERATED = {"storage/sync.py"}


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


def test_every_layer_and_every_import_between_layers_is_drawn() -> None:
    """The picture has what each layer is, and what it imports from below; a module's own package is not named."""
    modules = {**EXAMPLE, "storage.config": "import storage.config.registry", "storage.sync": "import storage.base"}
    drawn = [line.strip("│ ") for line in architecture.draw(modules).splitlines()]

    assert [] == [what for names in LAYERS for what in names.values() if not any(line.endswith(what) for line in drawn)]
    assert ["▼ base"] == [line for line in drawn if line.startswith("▼")]


def test_picture_of_the_layers_is_fresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`make generated` draws it into the page; a stale one is found, and the message says what to do."""
    assert 0 == architecture.main(["--check"])
    stale = tmp_path / "architecture.md"
    stale.write_text(architecture.PAGE.read_text().replace("▼ types", "▼ sync"))
    monkeypatch.setattr(architecture, "PAGE", stale)

    assert 1 == architecture.main(["--check"])
    assert "make generated" in capsys.readouterr().err
    assert 0 == architecture.main([])
    assert 0 == architecture.main(["--check"])


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
