"""`load`: reads the file of a configuration: JSON if its name ends in ``.json``, else YAML."""

from __future__ import annotations

import json
import os
from typing import Any

from storage.errors import ConfigError

__all__ = ["load"]

#: The most bytes of a file. People write a hundredth of it; PyYAML would take seconds for more.
MAX_SIZE = 256 << 10


def load(path: str | os.PathLike[str]) -> object:
    """
    Return the document in a file. An error shows nothing of the file but keys and tags.

    Raises:
        ConfigError: the file cannot be read, is not valid, or gives a key twice.
        ImportError: the file is YAML and PyYAML is not installed.
    """
    name = os.fspath(path)
    try:
        with open(os.path.expanduser(name), "rb") as file:
            content = file.read(MAX_SIZE + 1)
        if len(content) > MAX_SIZE:
            raise ValueError(f"it has more than {MAX_SIZE} bytes, too many for a configuration")
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ValueError("it is not UTF-8 text") from None
        return _from_json(text) if name.endswith(".json") else _from_yaml(text)
    except OSError as cause:
        raise ConfigError(f"{name}: {cause.strerror or cause}") from cause
    except RecursionError:
        raise ConfigError(f"{name}: it is nested too deeply") from None
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from None


def _from_yaml(text: str) -> object:
    try:
        from storage.config.yaml_loader import from_yaml
    except ImportError as cause:
        raise ImportError("a YAML file needs PyYAML: run pip install 'stackstore[yaml]', or use a JSON file") from cause
    return from_yaml(text)


def _from_json(text: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not valid JSON: {error.msg}, line {error.lineno}") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs of an object as a dict; a key that is given twice is an error."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the key {name!r} is given twice")
        found[name] = value
    return found
