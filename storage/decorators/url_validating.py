"""`UrlValidatingStore`: allows only keys that are URLs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from storage.base import ObjectStore
from storage.decorators.bases.key_filter import KeyFilter
from storage.types import In, Out

__all__ = ["UrlValidatingStore"]

#: Characters that no URL contains: white space and control characters. `urlsplit` would remove some of them silently.
_BLANK = re.compile(r"[\s\x00-\x20\x7f-\x9f]")

#: The form of a scheme (RFC 3986).
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")

#: A host: a name, also an international or an escaped one, or an address without brackets, which `urlsplit` removes.
_HOST = re.compile(r"[\w.~%:-]+")


class UrlValidatingStore(KeyFilter[In, Out]):
    """
    Keys are absolute URLs, with a scheme and a host: ``"https://example.org/a?b=c"``. Every method refuses others with
    `InvalidKeyError`; listings skip them.

    URLs are not normalised: two spellings of one address are two keys.

    Args:
        base: the store below. It must accept keys with ``//``, which directories do not.
        schemes: the schemes that are accepted, in lower case; in keys the case does not matter.

    Raises:
        ValueError: *schemes* is empty, or one of them is not a scheme.
    """

    def __init__(self, base: ObjectStore[In, Out], *, schemes: Iterable[str] = ("http", "https")) -> None:
        super().__init__(base)
        self.schemes: frozenset[str] = frozenset([schemes] if isinstance(schemes, str) else schemes)
        if not self.schemes or not all(map(_SCHEME.fullmatch, self.schemes)):
            raise ValueError(
                f"schemes must be lower-case names, one or more, such as {{'http', 'https'}}, not {schemes!r}"
            )

    def objection(self, key: str) -> str | None:
        if self._is_url(key):
            return None
        return f"the key must be an absolute URL without blanks, with the scheme {' or '.join(sorted(self.schemes))}"

    def _is_url(self, key: str) -> bool:
        if _BLANK.search(key):
            return False
        try:
            url = urlsplit(key)
            _ = url.port
        except ValueError:  # brackets without an address, or a port that is not a port number
            return False
        return url.scheme in self.schemes and _HOST.fullmatch(url.hostname or "") is not None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base!r}, schemes={sorted(self.schemes)})"
