"""The synchronous face when its process forks and when it ends. Each test runs a separate program."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from processes.programs import run

pytestmark = pytest.mark.process


# -- fork ------------------------------------------------------------------------------------------------------------


def test_forked_child_gets_a_loop_of_its_own() -> None:
    """The parent's loop goes on."""
    done = run(
        """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # that this process has threads is the point
        store = storage.sync.ObjectStore(storage.DictStore(), stepped=False)
        store.put("k", b"before")
        child = os.fork()
        if not child:
            store.put("k", b"child")
            print(store.get("k"), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        print(store.get("k"))
        """
    )

    assert (0, "b'child'\nb'before'\n", "") == (done.returncode, done.stdout, done.stderr)


def test_forked_child_ends_like_any_program() -> None:
    """The child leaves the parent's `with` and file in which it was forked, and its exit handlers run."""
    done = run(
        """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        store = storage.sync.ObjectStore(storage.DictStore(), stepped=False)
        store.put("k", b"v")
        with store, store.open("k") as file:
            keys = store.keys()
            next(keys)
            child = os.fork()
            if child:
                os.waitpid(child, 0)
            print("child" if not child else "parent", store.get("k"), flush=True)
        del keys
        gc.collect()
        """
    )

    assert (0, "child b'v'\nparent b'v'\n", "") == (done.returncode, done.stdout, done.stderr)


def test_store_with_resources_is_closed_in_a_forked_child() -> None:
    """The connection belongs to the parent, and so does the database; on another the child makes its own store."""
    done = run(
        """
        import tempfile, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "objects.sqlite")
            with storage.sync.SqliteStore(path) as store:
                store.put("k", b"v")
                child = os.fork()
                if not child:
                    try:
                        store.get("k")
                    except storage.StoreClosedError:
                        try:
                            storage.sync.SqliteStore(path).__enter__()
                        except storage.StoreClosedError:
                            with storage.sync.SqliteStore(path + "2") as own:
                                own.put("k", b"o")
                                print("closed", own.get("k"), flush=True)
                    os._exit(0)
                print(os.waitpid(child, 0)[1], store.get("k"))
        """
    )

    assert (0, "closed b'o'\n0 b'v'\n", "") == (done.returncode, done.stdout, done.stderr)


def test_fork_while_another_thread_opens_a_store() -> None:
    """The child has no such thread, and does not wait for it."""
    done = run(
        """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        class Opening(storage.DictStore):
            _steppable = True

            async def _open(self):
                opening.set()
                time.sleep(0.5)

        opening = threading.Event()
        first = storage.sync.ObjectStore(Opening())
        threading.Thread(target=first.__enter__).start()
        opening.wait()
        child = os.fork()
        if not child:
            with storage.sync.DictStore() as store:
                store.put("k", b"v")
                print(store.get("k"), flush=True)
            os._exit(0)
        print(os.waitpid(child, 0)[1])
        """
    )

    assert (0, "b'v'\n0\n", "") == (done.returncode, done.stdout, done.stderr)


# -- the end ---------------------------------------------------------------------------------------------------------


LEFT_OPEN = {
    "a store": "store.__enter__()",
    "a file": "store.put('k', b'v'); file = store.open('k')",
    "an iteration": "store.put_many({'a': b'', 'b': b''}); keys = store.keys(); next(keys)",
    "a store in a cycle": "store.__enter__(); store.itself = store",
    "a store that fails to close": """
class Failing(storage.DictStore):
    async def _close(self):
        raise LookupError
storage.sync.ObjectStore(Failing()).__enter__()""",
    "a store that will not close": """
class Endless(storage.DictStore):
    async def _close(self):
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                pass
storage.sync.ObjectStore(Endless()).__enter__()""",
    "a call in a daemon thread": """
slow = storage.sync.ObjectStore(Slow())
threading.Thread(target=slow.put, args=("k", b"v"), daemon=True).start()
time.sleep(0.2)""",
    "a busy worker thread": """
blocking = storage.sync.ObjectStore(Blocking())
threading.Thread(target=blocking.put, args=("k", b"v"), daemon=True).start()
time.sleep(0.2)""",
    "a call at exit": "import atexit; atexit.register(lambda: store.exists('k'))",
    "an open SQLite store": """
lite = storage.sync.SqliteStore(":memory:")
lite.__enter__()
lite.put("k", b"v")""",
}


@pytest.mark.parametrize("left", LEFT_OPEN.values(), ids=LEFT_OPEN.keys())
def test_what_is_left_open_at_exit_is_no_matter(left: str) -> None:
    """The program ends soon and without a traceback."""
    done = run("store = storage.sync.ObjectStore(storage.DictStore(), stepped=False)\nstore.exists('k')\n" + left)

    assert (0, "") == (done.returncode, done.stderr)


def test_call_after_the_end_raises() -> None:
    """Exit handlers run in reverse order: one from before the import runs after the loop has ended: an error."""
    done = run(
        """
        def late():
            try:
                store.get("k")
            except RuntimeError as error:
                print(error)

        store = storage.sync.ObjectStore(storage.DictStore(), stepped=False)
        """,
        before="import atexit; atexit.register(lambda: late())",
    )

    assert "the interpreter is ending" in done.stdout
    assert (0, "") == (done.returncode, done.stderr)


def test_listing_that_is_left_open_is_closed_at_exit() -> None:
    """The store's code releases what it holds."""
    done = run(
        """
        class Listing(storage.DictStore):
            async def keys(self, prefix="", *, start_after=""):
                try:
                    for number in range(1000):
                        yield str(number)
                finally:
                    await asyncio.sleep(0)
                    print("closed", flush=True)

        keys = storage.sync.ObjectStore(Listing()).keys()
        next(keys)
        """
    )

    assert (0, "closed\n", "") == (done.returncode, done.stdout, done.stderr)


def test_store_that_is_left_open_is_closed_at_exit() -> None:
    """On the loop; a stepped one stays as it is, as after a kill."""
    done = run(
        """
        class Closing(storage.DictStore):
            async def exists(self, key):
                return False

            async def _close(self):
                print("closed", flush=True)

        storage.sync.ObjectStore(Closing()).__enter__()
        """
    )

    assert (0, "closed\n", "") == (done.returncode, done.stdout, done.stderr)


def test_store_that_does_not_close_does_not_keep_the_program() -> None:
    """After two seconds the program ends anyway."""
    done = run(
        """
        class Stubborn(storage.DictStore):
            async def _close(self):
                print("closing", flush=True)
                time.sleep(60)

        storage.sync.ObjectStore(Stubborn(), stepped=False).__enter__()
        """
    )

    assert (0, "closing\n", "") == (done.returncode, done.stdout, done.stderr)


def test_program_that_fails_fails_as_ever(tmp_path: Path) -> None:
    """A script with a store open on the loop ends with its own error."""
    done = run(
        f"""
        with storage.sync.ObjectStore(storage.FilesystemStore({os.fspath(tmp_path)!r}), stepped=False) as store:
            store.put("k", b"v")
            raise LookupError("mine")
        """
    )

    assert 1 == done.returncode
    assert done.stderr.rstrip().endswith("LookupError: mine")
    assert b"v" == (tmp_path / "k").read_bytes()
