"""
Writes what type checkers see of the lazy names of `storage` and `storage.testing`, from ``storage/_names.py``.

    python -m storage._tools.names            write it
    python -m storage._tools.names --check    only check that it is up to date

It is between two comments in the ``__init__.py`` of each package: an import of each name, and for `storage` the second
name of each store, which begins with ``Async``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from storage._names import PUBLIC, TESTING
from storage._tools.generated import run
from storage._tools.source import ROOT, rank

BEGIN = "# GENERATED from storage/_names.py: change that, then run `make generated`.\n"
END = "# END OF GENERATED\n"

PACKAGE = ROOT / "storage" / "__init__.py"
TESTING_PACKAGE = ROOT / "storage" / "testing" / "__init__.py"


def imports(homes: dict[str, str]) -> list[str]:
    """Return a line for each public name, sorted as ruff sorts them."""
    ordered = sorted(homes.items(), key=lambda item: (item[1], rank(item[0])))
    return [f"    from {home} import {name} as {name}\n" for name, home in ordered]


def aliases(homes: dict[str, str]) -> list[str]:
    """Return a line for the second name of each store."""
    return [f"    Async{name} = {name}\n" for name in sorted(homes) if name.endswith("Store")]


def generate() -> dict[Path, str]:
    """Return the two files as they should be."""
    second = ["\n    # Every store has a second name, which users of similar libraries know.\n", *aliases(PUBLIC)]
    return {
        PACKAGE: _replaced(PACKAGE, ["    from typing import Any\n\n", *imports(PUBLIC), *second]),
        TESTING_PACKAGE: _replaced(TESTING_PACKAGE, imports(TESTING)),
    }


def _replaced(path: Path, lines: list[str]) -> str:
    """Return the text of a file with *lines* between the two comments."""
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{path.relative_to(ROOT)}: the comments around the generated part are missing")
    return "".join([before, begin, "if TYPE_CHECKING:\n", *lines, end, after])


def main(arguments: list[str]) -> int:
    """Write the files, or with ``--check`` return 1 when one is not what it should be."""
    return run(arguments, generate)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
