"""
Draws the layers of the package into ``docs/architecture.md``, from the imports of all modules.

    python -m storage._tools.architecture            write the picture
    python -m storage._tools.architecture --check    only say whether it is fresh
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from storage._tools.generated import run
from storage._tools.layers import HEIGHT, LAYERS, imports, layer, sources
from storage._tools.source import ROOT

__all__ = ["PAGE", "draw", "generate", "main"]

BEGIN = "<!-- GENERATED from the imports: run `make generated` -->\n"
END = "<!-- END OF GENERATED -->\n"

PAGE = ROOT / "docs" / "architecture.md"

#: How a layer is called in the picture where its name is not that of a module.
_SHOWN = {"": "storage"}


def draw(modules: Mapping[str, str]) -> str:
    """Return the picture: a box of all layers, each with what it is and the layers that it imports."""
    below: dict[str, set[str]] = {name: set() for name in HEIGHT}
    for each in imports(modules):
        below[layer(each.importer)].add(layer(each.imported))
    indent = max(map(len, HEIGHT)) + 2
    boxes = [_lines(names, below, indent) for names in LAYERS]
    width = max(len(line) for lines in boxes for line in lines)
    edge = "─" * (width + 2)
    layers = f"├{edge}┤\n".join("".join(f"│ {line:{width}} │\n" for line in lines) for lines in boxes)
    return f"┌{edge}┐\n{layers}└{edge}┘\n"


def _lines(names: Mapping[str, str], below: Mapping[str, Iterable[str]], indent: int) -> list[str]:
    """Return the lines of one layer."""
    lines = []
    for name, what in names.items():
        lines.append(f"{_SHOWN.get(name, name):{indent}}{what}")
        imported = [_SHOWN.get(each, each) for each in HEIGHT if each in set(below[name]) - {name}]
        if imported:
            lines.append(f"{'':{indent}}▼ {' '.join(imported)}")
    return lines


def generate() -> dict[Path, str]:
    """Return the page as it should be."""
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{PAGE.name}: the comments around the generated part are missing")
    return {PAGE: f"{before}{begin}\n```text\n{draw(sources())}```\n\n{end}{after}"}


def main(arguments: list[str]) -> int:
    """Write the page, or with ``--check`` return 1 when it is not what it should be."""
    return run(arguments, generate)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
