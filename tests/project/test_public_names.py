"""
No public name is lost: each has the path and the signature that it had before the package was rearranged.

``public_names.json`` was written by ``python tests/project/test_public_names.py`` in the last commit before that. To
take a name away, or to change a signature, edit that file by hand.
"""

from __future__ import annotations

import inspect
import json
import re
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import pytest

BEFORE = Path(__file__).with_name("public_names.json")
KNOWN: dict[str, Any] = (
    json.loads(BEFORE.read_text(encoding="utf-8")) if BEFORE.exists() else {"methods": {}, "paths": []}
)
PACKAGES = ("storage", "storage.sync", "storage.testing")

#: Private types in signatures, and their new names.
RENAMED_TYPES = {"Face": "SyncStore"}

#: Paths that worked but were never documented, and the public paths to use instead.
MOVED = {
    "storage.config.face.StoreFactory": "storage.sync.StoreFactory",
    "storage.copying.Progress": "storage.Progress",
    "storage.decorators.base.StoreDecorator": "storage.StoreDecorator",
    "storage.decorators.caching_cache.CacheStats": "storage.CacheStats",
    "storage.decorators.data_transform.Coder": "storage.Coder",
    "storage.decorators.data_transform.DataTransform": "storage.DataTransform",
    "storage.decorators.interceptor.Interceptor": "storage.Interceptor",
    "storage.decorators.key_transform.KeyTransform": "storage.KeyTransform",
    "storage.decorators.mirroring_verify.Difference": "storage.Difference",
    "storage.decorators.order.StackWarning": "storage.StackWarning",
    "storage.decorators.value_transform.ValueTransform": "storage.ValueTransform",
    "storage.store_registry.Registry": "storage.Registry",
    "storage.syncing.Change": "storage.Change",
    "storage.testing.counting.CountingStore": "storage.testing.CountingStore",
    "storage.testing.faulty.FaultyStore": "storage.testing.FaultyStore",
    "storage.testing.recording.RecordingStore": "storage.testing.RecordingStore",
    "storage.testing.slow.SlowStore": "storage.testing.SlowStore",
}

#: Paths of classes that only the package used, and that had no public name.
INTERNAL = {
    "storage.config.nested_kinds.Store",
    "storage.decorators.routing_table.UnprefixedStore",
    "storage.stores.files.FileStore",
    "storage.stores.zip_changes.Change",
}


def signature(value: object) -> str:
    """Return the signature of a public name as text that is the same on every version of Python."""
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return "value"
    if inspect.isclass(value) and not _has_own_constructor(value):
        return "class"
    taken = inspect.signature(value)
    parameters = [each.replace(annotation=_text(each.annotation)) for each in taken.parameters.values()]
    written = str(taken.replace(parameters=parameters, return_annotation=taken.empty))
    returned = "" if inspect.isclass(value) else f" -> {_text(taken.return_annotation)}"
    return re.sub(r"<[^=]* at 0x[0-9a-f]+>", "...", written.replace("'", "")) + returned


def _has_own_constructor(cls: type) -> bool:
    """Return whether the package defines the constructor of this class."""
    if getattr(cls, "_is_protocol", False):
        return False
    ours = [vars(each) for each in cls.__mro__ if each.__module__.partition(".")[0] == "storage"]
    return any(maker in each for each in ours for maker in ("__init__", "__new__"))


def _text(annotation: Any) -> Any:
    """Return an annotation as it is written; in a named tuple it is wrapped."""
    return getattr(annotation, "__forward_arg__", annotation)


def _find(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def public_names() -> dict[str, Any]:
    """Return the content of ``public_names.json``: names and signatures of each package, and paths of classes."""
    found: dict[str, Any] = {}
    for package in map(import_module, PACKAGES):
        found[package.__name__] = {name: signature(getattr(package, name)) for name in sorted(package.__all__)}
    paths = set()
    for info in walk_packages(import_module("storage").__path__, "storage."):
        if "._" not in info.name:
            module = import_module(info.name)
            for name in getattr(module, "__all__", ()):
                public = name in found["storage"] or name.endswith("Store")
                if public and inspect.isclass(getattr(module, name)):
                    paths.add(f"{info.name}.{name}")
    return {**found, "methods": methods(), "paths": sorted(paths)}


def methods() -> dict[str, list[str]]:
    """Return the public methods and properties that the package gives to each public class."""
    classes = {
        f"{package}.{name}": getattr(import_module(package), name)
        for package in PACKAGES
        for name in import_module(package).__all__
    }
    return {path: sorted(members(cls)) for path, cls in sorted(classes.items()) if inspect.isclass(cls)}


def members(cls: type) -> set[str]:
    """Return the public names in the bodies of a class of ours and of its bases."""
    bodies = [vars(each) for each in cls.__mro__ if each.__module__.partition(".")[0] == "storage"]
    return {name for body in bodies for name in body if not name.startswith("_")}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_takes_what_it_took(package: str) -> None:
    """Names may be added; none is removed, and no signature changes."""
    module = import_module(package)
    before: dict[str, str] = KNOWN[package]
    for old, new in RENAMED_TYPES.items():
        before = {name: re.sub(rf"\b{old}\b", new, taken) for name, taken in before.items()}

    assert [] == [name for name in before if name not in module.__all__]
    assert before == {name: signature(getattr(module, name)) for name in before}


def test_every_public_class_has_the_methods_that_it_had() -> None:
    """Methods and properties may be added; none is removed or renamed."""
    lost = {path: set(names) - members(_find(path)) for path, names in KNOWN["methods"].items()}

    assert {} == {path: names for path, names in lost.items() if names}


@pytest.mark.parametrize("path", sorted(set(KNOWN["paths"]) - INTERNAL))
def test_every_path_of_a_public_class_works(path: str) -> None:
    """The paths of `MOVED` by their public path, all others unchanged."""
    cls = _find(MOVED.get(path, path))

    assert inspect.isclass(cls)
    assert path.rpartition(".")[2] == cls.__name__


def test_paths_that_need_no_exception_are_none() -> None:
    """The exceptions are paths that existed and no longer work."""
    assert set() == {*MOVED, *INTERNAL} - set(KNOWN["paths"])
    assert set(MOVED) == {path for path in MOVED if not _works(path)}


def _works(path: str) -> bool:
    try:
        _find(path)
    except (ImportError, AttributeError):
        return False
    return True


if __name__ == "__main__":
    comment = "made by tests/project/test_public_names.py before the package was rearranged; it says more"
    BEFORE.write_text(json.dumps({"comment": comment, **public_names()}, indent=1) + "\n", encoding="utf-8")
