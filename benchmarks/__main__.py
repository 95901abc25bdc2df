"""
``python -m benchmarks``: our stores and their peers side by side, in one run.

Without arguments it tells the whole story, in some ten minutes; ``targets`` measures what is promised; and any of
--store, --op, --size, --tasks, --face and --loop chooses from the whole matrix.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import comparing, report
from benchmarks.cases import FACES, KINDS, SIZES, Entry, matrix, of_matrix, story, targets
from benchmarks.harness import SMOKE, Plan, judge, measure
from benchmarks.operations import OPERATIONS
from benchmarks.pages import write_pages
from benchmarks.plot import plot
from benchmarks.session import LOOPS, Session


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", choices=["story", "targets", "matrix"], help="the default is the story")
    parser.add_argument(
        "--only", nargs="+", metavar="TEXT", default=[""], help="only comparisons with this in their name"
    )
    parser.add_argument("--list", action="store_true", help="name the comparisons, and measure nothing")
    chosen = parser.add_argument_group("choose from the matrix; each takes one or more")
    chosen.add_argument("--store", nargs="+", choices=KINDS, help="kinds of stores")
    chosen.add_argument("--op", nargs="+", choices=OPERATIONS, help="operations")
    chosen.add_argument("--size", nargs="+", choices=SIZES, help="sizes of the objects")
    chosen.add_argument("--tasks", nargs="+", type=int, help="how many at once; threads where nothing is awaited")
    chosen.add_argument("--face", nargs="+", choices=FACES, help="awaited or not")
    chosen.add_argument("--loop", nargs="+", choices=LOOPS, help="event loops")
    how = parser.add_argument_group("how long")
    how.add_argument("--rounds", type=int, default=Plan.rounds, help="default: %(default)s")
    how.add_argument("--seconds", type=float, default=Plan.seconds, help="of each round, default: %(default)s")
    how.add_argument("--smoke", action="store_true", help="run everything for a moment and judge nothing")
    output = parser.add_argument_group("what to do with the numbers")
    output.add_argument("--read", metavar="FILE", help="take them from an earlier --json, and measure nothing")
    output.add_argument("--json", metavar="FILE", help="write them here")
    output.add_argument("--plot", metavar="FILE.svg", help="draw what matters most")
    output.add_argument("--pages", action="store_true", help="write them into README.md and docs/performance.md")
    output.add_argument("--compare", metavar="FILE", help="hold them against an earlier --json")
    return parser


def entries(arguments: argparse.Namespace) -> Iterator[Entry]:
    """Yield what is to be measured."""
    selection = {
        "kinds": arguments.store,
        "operations": arguments.op,
        "sizes": [SIZES[name] for name in arguments.size or ()],
        "tasks": arguments.tasks,
        "faces": arguments.face,
        "loops": arguments.loop,
    }
    selection = {name: values for name, values in selection.items() if values}
    if arguments.what == "matrix" or (selection and arguments.what is None):
        chosen = of_matrix(matrix(**selection))
    elif selection:
        raise SystemExit(f"{arguments.what} is not chosen from: leave it away, or use --only")
    else:
        chosen = targets() if arguments.what == "targets" else story()
    return (entry for entry in chosen if any(text in entry.name for text in arguments.only))


def run(chosen: Iterator[Entry], plan: Plan) -> Iterator[dict[str, Any]]:
    """Measure and print, and yield what `--json` has of each comparison."""
    for entry in chosen:
        with Session() as session, entry.prepare(session, plan) as comparison:
            results = measure(comparison, plan, session) if comparison.contenders else []
            record = report.record(comparison, results, [] if plan.quick else judge(comparison, results))
        print(*report.table(record), sep="\n", flush=True)
        yield record


def concluded(measured: dict[str, Any]) -> int:
    """Print what became of all promises and return how many were not kept."""
    verdicts = [verdict for record in measured["results"] for verdict in record["promises"]]
    if verdicts:
        print("\npromises", *(f"  {report.verdict_line(verdict)}" for verdict in verdicts), sep="\n")
    return sum(not verdict["kept"] for verdict in verdicts)


def main() -> int:
    """Run from the command line and return the exit code: 1 where a promise was not kept or something became worse."""
    arguments = parser().parse_args()
    chosen = entries(arguments)
    if arguments.list:
        print(*(entry.name for entry in chosen), sep="\n")
        return 0
    if arguments.read:
        measured = json.loads(Path(arguments.read).read_text())
    else:
        plan = SMOKE if arguments.smoke else Plan(rounds=arguments.rounds, seconds=arguments.seconds)
        measured = {"machine": report.machine(), "results": []}
        print(report.heading(measured["machine"]))
        for record in run(chosen, plan):
            measured["results"].append(record)
            if arguments.json:  # each time: a run that is ended leaves what it has
                Path(arguments.json).write_text(json.dumps(measured, indent=1) + "\n")
    failed = concluded(measured) > 0 and not arguments.read
    if arguments.plot:
        Path(arguments.plot).write_text(plot(measured))
    if arguments.pages:
        write_pages(measured)
    if arguments.compare:
        older = json.loads(Path(arguments.compare).read_text())
        print("\nsince then", *comparing.lines(older, measured), sep="\n")
        failed |= any(change.verdict == "worse" for change in comparing.changes(older, measured))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
