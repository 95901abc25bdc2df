"""
Writes ``storage/config/schema.json``, the schema of configurations with the stores of this package.

    python -m storage._tools.schema            write it
    python -m storage._tools.schema --check    only check that it is up to date
"""

from __future__ import annotations

import json
import sys

from storage._names import SHORT_NAMES, STORES
from storage._tools.generated import run
from storage._tools.source import ROOT
from storage.config.registry import Registry
from storage.config.schema import schema

TARGET = ROOT / "storage" / "config" / "schema.json"


def generate() -> str:
    """Return what ``storage/config/schema.json`` should be."""
    return json.dumps(schema(Registry(STORES, short_names=SHORT_NAMES)), indent=1, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write the file, or with ``--check`` return 1 when it is not what it should be."""
    return run(arguments, lambda: {TARGET: generate()})


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
