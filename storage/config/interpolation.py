"""
Variables in text: ``${NAME}``, ``${NAME:-default}``, and ``$${`` for a literal ``${``.

A default may contain references. It ends at the first ``}`` that closes none of them. It is used when the variable is
not set; a variable that is set and empty stays empty. Every other ``$`` is a plain character, and so is every character
in a variable's value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Self

__all__ = ["Expanded", "InterpolationError", "expand"]

#: How deep references may be nested in defaults: deeper ones are a mistake, or meant to overflow the stack.
DEPTH = 20

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class InterpolationError(ValueError):
    """A variable is not set, or a reference is not well formed; the text names the variable, never a value."""


class Expanded(str):
    """
    Text from outside a configuration: from the environment or from a URL.

    It can become any type: ``"60"`` is a number where a number is expected. It may be a secret.

    Attributes:
        source: what an error shows in its place.
    """

    __slots__ = ("source",)

    source: str

    def __new__(cls, text: str, source: str) -> Self:
        made = super().__new__(cls, text)
        made.source = source
        return made


def expand(text: str, variables: Mapping[str, str]) -> str:
    """
    Return *text* with its references replaced: an `Expanded` if it has any.

    Raises:
        InterpolationError: a variable is not set and has no default, or a reference is not well formed.
    """
    if "${" not in text:
        return text
    reading = _Reading(text, variables)
    expanded = reading.until_end(0, live=True)
    return Expanded(expanded, f"the value of {' and '.join(reading.names)}") if reading.names else expanded


class _Reading:
    """A position in a text, and the variables."""

    def __init__(self, text: str, variables: Mapping[str, str]) -> None:
        self.text = text
        self.variables = variables
        self.at = 0
        self.names: dict[str, None] = {}

    def until_end(self, depth: int, *, live: bool) -> str:
        """Read to the end of the text or of a default. If not *live*, it is not used and variables may be missing."""
        if depth > DEPTH:
            raise InterpolationError(f"references in defaults of others are nested more than {DEPTH} deep")
        pieces = []
        while self.at < len(self.text):
            if self.text.startswith("$${", self.at):
                pieces.append("${")
                self.at += 3
            elif self.text.startswith("${", self.at):
                self.at += 2
                pieces.append(self.reference(depth, live=live))
            elif depth and self.text[self.at] == "}":
                return "".join(pieces)
            else:
                pieces.append(self.text[self.at])
                self.at += 1
        if depth:
            raise InterpolationError("'${' has no closing '}'; write '$${' for a literal '${'")
        return "".join(pieces)

    def reference(self, depth: int, *, live: bool) -> str:
        """Read a reference after its ``${`` and return its value."""
        name = _NAME.match(self.text, self.at)
        if name is None:
            raise InterpolationError("'${' needs the name of a variable after it; write '$${' for a literal '${'")
        self.at = name.end()
        self.names[f"${{{name[0]}}}"] = None
        value = self.variables.get(name[0])
        default = None
        if self.text.startswith(":-", self.at):
            self.at += 2
            default = self.until_end(depth + 1, live=live and value is None)
        if not self.text.startswith("}", self.at):
            raise InterpolationError(f"'${{{name[0]}' needs '}}', or ':-' and a default, after it")
        self.at += 1
        if value is None and default is None and live:
            raise InterpolationError(
                f"the variable {name[0]} is not set: set it, or give a default (${{{name[0]}:-default}})"
            )
        return value if value is not None else default or ""
