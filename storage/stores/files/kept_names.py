"""`KeptNames`: which names a file system has been seen to keep as they are, where it may cut, trim or map others."""

from __future__ import annotations

import re
import unicodedata

from storage.stores.files.os_names import encoded

__all__ = ["KeptNames", "other_forms"]

#: Names that every file system keeps, if they are short.
_PLAIN = re.compile(r"[\w-]+(?:\.[\w-]+)*", re.ASCII)

#: Characters, with their places, that are remembered of one device.
_MOST = 10_000


class KeptNames:
    """
    The names on a device that is no local file system of Linux: a network share, FUSE.

    There names may be cut to a length, lose dots or spaces at the end, or have some characters replaced, without an
    error. A name is taken to be kept if its characters are plain, or have been seen in such a place of a name that a
    directory listed as it was given, and if it is no longer than one of these. Case is not looked at.
    """

    __slots__ = ("_longest", "_places")

    def __init__(self) -> None:
        self._longest = 0
        self._places: set[tuple[str, str]] = set()

    def covers(self, name: str, formed: bool) -> bool:
        """Return whether a name is certainly kept; *formed* says that names of other Unicode forms are others."""
        if len(encoded(name)) > self._longest:
            return False
        if _PLAIN.fullmatch(name):
            return True
        return self._places.issuperset(_places(name)) and (formed or name.isascii() or not other_forms(name))

    def learn(self, name: str) -> None:
        """Note that a directory lists a file under this name, which was given to it."""
        self._longest = max(self._longest, len(name))
        if len(self._places) < _MOST:
            # Not "~", as in the short names that Windows gives to files; nor letters, of which case may be ignored.
            self._places.update(
                (place, each)
                for place, each in _places(name)
                if (each, place) != ("~", "inner") and each.lower() == each.upper()
            )


def other_forms(name: str) -> set[str]:
    """Return the normal forms of a name in Unicode that are not the name itself."""
    return {unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)} - {name}


def _places(name: str) -> set[tuple[str, str]]:
    """Return the characters of a name that not every file system keeps, each with its place."""
    found = {("inner", each) for each in name[1:-1] if each != "."} | {("first", name[0]), ("last", name[-1])}
    return {(place, each) for place, each in found if not (each.isascii() and (each.isalnum() or each in "_-"))}
