"""`proxy_for`: the proxy that the environment names."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from storage.errors import ConfigError
from storage.stores.s3.transport.connection import Address
from storage.stores.s3.transport.pool import Proxy

__all__ = ["proxy_for"]


def proxy_for(scheme: str, host: str, port: int) -> Proxy | None:
    """
    Return the proxy for a server, which ``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY`` name; None for none.

    ``NO_PROXY`` may name a host, a domain, or either with a port.

    Raises:
        ConfigError: it is no proxy that can be used.
    """
    named = getproxies().get(scheme)
    if not named or proxy_bypass(host) or proxy_bypass(f"{host}:{port}"):
        return None
    variable = f"{scheme.upper()}_PROXY"
    try:
        parts = urlsplit(named if "://" in named else f"http://{named}")
        host_name, port = parts.hostname, parts.port or 80
    except ValueError as cause:
        raise ConfigError(f"{variable} is no URL: give http://host:port") from cause
    if parts.scheme != "http" or not host_name:
        raise ConfigError(f"{variable} names no proxy that is reached by HTTP: give http://host:port")
    if parts.username is None:
        return Proxy(Address(host_name, port))
    said = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return Proxy(Address(host_name, port), "Basic " + b64encode(said.encode()).decode())
