"""``python -m benchmarks``: run the comparisons, print a table, and say which promises were not kept."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict
from typing import Any

from benchmarks import buckets, costs, decorators, peers, redis
from benchmarks.harness import Comparison, Plan, Result, measure

#: In the order of the table. Each makes what it measures when it is entered, and takes it away when it is left.
COMPARISONS: list[Callable[[], AbstractAsyncContextManager[Comparison]]] = [
    costs.sync_get,
    costs.decorated_get,
    costs.sync_file_get,
    decorators.added_to_get,
    decorators.added_to_put,
    peers.memory_put,
    peers.memory_get,
    peers.file_put,
    peers.file_get,
    peers.sync_file_get,
    peers.sqlite_put,
    peers.sqlite_get,
    buckets.bucket_get,
    buckets.bucket_put,
    buckets.bucket_large_put,
    buckets.bucket_large_get,
    *((redis.redis_put, redis.redis_get) if redis.SERVER else ()),
]

#: Enough to see that every benchmark still runs.
SMOKE = Plan(rounds=2, seconds=0.002)


def machine() -> dict[str, Any]:
    """Say what the numbers were measured on."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }


def show(comparison: Comparison, results: list[Result]) -> None:
    """Print one comparison's part of the table."""
    print(f"\n{comparison.title:<44}{'each':>14}{'ratio':>10}  {promise(comparison)}".rstrip())
    for result in results:
        verdict = {None: "", True: "  kept", False: "  NOT KEPT"}[result.kept]
        added = "" if result.added is None else f"{result.added * 1e6:>+12.2f} us added"
        print(f"  {result.contender:<42}{result.seconds * 1e6:>11.2f} us{result.ratio:>10.2f}{added}{verdict}")
    if comparison.missing:
        print(f"  not installed: {', '.join(comparison.missing)}")


def promise(comparison: Comparison) -> str:
    """Return a comparison's promise in words, none for none."""
    if comparison.adds_at_most is not None:
        return f"adds at most {comparison.adds_at_most * 1e6:g} us"
    return "" if comparison.at_most is None else f"at most {comparison.at_most:g}"


async def run(plan: Plan, chosen: str) -> list[dict[str, Any]]:
    """Measure and print the comparisons with *chosen* in their names, and return what `--json` writes."""
    measured = []
    for prepare in COMPARISONS:
        if chosen in f"{prepare.__module__}.{prepare.__name__}":
            async with prepare() as comparison:
                results = await measure(comparison, plan) if comparison.contenders else []
            show(comparison, results)
            measured += [{"comparison": comparison.title, **asdict(result)} for result in results]
    return measured


def main() -> int:
    """Run from the command line and return the exit code: 1 when a promise was not kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Compare costs in one run.")
    parser.add_argument("chosen", nargs="?", default="", help="only comparisons with this in their name: 'sqlite'")
    parser.add_argument("--smoke", action="store_true", help="run everything for a moment and judge nothing")
    parser.add_argument("--json", metavar="FILE", help="write all numbers to this file too")
    arguments = parser.parse_args()

    about = machine()
    print("{python}, {system}, {cores} cores; medians of rounds in turns".format(**about))
    results = asyncio.run(run(SMOKE if arguments.smoke else Plan(), arguments.chosen))
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"machine": about, "results": results}, file, indent=2)
    return 1 if not arguments.smoke and any(result["kept"] is False for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
