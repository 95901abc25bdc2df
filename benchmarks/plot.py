"""The most important results as a picture: bars of operations per second, ours in colour, the limit in outline."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

__all__ = ["PANELS", "plot"]

#: The comparisons that are drawn if they were measured, and their titles.
PANELS = {
    "memory get, 100B, 1 task, await": "get from memory, 100 B",
    "file get, 4KiB, 1 task, await": "get a 4 KiB file, one task",
    "file get, 4KiB, 64 tasks, await": "get a 4 KiB file, 64 tasks",
    "file put, 4KiB, 64 tasks, await": "put a 4 KiB file, 64 tasks",
    "sqlite get, 100B, 64 tasks, await": "get from SQLite, 100 B, 64 tasks",
    "sqlite put, 100B, 64 tasks, await": "durable put into SQLite, 100 B, 64 tasks",
    "s3 get, 4KiB, 32 tasks, await": "get from S3, 4 KiB, 32 tasks",
    "s3 put, 4KiB, 32 tasks, await": "put into S3, 4 KiB, 32 tasks",
}

WIDTH, LEFT, BAR, LINE, GAP = 500, 200, 200, 19, 44


def plot(measured: dict[str, Any]) -> str:
    """Return the picture as SVG."""
    records = {record["comparison"]: record for record in measured["results"]}
    shown = [(PANELS[title], records[title]) for title in PANELS if records.get(title, {}).get("results")]
    heights = [GAP + LINE * len(record["results"]) for _, record in shown]
    tops = [0, 0]
    lines = []
    for number, ((title, record), height) in enumerate(zip(shown, heights, strict=True)):
        column = number % 2
        lines += [f'<g transform="translate({column * WIDTH},{tops[column]})">', *_panel(title, record), "</g>"]
        tops[column] += height
    size = f'width="{2 * WIDTH}" height="{max(tops) + 16}"'
    style = "text{font:12px system-ui,sans-serif;fill:#1f2328}.title{font-weight:600}.end{text-anchor:end}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="operations a second">'
    return "\n".join([head, f"<style>{style}</style>", f'<rect {size} fill="#fff"/>', *lines, "</svg>", ""])


def _panel(title: str, record: dict[str, Any]) -> Iterator[str]:
    yield f'<text class="title" x="12" y="28">{escape(title)}: operations a second</text>'
    rates = {result["contender"]: 1 / result["measures"]["seconds"] for result in record["results"]}
    for number, result in enumerate(record["results"]):
        name, top = result["contender"], 38 + number * LINE
        width = BAR * rates[name] / max(rates.values())
        yield f'<text class="end" x="{LEFT - 8}" y="{top + 12}">{escape(name)}</text>'
        yield f'<rect x="{LEFT}" y="{top}" width="{width:.1f}" height="14" {_paint(record, result)}/>'
        yield f'<text x="{LEFT + width + 6:.1f}" y="{top + 12}">{rates[name]:,.0f}</text>'


def _paint(record: dict[str, Any], result: dict[str, Any]) -> str:
    if result["contender"] in record["ours"]:
        return 'fill="#1f6feb"'
    return 'fill="none" stroke="#8c959f"' if result["limit"] else 'fill="#b8c0c9"'
