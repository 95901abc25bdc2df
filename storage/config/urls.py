"""`open_store`: a store from a URL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import unquote

from storage._core.suggestions import did_you_mean
from storage.base import ObjectStore
from storage.config.interpolation import Expanded
from storage.config.make_store import make
from storage.config.parameters.constructor import Constructor
from storage.config.parameters.kind import MismatchError
from storage.config.registry import registry
from storage.errors import ConfigError

__all__ = ["StoreUrl", "open_store"]

#: The parts of a URL (RFC 3986, appendix B). `urllib.parse.urlsplit` would drop line ends and lower the host's letters.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(#.*)?", re.DOTALL)

#: User and password before an ``@``, the host, and a port after it.
_AUTHORITY = re.compile(
    r"(?:(?P<user>[^:@]*)(?::(?P<password>.*))?@)?(?P<host>\[[^\]]*\]|[^:@]*)(?::(?P<port>\d{1,5}))?", re.DOTALL
)


def open_store(url: str, **options: object) -> ObjectStore[Any, Any]:
    """
    Return the store that a URL names. It is not opened yet.

    ``async with open_store("sqlite:objects.sqlite") as store:`` opens it. The scheme is the short name of a class, the
    path is its first parameter, and the query has the others: ``sqlite:///data/objects.sqlite?busy_timeout=10``.
    Special characters are percent-encoded: ``%3F`` for a question mark in a path.

    Args:
        url: the URL. Errors show only its scheme and the names of its parameters.
        options: more arguments for the constructor, such as those that a URL cannot express.

    Raises:
        ConfigError: the scheme or a parameter is unknown, or a value has the wrong type.
    """
    parsed = StoreUrl(url, options)
    if parsed.scheme not in registry:
        raise ConfigError(f"unknown scheme {parsed.scheme!r}: {did_you_mean(parsed.scheme, registry.short_names())}")
    cls: Any = registry[parsed.scheme]
    store: ObjectStore[Any, Any] = cls._from_url(parsed) if hasattr(cls, "_from_url") else parsed.make_at_path(cls)
    return store


class StoreUrl:
    """
    The parts of a URL that names a store. Its ``repr`` shows none of them but the scheme.

    A class whose URLs have more than a path defines a class method ``_from_url(cls, url: StoreUrl)`` that returns the
    store: ``return url.make(cls, host=url.host, port=url.port)``.

    Args:
        url: the URL.
        options: arguments for the constructor.

    Attributes:
        scheme: in lower case.
        user: before the host, decoded; ``""`` if there is none.
        password: likewise.
        host: as written, without the port.
        port: None if there is none.
        path: decoded, with its leading slash if it has one.
        address: the URL as written, without the query.
        query: the parameters, decoded, each with all its values.
    """

    def __init__(self, url: str, options: Mapping[str, object] | None = None) -> None:
        parts = _URL.fullmatch(url)
        if parts is None:
            raise ConfigError("a store's URL must begin with a scheme: 'file:data', 'sqlite:///data/objects.sqlite'")
        self.scheme: str = parts[1].lower()
        self._where = f"{self.scheme} URL"
        authority = _AUTHORITY.fullmatch(parts[2] or "")
        if authority is None:
            self._refuse("the part between '//' and the path must be user:password@host:port")
        if parts[5] is not None:
            self._refuse("'#' is not allowed: write it as %23 in a path or a value")
        self.user: str = self._decoded(authority["user"] or "")
        self._written_password: str = authority["password"] or ""
        self.password: str = self._decoded(self._written_password)
        self.host: str = authority["host"]
        self.port: int | None = int(authority["port"]) if authority["port"] else None
        self.path: str = self._decoded(parts[3])
        self.address: str = url.partition("?")[0]
        self.query: dict[str, list[str]] = {}
        for pair in parts[4].split("&") if parts[4] else ():
            name, equals, value = pair.partition("=")
            if not equals:
                self._refuse("the query must have the form name=value&name=value")
            self.query.setdefault(self._decoded(name), []).append(self._decoded(value.replace("+", " ")))
        self._options = dict(options or {})
        self.objects: dict[str, object] = {}

    def make(self, cls: type[ObjectStore[Any, Any]], **arguments: object) -> ObjectStore[Any, Any]:
        """
        Return a store of a class from the query, the caller's options and *arguments*; text is converted.

        Args:
            cls: the class.
            arguments: for its constructor, taken from other parts of the URL.

        Raises:
            ConfigError: the values do not fit the constructor.
        """
        constructor = Constructor(cls)
        for name, each in constructor.stores.items():
            if each.required and name not in self._options and name not in arguments:
                self._refuse(f"{cls.__name__} is built on another store, which a URL cannot name: use StoreFactory")
        values = {name: self._text(value) if isinstance(value, str) else value for name, value in arguments.items()}
        for name, texts in self.query.items():
            found = [self._text(text) for text in texts]
            many = name in constructor.parameters and constructor.parameters[name].kind.repeatable
            if name in values or (len(found) > 1 and not many):
                self._refuse(f"the parameter {name!r} is given twice")
            values[name] = found if many else found[0]
        secrets = [self._text(part) for part in {self.password, self._written_password, self.address} if part]
        return make(cls, values, where=self._where, building=self, given=self._options, secrets=secrets)

    def make_at_path(self, cls: type[ObjectStore[Any, Any]]) -> ObjectStore[Any, Any]:
        """
        Return a store of a class whose first parameter is the path: the default for classes without ``_from_url``.

        Args:
            cls: the class.

        Raises:
            ConfigError: the URL has a host, or the class has no parameter for a path.
        """
        if self.host.lower() not in ("", "localhost") or self.user or self.port is not None:
            self._refuse(f"it must have no host: write {self.scheme}:relative/path or {self.scheme}:///absolute/path")
        if not self.path:
            return self.make(cls)
        first = next((name for name, each in Constructor(cls).parameters.items() if not each.kind.holds), None)
        if first is None:
            self._refuse(f"{cls.__name__} has no parameter for a path: remove the path")
        return self.make(cls, **{first: self.path})

    def store(self, value: object) -> NoReturn:
        """Refuse to look up another store."""
        raise MismatchError("a URL cannot name another store: use StoreFactory")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.scheme}:...)"

    def _decoded(self, text: str) -> str:
        try:
            return unquote(text, errors="strict")
        except UnicodeDecodeError:
            self._refuse("the percent-encoded bytes are not UTF-8")

    def _text(self, text: str) -> Expanded:
        return Expanded(text, "a value in the URL")

    def _refuse(self, message: str) -> NoReturn:
        raise ConfigError(f"{self._where}: {message}")
