"""Listings of directories, as nginx returns them with ``autoindex_format json``."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from storage._core.keys import is_key
from storage.errors import StorageError

__all__ = ["parse_listing", "walk"]


def parse_listing(body: bytes, directory: str, store: object) -> list[str]:
    """
    Return the names in a directory in order, those of subdirectories with a slash at the end.

    Names that are not UTF-8 are left out, because they are not valid keys.

    Raises:
        StorageError: the body is no such listing.
    """
    try:
        entries = json.loads(body.decode("utf-8", "surrogateescape"))
        if not isinstance(entries, list):
            raise TypeError("a listing must be a list")
        names = [entry["name"] + ("/" if entry["type"] == "directory" else "") for entry in entries]
        return sorted(name for name in names if is_key(name) and "/" not in name[:-1])
    except (ValueError, TypeError, KeyError, RecursionError) as cause:
        raise StorageError(
            f"the server's response for the directory {directory!r} is not nginx's 'autoindex_format json'", store=store
        ) from cause


async def walk(names: Callable[[str], Awaitable[list[str]]], prefix: str, start_after: str) -> AsyncIterator[str]:
    """
    Yield the keys of a tree in order; only the names in the directories above the current one are kept in memory.

    Args:
        names: returns the names in a directory, as `parse_listing` does.
        prefix: of the keys to yield.
        start_after: a key after which the keys sort.
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
