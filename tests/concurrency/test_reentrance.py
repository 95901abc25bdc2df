"""Signal handlers and finalizers that use a store which their thread is using. Each test runs a separate program."""

from __future__ import annotations

import signal

import pytest
from processes.programs import run

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="there is no signal for it"),
]

#: Interrupts this thread in every section that has a lock, one after the other, and calls a store there.
INTERRUPTING = """
import tempfile, traceback
from storage._concurrency import forks
from storage._concurrency.mutex import ReentrantLock
from storage._concurrency.stepping import step
from storage.sync import *
directory = tempfile.mkdtemp()
signal.alarm(20)  # ends what hangs

def use(store):
    def handler(*_):
        for call in (
            lambda: store.put("k", b"handler"),
            lambda: store.get("k"),
            lambda: store.delete("x"),
            lambda: list(store.scan()),
            lambda: store.__enter__().__exit__(None, None, None),
        ):
            try:
                call()
            except storage.ReentrantCallError as error:
                refused.append(str(error))
                assert not error.retryable
            else:
                worked.append(call)

    async def section(lock):  # what a call of the store does
        with lock:
            signal.raise_signal(signal.SIGUSR1)

    refused, worked = [], []
    signal.signal(signal.SIGUSR1, handler)
    store.put("k", b"v")
    locks = [lock for lock in forks.locks() if isinstance(lock, ReentrantLock)]
    for lock in locks:
        step(section(lock))
    store.put("after", b"w")
    print(len(refused) + len(worked) == 5 * len(locks), bool(refused), store.get("after"), flush=True)
"""

STORES = {
    "dict": "DictStore()",
    "files": "FilesystemStore(directory)",
    "zip": "ZipStore(directory + '/objects.zip')",
    "cache": "CachingStore(FilesystemStore(directory), DictStore(), max_bytes=10_000)",
    "expiring": "ExpiringStore(DictStore(), max_count=100)",
    "on the loop": "ObjectStore(storage.DictStore(), stepped=False)",
    "sqlite": "SqliteStore(directory + '/objects.sqlite')",
    "cache on the loop": "ObjectStore(storage.CachingStore(storage.DictStore(), storage.DictStore()), stepped=False)",
}


@pytest.mark.parametrize("store", STORES.values(), ids=list(STORES))
def test_handler_that_interrupts_a_section_is_refused_or_works(store: str) -> None:
    """It never waits for its own thread, not even through the background loop or a worker thread."""
    done = run(f"{INTERRUPTING}\nwith {store} as store:\n    use(store)\n")

    assert (0, "True True b'w'\n") == (done.returncode, done.stdout)  # a cache logs what its store refuses


@pytest.mark.parametrize("store", STORES.values(), ids=list(STORES))
def test_handlers_at_any_moment_end(store: str) -> None:
    """A timer interrupts a thread that puts, some hundred times."""
    done = run(
        f"""
import tempfile
from storage.sync import *
directory = tempfile.mkdtemp()
with {store} as store:
    ended = 0
    def handler(*_):
        global ended
        try:
            store.put("state", b"s")
            assert store.get("state") == b"s"
        except storage.ReentrantCallError:
            pass
        ended += 1
        if ended < 100:
            signal.setitimer(signal.ITIMER_REAL, 0.0003)
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0003)
    number = 0
    while ended < 100:
        store.put(f"k{{number % 50}}", b"v" * 1000)
        number += 1
    keys = list(store.keys())
    print(set(keys) - {{"state"}} == {{f"k{{i}}" for i in range(min(number, 50))}}, keys == sorted(keys))
"""
    )

    assert (0, "True True\n") == (done.returncode, done.stdout)


def test_finalizer_in_a_section_is_refused() -> None:
    """The garbage collector may run it at any moment; what it raises is reported, and the put goes on."""
    done = run(
        """
        signal.alarm(20)
        store = storage.sync.DictStore()

        class Saving:
            def __del__(self):
                try:
                    store.put("saved", b"v")
                except storage.ReentrantCallError as error:
                    print("refused", flush=True)

        with store.async_store._writing:
            Saving()
        Saving()
        print(store.get("saved"))
        """
    )

    assert (0, "refused\nb'v'\n", "") == (done.returncode, done.stdout, done.stderr)


def test_finalizer_in_the_thread_of_a_database_is_refused() -> None:
    """It would wait for its own thread in the middle of a call of the store."""
    done = run(
        """
        import tempfile
        from storage.stores.sqlite import pages, store as module
        signal.alarm(20)
        path = tempfile.mkdtemp() + "/objects.db"
        read_page = pages.read_page

        class Reading:
            def __del__(self):
                try:
                    store.get("k")
                except storage.ReentrantCallError as error:
                    print("refused", flush=True)

        def reading(*arguments):
            Reading()
            return read_page(*arguments)

        module.read_page = reading
        with storage.sync.SqliteStore(path) as store:
            store.put("k", b"v")
            print(list(store.keys()), store.get("k"))
        """
    )

    assert (0, "refused\nrefused\n['k'] b'v'\n", "") == (done.returncode, done.stdout, done.stderr)


def test_fork_in_a_handler_that_interrupts_a_fork_ends() -> None:
    """The first one waits for a thread that is in SQLite; the second one does not wait for the first."""
    done = run(
        """
        from storage.stores.sqlite.fork_guard import ForkGuard
        signal.alarm(20)
        out = threading.Event()
        guard = ForkGuard(out.set)
        begun = threading.Event()
        thread = threading.Thread(target=guard.run, args=(lambda: begun.set() or out.wait(),))
        thread.start()
        begun.wait()

        def fork(*_):
            child = os.fork()
            if not child:
                os._exit(0)
            os.waitpid(child, 0)
            print("forked", flush=True)

        signal.signal(signal.SIGUSR1, fork)
        threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGUSR1]).start()
        fork()
        thread.join()
        fork()
        """
    )

    assert (0, "forked\nforked\nforked\n") == (done.returncode, done.stdout), done.stderr


def test_fork_between_two_instructions_of_a_fork_ends() -> None:
    """A trace function forks where a signal handler could: once at each instruction of what runs around a fork."""
    done = run(
        """
        from storage.stores.sqlite import fork_guard
        signal.alarm(60)
        guards = [fork_guard.ForkGuard(lambda: None) for _ in range(2)]
        hooks = {each.__code__ for each in (
            fork_guard._before_fork, fork_guard._take, fork_guard._after_fork_in_parent)}
        seen = 0

        def fork():
            child = os.fork()
            if not child:
                os._exit(0)
            os.waitpid(child, 0)

        def trace(frame, event, argument):
            global seen
            if frame.f_code not in hooks:
                return None
            frame.f_trace_opcodes = True
            if event == "opcode":
                seen += 1
                if seen == chosen:
                    fork()
            return trace

        for chosen in range(1, 5000):
            seen = 0
            sys.settrace(trace)
            fork()
            sys.settrace(None)
            assert [] == fork_guard._thread.forks and not fork_guard._is_forking()
            assert not any(guard._in_sqlite.locked() for guard in guards), chosen
            if seen < chosen:
                break
        print("ended", chosen > 100)
        """
    )

    assert (0, "ended True\n") == (done.returncode, done.stdout), done.stderr


def test_handler_that_interrupts_a_task_uses_synchronous_stores() -> None:
    """It runs in the thread of the event loop, between two steps of whatever task is running."""
    done = run(
        """
        import tempfile
        signal.alarm(20)
        store = storage.FilesystemStore(tempfile.mkdtemp())
        stepped = storage.sync.ObjectStore(store)
        on_loop = storage.sync.ObjectStore(store, stepped=False)
        outcomes = []

        def handler(*_):
            for each in (stepped, on_loop):
                try:
                    each.put("handler", b"v")
                    outcomes.append(each.get("handler") == b"v")
                except storage.ReentrantCallError:
                    outcomes.append(True)

        async def main():
            signal.signal(signal.SIGUSR1, handler)
            for number in range(30):
                put = asyncio.create_task(store.put("k", b"v"))
                for _ in range(number % 4):
                    await asyncio.sleep(0)
                signal.raise_signal(signal.SIGUSR1)
                await put
            print(len(outcomes), all(outcomes), await store.get("k"))

        asyncio.run(main())
        """
    )

    assert (0, "60 True b'v'\n", "") == (done.returncode, done.stdout, done.stderr)


def test_nested_calls_of_the_callers_own_code_work() -> None:
    """An iterable, a function of `update` and a handler may call the store that they were given to."""
    done = run(
        """
        from storage.sync import DictStore, NotifyingStore, update
        signal.alarm(20)
        log = DictStore()
        store = NotifyingStore(DictStore(), on_put=lambda event: log.put(event.key, b"put"))

        def pieces():
            store.put("inner", b"1")
            yield store.get("inner")

        store.put("outer", pieces())
        update(store, "outer", lambda old: old + store.get("inner"))
        print(store.get("outer"), list(log.keys()))
        """
    )

    assert (0, "b'11' ['inner', 'outer']\n", "") == (done.returncode, done.stdout, done.stderr)


def test_compaction_that_interrupts_a_compaction_is_refused() -> None:
    """Its thread would wait for itself; the one that was interrupted goes on."""
    done = run(
        """
        import tempfile
        from storage._concurrency.stepping import step
        from storage.stores.zip.slices import finished
        signal.alarm(20)
        with storage.sync.ZipStore(tempfile.mkdtemp() + "/objects.zip") as store:
            store.put_many({str(number): b"v" for number in range(100)})
            archive = store.async_store._archive

            async def interrupted():
                steps = archive.compaction()
                next(steps)
                try:
                    archive.compact()
                except storage.ReentrantCallError:
                    print("refused", flush=True)
                finished(steps)

            step(interrupted())
            store.compact()
            print(len(list(store.keys())))
        """
    )

    assert (0, "refused\n100\n", "") == (done.returncode, done.stdout, done.stderr)
