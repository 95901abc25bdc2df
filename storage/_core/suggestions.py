"""What to say of a name that is wrong: the nearest right one, and all that there are."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["did_you_mean"]

#: Names that are listed; where there are more, the rest is counted.
SHOWN = 60


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Return the end of a message about *name*, which is none of the *valid* names: ``did you mean 'level'? ...``."""
    import difflib  # of no use to a program without mistakes

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
    """Return a name without what people leave out or write differently: ``gzip`` is near to ``GzipStore``."""
    plain = name.lower().replace("-", "").replace("_", "")
    return plain.removeprefix("async").removesuffix("store") or plain
