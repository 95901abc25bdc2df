"""`Descriptor`: an owner of a file descriptor, from its first moment to its last."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from storage._core.descriptors import Descriptor


def is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def test_descriptor_is_closed_when_its_block_ends(tmp_path: Path) -> None:
    """Normally and by an error; later calls of `close` do nothing."""
    with Descriptor.open(str(tmp_path), os.O_RDONLY) as number:
        assert is_open(number)
    assert not is_open(number)

    owner = Descriptor.open(str(tmp_path), os.O_RDONLY)
    with pytest.raises(KeyboardInterrupt), owner as number:
        raise KeyboardInterrupt
    assert not is_open(number)
    other = os.open(tmp_path, os.O_RDONLY)  # which gets the number
    owner.close()
    del owner
    assert is_open(other)
    os.close(other)


def test_descriptor_is_closed_when_it_is_forgotten(tmp_path: Path) -> None:
    owner = Descriptor.open(str(tmp_path), os.O_RDONLY)
    number = owner.fileno()

    del owner

    assert not is_open(number)


def test_closed_descriptor_has_no_number(tmp_path: Path) -> None:
    """It would be the number of another file."""
    owner = Descriptor.open(str(tmp_path), os.O_RDONLY)
    owner.close()

    assert not owner
    with pytest.raises(ValueError, match="closed"):
        owner.fileno()


def test_arguments_are_those_of_open(tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)

    with Descriptor.open("new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=directory) as number:
        assert 0o600 == os.fstat(number).st_mode & 0o777
        assert not os.get_inheritable(number)
    with pytest.raises(FileNotFoundError):
        Descriptor.open("missing", os.O_RDONLY, dir_fd=directory)
    os.close(directory)


def test_close_that_fails_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """By then the number is free, also on Linux after EIO: it may be another thread's."""
    closed: list[int] = []

    def close(number: int) -> None:
        closed.append(number)
        raise OSError(errno.EIO, "lost")

    owner = Descriptor.open(os.devnull, os.O_RDONLY)
    number = owner.fileno()
    monkeypatch.setattr(os, "close", close)
    with pytest.raises(OSError, match="lost"):
        owner.close()
    owner.close()
    del owner
    monkeypatch.undo()
    os.close(number)

    assert [number] == closed
