"""The registry: stores that installed packages add by an entry point."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.process


def install(target: Path, name: str, entries: dict[str, str], modules: dict[str, str]) -> None:
    """Make a wheel of a package and have pip install it into a directory."""
    info = f"{name}-1.0.dist-info"
    wheel = target.parent / f"{name}-1.0-py3-none-any.whl"
    points = "".join(f"{point} = {value}\n" for point, value in entries.items())
    files = {
        **modules,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[storage.stores]\n{points}",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(path, text)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--disable-pip-version-check",
        "--upgrade",
    ]
    subprocess.run([*pip, "--target", str(target), str(wheel)], check=True, timeout=60)


def run(target: Path, code: str) -> str:
    """Run a program that finds the packages installed in a directory, and return what it prints."""
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(target)!r})\n{code}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=target)
    assert 0 == result.returncode, result.stderr
    return result.stdout


CRATE = """
from storage import DictStore

class CrateStore(DictStore):
    def __init__(self, size: int = 1) -> None:
        super().__init__()
        self.size = size
"""


def test_installed_package_adds_its_stores(tmp_path: Path) -> None:
    """By the entry point's name and by the class name; it is imported when one of them is looked up, not before."""
    target = tmp_path / "site"
    install(target, "crates", {"crate": "crates:CrateStore"}, {"crates.py": CRATE})

    printed = run(
        target,
        "from storage import ConfigError, StoreFactory, open_store, registry\n"
        "print('CrateStore' in registry, 'crate' in registry, 'CrateStore' in [*registry], 'crates' in sys.modules)\n"
        "print(open_store('crate:?size=3').size, registry['AsyncCrateStore'] is registry['crate'])\n"
        "print(StoreFactory({'stores': {'a': {'type': 'crate', 'config': {'size': 4}}}}).build('a').size)\n"
        "try: registry['Crate']\n"
        "except ConfigError as error: print(error)",
    ).splitlines()

    assert ["True True True False", "3 True", "4"] == printed[:3]
    assert "did you mean 'CrateStore'?" in printed[3]


def test_broken_entry_point_names_its_package(tmp_path: Path) -> None:
    """The error names the package; other stores still work."""
    target = tmp_path / "site"
    entries = {"absent": "crates:Nothing", "failing": "failing:CrateStore", "number": "crates:NUMBER"}
    modules = {"crates.py": "NUMBER = 1", "failing.py": "raise RuntimeError('no licence')"}
    install(target, "crates", entries, modules)

    printed = run(
        target,
        "from storage import ConfigError, registry\n"
        "for name in ['absent', 'failing', 'number']:\n"
        "    try: registry[name]\n"
        "    except ConfigError as error: print(error)\n"
        "print(registry['GzipStore'].__name__, 'failing' in registry)",
    ).splitlines()

    assert all("of the package crates" in line for line in printed[:3]), printed
    assert "AttributeError" in printed[0]
    assert "RuntimeError: no licence" in printed[1]
    assert "is not a subclass of ObjectStore" in printed[2]
    assert "GzipStore True" == printed[3]


#: Looks a name up, and one of ours.
LOOK_UP = """
from storage import ConfigError, registry
try: print(registry[{0!r}])
except ConfigError as error: print(error)
print(registry['sqlite'].__name__)
"""


def test_entry_points_of_one_name_clash(tmp_path: Path) -> None:
    """The error names both packages, and the stores of this package are still found."""
    target = tmp_path / "site"
    install(target, "crates", {"crate": "crates:CrateStore"}, {"crates.py": CRATE})
    install(target, "boxes", {"crate": "boxes:CrateStore"}, {"boxes.py": CRATE})

    clash, ours = run(target, LOOK_UP.format("crate")).splitlines()

    assert "'crate'" in clash
    assert "crates:CrateStore of the package crates" in clash
    assert "boxes:CrateStore of the package boxes" in clash
    assert "SqliteStore" == ours


def test_entry_point_cannot_take_a_name_of_ours(tmp_path: Path) -> None:
    """Otherwise the meaning of a configuration would depend on the installed packages."""
    target = tmp_path / "site"
    install(target, "crates", {"sqlite": "crates:CrateStore"}, {"crates.py": CRATE})

    clash, ours = run(target, LOOK_UP.format("crate")).splitlines()

    assert "'sqlite' of crates:CrateStore of the package crates has the name of storage.SqliteStore: rename it" in clash
    assert "SqliteStore" == ours


def test_entry_point_is_not_hidden_by_a_class_of_its_name(tmp_path: Path) -> None:
    """The program's own `crate` and an installed one are ambiguous; one class with both names is not."""
    target = tmp_path / "site"
    install(target, "crates", {"crate": "crates:CrateStore"}, {"crates.py": CRATE})
    own = "from storage import DictStore\nclass MyStore(DictStore, name='crate'): pass\n"

    clash, _ = run(target, own + LOOK_UP.format("crate")).splitlines()
    assert "ambiguous: __main__.MyStore and crates.CrateStore" in clash

    named = CRATE.replace("(DictStore)", "(DictStore, name='crate')")
    install(target, "crates", {"crate": "crates:CrateStore"}, {"crates.py": named})

    assert "<class 'crates.CrateStore'>" == run(target, LOOK_UP.format("crate")).splitlines()[0]
    assert "'crate' is taken by __main__.MyStore" in run(target, own + LOOK_UP.format("crate"))
