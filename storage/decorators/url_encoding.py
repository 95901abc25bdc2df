"""`UrlEncodingStore`: any key in the letters of a URL's path."""

from __future__ import annotations

import re
from urllib.parse import unquote

from storage.decorators.bases.key_transform import KeyTransform
from storage.types import In, Out

__all__ = ["UrlEncodingStore"]

#: What is encoded: all but the characters that RFC 3986 calls unreserved, and the names with a meaning in a path.
_ENCODED = re.compile(r"[^A-Za-z0-9._~/-]+|(?<![^/])\.\.?(?![^/])")


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
        return _ENCODED.sub(_escaped, key)

    def encode_prefix(self, prefix: str) -> str:
        directory, slash, name = prefix.rpartition("/")
        # a whole segment is "%2E" below, and one that only begins with a dot is "."
        return self.encode(directory + slash if name in (".", "..") else prefix)

    def decode(self, inner: str) -> str | None:
        try:
            key = unquote(inner, errors="strict")
        except UnicodeDecodeError:
            return None
        return key if self.encode(key) == inner else None


def _escaped(match: re.Match[str]) -> str:
    # a prefix may be any text, also such as no key is: it is the prefix of none below, too
    return "".join(f"%{byte:02X}" for byte in match[0].encode(errors="surrogatepass"))
