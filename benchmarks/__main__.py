"""
``python -m benchmarks``: measures our stores and their peers side by side, in one run.

Without arguments it measures the story, in about ten minutes; ``targets`` measures only what is promised; each of
--store, --op, --size, --tasks, --face and --loop selects from the whole matrix.
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
from benchmarks.harness import SMOKE, Plan, check_targets, measure
from benchmarks.operations import OPERATIONS
from benchmarks.pages import write_pages
from benchmarks.plot import plot
from benchmarks.session import LOOPS, Session


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", choices=["story", "targets", "matrix"], help="the default is the story")
    parser.add_argument(
        "--only", nargs="+", metavar="TEXT", default=[""], help="only comparisons whose name contains this"
    )
    parser.add_argument("--list", action="store_true", help="list the comparisons without measuring them")
    chosen = parser.add_argument_group("selection from the matrix; each option takes one or more values")
    chosen.add_argument("--store", nargs="+", choices=KINDS, help="kinds of stores")
    chosen.add_argument("--op", nargs="+", choices=OPERATIONS, help="operations")
    chosen.add_argument("--size", nargs="+", choices=SIZES, help="sizes of the objects")
    chosen.add_argument("--tasks", nargs="+", type=int, help="concurrent tasks; threads for synchronous calls")
    chosen.add_argument("--face", nargs="+", choices=FACES, help="async or synchronous calls")
    chosen.add_argument("--loop", nargs="+", choices=LOOPS, help="event loops")
    how = parser.add_argument_group("how long")
    how.add_argument("--rounds", type=int, default=Plan.rounds, help="default: %(default)s")
    how.add_argument("--seconds", type=float, default=Plan.seconds, help="of each round, default: %(default)s")
    how.add_argument("--smoke", action="store_true", help="run everything briefly and check no targets")
    output = parser.add_argument_group("output")
    output.add_argument("--read", metavar="FILE", help="read the results of an earlier --json, and measure nothing")
    output.add_argument("--json", metavar="FILE", help="write the results to this file")
    output.add_argument("--plot", metavar="FILE.svg", help="draw the most important results")
    output.add_argument("--pages", action="store_true", help="write the results into README.md and docs/performance.md")
    output.add_argument("--compare", metavar="FILE", help="compare the results with an earlier --json")
    return parser


def entries(arguments: argparse.Namespace) -> Iterator[Entry]:
    """Yield the selected comparisons."""
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
        raise SystemExit(f"options of the matrix cannot be used with {arguments.what}: leave it out, or use --only")
    else:
        chosen = targets() if arguments.what == "targets" else story()
    return (entry for entry in chosen if any(text in entry.name for text in arguments.only))


def run(chosen: Iterator[Entry], plan: Plan) -> Iterator[dict[str, Any]]:
    """Measure and print each comparison, and yield its record for `--json`."""
    for entry in chosen:
        with Session() as session, entry.prepare(session, plan) as comparison:
            results = measure(comparison, plan, session) if comparison.contenders else []
            record = report.record(comparison, results, [] if plan.quick else check_targets(comparison, results))
        print(*report.table(record), sep="\n", flush=True)
        yield record


def concluded(measured: dict[str, Any]) -> int:
    """Print the verdict on each promise and return how many were not kept."""
    verdicts = [verdict for record in measured["results"] for verdict in record["promises"]]
    if verdicts:
        print("\npromises", *(f"  {report.verdict_line(verdict)}" for verdict in verdicts), sep="\n")
    return sum(not verdict["kept"] for verdict in verdicts)


def main() -> int:
    """Run from the command line and return the exit code: 1 if a promise was not kept or a result became worse."""
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
            if arguments.json:  # after each one: a run that is stopped keeps its results
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
