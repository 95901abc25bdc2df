"""`did_you_mean`: for errors about an unknown name, the nearest known name and all known names."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["did_you_mean"]

#: The most names that are listed; the rest is counted.
SHOWN = 60


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Return the end of an error about the unknown *name*: ``did you mean 'level'? Available: ...``."""
    import difflib  # imported here because only errors need it

    names = sorted(set(valid))
    if not names:
        return "available: none"
    plain: dict[str, str] = {}
    for each in names:
        plain.setdefault(_plain(each), each)
    near = difflib.get_close_matches(_plain(name), plain, 1)
    rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    listed = ", ".join(names[:SHOWN]) + rest
    return f"did you mean {plain[near[0]]!r}? Available: {listed}" if near else f"available: {listed}"


def _plain(name: str) -> str:
    """Return a name without the parts that people omit or write differently: ``gzip`` for ``GzipStore``."""
    plain = name.lower().replace("-", "").replace("_", "")
    return plain.removeprefix("async").removesuffix("store") or plain
