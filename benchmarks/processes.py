"""Measurements in processes of their own: imports, and the memory of streams."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from benchmarks.buckets import RCLONE, rclone
from benchmarks.harness import Comparison, Measures, Plan, Work, Workload
from benchmarks.session import Session, installed
from benchmarks.targets import ahead, within

__all__ = ["imports", "streams", "streams_from_bucket", "streams_into_bucket"]

ROOT = Path(__file__).parent.parent
MIB = 1 << 20

#: Whether the kernel reports the peak memory of a process.
PEAKS = os.path.exists("/proc/self/clear_refs")

#: The most additional bytes of memory that a stream may take, whatever its size.
PEAK = 64 * MIB

#: Likewise with a bucket: ten parts of an upload, of which four are sent concurrently.
BUCKET_PEAK = 10 * 8 * MIB


def _in_process(*arguments: str) -> Work:
    """Return the work of a process that prints what it measured."""

    def work(count: int) -> Measures:
        command = [sys.executable, *arguments]
        answer = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONWARNINGS": ""}, capture_output=True)
        if answer.returncode:
            raise RuntimeError(f"{command} failed: {answer.stderr.decode()}")
        return json.loads(answer.stdout)  # type: ignore[no-any-return]

    return work


def _imported(statement: str) -> Workload:
    """Return the workload that imports something; the interpreter's own start is not measured."""
    clock = "time.perf_counter(), time.process_time()"
    code = f"import time, json; a, b = {clock}\n{statement}\nc, d = {clock}\n"
    code += "print(json.dumps({'seconds': c - a, 'cpu': d - b}))"
    return Workload(work=_in_process("-c", code), before=lambda: None)


@contextmanager
def imports(session: Session, plan: Plan) -> Iterator[Comparison]:
    """Compare imports, which delay the start of a program."""
    statements = {
        "import storage": "storage",
        "from storage import FilesystemStore": "storage",
        "from storage import BucketStore": "aiobotocore",
        "import fsspec": "fsspec",
        "import s3fs": "s3fs",
        "import obstore": "obstore",
        "import opendal": "opendal",
        "import aiobotocore.session": "aiobotocore",
    }
    contenders = {name: _imported(name) for name, needs in statements.items() if installed(needs)}
    ours = frozenset(name for name in statements if "storage" in name)
    targets = (ahead("import storage: against import fsspec, a third", "import fsspec", 3),)
    missing = tuple(needs for needs in dict.fromkeys(statements.values()) if not installed(needs))
    yield Comparison(title="import", contenders=contenders, ours=ours, targets=targets, missing=missing)


def _stream(name: str, size: int, server: str = "") -> Workload:
    return Workload(work=_in_process("-m", "benchmarks.child", name, str(size), server), before=lambda: None)


@contextmanager
def streams(session: Session, plan: Plan) -> Iterator[Comparison]:
    """Stream one object of 1 GiB into a store and back."""
    size = 4 * MIB if plan.quick else 1024 * MIB
    ours = ["FilesystemStore", "SqliteStore", "ZipStore", "GzipStore over files"]
    peers = ["obstore LocalStore"] if installed("obstore") else []
    if not PEAKS:
        ours = peers = []
    yield Comparison(
        title="stream 1GiB in and out",
        contenders={name: _stream(name, size) for name in ours + peers},
        ours=frozenset(ours),
        targets=tuple(within(f"streaming 1 GiB through {name}: memory", "peak", PEAK, ours=name) for name in ours),
        missing=() if peers else ("obstore",) if PEAKS else ("/proc",),
        rounds=1,
    )


@contextmanager
def _bucket(operation: str, plan: Plan) -> Iterator[Comparison]:
    size = 8 * MIB if plan.quick else 256 * MIB
    missing = [] if RCLONE.exists() else ["rclone (make servers)"]
    missing += [] if PEAKS else ["/proc"]
    missing += [] if installed("obstore") else ["obstore"]
    title = f"s3 stream {operation}, 256MiB"
    if not (RCLONE.exists() and PEAKS):
        yield Comparison(title=title, contenders={}, ours=frozenset(), missing=tuple(missing))
        return
    with rclone() as server:
        ours, peer = f"BucketStore {operation}", f"obstore S3Store {operation}"
        if operation == "get":
            _in_process("-m", "benchmarks.child", "BucketStore put", str(size), server)(1)
        names = [ours, peer] if installed("obstore") else [ours]
        words = f"256 MiB {'up' if operation == 'put' else 'down'}"
        yield Comparison(
            title=title,
            contenders={name: _stream(name, size, server) for name in names},
            ours=frozenset({ours}),
            targets=(ahead(f"{words}: against obstore", peer, 0.8), within(f"{words}: memory", "peak", BUCKET_PEAK)),
            missing=tuple(missing),
            rounds=5,
        )


def streams_into_bucket(session: Session, plan: Plan) -> AbstractContextManager[Comparison]:
    """Stream 256 MiB into a bucket, in parts."""
    return _bucket("put", plan)


def streams_from_bucket(session: Session, plan: Plan) -> AbstractContextManager[Comparison]:
    """Stream 256 MiB from a bucket, in one request."""
    return _bucket("get", plan)
