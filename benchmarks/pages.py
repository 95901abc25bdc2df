"""
The figures of the documentation, which are written from the numbers of a run and never by hand.

A page says where: what stands between ``<!-- benchmarks: NAME -->`` and ``<!-- end -->`` is written anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.operations import NO_SUCH_CALL
from benchmarks.plot import plot
from benchmarks.report import amount

__all__ = ["TABLES", "rewritten", "write_pages"]

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "docs" / "performance.md"]
PICTURE = ROOT / "docs" / "performance.svg"

_PART = re.compile(r"(<!-- benchmarks: (?P<name>[\w ]+) -->\n).*?(<!-- end -->)", re.DOTALL)

#: A run, as read from the JSON.
Run = dict[str, Any]

MEASURES = {"blocked": "loop blocked", "worst": "at worst", "peak": "memory"}


def write_pages(measured: Run) -> None:
    """Write the tables of README.md and docs/performance.md, and the picture."""
    for page in PAGES:
        page.write_text(rewritten(page.read_text(), measured))
    PICTURE.write_text(plot(measured))


def rewritten(text: str, measured: Run) -> str:
    """Return a page's *text* with its tables from the run; a table without results stays as it is."""

    def part(match: re.Match[str]) -> str:
        lines = list(TABLES[match["name"]](measured))
        return f"{match[1]}\n{chr(10).join(lines)}\n\n{match[3]}" if lines else match[0]

    return _PART.sub(part, text)


def _table(head: list[str], rows: list[list[str]]) -> Iterator[str]:
    """Yield the lines of a table; the first column is aligned left."""
    if rows:
        yield f"| {' | '.join(head)} |"
        yield f"|---{'|---:' * (len(head) - 1)}|"
        yield from (f"| {' | '.join(row)} |" for row in rows)


def _machine(measured: Run) -> Iterator[str]:
    about = measured["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    load = f" (load {about['load']} before it began)" if about.get("load") else ""
    yield f"Measured on {about['cores']} cores{load}, {about['system']}, {about['python']}; {packages}."


def _promises(measured: Run) -> Iterator[str]:
    """Yield the table of promises: the target and the result."""
    rows = []
    for verdict in (verdict for record in measured["results"] for verdict in record["promises"]):
        if verdict["unit"] == "times":
            asked, reached = f"at least {verdict['asked']:g} times", f"{verdict['reached']:.2f} times"
        else:
            unit = verdict["unit"]
            asked, reached = f"at most {amount(unit, verdict['asked'])}", amount(unit, verdict["reached"])
        rows.append([verdict["words"], asked, reached, "kept" if verdict["kept"] else "**not kept**"])
    return _table(["", "asked", "reached", ""], rows)


def _kind(kind: str, face: str) -> Callable[[Run], Iterator[str]]:
    """Return the table of a kind: a row for each case, a column for each contender."""

    def table(measured: Run) -> Iterator[str]:
        records = [
            record
            for record in measured["results"]
            if (record.get("kind"), record.get("face")) == (kind, face) and record["results"]
        ]
        results = [result for record in records for result in record["results"]]
        contenders = list(dict.fromkeys(result["contender"] for result in results))
        rows = []
        for record in records:
            cells = {result["contender"]: _both(result) for result in record["results"]}
            rows.append([record["comparison"].removeprefix(f"{kind} "), *(cells.get(each, "") for each in contenders)])
        yield from _table(["", *contenders], rows)
        yield from _notes(results)

    return table


def _notes(results: list[dict[str, Any]]) -> Iterator[str]:
    """Yield what each contender does less; the page itself explains contenders without the call."""
    notes: dict[str, dict[str, None]] = {}
    for result in results:
        parts = [part for part in result["less"].split("; ") if part and not part.startswith(NO_SUCH_CALL)]
        notes.setdefault(result["contender"], {}).update(dict.fromkeys(parts))
    if any(notes.values()):
        yield ""
        yield from (f"- {side}: {'; '.join(parts)}." for side, parts in notes.items() if parts)


def _both(result: dict[str, Any]) -> str:
    """Return wall time, and CPU time if it differs."""
    wall, cpu = (amount("seconds", result["measures"][name]) for name in ("seconds", "cpu"))
    return f"{wall}<br>({cpu})"


def _others(start: str) -> Callable[[Run], Iterator[str]]:
    """Return the tables of the comparisons whose titles begin so: a row for each contender."""

    def tables(measured: Run) -> Iterator[str]:
        first = True
        for record in measured["results"]:
            if record["comparison"].startswith(start) and record["results"]:
                if not first:
                    yield ""
                first = False
                yield from _contenders(record)

    return tables


def _contenders(record: dict[str, Any]) -> Iterator[str]:
    more = [name for name in MEASURES if any(name in result["measures"] for result in record["results"])]
    rows = []
    for result in record["results"]:
        measures = result["measures"]
        cells = [amount(name, measures[name]) for name in ("seconds", "cpu", *more)]
        rows.append([result["contender"], *cells, f"{result['ratio']:.2f}"])
    head = [f"**{record['comparison'].removeprefix('setting: ')}**", "wall", "CPU"]
    return _table([*head, *(MEASURES[name] for name in more), "ratio"], rows)


def _decorators(measured: Run) -> Iterator[str]:
    """Yield the table of what each decorator adds, and py-key-value's wrapper that does the same."""
    added: dict[str, dict[str, str]] = {"get": {}, "put": {}}
    for record in measured["results"]:
        for operation, found in added.items():
            if record["comparison"].startswith(f"decorated {operation}"):
                adding = [result for result in record["results"] if result["added"] is not None]
                found.update({result["contender"]: amount("added", result["added"]) for result in adding})
    names = dict.fromkeys([*added["get"], *added["put"]])
    peers = {name[name.index("(") + 1 : -1]: name for name in names if "(" in name}
    rows = []
    for name in names:
        if "(" not in name:
            peer = peers.get(name, "")
            own = [added[operation].get(name, "") for operation in added]
            rows.append([name, *own, peer.partition(" ")[0], *(added[operation].get(peer, "") for operation in added)])
    return _table(["", "adds to get", "to put", "py-key-value", "adds to get", "to put"], rows)


#: The rows of the README: a case, and its name there.
README = {
    "memory get, 100B, 1 task, await": "get 100 bytes from memory",
    "file get, 4KiB, 1 task, await": "get a 4 KiB file",
    "file get, 4KiB, 64 tasks, await": "the same, 64 tasks",
    "file get, 4KiB, 1 thread, sync": "the same, without `await`",
    "file put, 4KiB, 64 tasks, await": "put a 4 KiB file, 64 tasks",
    "file keys, 100000 objects, 1 task, await": "list 100 000 files, each",
    "sqlite put, 100B, 64 tasks, await": "put 100 bytes into SQLite, on the disk, 64 tasks",
    "sqlite get, 100B, 64 tasks, await": "get 100 bytes from SQLite, 64 tasks",
    "s3 get, 4KiB, 32 tasks, await": "get 4 KiB from S3, 32 tasks",
    "s3 put, 4KiB, 32 tasks, await": "put 4 KiB into S3, 32 tasks",
}


def _readme(measured: Run) -> Iterator[str]:
    """Yield the table of our stores, obstore, the best of the other packages, and the limit."""
    records = {record["comparison"]: record for record in measured["results"]}
    rows = []
    for title, words in README.items():
        results = records.get(title, {}).get("results")
        if not results:
            continue
        ours, *peers = results
        limits = [result for result in peers if result["limit"]]
        obstore = [result for result in peers if result["contender"].startswith("obstore")]
        others = [result for result in peers if result not in limits + obstore]
        best = sorted(others, key=lambda result: result["measures"]["seconds"])[:1]
        cells = [_named(found, named) for found, named in ((obstore, False), (best, True), (limits, True))]
        rows.append([words, f"**{_wall(ours)}**", *cells])
    return _table(["", "stackstore", "obstore", "the fastest other", "the limit"], rows)


def _wall(result: dict[str, Any]) -> str:
    return amount("seconds", result["measures"]["seconds"])


def _named(results: list[dict[str, Any]], named: bool) -> str:
    return "".join(f"{_wall(result)}{', ' + result['contender'] if named else ''}" for result in results[:1])


#: The tables, by their names in the pages.
TABLES: dict[str, Callable[[Run], Iterator[str]]] = {
    "machine": _machine,
    "promises": _promises,
    **{
        f"{kind} {face}": _kind(kind, face)
        for kind in ("memory", "file", "sqlite", "redis", "s3")
        for face in ("await", "sync")
    },
    "cold": _others("file cold"),
    "copying": _others("copy_store"),
    "imports": _others("import"),
    "streams": _others("stream"),
    "s3 streams": _others("s3 stream"),
    "settings": _others("setting"),
    "decorators": _decorators,
    "readme": _readme,
}
