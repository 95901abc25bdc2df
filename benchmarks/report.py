"""The results, as a table for people and as JSON for programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import asdict
from importlib import metadata
from typing import Any

from benchmarks.harness import Comparison, Result
from benchmarks.targets import Verdict

__all__ = ["amount", "heading", "machine", "record", "size_name", "table", "verdict_line"]

#: Packages whose versions are reported with the results.
PEERS = "obstore opendal fsspec s3fs py-key-value-aio diskcache aiocache"
PACKAGES = f"{PEERS} aiofiles aiosqlite aiobotocore aiohttp redis uvloop"


def machine() -> dict[str, Any]:
    """Return the machine and the versions that were used."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,  # of others, before the run
        "packages": dict(_versions()),
    }


def heading(about: dict[str, Any]) -> str:
    """Return the heading before the first table."""
    return (
        f"{about['python']}, {about['system']}, {about['cores']} cores, load {about['load']} before it began\n"
        "medians of rounds in turns, for one operation\n"
        "CPU: of all threads of this process, servers apart; ratio: so many times as fast is the first"
    )


def _versions() -> Iterator[tuple[str, str]]:
    for package in PACKAGES.split():
        try:
            yield package, metadata.version(package)
        except metadata.PackageNotFoundError:
            pass


def record(comparison: Comparison, results: list[Result], verdicts: list[Verdict]) -> dict[str, Any]:
    """Return the JSON record of one comparison."""
    return {
        "comparison": comparison.title,
        **comparison.about,
        "ours": sorted(comparison.ours),
        "missing": list(comparison.missing),
        "results": [{**asdict(result), **_described(comparison, result)} for result in results],
        "promises": [asdict(verdict) for verdict in verdicts],
    }


def _described(comparison: Comparison, result: Result) -> dict[str, Any]:
    workload = comparison.contenders[result.contender]
    return {"less": workload.less, "limit": workload.limit}


def table(record: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of one comparison; `ratio` is how many times faster the first contender is."""
    results = record["results"]
    more = [name for name in ("blocked", "worst", "peak") if any(name in result["measures"] for result in results)]
    more += ["added"] if any(result["added"] is not None for result in results) else []
    heads = "".join(f"{head:>13}" for head in more)
    yield f"\n{record['comparison']:<44}{'wall':>12}{'CPU':>12}{'a second':>11}{'ratio':>8}{heads}"
    for result in results:
        measures = {**result["measures"], "added": result["added"]}
        shown = "".join(f"{amount(name, measures.get(name)):>13}" for name in more)
        each = f"{amount('seconds', measures['seconds']):>12}{amount('cpu', measures['cpu']):>12}"
        line = f"  {result['contender']:<42}{each}{1 / measures['seconds']:>11,.0f}{result['ratio']:>8.2f}{shown}"
        notes = [note for note in ("the limit" if result["limit"] else "", result["less"]) if note]
        yield f"{line}  {': '.join(notes)}".rstrip()
    if record["missing"]:
        yield f"  not there: {', '.join(record['missing'])}"
    for verdict in record["promises"]:
        yield f"  {verdict_line(verdict)}"


def verdict_line(verdict: dict[str, Any]) -> str:
    """Return one line about a promise and its result."""
    kept = "kept" if verdict["kept"] else "NOT KEPT"
    if verdict["unit"] == "times":
        return f"{kept:<9}{verdict['reached']:>7.2f} times, at least {verdict['asked']:g}: {verdict['words']}"
    reached, asked = (amount(verdict["unit"], verdict[name]) for name in ("reached", "asked"))
    return f"{kept:<9}{reached:>7}, at most {asked}: {verdict['words']}"


def amount(measure: str, value: float | None) -> str:
    """Return a measure with a suitable unit."""
    if value is None:
        return ""
    if measure == "peak":
        return f"{value / (1 << 20):.1f} MiB"
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if abs(value) * factor >= 1:
            return f"{value * factor:.2f} {unit}"
    return f"{value * 1e6:.2f} us"


def size_name(size: int) -> str:
    """Return the size in words, as the command line has it."""
    unit, name = next((unit, name) for unit, name in [(1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")] if size % unit == 0)
    return f"{size // unit}{name}"
