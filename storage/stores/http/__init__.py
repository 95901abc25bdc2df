"""`HttpStore`, an object store on a web server."""

from __future__ import annotations

from storage.stores.http.store import HttpStore as HttpStore

__all__ = ["HttpStore"]
