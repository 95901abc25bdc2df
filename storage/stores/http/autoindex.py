"""Listings of directories, as nginx gives them with ``autoindex_format json``."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from storage._core.keys import is_key
from storage.errors import StorageError

__all__ = ["parse_listing", "walk"]


def parse_listing(body: bytes, directory: str, store: object) -> list[str]:
    """
    Return the names in a directory in order, those of directories with a slash behind.

    Names that are not UTF-8 are left out: no key stands for them.

    Raises:
        StorageError: that is no such listing.
    """
    try:
        entries = json.loads(body.decode("utf-8", "surrogateescape"))
        if not isinstance(entries, list):
            raise TypeError("a listing is a list")
        names = [entry["name"] + ("/" if entry["type"] == "directory" else "") for entry in entries]
        return sorted(name for name in names if is_key(name) and "/" not in name[:-1])
    except (ValueError, TypeError, KeyError) as cause:
        raise StorageError(
            f"the server's response for the directory {directory!r} is not nginx's 'autoindex_format json'", store=store
        ) from cause


async def walk(names: Callable[[str], Awaitable[list[str]]], prefix: str, start_after: str) -> AsyncIterator[str]:
    """
    Yield the keys of a tree in order; of the directories on the way to where it is, the names are kept.

    Args:
        names: gives those of a directory, as `parse_listing` does.
        prefix: of the keys that are wanted.
        start_after: what they sort behind.
    """
    top = prefix[: prefix.rfind("/") + 1]
    levels: list[tuple[str, Iterator[str]]] = [(top, iter(await names(top)))]
    while levels:
        directory, rest = levels[-1]
        name = next(rest, None)
        if name is None:
            levels.pop()
            continue
        path = directory + name
        if not name.endswith("/"):
            if path.startswith(prefix) and path > start_after:
                yield path
        elif (path.startswith(prefix) or prefix.startswith(path)) and (
            path > start_after or start_after.startswith(path)
        ):
            levels.append((path, iter(await names(path))))
