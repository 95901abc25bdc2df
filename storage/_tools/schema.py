"""
Writes ``storage/config/schema.json``, the schema of configurations with the stores of this package.

    python -m storage._tools.schema            write it
    python -m storage._tools.schema --check    only say whether it is fresh
"""

from __future__ import annotations

import json
import sys

from storage._core.registry import HOMES, SHORT_NAMES, Registry
from storage._tools.source import ROOT
from storage.config.schema import schema

TARGET = ROOT / "storage" / "config" / "schema.json"


def generate() -> str:
    """Return what ``storage/config/schema.json`` should be."""
    return json.dumps(schema(Registry(HOMES, short_names=SHORT_NAMES)), indent=1, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write the file, or with ``--check`` return 1 when it is not what it should be."""
    text = generate()
    if "--check" not in arguments:
        TARGET.write_text(text, encoding="utf-8")
    elif not TARGET.exists() or TARGET.read_text(encoding="utf-8") != text:
        print(f"{TARGET.relative_to(ROOT)} is stale: run `make schema` and commit what it writes", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
