"""Calls that fork, and end in the child too: they leave alone what the parent goes on with. Each runs as a program."""

from __future__ import annotations

import os
import subprocess

import pytest
from processes import programs

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork"),
]

#: `forked` runs *child* in a child, to its end, and then goes on; the child ends where this program's calls let it.
FORKING = """
import fcntl, tempfile
from storage.sync import *
directory = tempfile.mkdtemp()
parent = os.getpid()
signal.alarm(20)

def forked(child):
    pid = os.fork()
    if not pid:
        return child()
    print("child", os.waitpid(pid, 0)[1], flush=True)
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return programs.run(f"{FORKING}\n{code}")


@pytest.mark.parametrize("store", ["FilesystemStore", "SafeFilesystemStore", "HashdirStore"])
@pytest.mark.parametrize("child", ["sys.exit(0)", "None"], ids=["ends", "goes on"])
def test_child_of_a_put_leaves_the_draft_to_its_parent(store: str, child: str) -> None:
    """It neither removes nor writes nor publishes it, and not even the directories are pruned."""
    done = run(
        f"""
store = {store}(directory)
def data():
    yield b"a"
    forked(lambda: {child})
    yield b"b"
try:
    store.put("new/directory/k", data())
except storage.StoreClosedError as error:
    assert os.getpid() != parent and "forked during this call" in str(error), error
    sys.exit(0)
assert os.getpid() == parent
print(store.get("new/directory/k"))
"""
    )

    assert (0, "child 0\nb'ab'\n", "") == (done.returncode, done.stdout, done.stderr)


def test_child_does_not_release_the_lock_of_its_parent() -> None:
    """It is of the open directory, which both share: the parent is still in the section."""
    done = run(
        """
from storage.stores.files.locks import locked
here, other = (os.open(directory, os.O_RDONLY) for _ in range(2))
with locked(here):
    forked(lambda: sys.exit(0))
    try:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("locked")
fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
"""
    )

    assert (0, "child 0\nlocked\n", "") == (done.returncode, done.stdout, done.stderr)


def test_child_that_is_forked_during_a_wait_does_not_get_the_lock_with_its_parent() -> None:
    """Both have the directory open under the same number: the system would take them for one."""
    done = run(
        """
from storage.stores.files.locks import locked
here, other = (os.open(directory, os.O_RDONLY) for _ in range(2))
fcntl.flock(other, fcntl.LOCK_EX)

def handler(*_):
    pids.append(os.fork())
    if pids[0]:
        fcntl.flock(other, fcntl.LOCK_UN)

pids = []
signal.signal(signal.SIGUSR1, handler)
threading.Timer(0.1, os.kill, (parent, signal.SIGUSR1)).start()

async def section():
    with locked(here):
        print("in the section", os.getpid() == parent, flush=True)

from storage._concurrency.stepping import step
try:
    step(section())
except storage.StoreClosedError:
    os._exit(0)
except storage.StorageError as error:
    os._exit(7)
print(os.waitpid(pids[0], 0)[1])
"""
    )

    assert (0, "in the section True\n0\n") == (done.returncode, done.stdout)


def test_child_leaves_the_file_of_a_key_to_its_parent() -> None:
    """The parent gives it its name."""
    done = run(
        """
fsync = os.fsync
def forking(number):
    if not forks:
        forks.append(1)
        forked(lambda: sys.exit(0))
    fsync(number)
forks = []
from storage.stores.files import key_files
from storage.stores.files.root import READ
here = os.open(directory, READ)
os.fsync = forking
key_files.ensure_key_file(here, "0", b"k", expected=False, sync=True, store=None)
print(key_files.read_key_file(here, "0" + key_files.KEY_SUFFIX))
"""
    )

    assert (0, "child 0\nb'k'\n", "") == (done.returncode, done.stdout, done.stderr)


def test_child_does_not_put_a_compacted_archive_in_its_place() -> None:
    """The parent does."""
    done = run(
        """
from storage.stores.zip.drafts import Draft
from storage.stores.zip.slices import finished
path = directory + "/objects.zip"
store = ZipStore(path).__enter__()
store.put("k", b"v")
archive = store.async_store._archive
before = os.stat(path)
draft = Draft(path, archive._file, 0)
finished(draft.prepare([entry for _, entry in archive.objects.values()], archive._tail))
def child():
    try:
        draft.publish()
    except storage.StoreClosedError:
        draft.close()
        os._exit(0)
    os._exit(1)
forked(child)
print(os.path.samestat(os.stat(path), before))
draft.publish()
print(draft.is_published, flush=True)
os._exit(0)
"""
    )

    assert (0, "child 0\nTrue\nTrue\n", "") == (done.returncode, done.stdout, done.stderr)


def test_child_does_not_abort_an_upload_of_its_parent() -> None:
    """Nor does it speak on the parent's connection, when it ends and its event loop cancels its copies of the tasks."""
    done = run(
        """
from storage.stores.s3.multipart import upload_in_parts

class Bucket:
    class timeouts:
        read = 10

    async def create_upload(self, key, headers):
        return "upload"

    async def abort_upload(self, key, upload):
        print("aborted", os.getpid() == parent, flush=True)

class Write:
    mark = {}

async def main():
    begun = asyncio.Event()

    async def parts():
        begun.set()
        await asyncio.sleep(60)
        yield

    upload = asyncio.create_task(upload_in_parts(Bucket(), "k", parts(), {}, Write()))
    await begun.wait()
    forked(lambda: sys.exit(0))
    upload.cancel()
    await asyncio.wait([upload])

asyncio.run(main())
"""
    )

    assert (0, "child 0\naborted True\n", "") == (done.returncode, done.stdout, done.stderr)
