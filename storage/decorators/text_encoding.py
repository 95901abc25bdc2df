"""`TextEncodingStore`: objects that are text."""

from __future__ import annotations

import codecs

from storage.base import ObjectStore
from storage.decorators.bases.value_transform import ValueTransform
from storage.errors import CorruptObjectError

__all__ = ["TextEncodingStore"]


class TextEncodingStore(ValueTransform[str, str]):
    """
    `put` takes text and `get` returns text; the store below keeps it encoded.

    Text that cannot be encoded is a `UnicodeEncodeError`, which is a ``ValueError``; bytes in the store below that
    cannot be decoded are a `CorruptObjectError`.

    Args:
        base: the store below.
        encoding: the name of a text encoding of Python.
        errors: the error handler for text that cannot be encoded or decoded, a name that ``str.encode`` takes:
            ``"strict"`` raises, others change the text.
    """

    def __init__(self, base: ObjectStore, encoding: str = "utf-8", *, errors: str = "strict") -> None:
        super().__init__(base)
        try:
            codecs.lookup_error(errors)
            "a".encode(encoding)
        except LookupError as cause:
            raise ValueError(
                f"{cause}: use a text encoding such as 'utf-8', and an error handler such as 'strict'"
            ) from cause
        self.encoding = encoding
        self.errors = errors

    def encode(self, value: str) -> bytes:
        if not isinstance(value, str):
            raise TypeError(f"{type(self).__name__} takes text, not {type(value).__name__}")
        return value.encode(self.encoding, self.errors)

    def decode(self, data: bytes) -> str:
        try:
            return data.decode(self.encoding, self.errors)
        except (ValueError, TypeError, LookupError, ArithmeticError) as cause:
            # Handlers such as "xmlcharrefreplace" can only encode; codecs such as "idna" let out what they run into.
            raise CorruptObjectError(f"not {self.encoding} text") from cause
