"""
The nonce by which a writer recognizes its own object: the attribute `NAME` in the store below, hidden from the caller.

Its value is the caller's own attribute of that name, if there is one, followed by the nonce.
"""

from __future__ import annotations

import re
import secrets

from storage.types import Attributes, ObjectInfo, check_attributes, replace_info

__all__ = ["NAME", "hidden", "marked", "new_nonce", "nonce_of"]

NAME = "put-nonce"

#: Replaces the nonce of an object that has none but has an attribute of that name from the caller.
NONE = "-"
_VALUE = re.compile(rf"(?:(?P<own>.*) )?(?P<nonce>[0-9a-f]{{32}}|{NONE})", re.DOTALL)


def new_nonce() -> str:
    """Return a nonce that nobody else has."""
    return secrets.token_hex(16)


def marked(attributes: Attributes | None, nonce: str | None) -> Attributes | None:
    """Return the attributes to put with an object, in which `nonce_of` finds *nonce* and `hidden` hides it."""
    if nonce is None and (not attributes or NAME not in attributes):
        return attributes
    below = check_attributes(attributes)
    own = f"{below[NAME]} " if NAME in below else ""
    below[NAME] = own + (nonce or NONE)
    return below


def nonce_of(info: ObjectInfo) -> str | None:
    """Return the nonce of an object, None if it has none."""
    found = _VALUE.fullmatch(info.attributes.get(NAME, ""))
    return found["nonce"] if found else None


def hidden(info: ObjectInfo) -> ObjectInfo:
    """Return the description without the nonce."""
    found = _VALUE.fullmatch(info.attributes.get(NAME, ""))
    if found is None:
        return info
    attributes = dict(info.attributes)
    del attributes[NAME]
    if found["own"] is not None:
        attributes[NAME] = found["own"]
    return replace_info(info, attributes=attributes)
