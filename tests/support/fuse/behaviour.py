"""`Behaviour`: in what a mounted file system of the tests differs from a plain directory."""

from __future__ import annotations

import dataclasses
import errno
import json
from dataclasses import dataclass
from typing import Literal

__all__ = ["Behaviour"]


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """
    The switches of a mounted file system; without any it passes all calls on to a directory.

    Attributes:
        renames_open_files: whether a file can be renamed while it is open; else ``EOPNOTSUPP``.
        sets_times: whether times can be set, other than to "now"; else ``EPERM``.
        granularity: the unit of its times, in ns: 10**9 for whole seconds, 2 * 10**9 as on FAT.
        renumbers_inodes: whether each mount has inode numbers of its own.
        ignores_case: whether names that differ only in case are one.
        normalises: names are one if they are equal in this Unicode form, and are kept in this form.
        keeps_form: whether a name is kept as it was written, though it is compared in the form of *normalises*.
        cuts_names: the characters that are left of a longer name, without an error.
        trims_names: characters that are taken off the ends of names.
        replaces_characters: characters that become ``_`` in names.
        refused_characters: names with one of these cannot be created.
        refusal: the error's number for them.
        refuses_lookups: whether looking for such a name fails so, too, rather than finding nothing.
        longest_name: bytes that a name may have; else ``ENAMETOOLONG``.
        hides_removed: the beginning of the name that an open file gets when it is removed or replaced, as
            ``.fuse_hidden`` or ``.nfs``; "" to remove it.
        short_reads: the bytes that one read gives at most.
        hides_sizes: whether every file says that it has 0 bytes, as in ``/proc``.
        link_count: what ``st_nlink`` says of every file; None for what is true.
        hard_links: whether a file can have a second name; else ``EPERM``.
        quota: closing a file with more bytes fails with ``EDQUOT``, as over NFS; the bytes beyond are lost.
        sync_error: the error's number for every sync of a directory; 0 where they can be synced.
        file_sync_error: the same for every sync of a file.
        lock_error: the error's number for every lock of a file; 0 where locks work.
        unreadable: the names of directories that cannot be listed, as ``lost+found``, and of files that cannot be
            opened.
        read_error: the error's number for them.
        xattrs: whether there are extended attributes.
        xattr_limit: the bytes of all extended attributes of a file; more is ``ENOSPC``.
        copied_at_once: the bytes that one copy_file_range gives at most; None where there is no such call.
        copied_at_all: after so many bytes of a file copy_file_range gives 0, though there are more.
    """

    renames_open_files: bool = True
    sets_times: bool = True
    granularity: int = 1
    renumbers_inodes: bool = False
    ignores_case: bool = False
    normalises: Literal["", "NFC", "NFD"] = ""
    keeps_form: bool = False
    cuts_names: int | None = None
    trims_names: str = ""
    replaces_characters: str = ""
    refused_characters: str = ""
    refusal: int = 0
    refuses_lookups: bool = False
    longest_name: int = 255
    hides_removed: str = ""
    short_reads: int | None = None
    hides_sizes: bool = False
    link_count: int | None = None
    hard_links: bool = True
    quota: int | None = None
    sync_error: int = 0
    file_sync_error: int = 0
    lock_error: int = 0
    unreadable: tuple[str, ...] = ()
    read_error: int = errno.EACCES
    xattrs: bool = True
    xattr_limit: int | None = None
    copied_at_once: int | None = None
    copied_at_all: int = 2**63

    def to_json(self) -> str:
        """Return the switches as text, for the command line of the server."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Behaviour:
        """Return the switches that `to_json` has written."""
        switches = json.loads(text)
        return cls(**{**switches, "unreadable": tuple(switches["unreadable"])})
