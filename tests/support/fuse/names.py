"""`Names`: which names a mounted file system of the tests takes, and which it takes for the same."""

from __future__ import annotations

import errno
import os
import unicodedata

from fuse.behaviour import Behaviour

__all__ = ["Names"]


class Names:
    """The names of one file system, by its switches."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour

    def kept(self, directory: str, name: str) -> str:
        """Return the name under which *name* is, or would be, in a directory."""
        behaviour = self._behaviour
        name = name[: behaviour.cuts_names].rstrip(behaviour.trims_names or "/") or name
        name = "".join("_" if each in behaviour.replaces_characters else each for each in name)
        if (behaviour.ignores_case or behaviour.keeps_form) and not os.path.lexists(os.path.join(directory, name)):
            folded = self._folded(name)
            for other in os.listdir(directory):
                if self._folded(other) == folded:
                    return other
        if behaviour.normalises and not behaviour.keeps_form:
            return unicodedata.normalize(behaviour.normalises, name)
        return name

    def check(self, name: str) -> None:
        """
        Refuse a name for a new file.

        Raises:
            OSError: the file system does not take it.
        """
        behaviour = self._behaviour
        if len(os.fsencode(name)) > behaviour.longest_name:
            raise OSError(errno.ENAMETOOLONG, name)
        if any(character in name for character in behaviour.refused_characters):
            raise OSError(behaviour.refusal, name)

    def _folded(self, name: str) -> str:
        form = self._behaviour.normalises
        text = unicodedata.normalize(form, name) if form else name
        return text.upper() if self._behaviour.ignores_case else text
