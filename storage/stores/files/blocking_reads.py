"""`BlockingReads`: how the stores on files find and read the file of a key, in a thread that may wait."""

from __future__ import annotations

import errno
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

from storage._concurrency.stepping import is_stepping
from storage._core.data import SMALL
from storage._core.descriptors import Descriptor
from storage._core.lazy import lazy
from storage._core.left_out import LeftOut
from storage.errors import CorruptObjectError, KeyNotFoundError, StorageError, UnsupportedOperationError
from storage.stores.files.attributes import read_attributes
from storage.stores.files.entries import file_status
from storage.stores.files.errors import from_os_error, is_of_file
from storage.stores.files.etags import Etags
from storage.stores.files.os_names import encoded
from storage.stores.files.page_cache import Deferred, PageCacheReads
from storage.stores.files.reader import describe, read_part, read_unsized
from storage.stores.files.refused_names import raise_if_refused
from storage.stores.files.root import Root
from storage.types import Attributes, ByteRange, ObjectInfo

__all__ = ["MISSING", "BlockingReads"]

T = TypeVar("T")

#: Errors of open(2) where there is no regular file: no such name, a file for a directory, a symlink, a socket.
MISSING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)


class BlockingReads(ABC):
    """The blocking half of a `FileStore`'s reads; the store runs these methods in worker threads."""

    #: The store's directory, absolute; links in the path to it are resolved at the first use.
    _given: str

    #: Whether no file system can take the names of two keys' files for the same, as those that are hashes.
    _has_unique_names = False

    @lazy
    def _root(self) -> Root:
        return Root(os.path.realpath(self._given), unique_names=self._has_unique_names)

    @lazy
    def _etags(self) -> Etags:
        return Etags(self._root.path)

    @lazy
    def _page_cache(self) -> PageCacheReads:
        return PageCacheReads(self._root)

    @abstractmethod
    def _path(self, key: str) -> str:
        """
        Return the path of the key's file, relative to the root.

        Raises:
            InvalidKeyError: this store cannot hold the key.
        """

    def _blocking(self, key: str, work: Callable[..., T], *args: Any) -> T:
        """Run the blocking *work* for a key here, and map errors of the operating system to `StorageError`s."""
        try:
            return work(*args)
        except StorageError as error:
            if error.key is None:
                error.with_key(key)
            error.store = error.store or repr(self)
            raise
        except OSError as cause:
            raise from_os_error(cause, key, self) from cause

    def _opened(self, key: str) -> tuple[Descriptor, os.stat_result]:
        """Open the key's file, and return it and its status."""
        file = Descriptor()
        return file, self._open_into(file, key)

    def _open_into(self, numbers: list[int], key: str, *, listed: bool = False) -> os.stat_result:
        """
        Open the key's file, append its descriptor to *numbers*, and return its status.

        *listed* says that the file's name is from the directory itself.
        """
        path = self._path(key)
        try:
            self._root.open_into(numbers, path)
        except OSError as cause:
            if cause.errno in MISSING:
                self._root.check(cause)
                raise KeyNotFoundError(key, store=self) from None
            if cause.errno == errno.EINVAL and not self._is_there(key):
                raise_if_refused(cause, self)
            raise
        status = os.fstat(numbers[0])
        exact = listed or self._root.exact.known(path, status.st_dev)
        if not stat.S_ISREG(status.st_mode) or not (exact or self._has_exact_names(path)):
            raise KeyNotFoundError(key, store=self)
        return status

    def _has_exact_names(self, path: str) -> bool:
        """Return whether what was found under *path* has these names in its directories."""
        try:
            return self._root.exact.has(self._root, path)
        except OSError as cause:
            if cause.errno in MISSING:
                return False
            raise

    def _read_cached(self, key: str, byte_range: ByteRange | None) -> bytes | Deferred:
        """Return an object's bytes if they can be read without waiting, or else why not; this does not block."""
        if not self._page_cache.available:
            return Deferred.WAIT
        try:
            return self._page_cache.read(self._path(key), key, byte_range)
        except FileNotFoundError:
            raise KeyNotFoundError(key, store=self) from None

    def _get(self, key: str, byte_range: ByteRange | None) -> bytes:
        numbers: list[int] = []
        closing = map(os.close, numbers)  # see storage._core.descriptors
        try:
            status = self._open_into(numbers, key)
            data = read_part(numbers[0], status, key, byte_range)
        finally:
            next(closing, None)
        if self._page_cache.available is None and not is_stepping():
            self._page_cache.learn(self._path(key))
        return data

    def _small(self, key: str) -> tuple[bytes, Attributes] | None:
        """Return the bytes and attributes of a small file; None for a larger one."""
        numbers: list[int] = []
        closing = map(os.close, numbers)
        try:
            status = self._open_into(numbers, key)
            if status.st_size > SMALL:
                return None
            data = read_part(numbers[0], status, key, None)
            return (data, read_attributes(numbers[0])) if len(data) <= SMALL else None
        except OSError:
            return None  # opening the object raises the error
        finally:
            next(closing, None)

    def _head(self, key: str, *, listed: bool = False) -> ObjectInfo:
        numbers: list[int] = []
        closing = map(os.close, numbers)
        try:
            status = self._open_into(numbers, key, listed=listed)
            size = status.st_size or len(read_unsized(numbers[0]))
            info = describe(key, numbers[0], status, self._etags, size)
            return info  # noqa: RET504  # an interrupt right after the call must still come before `finally`
        finally:
            next(closing, None)

    def _heads(self, keys: Iterator[str], left_out: LeftOut) -> Iterator[ObjectInfo]:
        def describe_listed(key: str) -> ObjectInfo | None:
            try:
                return self._blocking(key, partial(self._head, listed=True), key)
            except KeyNotFoundError:
                return None
            except CorruptObjectError as error:
                left_out.add(key, error)
                return None
            except StorageError as error:
                if not is_of_file(error.__cause__) and not isinstance(error, UnsupportedOperationError):
                    raise
                unread = CorruptObjectError(f"the file cannot be read: {error.message}", key=key, store=self)
                unread.__cause__ = error
                left_out.add(key, unread)
                return None

        return filter(None, map(describe_listed, keys))  # no generator: see `FileStore._walk`

    def _exists(self, key: str) -> bool:
        numbers: list[int] = []
        closing = map(os.close, numbers)
        try:
            self._open_into(numbers, key)
        except KeyNotFoundError:
            return False
        except OSError as cause:
            if not is_of_file(cause) or not self._is_there(key):
                raise
        finally:
            next(closing, None)
        return True

    def _is_there(self, key: str) -> bool:
        """Return whether a directory has the key's file, which need not be readable."""
        path = self._path(key)
        parent, _, name = path.rpartition("/")
        try:
            with self._root.open_directory(parent) as directory:
                return file_status(directory, encoded(name)) is not None and self._has_exact_names(path)
        except OSError:
            return False
