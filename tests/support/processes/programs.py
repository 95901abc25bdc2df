"""Programs that use the synchronous face, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import textwrap

__all__ = ["PREAMBLE", "program", "run"]

#: Every program begins so. Development mode: a task destroyed while it is pending, a file left open, is on stderr.
PREAMBLE = """
import asyncio, gc, logging, os, signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that runs the tests in the background has it ignored
logging.getLogger("asyncio").addFilter(lambda record: "took" not in record.msg)  # slow callbacks of a busy machine
import storage, storage.sync
from storage._concurrency.offload import offload

class Slow(storage.DictStore):
    '''A store that takes its time, and says when it is at it and when it has left.'''
    seconds = 0.3

    async def put(self, key, data, **options):
        print("putting", flush=True)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(self.seconds)
            print("settled", flush=True)
            raise

class Blocking(storage.DictStore):
    '''A store whose worker thread cannot be interrupted.'''
    async def put(self, key, data, **options):
        def work():
            print("putting", flush=True)
            time.sleep(0.5)
            print("worked", flush=True)
        await offload(work)
        return await super().put(key, data, **options)
"""


def program(code: str, before: str = "") -> list[str]:
    return [sys.executable, "-W", "default", "-c", before + PREAMBLE + textwrap.dedent(code)]


def run(code: str, *, before: str = "", timeout: float = 30) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; *before* is code that comes before its imports."""
    return subprocess.run(program(code, before), capture_output=True, text=True, timeout=timeout, check=False)
