"""The text of configurations: variables in it, and the files it is in."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import ConfigError, StoreFactory
from storage.config.files import MAX_SIZE, load
from storage.config.interpolation import Expanded, InterpolationError, expand

VARIABLES = {"HOME": "/home/us", "EMPTY": "", "N": "7", "TRICKY": "${N}"}

# -- variables -------------------------------------------------------------------------------------------------------

EXPANDED = {
    "no reference": "no reference",
    "${N}": "7",
    "${HOME}/data": "/home/us/data",
    "${N}${N}-${HOME}": "77-/home/us",
    "${MISSING:-else}": "else",
    "${N:-else}": "7",
    "${MISSING:-}": "",
    "${EMPTY}": "",
    "${EMPTY:-else}": "",
    "${MISSING:-${HOME}/x}": "/home/us/x",
    "${MISSING:-${ALSO:-${N}}}": "7",
    "${N:-${MISSING}}": "7",
    "${MISSING:-a:-b}": "a:-b",
    "${MISSING:-{a}": "{a",
    "${MISSING:-{a}}": "{a}",
    "${TRICKY}": "${N}",
    "$${N}": "${N}",
    "$${N} is ${N}": "${N} is 7",
    "${MISSING:-$${N}": "${N",
    "$N $ $$ {N} } cost: 5$": "$N $ $$ {N} } cost: 5$",
    "$$${N}": "$${N}",
    "ä${N}\n": "ä7\n",
}


@pytest.mark.parametrize(("text", "expected"), EXPANDED.items())
def test_references_are_replaced(text: str, expected: str) -> None:
    """References are replaced, also several in one text and in defaults; other dollars stay."""
    assert expected == expand(text, VARIABLES)


WRONG = {
    "${MISSING}": "the variable MISSING is not set",
    "${N} ${MISSING}": "the variable MISSING is not set",
    "${MISSING:-${ALSO}}": "the variable ALSO is not set",
    "${": "'${' needs the name of a variable after it",
    "${}": "'${' needs the name of a variable after it",
    "${1A}": "'${' needs the name of a variable after it",
    "${N": "'${N' needs '}', or ':-' and a default, after it",
    "${N!}": "'${N' needs '}', or ':-' and a default, after it",
    "${N-x}": "'${N' needs '}', or ':-' and a default, after it",
    "${N:x}": "'${N' needs '}', or ':-' and a default, after it",
    "${MISSING:-x": "'${' has no closing '}'",
    "${N:-${}}": "'${' needs the name of a variable after it",
    "${A:-" * 1000: "deep",
    "${A:-" * 50 + "}" * 50: "deep",
}


@pytest.mark.parametrize(("text", "message"), WRONG.items())
def test_what_cannot_be_replaced_is_an_error(text: str, message: str) -> None:
    """The error names the variable or the correct form."""
    with pytest.raises(InterpolationError) as caught:
        expand(text, VARIABLES)

    assert message in str(caught.value)


def test_text_from_a_variable_knows_where_it_is_from() -> None:
    """An error names the variable and never shows its value."""
    found = expand("postgres://${N}:${HOME}@host", VARIABLES)

    assert isinstance(found, Expanded)
    assert "the value of ${N} and ${HOME}" == found.source
    assert not isinstance(expand("$${N}", VARIABLES), Expanded)


class Reference(NamedTuple):
    """A reference, and the parts of its default."""

    name: str
    default: list[str | Reference] | None


LITERALS = st.text(st.characters(exclude_characters="$}", exclude_categories=["Cs"]), min_size=1, max_size=8)
NAMES = st.sampled_from(["A", "B", "EMPTY", "UNSET", "ALSO_UNSET"])
PARTS = st.recursive(
    st.one_of(LITERALS, st.just("${"), st.builds(Reference, NAMES, st.none())),
    lambda parts: st.one_of(LITERALS, st.builds(Reference, NAMES, st.none() | st.lists(parts, max_size=3))),
    max_leaves=20,
)


def written(parts: list[str | Reference]) -> str:
    """Return parts as a user writes them."""
    texts = []
    for part in parts:
        if isinstance(part, str):
            texts.append("$${" if part == "${" else part)
        else:
            texts.append(f"${{{part.name}{'' if part.default is None else ':-' + written(part.default)}}}")
    return "".join(texts)


def meant(parts: list[str | Reference], variables: Mapping[str, str]) -> str:
    """Return the value of parts; KeyError if a variable is missing."""
    texts = []
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
        elif part.default is None:
            texts.append(variables[part.name])
        else:
            texts.append(variables[part.name] if part.name in variables else meant(part.default, variables))
    return "".join(texts)


@given(st.lists(PARTS, max_size=5))
def test_references_follow_the_model(parts: list[str | Reference]) -> None:
    """A text written from parts expands to the value of the parts."""
    variables = {"A": "one", "B": "${A} } $", "EMPTY": ""}
    try:
        expected = meant(parts, variables)
    except KeyError as missing:
        with pytest.raises(InterpolationError, match=f"{missing.args[0]} is not set"):
            expand(written(parts), variables)
    else:
        assert expected == expand(written(parts), variables)


@given(st.text("${}:-AB1 \n", max_size=40))
def test_any_text_is_replaced_or_an_error(text: str) -> None:
    """Any text is expanded or an InterpolationError, and text without a reference stays unchanged."""
    try:
        found = expand(text, {"A": "1"})
    except InterpolationError:
        return
    if "${" not in text:
        assert text == found


# -- files -----------------------------------------------------------------------------------------------------------


def saved(path: Path, content: str | bytes) -> Path:
    """Write a file and return its path."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_json_and_yaml_say_the_same(tmp_path: Path) -> None:
    """JSON may have tabs, and JSON in a YAML file works too."""
    document = {"stores": {"ä": {"type": "memory", "config": None}}, "main": "ä"}

    for name in ("a.yaml", "a.yml", "a.json", "a.conf"):
        text = json.dumps(document, ensure_ascii=False)
        assert document == load(saved(tmp_path / name, text))
    assert document == load(saved(tmp_path / "b.json", json.dumps(document, indent="\t")))
    assert document == load(saved(tmp_path / "c.yaml", "\ufeffstores: {ä: {type: memory, config: ~}}\nmain: ä\n"))


def test_path_may_begin_in_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``~`` in the path is the home directory."""
    monkeypatch.setenv("HOME", str(tmp_path))
    saved(tmp_path / "stores.yaml", "stores: {}")

    assert {"stores": {}} == load("~/stores.yaml")


def bomb(levels: int, opening: str = "[", closing: str = "]", text: str = "lol") -> str:
    """Return a few lines of YAML that stand for nine to the power of *levels* texts."""
    one = f"x-0: &a0 {opening}{text}{closing}"
    more = [f"x-{level}: &a{level} {opening}{', '.join([f'*a{level - 1}'] * 9)}{closing}" for level in range(1, levels)]
    return "\n".join([one, *more, "stores: {}"])


BAD = {
    "not text": (b"\xff\xfe\x00", "not UTF-8 text"),
    "no yaml": ("stores: [", "it is not valid YAML: "),
    "a tab": ("stores:\n\ta: b", "it is not valid YAML: .*line 2"),
    "a control character": ("stores: \x07", "characters that YAML does not allow"),
    "two documents": ("a: 1\n---\nb: 1", "expected a single document"),
    "an import": ("stores: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
    "an import of its own": ("stores: !import os.system", "could not determine a constructor"),
    "a key twice": ("stores: {a: 1}\nmain: a\nstores: {}", "the key 'stores' is given twice, line 3"),
    "a nested key twice": ("stores:\n  a: {type: x, type: y}", "the key 'type' is given twice, line 2"),
    "a key quoted once": ("stores:\n  a: {type: x, 'type': y}", "the key 'type' is given twice"),
    "an alias in itself": ("&a stores: &b {c: *b}", "an alias inside the value that it stands for"),
    "an unknown alias": ("stores: *b", "undefined alias"),
    "a key that is a list": ("? [a]\n: b", "it is not valid YAML: .*unhashable"),
    "no date": ("stores: 2024-13-45", "a wrong number or date"),
    "a number of 5000 digits": ("stores: " + "9" * 5000, "a wrong number or date"),
    "no number": ("stores: !!int ''", "a wrong number or date"),
    "no truth": ("stores: !!bool maybe", "it is not valid YAML: "),
    "no time": ("stores: !!timestamp soon", "it is not valid YAML: "),
    "no bytes": ("stores: !!binary ä", "it is not valid YAML: "),
    "a bomb of lists": (bomb(12), "more than 50000 values, counting"),
    "a bomb of mappings": (bomb(12, "{<<: [", "]}", "{a: b}"), "more than 50000 values, counting"),
    "too large": ("#" * MAX_SIZE + "\n", "more than 262144 bytes"),
    "too deep": ("[" * 5000, "nested too deeply"),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=list(BAD))
def test_bad_file_is_an_error_that_names_it(content: str | bytes, message: str, tmp_path: Path) -> None:
    """A bad file is a ConfigError with its name; no code runs and it takes little time."""
    path = saved(tmp_path / "bad.yaml", content)
    begin = time.process_time()

    with pytest.raises(ConfigError, match=message) as caught:
        load(path)

    assert str(caught.value).startswith(f"{path}: ")
    assert time.process_time() - begin < 20


WORDS = [
    "a",
    "&a ",
    "*a",
    "<<",
    ": ",
    ":\n",
    "\n",
    "  ",
    "- ",
    "? ",
    "[",
    "]",
    "{",
    "}",
    ", ",
    "'",
    '"',
    "|",
    "#",
    "\t",
    "~",
]
TAGS = [
    f"!!{tag} " for tag in ("int", "float", "bool", "binary", "timestamp", "set", "omap", "pairs", "map", "seq", "null")
]
SCALARS = ["1", "1e9", "0x", "1:2", "2024-01-01", "2024-13-01T00:00:00+99:99", "yes", ".inf", ".", "-", "="]


@given(st.lists(st.sampled_from([*WORDS, *TAGS, *SCALARS, "--- ", "%YAML 9\n", "!x "]), max_size=15).map("".join))
def test_any_yaml_is_a_document_or_an_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """Any YAML is a document or a ConfigError, whatever PyYAML raises."""
    path = saved(tmp_path_factory.getbasetemp() / "any.yaml", text)

    with contextlib.suppress(ConfigError):
        load(path)


BAD_JSON = {
    "no json": ("{", "it is not valid JSON: .*, line 1"),
    "a key twice": ('{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' is given twice"),
    "too deep": ("[" * 100_000, "nested too deeply"),
    "a number of 5000 digits": ("9" * 5000, "digits"),
}


@pytest.mark.parametrize(("content", "message"), BAD_JSON.values(), ids=list(BAD_JSON))
def test_bad_json_is_an_error_that_names_its_file(content: str, message: str, tmp_path: Path) -> None:
    """A bad JSON file is a ConfigError with its name."""
    path = saved(tmp_path / "bad.json", content)

    with pytest.raises(ConfigError, match=message) as caught:
        load(path)

    assert str(caught.value).startswith(f"{path}: ")


def test_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    """The error has the operating system's text, and its error as the cause."""
    with pytest.raises(ConfigError, match=r"nothing\.yaml: No such file") as caught:
        StoreFactory(tmp_path / "nothing.yaml")

    assert isinstance(caught.value.__cause__, FileNotFoundError)
    with pytest.raises(ConfigError, match="directory"):
        StoreFactory(tmp_path)


@pytest.mark.process
def test_errors_show_nothing_of_the_file(tmp_path: Path) -> None:
    """A line with a mistake may contain a password: neither the error nor a traceback shows it."""
    path = saved(tmp_path / "stores.yaml", "stores:\n  a: {type: x, config: {password: hunter2 ]}}\n")
    code = f"from storage import StoreFactory; StoreFactory({str(path)!r})"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)

    assert "ConfigError" in result.stderr
    assert "line 2" in result.stderr
    assert "hunter2" not in result.stderr


def test_merge_keys_and_anchors_work(tmp_path: Path) -> None:
    """YAML's anchors and merge keys work, and a merged key can be overridden."""
    text = "x-common: &common {type: a, config: {b: 1}}\nstores: {one: *common, two: {<<: *common, type: c}}"

    assert {"one": {"type": "a", "config": {"b": 1}}, "two": {"type": "c", "config": {"b": 1}}} == _stores(
        load(saved(tmp_path / "a.yaml", text))
    )


def _stores(document: object) -> object:
    assert isinstance(document, dict)
    return document["stores"]


@pytest.mark.process
def test_without_pyyaml_the_error_says_what_to_install(tmp_path: Path) -> None:
    """Without PyYAML, JSON works and YAML is an ImportError that names the package."""
    saved(tmp_path / "a.yaml", "stores: {}")
    saved(tmp_path / "a.json", '{"stores": {}}')
    code = (
        "import sys; sys.modules['yaml'] = None\n"
        "from storage import StoreFactory; print(StoreFactory('a.json').names)\n"
        "try: StoreFactory('a.yaml')\n"
        "except ImportError as error: print(error)"
    )

    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path)

    assert "[]\na YAML file needs PyYAML: run pip install 'stackstore[yaml]', or use a JSON file\n" == result.stdout, (
        result.stderr
    )
