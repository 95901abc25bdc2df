"""The URLs of objects: `BaseUrl`, and `KeyPaths`, which maps keys to paths of URLs."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, unquote

from storage._core.keys import check_key, check_path
from storage.errors import ConfigError, InvalidKeyError

__all__ = ["BaseUrl", "KeyPaths"]

#: scheme://user:password@host:port/path, with each part as it is written.
_URL = re.compile(
    r"(https?)://(?:([^/?#@:]*)(?::([^/?#@]*))?@)?(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(:\d{1,5})?(/[^?#]*)?", re.I
)

#: The characters of a path that need no escape (RFC 3986, 3.3), and the escape character.
_PATH = "/-_.~%!$&'()*+,;=:@"

#: Bytes of a URL: servers should accept at least 8,000 (RFC 9110, 4.1).
MAX_URL_BYTES = 8000

#: Bytes of a name, and of a whole path below the server's root: a server that accepts PUT writes files.
MAX_NAME_BYTES, MAX_PATH_BYTES = 255, 3000


class BaseUrl(NamedTuple):
    """
    The URL below which the objects of a store are.

    Attributes:
        origin: scheme, host and port: ``"https://host:8080"``.
        path: quoted, without a slash at the end: ``"/data"``, or ``""``.
        username: the user in the URL, or None.
        password: the password in the URL, or None.
    """

    origin: str
    path: str
    username: str | None
    password: str | None

    def __repr__(self) -> str:
        return f"BaseUrl({self.url!r})"

    @property
    def url(self) -> str:
        """The URL without secrets."""
        return f"{self.origin}{self.path}"

    @classmethod
    def parse(cls, base_url: str) -> BaseUrl:
        """
        Return the parts of a base URL.

        Raises:
            ConfigError: it is not a URL of a web server; the message does not show it, as it may contain a secret.
        """
        parts = _URL.fullmatch(base_url)
        path = (parts[6] or "").rstrip("/") if parts else ""
        if parts is None or re.search(r"[\\\s\x00-\x1f\x7f]", path) or _climbs(path):
            raise ConfigError("base_url must be http:// or https://, a host and a path, without a query, '#' or '..'")
        user, password = (None if each is None else unquote(each) for each in (parts[2], parts[3]))
        origin = f"{parts[1].lower()}://{parts[4].lower()}{parts[5] or ''}"
        return cls(origin, quote(path, safe=_PATH), user or None, password)


def _climbs(path: str) -> bool:
    return any(unquote(segment) in (".", "..") for segment in path.split("/"))


class KeyPaths(NamedTuple):
    """
    Maps keys to paths of URLs, different keys to different paths.

    Attributes:
        path: the path of the base URL.
        writable: whether each key must be valid as a file on the server.
        listed: whether each key must appear in a listing that leaves out hidden files.
    """

    path: str
    writable: bool
    listed: bool

    def path_of(self, key: str, store: object) -> str:
        """
        Return the quoted path of *key*.

        Characters that would end the path or begin a host, query or fragment are escaped. Keys that no escape protects
        are refused: servers and proxies resolve ``..`` and join slashes, escaped or not.

        Raises:
            InvalidKeyError: a web server could not tell this key from another one, or would refuse it.
        """
        check_path(check_key(key, store), store)
        path = f"{self.path}/{quote(key, safe='/-_.~')}"
        if len(path) > MAX_URL_BYTES:
            raise InvalidKeyError(f"the URL of the key has more than {MAX_URL_BYTES} bytes", key=key, store=store)
        if self.writable and len(key) * 4 > MAX_NAME_BYTES:
            names = [len(name.encode()) for name in key.split("/")]
            if max(names) > MAX_NAME_BYTES or sum(names) + len(names) > MAX_PATH_BYTES:
                raise InvalidKeyError(
                    f"the key is too long for a file: a name can have {MAX_NAME_BYTES} bytes, a path {MAX_PATH_BYTES}",
                    key=key,
                    store=store,
                )
        if self.listed and (key.startswith(".") or "/." in key):
            raise InvalidKeyError("names that begin with '.' are missing in the server's listing", key=key, store=store)
        return path
