"""The benchmarks' own code: ratios, targets, comparisons with an older run, selection and output."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import pytest
from paths import ROOT

pytest.importorskip("aiosqlite")
from benchmarks import cases, pages
from benchmarks.__main__ import concluded, entries, parser
from benchmarks.cases import SIZES, Case, compared, matrix
from benchmarks.comparing import changes
from benchmarks.harness import SMOKE, Comparison, Plan, Workload, check_targets, measure, results
from benchmarks.plot import PANELS, plot
from benchmarks.report import amount, record, table
from benchmarks.session import Session
from benchmarks.targets import Verdict, ahead, within


@pytest.fixture(autouse=True)
def _frozen() -> Iterator[None]:
    """Freeze again what conftest.py has frozen: a measurement ends with `gc.unfreeze`."""
    yield
    gc.freeze()


def rounds(*seconds: float) -> list[Any]:
    """Return rounds of so many seconds, with half as much CPU time."""
    return [{"seconds": each, "cpu": each / 2} for each in seconds]


def run(**seconds: float) -> dict[str, Any]:
    """Return a run of one comparison, in which ``ours`` is the contender of this package."""
    measured = [
        {"contender": name, "measures": {"seconds": each, "cpu": each}, "ratio": 1.0, "added": None, "spread": 0.02}
        for name, each in seconds.items()
    ]
    for result in measured:
        result |= {"less": "", "limit": result["contender"] == "limit"}
    compared_ = {"comparison": next(iter(PANELS)), "ours": ["ours"], "missing": [], "results": measured, "promises": []}
    about = {"python": "CPython 3.11", "system": "Linux", "cores": 2, "packages": {"obstore": "1.0"}}
    return {"machine": about, "results": [compared_]}


def test_a_ratio_says_how_many_times_as_fast_the_first_one_is() -> None:
    """Ratios compare medians, so that one slow round does not matter."""
    ours, peer = results({"ours": rounds(1, 1, 9), "peer": rounds(3, 4, 4)}, over={})

    assert (1.0, 1.0, 0.5) == (ours.seconds, ours.ratio, ours.measures["cpu"])
    assert (4.0, 4.0) == (peer.seconds, peer.ratio)


def test_what_is_added_is_the_difference_within_a_round() -> None:
    """What a contender adds is compared within each round, since the machine's speed changes between rounds."""
    _, over = results({"base": rounds(2, 20, 2), "over": rounds(4, 22, 4)}, over={"over": "base"})

    assert 1.0 == over.added


def test_memory_is_judged_by_the_greatest_round() -> None:
    """The peak is the maximum of the rounds."""
    (ours,) = results({"ours": [{"seconds": 1, "peak": 5}, {"seconds": 1, "peak": 9}, {"seconds": 1, "peak": 5}]}, {})

    assert 9 == ours.measures["peak"]


def test_promises_are_judged_by_what_they_name() -> None:
    """A target is a ratio to a peer, in any measure, or a bound; one against a missing peer is left out."""
    measured = results({"ours": rounds(1), "over": rounds(2), "peer": rounds(8)}, over={"over": "ours", "peer": "ours"})
    comparison = Comparison(
        title="",
        contenders={},
        ours=frozenset(),
        targets=(
            ahead("fast", "peer", 8),
            ahead("faster", "peer", 9),
            ahead("lean", "peer", 8, by="cpu"),
            ahead("thin", "peer", 7, by="added", ours="over"),
            within("short", "seconds", 0.5),
            ahead("nobody there", "another", 1),
        ),
    )

    assert [
        Verdict("fast", "times", 8, 8.0, True),
        Verdict("faster", "times", 9, 8.0, False),
        Verdict("lean", "times", 8, 8.0, True),
        Verdict("thin", "times", 7, 7.0, True),
        Verdict("short", "seconds", 0.5, 1.0, False),
    ] == check_targets(comparison, measured)


def test_contenders_work_in_turns_in_whole_steps_after_what_they_need() -> None:
    """The preparation runs before each round and is not measured."""
    done: list[str] = []

    async def work(count: int) -> None:
        done.append(f"work {count}")

    comparison = Comparison(
        title="",
        contenders={
            "first": Workload(work=work, step=3, before=lambda: done.append("before")),
            "second": Workload(work=lambda count: done.append(f"sync {count}"), step=2, before=lambda: None),
        },
        ours=frozenset(),
        rounds=2,
    )
    with Session() as session:
        measured = measure(comparison, Plan(), session)

    assert ["before", "work 3", "sync 2", "sync 2", "before", "work 3"] == done
    assert ["first", "second"] == [result.contender for result in measured]


def test_the_machine_s_part_is_taken_off_a_change() -> None:
    """If all take twice as long and ours three times, only the rest counts as ours."""
    (change,) = changes(run(ours=1, peer=2, limit=4), run(ours=3, peer=4, limit=8))

    assert (1.5, 2.0, "worse") == (change.times, change.machine, change.verdict)


@pytest.mark.parametrize(("seconds", "verdict"), [(1.09, ""), (1.2, "worse"), (0.95, ""), (0.5, "better")])
def test_a_change_within_the_noise_is_none(seconds: float, verdict: str) -> None:
    """A change counts if it is more than a tenth and more than the spread of the rounds."""
    (change,) = changes(run(ours=1, peer=1), run(ours=seconds, peer=1))

    assert verdict == change.verdict


def test_a_noisy_row_changes_by_more_before_it_is_told() -> None:
    """The spread is the width of the middle half of the rounds, divided by the median."""
    old = run(ours=1, peer=1)
    old["results"][0]["results"][0]["spread"] = 0.5

    (change,) = changes(old, run(ours=1.4, peer=1))

    assert "" == change.verdict


def test_the_matrix_has_each_case_once() -> None:
    """Without `await` the loop makes no difference, and for a listing the size of the objects makes none."""
    cases = list(matrix(["file"], ["get", "keys"], SIZES.values(), [1, 64]))

    assert len(set(cases)) == len(cases)
    assert 2 * 4 * 2 + 4 * 2 == sum(case.operation == "get" for case in cases)
    assert 3 == sum(case.operation == "keys" for case in cases)


def test_the_command_line_chooses_from_the_matrix() -> None:
    """Options select values of the matrix; of others all values are taken."""
    line = "--store file --op get --size 4KiB --tasks 64 --loop uvloop --face await"

    assert ["file get, 4KiB, 64 tasks, await on uvloop"] == [
        entry.name for entry in entries(parser().parse_args(line.split()))
    ]


def test_all_targets_are_part_of_the_story() -> None:
    """The story has all targets, so that one run checks them all."""
    story = {entry.name for entry in cases.story()}

    assert set() == {entry.name for entry in cases.targets()} - story


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["get", "put", "keys", "get_many", "delete_many"])
def test_a_case_measures_our_store_first(operation: str) -> None:
    """Our store comes first, and the limit is measured too, which needs no package."""
    with Session() as session, compared(Case("memory", operation, 100, 8), session, SMOKE) as comparison:
        measured = measure(comparison, SMOKE, session)

    assert "DictStore" == measured[0].contender
    assert all(result.seconds > 0 for result in measured)


def test_a_peer_that_is_not_installed_is_named_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other contenders are measured, and the table names the missing one."""
    monkeypatch.setattr("benchmarks.contenders.installed", lambda package: False)

    with Session() as session, compared(Case("memory", "get", 100), session, SMOKE) as comparison:
        measured = measure(comparison, SMOKE, session)

    assert ["DictStore", "a dict"] == list(comparison.contenders)
    assert "not there: obstore, py-key-value-aio, aiocache, opendal" in "\n".join(
        table(record(comparison, measured, []))
    )


def test_promises_that_are_not_kept_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """Targets that are not reached are counted, for the exit code."""
    measured = run(ours=1)
    measured["results"][0]["promises"] = [
        {"words": "quick", "unit": "times", "asked": 2, "reached": 1.5, "kept": False},
        {"words": "small", "unit": "peak", "asked": 64 << 20, "reached": 7 << 20, "kept": True},
    ]

    assert 1 == concluded(measured)
    assert (
        "\npromises\n  NOT KEPT    1.50 times, at least 2: quick\n  kept     7.0 MiB, at most 64.0 MiB: small\n"
    ) == capsys.readouterr().out


def test_tables_stand_between_their_marks() -> None:
    """Tables without results stay unchanged."""
    text = "a\n<!-- benchmarks: readme -->\nold\n<!-- end -->\nb\n<!-- benchmarks: cold -->\nkept\n<!-- end -->\n"

    assert (
        "a\n<!-- benchmarks: readme -->\n\n"
        "|  | stackstore | obstore | the fastest other | the limit |\n|---|---:|---:|---:|---:|\n"
        "| get 100 bytes from memory | **1.00 us** |  | 3.00 us, peer | 0.50 us, limit |\n\n"
        "<!-- end -->\nb\n<!-- benchmarks: cold -->\nkept\n<!-- end -->\n"
    ) == pages.rewritten(text, run(ours=1e-6, peer=3e-6, limit=0.5e-6))


def test_decorators_stand_beside_the_wrapper_that_does_the_same() -> None:
    """The table shows what each decorator adds to a get and to a put."""
    measured = run(ours=1)
    measured["results"] = [
        {
            "comparison": f"decorated {operation}, 100B",
            "results": [
                {"contender": name, "added": added}
                for name, added in {
                    "DictStore": None,
                    "GzipStore": 2e-6,
                    "ZstdStore": 4e-6,
                    "Wrapper (GzipStore)": 3e-6,
                }.items()
            ],
        }
        for operation in ("get", "put")
    ]

    assert [
        "| GzipStore | 2.00 us | 2.00 us | Wrapper | 3.00 us | 3.00 us |",
        "| ZstdStore | 4.00 us | 4.00 us |  |  |  |",
    ] == list(pages.TABLES["decorators"](measured))[2:]


def test_a_kind_s_table_has_a_row_for_each_case_and_a_column_for_each_side() -> None:
    """Cells have wall time and CPU time; below the table stands what a contender does less."""
    measured = run(ours=1e-6, limit=2e-6)
    measured["results"][0] |= {"comparison": "memory get, 100B", "kind": "memory", "face": "await"}
    measured["results"][0]["results"][1]["less"] = "nothing is checked; no such call: get in turn"

    assert [
        "|  | ours | limit |",
        "|---|---:|---:|",
        "| get, 100B | 1.00 us<br>(1.00 us) | 2.00 us<br>(2.00 us) |",
        "",
        "- limit: nothing is checked.",
    ] == list(pages.TABLES["memory await"](measured))


def test_every_mark_of_a_page_has_a_table() -> None:
    """Every table name in the pages is known."""
    marks = [match["name"] for page in pages.PAGES for match in pages._PART.finditer(page.read_text())]

    assert set() == set(marks) ^ set(pages.TABLES)


def test_the_plot_is_svg_with_a_bar_for_each_contender() -> None:
    """Bars are as wide as the contender is fast."""
    drawn = ElementTree.fromstring(plot(run(ours=1e-6, peer=2e-6)))

    widths = [float(bar.get("width", "")) for bar in drawn.iter("{http://www.w3.org/2000/svg}rect")][1:]
    assert [200.0, 100.0] == widths


@pytest.mark.parametrize(
    ("measure", "value", "shown"),
    [
        ("seconds", 1.5, "1.50 s"),
        ("seconds", 0.0025, "2.50 ms"),
        ("cpu", 2.5e-7, "0.25 us"),
        ("added", -1.5e-6, "-1.50 us"),
        ("peak", 3 << 19, "1.5 MiB"),
        ("added", None, ""),
    ],
)
def test_amounts_have_units_that_suit_them(measure: str, value: float | None, shown: str) -> None:
    """Times and sizes have suitable units."""
    assert shown == amount(measure, value)


@pytest.mark.process
def test_the_command_runs() -> None:
    """The command line runs one comparison."""
    command = [sys.executable, "-m", "benchmarks", "--smoke", "--only", "memory get, 100B, 1 task"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert (0, "") == (answer.returncode, answer.stderr)
    assert "a dict" in answer.stdout
