"""Every public name is where it is said to be, and is documented."""

from __future__ import annotations

import inspect
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from paths import ROOT

import storage
from storage import testing
from storage._names import PUBLIC, TESTING
from storage._tools import names

PACKAGE = Path(storage.__file__).parent

#: All modules of the package but those that only its makers run.
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages([str(PACKAGE)], "storage.")
    if not module.name.startswith("storage._tools")
)


@pytest.mark.parametrize(("package", "homes"), [(storage, PUBLIC), (testing, TESTING)], ids=["storage", "testing"])
def test_every_name_of_the_table_is_public_in_its_module(package: ModuleType, homes: dict[str, str]) -> None:
    """The table is sorted, all of it is exported, and each name is in its module's ``__all__``."""
    assert sorted(homes) == list(homes) == package.__all__
    assert [] == [name for name, home in homes.items() if name not in import_module(home).__all__]
    assert set(homes) <= set(dir(package))


def test_what_type_checkers_see_follows_from_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`make generated` writes the imports of both packages; a stale one is found, and the message says what to do."""
    assert 0 == names.main(["--check"])
    stale = tmp_path / "__init__.py"
    stale.write_text(names.PACKAGE.read_text().replace("ZipStore as ZipStore", "Gone as Gone"))
    monkeypatch.setattr(names, "PACKAGE", stale)

    assert 1 == names.main(["--check"])
    assert "make generated" in capsys.readouterr().err
    assert 0 == names.main([])
    assert 0 == names.main(["--check"])


@pytest.mark.parametrize("name", ["nothing", "AsyncNothingStore", "AsyncEvent", "AsyncStore"])
def test_unknown_name_is_an_attribute_error(name: str) -> None:
    """A package that imports lazily still refuses unknown names."""
    with pytest.raises(AttributeError, match=f"'storage' has no attribute '{name}'"):
        getattr(storage, name)


def test_every_store_has_its_second_name() -> None:
    """`AsyncBucketStore` is `BucketStore`, here as in a configuration, and type checkers know them all."""
    stores = [name for name in storage.__all__ if name.endswith("Store")]
    known = re.findall(r"^    Async(\w+) = \1$", inspect.getsource(storage), re.MULTILINE)

    assert stores == known
    assert [] == [name for name in stores if getattr(storage, f"Async{name}") is not getattr(storage, name)]


def _is_of(value: object, module: str) -> bool:
    """Return whether *value* is a class or a function that the module defines."""
    return (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__ == module


@pytest.mark.parametrize("name", MODULES)
def test_all_of_a_module_are_its_public_names(name: str) -> None:
    """The names that a module defines without an underscore are those of its __all__."""
    module = import_module(name)
    if not hasattr(module, "__all__"):
        pytest.skip("it defines nothing")

    defined = {key for key, value in vars(module).items() if not key.startswith("_") and _is_of(value, name)}
    assert set() == defined - set(module.__all__)
    assert [] == [key for key in module.__all__ if not hasattr(module, key)]


def _documented() -> Iterator[tuple[str, object]]:
    """
    Yield all public classes, functions, methods and properties of all modules, with a name for each.

    Properties among the attributes in their class's docstring are left out: they have their sentence there.
    """
    for module in map(import_module, MODULES):
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if not _is_of(value, module.__name__):
                continue
            yield f"{module.__name__}.{name}", value
            if inspect.isclass(value):
                for attribute, member in vars(value).items():
                    listed = isinstance(member, property) and f" {attribute}:" in (value.__doc__ or "")
                    wanted = inspect.isroutine(member) or isinstance(member, property)
                    if wanted and not listed and not attribute.startswith("_"):
                        yield f"{module.__name__}.{name}.{attribute}", getattr(value, attribute)


def test_everything_public_has_a_docstring() -> None:
    """A method of the contract may inherit the contract's docstring."""
    undocumented = [name for name, value in _documented() if not (inspect.getdoc(value) or "").strip()]

    assert [] == undocumented


def test_every_module_says_what_it_is() -> None:
    """Every file begins with what it is for."""
    assert [] == [name for name in MODULES if not (import_module(name).__doc__ or "").strip()]


def test_every_public_name_is_in_the_pages() -> None:
    """Users find each name in docs/."""
    pages = "\n".join(page.read_text(encoding="utf-8") for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])

    assert [] == [name for name in [*storage.__all__, *testing.__all__] if not re.search(rf"\b{name}\b", pages)]


def test_no_public_name_is_a_module_too() -> None:
    """An import of the module would replace the name."""
    assert set() == {f"storage.{name}" for name in storage.__all__} & set(MODULES)


def _imported_by(code: str) -> set[str]:
    """Return the modules that a fresh interpreter has imported after *code*."""
    script = f"{code}\nimport sys; print(*sys.modules)"
    return set(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    )


@pytest.mark.process
def test_import_pulls_in_nothing() -> None:
    """`import storage` imports no back end, no pytest, not even asyncio."""
    costly = {"asyncio", "anyio", "aiosqlite", "sqlite3", "zipfile", "gzip", "pytest", "storage.base", "storage.sync"}

    assert set() == costly & _imported_by("import storage")


@pytest.mark.process
@pytest.mark.parametrize("code", ["storage.DictStore()", "storage.GzipStore", "import storage.sync", "storage.testing"])
def test_using_a_store_pulls_in_no_back_end_of_another(code: str) -> None:
    """A name imports only what it needs."""
    prelude = "import storage, storage.testing"

    assert set() == {"aiosqlite", "sqlite3", "zipfile", "pytest"} & _imported_by(f"{prelude}\n{code}")


#: What only event loops, threads and hashes need, and what takes longest to import of what the package uses.
LARGE = {"anyio", "asyncio", "concurrent.futures", "ctypes", "hashlib", "importlib.metadata", "json", "logging", "ssl"}


@pytest.mark.process
@pytest.mark.parametrize(
    "code",
    [
        "from storage import DictStore, PrefixStore; PrefixStore(DictStore(), 'a/')",
        "import storage.sync; storage.sync.DictStore().put('k', b'v')",
        "from storage.sync import DictStore, GzipStore; GzipStore(DictStore()).get_many(['k'])",
    ],
)
def test_stores_in_memory_pull_in_nothing_large(code: str) -> None:
    """A synchronous program with stores that never wait needs no event loop."""
    assert set() == LARGE & _imported_by(code)
