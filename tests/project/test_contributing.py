"""The pages for contributors are true: the files and commands that they name are there, and their lists are held."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from paths import ROOT
from stacks import STACKS
from sync_view import View

import storage
from storage import ObjectStore, errors
from storage._names import STORES

PAGES = [ROOT / "CONTRIBUTING.md", ROOT / "docs" / "architecture.md"]

_CODE = re.compile(r"`([^`\n]+)`")
_SHELL = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
_TARGET = re.compile(r"^([a-z][a-z ]*):(?!=)", re.MULTILINE)

#: The first parts of the paths in the project.
TOP = {path.name for path in ROOT.iterdir()}


def paths(page: Path) -> set[str]:
    """Return the files and folders of the project that a page names."""
    names = {each for each in _CODE.findall(page.read_text()) if re.fullmatch(r"[\w./-]+", each)}
    return {each for each in names if each.partition("/")[0] in TOP and ("/" in each or "." in each)}


def commands(page: Path) -> set[str]:
    """Return the targets that a page tells readers to make."""
    text = page.read_text()
    return set(re.findall(r"\bmake ([a-z]+)", "\n".join([*_SHELL.findall(text), *_CODE.findall(text)])))


def targets() -> set[str]:
    """Return the targets of the Makefile."""
    return {name for names in _TARGET.findall((ROOT / "Makefile").read_text()) for name in names.split()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_in_a_page_exist(page: Path) -> None:
    """Who follows a check list finds each file of it."""
    named = paths(page)

    assert named
    assert set() == {name for name in named if not (ROOT / name).exists()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_a_page_are_targets_of_the_makefile(page: Path) -> None:
    """And each command."""
    named = commands(page)

    assert named
    assert set() == named - targets()


#: What is beside the stores and the decorators and is none, and the one store that is not named after its module.
BESIDE = {"stores": {"files", "network"}, "decorators": {"bases"}}
RENAMED = {"BucketStore": "s3"}


@pytest.mark.parametrize("package", ["stores", "decorators"])
def test_class_of_a_store_is_where_its_name_says(package: str) -> None:
    """`GzipStore` is in ``gzip``, and every module and package has such a class in the table of names."""
    modules = {path.stem for path in (ROOT / "storage" / package).iterdir() if not path.name.startswith("_")}
    homes = {name: home.split(".")[2] for name, home in STORES.items() if home.startswith(f"storage.{package}.")}
    snake = {name: re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.removesuffix("Store")).lower() for name in homes}

    assert {**snake, **{name: home for name, home in RENAMED.items() if name in homes}} == homes
    assert modules - BESIDE[package] == set(homes.values())


def test_every_error_is_public() -> None:
    """Whoever catches it imports it from `storage`."""
    assert set() == set(errors.__all__) - set(storage.__all__)


def test_suite_calls_every_method_without_await() -> None:
    """A method that the view lacks would run as the contract's default, and its synchronous one would never run."""
    methods = {name for name in vars(ObjectStore) if not name.startswith("_")}

    assert set() == {name for name in methods if getattr(View, name) is getattr(ObjectStore, name)}


def test_suite_runs_on_every_store() -> None:
    """Each store is in the table of stacks.py, or has the suite in the tests of its own folder."""
    kinds = [getattr(storage, name) for name in storage.__all__]
    stores = {kind for kind in kinds if isinstance(kind, type) and issubclass(kind, ObjectStore)}
    stores = {kind for kind in stores if kind.__module__.startswith("storage.stores.")}
    chosen = {type(stack.make(Path("nowhere"))) for stack in STACKS.values()}
    suites = "\n".join(path.read_text() for path in (ROOT / "tests" / "stores").rglob("test_*conformance.py"))

    assert chosen & stores
    assert set() == {kind.__name__ for kind in stores - chosen if kind.__name__ not in suites}
