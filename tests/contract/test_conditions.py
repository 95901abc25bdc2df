"""`WriteConditions`: which conditions may be given together, and when they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from storage import DictStore, FilesystemStore, KeyExistsError, ObjectStore, PreconditionFailedError
from storage._core.conditions import UNCONDITIONAL, WriteConditions


def test_no_condition_is_no_new_object() -> None:
    """Most writes have none, and their stores compare with the constant."""
    assert UNCONDITIONAL is WriteConditions.of(False, None)
    assert not UNCONDITIONAL


def test_conditions_exclude_each_other() -> None:
    """No object is both absent and of a version."""
    with pytest.raises(ValueError, match="exclude each other"):
        WriteConditions.of(True, "etag")


@pytest.mark.parametrize("etag", [None, "old", "new"])
def test_conditions_hold_for_the_current_object_or_raise(etag: str | None) -> None:
    """Each condition is compared with the etag of the object, None where there is none."""
    UNCONDITIONAL.enforce("k", etag, None)
    if etag is None:
        WriteConditions(if_absent=True).enforce("k", etag, None)
    else:
        with pytest.raises(KeyExistsError):
            WriteConditions(if_absent=True).enforce("k", etag, None)
    if etag == "new":
        WriteConditions(if_match="new").enforce("k", etag, None)
    else:
        with pytest.raises(PreconditionFailedError, match="etag 'new'"):
            WriteConditions(if_match="new").enforce("k", etag, None)


@pytest.mark.parametrize("kind", [DictStore, FilesystemStore])
async def test_any_true_value_is_a_condition(kind: Any, tmp_path: Path) -> None:
    """Callers pass what they have: a count, or a match of a pattern."""
    store: ObjectStore = kind() if kind is DictStore else kind(tmp_path)
    await store.put("k", b"v", if_absent=1)  # type: ignore[arg-type]  # that is what is tested

    with pytest.raises(KeyExistsError):
        await store.put("k", b"v", if_absent="yes")  # type: ignore[arg-type]
    with pytest.raises(KeyExistsError):
        await store.copy("k", "k", if_absent=1)  # type: ignore[arg-type]
