"""`UrlEncodingStore`: percent-encoded keys, in the characters of a URL's path."""

from __future__ import annotations

import re
from urllib.parse import unquote

from storage.decorators.bases.key_transform import KeyTransform
from storage.types import In, Out

__all__ = ["UrlEncodingStore"]

#: What is encoded: all characters that RFC 3986 does not call unreserved, and the segments ``.`` and ``..``.
_ENCODED = re.compile(r"[^A-Za-z0-9._~/-]+|(?<![^/])\.\.?(?![^/])")


class UrlEncodingStore(KeyTransform[In, Out]):
    """
    Keys are percent-encoded in the store below, segment by segment, so that the hierarchy is kept:
    ``"reports/50 % off"`` is ``"reports/50%20%25%20off"`` there.

    Only ``A-Z a-z 0-9 - . _ ~`` and the slashes between segments are not encoded; segments that are ``.`` or ``..`` are
    encoded, too. Every key is returned unchanged. Objects in the store below whose keys are not encoded in exactly this
    way are not visible and not changed. A listing collects all keys below its prefix and sorts them.

    Args:
        base: the store below.
    """

    def encode(self, key: str) -> str:
        return _ENCODED.sub(_escaped, key)

    def encode_prefix(self, prefix: str) -> str:
        directory, slash, name = prefix.rpartition("/")
        # a whole segment "." is "%2E" below, but a segment that only begins with a dot keeps it
        return self.encode(directory + slash if name in (".", "..") else prefix)

    def decode(self, inner: str) -> str | None:
        try:
            key = unquote(inner, errors="strict")
        except UnicodeDecodeError:
            return None
        return key if self.encode(key) == inner else None


def _escaped(match: re.Match[str]) -> str:
    # a prefix may be any text, even one that no key can begin with: then no key below begins with it either
    return "".join(f"%{byte:02X}" for byte in match[0].encode(errors="surrogatepass"))
