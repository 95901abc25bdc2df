"""`UrlEncodingStore`: any key in the letters of a URL's path."""

from __future__ import annotations

from urllib.parse import quote, unquote

from storage.decorators.key_transform import KeyTransform
from storage.types import In, Out

__all__ = ["UrlEncodingStore"]

#: Names with a meaning in a path, which quoting leaves alone.
_DOTS = {".": "%2E", "..": "%2E%2E"}


class UrlEncodingStore(KeyTransform[In, Out]):
    """
    Keys are percent-encoded in the store below, segment by segment, so that the hierarchy stays:
    ``"reports/50 % off"`` is ``"reports/50%20%25%20off"`` there.

    Only ``A-Z a-z 0-9 - . _ ~`` and the slashes between segments are left as they are, and segments that are ``.`` or
    ``..`` are encoded too. Every key comes back as it was. Objects below whose keys are not encoded in this very way
    are neither seen nor touched. A listing collects all keys below its prefix and sorts.

    Args:
        base: the store below.
    """

    def encode(self, key: str) -> str:
        return "/".join(_DOTS.get(segment) or quote(segment, safe="") for segment in key.split("/"))

    def encode_prefix(self, prefix: str) -> str:
        directory, slash, name = prefix.rpartition("/")
        if name in _DOTS:  # a whole segment is "%2E" below, the start of one is "."
            name = ""
        return self.encode(directory) + slash + quote(name, safe="", errors="surrogatepass")

    def decode(self, inner: str) -> str | None:
        try:
            key = unquote(inner, errors="strict")
        except UnicodeDecodeError:
            return None
        return key if self.encode(key) == inner else None
