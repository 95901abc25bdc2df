"""`ExtensionFilterStore`: allows only keys with certain extensions."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from storage.base import ObjectStore
from storage.decorators.bases.key_filter import KeyFilter
from storage.types import In, Out

__all__ = ["ExtensionFilterStore"]

_log = logging.getLogger("storage")


class ExtensionFilterStore(KeyFilter[In, Out]):
    """
    Every method refuses keys that do not end in one of *extensions* with `InvalidKeyError`. Listings skip such keys,
    and log each at level INFO to the logger ``storage``.

    A name must have something before its extension: ``"a/.tif"`` has no extension.

    Args:
        base: the store below.
        extensions: such as ``{".tif", ".roi.zip"}``, each with its dot.
        ignore_case: whether ``.TIF`` is accepted as ``.tif``.

    Raises:
        ValueError: *extensions* is empty, or one does not begin with a dot, is only a dot, or contains a slash.
    """

    def __init__(self, base: ObjectStore[In, Out], extensions: Iterable[str], *, ignore_case: bool = False) -> None:
        super().__init__(base)
        given = [extensions] if isinstance(extensions, str) else list(extensions)
        self.extensions: frozenset[str] = frozenset(map(str.lower, given) if ignore_case else given)
        self.ignore_case = ignore_case
        if not given or any(len(each) < 2 or each[0] != "." or "/" in each for each in given):
            raise ValueError(f"extensions must begin with a dot, such as {{'.tif', '.roi.zip'}}, not {extensions!r}")
        self._endings = tuple(sorted(self.extensions))

    def objection(self, key: str) -> str | None:
        name = key.rpartition("/")[2]
        if (name.lower() if self.ignore_case else name).endswith(self._endings, 1):
            return None
        return f"the key must end in {' or '.join(self._endings)}"

    def decode(self, inner: str) -> str | None:
        reason = self.objection(inner)
        if reason is not None:
            _log.info("skipped %r in %r: %s", inner, self.base, reason)
            return None
        return inner

    def __repr__(self) -> str:
        case = ", ignore_case=True" if self.ignore_case else ""
        return f"{type(self).__name__}({self.base!r}, {sorted(self.extensions)}{case})"
