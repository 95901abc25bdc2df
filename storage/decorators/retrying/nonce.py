"""
The word beside an object by which the one who put it knows it again: the attribute `NAME` below, unseen from above.

Its value is the caller's own attribute of that name, if there is one, and behind it the word.
"""

from __future__ import annotations

import re
import secrets

from storage.types import Attributes, ObjectInfo, check_attributes, replace_info

__all__ = ["NAME", "hidden", "marked", "new_nonce", "nonce_of"]

NAME = "put-nonce"

#: Stands for the word where there is none, but an attribute of the caller's to keep apart from it.
NONE = "-"
_VALUE = re.compile(rf"(?:(?P<own>.*) )?(?P<word>[0-9a-f]{{32}}|{NONE})", re.DOTALL)


def new_nonce() -> str:
    """Return a word that nobody else has."""
    return secrets.token_hex(16)


def marked(attributes: Attributes | None, nonce: str | None) -> Attributes | None:
    """Return the attributes to put with an object, so that `nonce_of` finds *nonce* there and `hidden` hides it."""
    if nonce is None and (not attributes or NAME not in attributes):
        return attributes
    below = check_attributes(attributes)
    own = f"{below[NAME]} " if NAME in below else ""
    below[NAME] = own + (nonce or NONE)
    return below


def nonce_of(info: ObjectInfo) -> str | None:
    """Return the word that an object was marked with, if it was."""
    found = _VALUE.fullmatch(info.attributes.get(NAME, ""))
    return found["word"] if found else None


def hidden(info: ObjectInfo) -> ObjectInfo:
    """Return the description as if the object was not marked."""
    found = _VALUE.fullmatch(info.attributes.get(NAME, ""))
    if found is None:
        return info
    attributes = dict(info.attributes)
    del attributes[NAME]
    if found["own"] is not None:
        attributes[NAME] = found["own"]
    return replace_info(info, attributes=attributes)
