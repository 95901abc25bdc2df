"""`Workers`: the worker threads of `storage._concurrency.offload`."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any

from storage._concurrency.jobs import Job
from storage._concurrency.mutex import ReentrantLock
from storage._concurrency.stepping import THREAD, Mode

__all__ = ["Workers"]


class Workers:
    """
    Threads that run jobs in the order in which they are put. They are made when they are needed.

    A thread that waits for the background loop (`waiting`) does not count: another one may be made for it. Otherwise
    all of them could wait for the loop, which waits for one of them.

    Args:
        name: the name of the threads.
        limit: the most threads that run jobs at one time; None for as many as there are jobs.
        linger: seconds after which a thread without a job ends; None to keep it.
    """

    def __init__(self, name: str, limit: int | None, linger: float | None = None) -> None:
        self._name = name
        self._limit = float("inf") if limit is None else limit
        self._linger = linger
        self._jobs: SimpleQueue[Job[Any] | None] = SimpleQueue()
        self._running: dict[threading.Thread, Mode | None] = {}  # the threads, and what they are doing
        self._under_way = 0
        self._waiting = 0
        self._ended = False
        self._lock = ReentrantLock()  # nothing that interrupts a section here offloads work in the same thread

    def put(self, job: Job[Any]) -> None:
        """
        Add a job.

        Raises:
            RuntimeError: the interpreter is ending; or there is no thread, and none can be started.
        """
        with self._lock:
            if self._ended:
                raise RuntimeError("the interpreter is ending: the threads for blocking work have ended already")
            if len(self._running) <= self._under_way:
                self._make_thread()
            self._under_way += 1
            self._jobs.put(job)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """In one of the threads: wait for something that may need another of them."""
        with self._lock:
            self._waiting += 1
            if len(self._running) < self._under_way:
                self._make_thread()
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1

    def _make_thread(self) -> None:
        """With the lock: start a thread, if there may be one more."""
        if len(self._running) >= self._limit + self._waiting:
            return
        # Daemons: the interpreter would wait for other threads before anything could tell them that it is ending.
        thread = threading.Thread(target=self._serve, name=f"{self._name}-{len(self._running)}", daemon=True)
        self._running[thread] = None
        try:
            thread.start()
        except RuntimeError:
            del self._running[thread]
            if not self._running:
                raise

    def _serve(self) -> None:
        mode, this, jobs, lock = THREAD.mode, threading.current_thread(), self._jobs, self._lock
        mode.workers = self
        self._running[this] = mode
        needed = True
        while needed:
            try:
                job = jobs.get(timeout=self._linger)
            except Empty:
                with lock:
                    if jobs.empty():
                        del self._running[this]
                        return
                continue
            if job is None:
                return
            claimed = job.claim()
            if claimed:
                mode.job = job
                job.run()
                mode.job = None
            with lock:
                # before it is delivered, or a task with another job ready would find no free thread
                self._under_way -= 1
                if len(self._running) > self._limit + self._waiting:
                    needed = False
                    del self._running[this]
            if claimed:
                job.deliver()
            del job  # its result may be large, and the next job may come late

    def end(self, grace: float) -> None:
        """
        Wait until the threads have run all jobs that were put, and end them.

        After *grace* seconds those that have not ended are left, and stop where they are when the process ends: a job
        may be in a system call that never returns, such as one on a network mount whose server is gone. Threads whose
        task waits no longer are not waited for.
        """
        with self._lock:
            self._ended = True
            running = list(self._running.items())
        for _ in running:
            self._jobs.put(None)
        enough = time.monotonic() + grace
        for thread, mode in running:
            if mode is None or mode.job is None or not mode.job.left:
                thread.join(max(0.0, enough - time.monotonic()))
