"""What is on the disk when a durable call returns, derived from its system calls, without a power cut."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from processes.strace import Call, needs_strace, system_calls

pytestmark = [needs_strace, pytest.mark.process]

WRITES = ["write", "pwrite64", "ftruncate", "copy_file_range", "fsetxattr"]
NAMES = ["mkdir", "mkdirat", "rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir"]
SYNCS = ["fsync", "fdatasync"]
ACKNOWLEDGED = ["access", "faccessat", "faccessat2"]

#: Calls the store, and says so by a system call that shows in the trace.
PROGRAM = """
import os, sys
from storage.sync import *

root = sys.argv[1]

def done(call, *_):
    os.access(f"/acknowledged/{call}", 0)

"""

CALLS = """
    done("the first put", store.put("k", b"old"))
    done("an overwrite", store.put("k", b"new", attributes={"a": "b"}))
    done("a put into new directories", store.put("a/b/c/k", b"v"))
    done("a put into their like", store.put("a/b/d/k", b"v"))
    done("a stream", store.put("a/stream", (bytes([i]) * 700_000 for i in range(4))))
    done("a copy", store.copy("a/stream", "copies/stream"))
    done("a rename", store.rename("k", "k2"))
    done("a rename into new directories", store.rename("a/b/c/k", "e/f/k"))
    done("many puts", store.put_many({f"many/{i}": b"v" for i in range(5)}))
    done("a delete", store.delete("k2"))
    done("a delete that empties directories", store.delete("a/b/d/k"))
    done("many deletes", store.delete_many([f"many/{i}" for i in range(3)]))
    done("a clear", store.clear("many/"))
"""

ALL = [line.split('"')[1] for line in CALLS.split("\n") if "done(" in line]


class Model:
    """
    A disk that loses everything that was not synced.

    Attributes:
        files: paths of files with bytes that are not on the disk.
        names: paths that have come or gone, which their directories do not say on the disk.
        wrong: what should not have been: names given to such files, and acknowledgments too soon.
        acknowledged: what the program has said that is done.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._known = {root}
        self.files: set[str] = set()
        self.names: set[str] = set()
        self.wrong: list[str] = []
        self.acknowledged: list[str] = []

    def see(self, call: Call) -> None:
        """Apply a system call to the model."""
        if call.name in ACKNOWLEDGED and call.paths[-1].startswith("/acknowledged/"):
            self._acknowledge(os.path.basename(call.paths[-1]))
            return
        if call.result.startswith("-"):
            return
        # SQLite's shared memory is made anew by whoever opens the database first; a file without a name needs none.
        paths = [path for path in call.paths if not path.endswith("-shm")]
        if not paths or not all(path.startswith(self._root) for path in paths) or "O_TMPFILE" in call.arguments:
            return
        if call.name in WRITES:
            self.files.add(paths[-1])
        elif call.name in SYNCS:
            self.files.discard(paths[0])
            self.names = {name for name in self.names if os.path.dirname(name) != paths[0]}
        elif call.name == "openat":
            if "O_CREAT" in call.arguments:
                self._name(paths[0])
            if "O_TRUNC" in call.arguments:
                self.files.add(paths[0])
        elif call.name.startswith("mkdir"):
            self._name(paths[0])
        elif call.name.startswith("rename"):
            self._rename(*paths)
        elif call.name == "rmdir" or "AT_REMOVEDIR" in call.arguments:
            self._known.discard(paths[0])  # it held nothing: whether it comes back is no matter
            self.names = {name for name in self.names if os.path.dirname(name) != paths[0]}
        else:
            self._known.discard(paths[0])
            self.files.discard(paths[0])
            self.names.add(paths[0])

    def _name(self, path: str) -> None:
        if path not in self._known:
            self._known.add(path)
            self.names.add(path)

    def _rename(self, old: str, new: str) -> None:
        if old in self.files:
            self.wrong.append(f"{old} was not synced when it became {new}")
            self.files.add(new)
        if f"{new}.key" in self.names:  # of a HashdirStore, which finds the object by it
            self.wrong.append(f"the name of {new}.key was not synced before that of {new}")
        self._known.discard(old)
        self._known.add(new)
        self.files.discard(old)
        self.names |= {old, new}

    def _acknowledge(self, call: str) -> None:
        self.acknowledged.append(call)
        for path in sorted(self.files):
            self.wrong.append(f"{path} was not synced when {call} was acknowledged")
        for path in sorted(self.names):
            self.wrong.append(f"the name of {path} was not synced when {call} was acknowledged")
        self.files.clear()
        self.names.clear()


def observed(program: str, place: Path, root: str = "") -> Model:
    """Run a program on *root*, below the directory *place*, and return what became of the disk."""
    model = Model(str(place))
    calls = [*WRITES, *NAMES, *SYNCS, *ACKNOWLEDGED, "openat"]
    for call in system_calls(PROGRAM + program, place / root, calls=calls, place=place):
        model.see(call)
    return model


@pytest.mark.parametrize("store", ["FilesystemStore", "SafeFilesystemStore", "HashdirStore"])
def test_files_are_synced_before_they_get_their_names_and_these_before_the_call_returns(
    store: str, tmp_path: Path
) -> None:
    """Bytes, their name, the directory that has it, and every new directory in the one above, the root's too."""
    seen = observed(f'with {store}(root, durability="fsync") as store:{CALLS}', tmp_path, "new/root")

    assert [] == seen.wrong
    assert ALL == seen.acknowledged


def test_database_is_synced_before_the_call_returns(tmp_path: Path) -> None:
    """And so is the name of its log. (Its directory is the user's.)"""
    seen = observed(f'with SqliteStore(root + "/db") as store:{CALLS}', tmp_path)

    assert [] == seen.wrong
    assert ALL == seen.acknowledged


def test_archive_is_synced_before_the_call_returns(tmp_path: Path) -> None:
    """The new archive of `compact` before it takes the place of the old one, too. (Its directory is the user's.)"""
    seen = observed(
        f'with ZipStore(root + "/a.zip") as store:{CALLS}'
        '    done("a flush", store.flush())\n    done("a compaction", store.compact())',
        tmp_path,
    )

    assert [] == seen.wrong
    assert [*ALL, "a flush", "a compaction"] == seen.acknowledged


def test_name_of_an_archive_that_a_killed_process_made_is_synced(tmp_path: Path) -> None:
    """The process was killed before the sync, or another program has just put the file there."""
    seen = observed(
        """
made = os.open(root + "/a.zip", os.O_CREAT | os.O_RDWR)
os.write(made, b"PK\\5\\6" + bytes(18))
os.fsync(made)
with ZipStore(root + "/a.zip") as store:
    done("a put", store.put("k", b"v"))
        """,
        tmp_path,
    )

    assert ([], ["a put"]) == (seen.wrong, seen.acknowledged)


@pytest.mark.parametrize("store", ["FilesystemStore(root", "HashdirStore(root, depth=0"])
def test_delete_of_what_another_has_just_deleted_waits_for_the_disk_too(store: str, tmp_path: Path) -> None:
    """The other may not have come so far yet; that a durable delete returns means that the object stays away."""
    seen = observed(
        f"""
durable, other = {store}, durability="fsync"), {store})
durable.put("k", b"v")
durable.put("stays", b"v")
other.delete("k")
durable.delete("k")
done("a delete")
        """,
        tmp_path,
        "new/root",
    )

    assert ([], ["a delete"]) == (seen.wrong, seen.acknowledged)
