"""System calls: those that a program makes, as strace saw them; and faults that strace puts in their place."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

__all__ = ["Call", "needs_strace", "system_calls"]


def _refusal() -> str:
    """Return why strace cannot be used here, nothing where it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    done = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"strace may trace nothing here: {done.stderr.strip()}"


_REFUSAL = _refusal()

needs_strace = pytest.mark.skipif(_REFUSAL != "", reason=_REFUSAL)


class Call(NamedTuple):
    """
    A call that has returned.

    Attributes:
        name: of the system call.
        arguments: as strace writes them, paths of descriptors included.
        paths: what these refer to.
        result: as strace writes it, ``-1`` and the error of one that failed.
    """

    name: str
    arguments: str
    paths: list[str]
    result: str


def system_calls(program: str, *arguments: object, calls: Sequence[str], place: Path) -> list[Call]:
    """Run a Python program to its end and return those of its system calls that have one of these names."""
    trace = place / "trace"
    command = [os.path.realpath(sys.executable), "-c", textwrap.dedent(program), *map(str, arguments)]
    subprocess.run(
        ["strace", "-f", "--seccomp-bpf", "-y", "-s", "4096", "-e", f"trace={','.join(calls)}", "-o", trace, *command],
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    return list(_parsed(trace.read_text()))


_UNFINISHED = re.compile(r"(\d+) +(.*) <unfinished \.\.\.>\Z")
_RESUMED = re.compile(r"(\d+) +<\.\.\. \w+ resumed>(.*)\Z")
_CALL = re.compile(r"\d+ +(\w+)\((.*)\) += (-?\d.*)\Z")
_DESCRIPTOR = r"(?:\d+|AT_FDCWD)<([^>]*)>"
_TEXT = r'"([^"]*)"'
#: The paths in a call's arguments: of a directory and a name in it, of a descriptor, or texts alone.
_RELATIVE, _OPEN, _ALONE = (re.compile(each) for each in (f"{_DESCRIPTOR}, {_TEXT}", _DESCRIPTOR, _TEXT))


def _paths(name: str, arguments: str) -> list[str]:
    if name.rstrip("2").endswith("at"):
        return [os.path.join(*each) for each in _RELATIVE.findall(arguments)]
    return _OPEN.findall(arguments) or _ALONE.findall(arguments)


def _parsed(trace: str) -> Iterator[Call]:
    begun: dict[str, str] = {}
    for line in trace.splitlines():
        if found := _UNFINISHED.match(line):
            begun[found[1]] = found[2]
            continue
        if found := _RESUMED.match(line):
            line = f"{found[1]} {begun.pop(found[1])}{found[2]}"
        if found := _CALL.match(line):
            yield Call(found[1], found[2], _paths(found[1], found[2]), found[3])
