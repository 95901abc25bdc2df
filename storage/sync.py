"""
The synchronous face: every store, decorator and function of `storage`, without ``await``.

GENERATED from the async code: change that, then run ``make sync``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic

import storage
from storage.bridge import Data, In
from storage.config.face import StoreFactory, open_store
from storage.face import Face, below, calling
from storage.file import ObjectFile, open_file
from storage.types import Out

if TYPE_CHECKING:
    import io
    import os
    import re
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Literal

    from storage.copying import Progress
    from storage.decorators.buffer import BinaryFile
    from storage.decorators.json import Json, JsonLike
    from storage.errors import StorageError
    from storage.stores.files import Durability
    from storage.syncing import Change
    from storage.types import Attributes, ByteRange, Capabilities, ObjectInfo
    from storage.utils import T

__all__ = [
    "Base64Store",
    "BufferStore",
    "ChecksumStore",
    "Data",
    "DictStore",
    "EncryptingStore",
    "ExtensionFilterStore",
    "FilesystemStore",
    "GzipStore",
    "HashPrefixStore",
    "HashdirStore",
    "JsonStore",
    "KeyValidatingStore",
    "ObjectFile",
    "ObjectStore",
    "PrefixStore",
    "ReadonlyStore",
    "RegexValidatingStore",
    "RoutingStore",
    "SafeFilesystemStore",
    "SqliteStore",
    "StoreFactory",
    "TextEncodingStore",
    "UrlEncodingStore",
    "UrlValidatingStore",
    "WriteonlyStore",
    "ZipStore",
    "ZstdStore",
    "clear_store",
    "copy_store",
    "get_or",
    "open_store",
    "sync_stores",
    "update",
]


class ObjectStore(Face[Out], Generic[In, Out]):
    """
    An async store, called without ``await``.

    A stack that never suspends is stepped in the caller's thread; every other one, and with ``stepped=False`` any, runs
    on one background loop that all such stores share.

    Args:
        store: the async store, with all its decorators.
        stepped: False to run on the background loop also what could be stepped.
    """

    # -- the five ------------------------------------------------------------------------------------------------

    def get(self, key: str, *, byte_range: ByteRange | None = None) -> Out:
        """
        Return the object's bytes, or those of *byte_range*.

        Raises:
            KeyNotFoundError: there is no such object.
            RangeNotSatisfiableError: the range starts behind the object's end.
        """
        return self._run(self._store.get(key, byte_range=byte_range))

    def put(
        self,
        key: str,
        data: In,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        """
        Store *data* under *key* and return the new etag; readers see the old object or the new one, never half.

        A put that fails, is cancelled or killed leaves the old object. An iterable is streamed, and what it raises
        passes unchanged. Without *attributes* the new object has none.

        Args:
            key: the name of the object.
            data: its bytes, or an iterable of them.
            if_absent: create only: of many concurrent creators exactly one wins.
            if_match: replace only the version of this etag (compare-and-swap).
            attributes: text to keep beside the bytes, under lower-case names.

        Raises:
            KeyExistsError: *if_absent*, and there is an object.
            PreconditionFailedError: *if_match*, and the object is another version or missing.
            InvalidKeyError: this store cannot hold an object of this key.
            TypeError: *data* is ``str`` or not bytes at all.
            ValueError: both conditions were given.
        """
        caller = self._call()
        work = self._store.put(key, caller.data(data), if_absent=if_absent, if_match=if_match, attributes=attributes)
        return caller.run(work)

    def delete(self, key: str, *, if_match: str | None = None) -> None:
        """
        See to it that there is no object of this key; a missing one is no error.

        Raises:
            PreconditionFailedError: *if_match*, and the object is another version or missing.
        """
        self._run(self._store.delete(key, if_match=if_match))

    def exists(self, key: str) -> bool:
        """Say whether there is an object of this key."""
        return self._run(self._store.exists(key))

    def keys(self, prefix: str = "", *, start_after: str = "") -> Iterator[str]:
        """
        Yield every key that starts with *prefix* and sorts behind *start_after*, once, in code-point order.

        Objects may come and go meanwhile: a key that is there throughout is yielded, one that is not may be.
        """
        return self._call().iterate(self._store.keys(prefix, start_after=start_after))

    # -- with a default ------------------------------------------------------------------------------------------

    def head(self, key: str) -> ObjectInfo:
        """
        Return the object's size, etag, time and attributes, without its bytes.

        Raises:
            KeyNotFoundError: there is no such object.
        """
        return self._run(self._store.head(key))

    def open(self, key: str, *, byte_range: ByteRange | None = None) -> ObjectFile:
        """
        Open the object for reading in pieces: ``with store.open(key) as reader: reader.read(1000)``.

        All that the reader gives is of one version, the one that ``reader.info`` describes.

        Raises:
            KeyNotFoundError: there is no such object.
            RangeNotSatisfiableError: the range starts behind the object's end.
        """
        return open_file(self._call, self._store.open(key, byte_range=byte_range), byte_range)

    def get_many(self, keys: Iterable[str]) -> dict[str, Out | StorageError]:
        """Return for every key its bytes, or the `StorageError` that `get` would have raised."""
        caller = self._call()
        return caller.run(self._store.get_many(caller.iterable(keys)))

    def put_many(
        self, items: Mapping[str, In] | Iterable[tuple[str, In]], *, raise_errors: bool = True
    ) -> dict[str, str | StorageError]:
        """
        Put every (key, data) and return for every key its etag; all are tried, also when some fail.

        Raises:
            BulkError: some failed; its ``results`` hold for every key its etag or its `StorageError`. With
                ``raise_errors=False`` these results are returned instead.
        """
        caller = self._call()
        return caller.run(self._store.put_many(caller.items(items), raise_errors=raise_errors))

    def delete_many(self, keys: Iterable[str], *, raise_errors: bool = True) -> dict[str, None | StorageError]:
        """
        Delete every key and return for every key None; all are tried, also when some fail.

        Raises:
            BulkError: some failed; its ``results`` hold for every key None or its `StorageError`. With
                ``raise_errors=False`` these results are returned instead.
        """
        caller = self._call()
        return caller.run(self._store.delete_many(caller.iterable(keys), raise_errors=raise_errors))

    def children(self, prefix: str = "", delimiter: str = "/") -> Iterator[str]:
        """
        Yield the names one level below *prefix*, in order: keys, and common prefixes, which end in *delimiter*.

        All are whole: ``children("a/")`` yields ``"a/b"`` and ``"a/c/"``.
        """
        return self._call().iterate(self._store.children(prefix, delimiter))

    def copy(self, source: str, target: str, *, if_absent: bool = False) -> str:
        """
        Copy an object with its attributes inside the store and return the copy's etag.

        Raises:
            KeyNotFoundError: there is no object *source*.
            KeyExistsError: *if_absent*, and there is an object *target*.
        """
        return self._run(self._store.copy(source, target, if_absent=if_absent))

    def rename(self, source: str, target: str, *, if_absent: bool = False) -> str:
        """
        Move an object inside the store and return its etag; onto itself it does nothing.

        It is one atomic step where the back end has one, else a copy and then a delete.

        Raises:
            KeyNotFoundError: there is no object *source*.
            KeyExistsError: *if_absent*, and there is an object *target*.
        """
        return self._run(self._store.rename(source, target, if_absent=if_absent))

    def clear(self, prefix: str = "") -> None:
        """
        Delete every object whose key starts with *prefix*.

        Raises:
            BulkError: some could not be deleted; all were tried.
        """
        self._run(self._store.clear(prefix))

    def scan(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        """Yield like `keys`, but the object's description instead of its key; an object gone meanwhile is left out."""
        return self._call().iterate(self._store.scan(prefix, start_after=start_after))

    # -- about itself --------------------------------------------------------------------------------------------

    @property
    def capabilities(self) -> Capabilities:
        """What this store, through all its decorators, really does."""
        return self._store.capabilities


class Base64Store(ObjectStore):
    """Objects are base64 (RFC 4648, section 4, padded, without line ends) in the store below."""

    def __init__(self, base: ObjectStore) -> None:
        super().__init__(storage.Base64Store(below(base)))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.Base64Store: ...


class BufferStore(ObjectStore["BinaryFile | Data", "io.BytesIO"]):
    """
    `put` takes a binary file, `get` gives an ``io.BytesIO`` at its start.

    A file is read from where it stands to its end, in worker threads and in bounded memory, and left open. What other
    stores take will do as well. `open` reads an object in pieces.
    """

    def __init__(self, base: ObjectStore) -> None:
        super().__init__(storage.BufferStore(below(base)))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.BufferStore: ...


class ChecksumStore(ObjectStore):
    """
    Objects end in a checksum of their bytes in the store below, and are verified each time they are read.

    It finds damage by disks and programs; against people who can write below, use `EncryptingStore`. A reader of the
    whole object verifies it before it gives the last bytes. What `open` reads of a range is not verified, `get` of a
    range reads and verifies the whole.

    Args:
        base: the store below.
        algorithm: the name of a hash that `hashlib` knows; the checksum's length is that of its digest.
    """

    def __init__(self, base: ObjectStore, *, algorithm: str = "sha256") -> None:
        super().__init__(storage.ChecksumStore(below(base), algorithm=algorithm))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.ChecksumStore: ...


class DictStore(ObjectStore):
    """
    Objects in a dict: for tests, as a cache, and as the plainest example of a whole store.

    It may be used from several threads through its synchronous face. Nothing in it is ever awaited.
    """

    def __init__(self) -> None:
        super().__init__(storage.DictStore())

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.DictStore: ...


class EncryptingStore(ObjectStore):
    """
    Objects are encrypted and authenticated with AES-256-GCM in the store below, and bound to their keys there.

    Whoever can write below can delete an object or put back an older version of it, but not change it, cut it, or give
    it out as another one: that is a `CorruptObjectError`, and no byte is given that was not verified. Keys, attributes
    and times are not encrypted; sizes show. `copy` and `rename` decrypt and encrypt anew. Needs
    ``pip install 'stackstore[crypto]'``.

    Args:
        base: the store below.
        keys: the keys for encryption, each by an id of up to 32 bytes, which is kept with every object: 32 bytes, as
            such or as text in hex or base64. All of them decrypt.
        active: the id of the one that encrypts; can be left out where there is only one.
    """

    def __init__(self, base: ObjectStore, keys: Mapping[str, bytes | str], *, active: str | None = None) -> None:
        super().__init__(storage.EncryptingStore(below(base), keys, active=active))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.EncryptingStore: ...

    def reencrypt(self, key: str) -> bool:
        """
        Encrypt an object anew with the active key, unless it is, and say whether that was to be done.

        An object that somebody else puts meanwhile is left as it is put; over a store without conditional puts, nobody
        else may write. The object keeps its attributes.

        Raises:
            KeyNotFoundError: there is no such object.
            CorruptObjectError: it is not encrypted with any of the keys.
        """
        return self._run(self.async_store.reencrypt(key))


class ExtensionFilterStore(ObjectStore[In, Out]):
    """
    Every method refuses keys that do not end in one of *extensions* with `InvalidKeyError`. Listings skip them, and log
    each at INFO to the logger ``storage``.

    Something comes before the extension in a name: ``"a/.tif"`` has none.

    Args:
        base: the store below.
        extensions: such as ``{".tif", ".roi.zip"}``, each with its dot.
        ignore_case: whether ``.TIF`` is ``.tif``.

    Raises:
        ValueError: *extensions* is empty, or one has no dot before it, nothing behind that, or a slash.
    """

    def __init__(self, base: ObjectStore[In, Out], extensions: Iterable[str], *, ignore_case: bool = False) -> None:
        super().__init__(storage.ExtensionFilterStore(below(base), extensions, ignore_case=ignore_case))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.ExtensionFilterStore[Any, Out]: ...


class FilesystemStore(ObjectStore):
    """
    Objects are plain files, and keys their paths below *root*.

    A directory that other programs made is readable as it is; symlinks in it are neither followed nor listed. A key is
    a plain relative path: ``..``, ``.``, empty segments, NUL and over-long names are refused with `InvalidKeyError`.
    Where ``a`` is an object, ``a/b`` cannot be one: `KeyConflictError`.
    """

    def __init__(self, root: str | os.PathLike[str], *, durability: Durability = "atomic") -> None:
        super().__init__(storage.FilesystemStore(root, durability=durability))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.FilesystemStore: ...


class GzipStore(ObjectStore):
    """
    Objects are gzip files (RFC 1952) in the store below, which any other program can read.

    Args:
        base: the store below.
        level: 0 (none) to 9 (smallest, slowest).
        max_size: bytes that `get` decompresses at most, against bombs; `open` reads in bounded memory without it.
    """

    def __init__(self, base: ObjectStore, *, level: int = 6, max_size: int = 1 << 30) -> None:
        super().__init__(storage.GzipStore(below(base), level=level, max_size=max_size))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.GzipStore: ...


class HashPrefixStore(ObjectStore[In, Out]):
    """
    Every key has the start of its own sha-256, in hex, before it in the store below: ``"a.csv"`` is
    ``"32f29f33/a.csv"`` there.

    Back ends that share the work out by the starts of keys get an even share each, and directories stay small. Objects
    below whose keys do not begin with their hash are neither seen nor touched. A listing collects all keys and sorts.

    Args:
        base: the store below.
        hash_length: digits of the hash, 1 to 64.
        separator: between the hash and the key.

    Raises:
        ValueError: *hash_length* is none of these.
    """

    def __init__(self, base: ObjectStore[In, Out], *, hash_length: int = 8, separator: str = "/") -> None:
        super().__init__(storage.HashPrefixStore(below(base), hash_length=hash_length, separator=separator))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.HashPrefixStore[Any, Out]: ...


class HashdirStore(ObjectStore):
    """
    An object is the file ``aa/bb/cc/rest`` of its key's sha-256 in hex, which holds exactly the object's bytes.

    Any key can be kept, and no directory grows large. The key's text is beside the file, in ``rest.key``. What it says
    follows from its name, so that it is written once, before the object first appears and under the same lock, and is
    right for every later version; unlike an extended attribute it takes keys of any length, and outlasts tools that
    copy bytes only. A hash does not keep order: `keys` reads all of these files and sorts.

    Args:
        root: the directory; made with the first put when it is missing.
        width: hex digits in the name of a directory.
        depth: directories one below the other.
        durability: as for every `FileStore`.
    """

    def __init__(
        self, root: str | os.PathLike[str], width: int = 2, depth: int = 3, *, durability: Durability = "atomic"
    ) -> None:
        super().__init__(storage.HashdirStore(root, width, depth, durability=durability))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.HashdirStore: ...


class JsonStore(ObjectStore["JsonLike", "Json"]):
    """
    `put` takes what JSON has (dicts with text for keys, lists, text, numbers, booleans, None), and `get` gives it.

    The store below keeps UTF-8 text (RFC 8259), without spaces unless it is indented. Numbers that are not finite are
    refused with a ``ValueError``, like what is nested too deeply; what JSON has no form for with a ``TypeError``. Text
    below that is no JSON is a `CorruptObjectError`.

    With orjson installed (``pip install 'stackstore[json]'``) it is faster; what it takes and gives stays the same.

    Args:
        base: the store below.
        indent: spaces to indent by, for people to read; None for one line.
        sort_keys: whether the keys of dicts are sorted, so that equal values give equal bytes.
    """

    def __init__(self, base: ObjectStore, *, indent: int | None = None, sort_keys: bool = False) -> None:
        super().__init__(storage.JsonStore(below(base), indent=indent, sort_keys=sort_keys))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.JsonStore: ...


class KeyValidatingStore(ObjectStore[In, Out]):
    """
    Every method refuses keys that *validator* does not take with `InvalidKeyError`, and does not list them.

    Args:
        base: the store below.
        validator: a pure function from a key to whether it is taken. It may raise a ``ValueError`` instead, whose
            message the caller gets then; whatever else it raises passes unchanged.

    Raises:
        TypeError: *validator* cannot be called.
    """

    def __init__(self, base: ObjectStore[In, Out], validator: Callable[[str], object]) -> None:
        super().__init__(storage.KeyValidatingStore(below(base), validator))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.KeyValidatingStore[Any, Out]: ...


class PrefixStore(ObjectStore[In, Out]):
    """
    Every key has *prefix* before it in the store below, and objects there without it are neither seen nor touched.

    Args:
        base: the store below.
        prefix: put before every key as it is; end it in ``"/"`` for a directory.
    """

    def __init__(self, base: ObjectStore[In, Out], prefix: str) -> None:
        super().__init__(storage.PrefixStore(below(base), prefix))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.PrefixStore[Any, Out]: ...


class ReadonlyStore(ObjectStore[In, Out]):
    """
    Objects can be read; every method that would change one raises `UnsupportedOperationError`.

    Args:
        base: the store below.

    Raises:
        ConfigError: *base* cannot be read.
    """

    def __init__(self, base: ObjectStore[In, Out]) -> None:
        super().__init__(storage.ReadonlyStore(below(base)))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.ReadonlyStore[Any, Out]: ...


class RegexValidatingStore(ObjectStore[In, Out]):
    """
    Every method refuses keys that *pattern* does not match as a whole with `InvalidKeyError`, and does not list them.

    Args:
        base: the store below.
        pattern: a regular expression of Python's `re`, as text or compiled.

    Raises:
        ConfigError: *pattern* is no regular expression.
    """

    def __init__(self, base: ObjectStore[In, Out], pattern: str | re.Pattern[str]) -> None:
        super().__init__(storage.RegexValidatingStore(below(base), pattern))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.RegexValidatingStore[Any, Out]: ...


class RoutingStore(ObjectStore[In, Out]):
    """
    Several stores as one: the key of an object says which of them has it.

    That is the store of the first pattern which matches the whole key; else that of the longest of *routes* with which
    it starts; else *default*. A key that no route takes is refused by every method with `InvalidKeyError`. What a store
    holds under keys that are another's is neither seen nor touched.

    An object that is copied or renamed from one store to another is streamed; a rename is then a copy and a delete.

    Args:
        routes: the store of each prefix, also several prefixes of one store.
        patterns: the store of each regular expression of Python's `re`, in the order in which they are tried.
        default: the store of all other keys.
        strip_prefix: cut the prefix off the keys in the stores of *routes*. A store has one route only then.

    Raises:
        ConfigError: there is no store at all, a pattern is no regular expression, or the route ``""`` leaves nothing
            for the default; or with *strip_prefix* two keys would be one object.
    """

    def __init__(
        self,
        routes: Mapping[str, ObjectStore[In, Out]],
        *,
        patterns: Mapping[str, ObjectStore[In, Out]] | None = None,
        default: ObjectStore[In, Out] | None = None,
        strip_prefix: bool = False,
    ) -> None:
        work = storage.RoutingStore(
            {name: below(store) for name, store in routes.items()},
            patterns=None if patterns is None else {name: below(store) for name, store in patterns.items()},
            default=None if default is None else below(default),
            strip_prefix=strip_prefix,
        )
        super().__init__(work)

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.RoutingStore[Any, Out]: ...


class SafeFilesystemStore(ObjectStore):
    """
    Objects are plain files below *root*, under names that are safe everywhere and give the keys back.

    Slashes stay directories and ``reports/2024-q1.csv`` stays readable; what file systems treat differently, upper case
    included, is escaped (`storage.stores.safe_names`). Other files in the directory are skipped. Only keys whose
    escaped path is longer than the operating system's 4,096 bytes are refused, with `InvalidKeyError`.
    """

    def __init__(self, root: str | os.PathLike[str], *, durability: Durability = "atomic") -> None:
        super().__init__(storage.SafeFilesystemStore(root, durability=durability))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.SafeFilesystemStore: ...


class SqliteStore(ObjectStore):
    """
    Objects in one SQLite database: a file that several processes may use at once, or memory.

    What a write returns from is on the disk, also over a power loss; writes that arrive while another is on its way
    share a transaction. Objects over 1 MiB are kept in chunks and streamed. Needs ``pip install 'stackstore[sqlite]'``.

    A store object belongs to the event loop it was opened under, and to the process.

    Args:
        path: the database's file, which is made when it is missing, or ``":memory:"``.
        busy_timeout: seconds to wait for another process's lock before `StoreUnavailableError`.
    """

    def __init__(self, path: str | os.PathLike[str], *, busy_timeout: float = 5.0) -> None:
        super().__init__(storage.SqliteStore(path, busy_timeout=busy_timeout))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.SqliteStore: ...


class TextEncodingStore(ObjectStore["str", "str"]):
    """
    `put` takes text and `get` gives text; the store below keeps it encoded.

    Text that the encoding does not have is refused with a `UnicodeEncodeError`, a ``ValueError``; bytes below that are
    not in it are a `CorruptObjectError`.

    Args:
        base: the store below.
        encoding: the name of an encoding of Python.
        errors: what to do about what does not encode or decode, a name that ``str.encode`` takes: ``"strict"`` raises,
            others change the text.
    """

    def __init__(self, base: ObjectStore, encoding: str = "utf-8", *, errors: str = "strict") -> None:
        super().__init__(storage.TextEncodingStore(below(base), encoding, errors=errors))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.TextEncodingStore: ...


class UrlEncodingStore(ObjectStore[In, Out]):
    """
    Keys are percent-encoded in the store below, segment by segment, so that the hierarchy stays:
    ``"reports/50 % off"`` is ``"reports/50%20%25%20off"`` there.

    Only ``A-Z a-z 0-9 - . _ ~`` and the slashes between segments are left as they are, and segments that are ``.`` or
    ``..`` are encoded too. Every key comes back as it was. Objects below whose keys are not encoded in this very way
    are neither seen nor touched. A listing collects all keys below its prefix and sorts.

    Args:
        base: the store below.
    """

    def __init__(self, base: ObjectStore[In, Out]) -> None:
        super().__init__(storage.UrlEncodingStore(below(base)))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.UrlEncodingStore[Any, Out]: ...


class UrlValidatingStore(ObjectStore[In, Out]):
    """
    Keys are absolute URLs, with a scheme and a host: ``"https://example.org/a?b=c"``. Every method refuses others with
    `InvalidKeyError`, and does not list them.

    A URL is taken or refused as it is, never normalised: two spellings of one address are two keys.

    Args:
        base: the store below; one that can hold keys with ``//``, which directories cannot.
        schemes: those that are taken, in lower case; in a key the case does not matter.

    Raises:
        ValueError: *schemes* is empty, or one of them is no scheme.
    """

    def __init__(self, base: ObjectStore[In, Out], *, schemes: Iterable[str] = ("http", "https")) -> None:
        super().__init__(storage.UrlValidatingStore(below(base), schemes=schemes))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.UrlValidatingStore[Any, Out]: ...


class WriteonlyStore(ObjectStore[In, Out]):
    """
    Objects can be put, deleted and cleared; every method that would read or list one raises
    `UnsupportedOperationError`, and so do `exists`, and `copy` and `rename`, which read what they write.

    The conditions of `put` and `delete` hold as they do below, and so they still tell whether there is an object.

    Args:
        base: the store below.

    Raises:
        ConfigError: *base* cannot be written to.
    """

    def __init__(self, base: ObjectStore[In, Out]) -> None:
        super().__init__(storage.WriteonlyStore(below(base)))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.WriteonlyStore[Any, Out]: ...


class ZipStore(ObjectStore):
    """
    Objects in one zip archive, which other programs can read after `flush` and once the store is closed.

    A put or delete appends to the file; what was overwritten or deleted takes room until `compact`. After a crash the
    next opening restores all that was acknowledged. One store, in one process, has the archive open at a time.

    Args:
        path: the archive; made when it is missing. It may be one that another program made.
        compression: ``"deflate"``, or ``"stored"`` for data as they are: ranges of such objects are read directly.
        level: of deflate, 0 to 9, slower and smaller.
        durability: ``"fsync"``: a put or delete that has returned outlasts a loss of power; ``"atomic"``: it outlasts
            the end of the process, and a loss of power leaves a beginning of what was done since `flush`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        compression: Literal["deflate", "stored"] = "deflate",
        level: int = 6,
        durability: Durability = "fsync",
    ) -> None:
        super().__init__(storage.ZipStore(path, compression=compression, level=level, durability=durability))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.ZipStore: ...

    def flush(self) -> None:
        """Write the archive's directory, if anything has changed: other programs see all objects then."""
        self._run(self.async_store.flush())

    def compact(self) -> None:
        """
        Give back the room of what was overwritten and deleted, in one step: the archive is written anew beside itself.

        It takes the time to copy what is there, and as much room meanwhile. Writes wait; readers go on.

        Raises:
            CorruptObjectError: an entry is not where the archive's directory says; the archive stays as it is.
            StoreFullError: there is no room for both.
        """
        self._run(self.async_store.compact())


class ZstdStore(ObjectStore):
    """
    Objects are Zstandard files (RFC 8878) in the store below, which any other program can read.

    Needs ``pip install 'stackstore[zstd]'`` before Python 3.14.

    Args:
        base: the store below.
        level: 1 (fastest) to 22 (smallest, slowest; over 19 it takes much memory).
        max_size: bytes that `get` decompresses at most, against bombs; `open` reads in bounded memory without it.
    """

    def __init__(self, base: ObjectStore, *, level: int = 3, max_size: int = 1 << 30) -> None:
        super().__init__(storage.ZstdStore(below(base), level=level, max_size=max_size))

    if TYPE_CHECKING:

        @property
        def async_store(self) -> storage.ZstdStore: ...


def clear_store(store: ObjectStore, prefix: str = "") -> None:
    """
    Delete every object, or every one whose key starts with *prefix*: `ObjectStore.clear` as a function.

    Raises:
        BulkError: some could not be deleted; all were tried.
    """
    caller = calling(store)
    caller.run(storage.clear_store(below(store), prefix))


def copy_store(
    source: ObjectStore,
    target: ObjectStore,
    overwrite: bool = True,
    *,
    prefix: str = "",
    start_after: str = "",
    concurrency: int = 16,
    progress: Callable[[Progress], object] | None = None,
) -> Progress:
    """
    Copy every object to the same key of another store and return how many, and how many bytes, that were.

    Attributes go along where the target keeps some. Objects of up to 1 MiB are handed over whole, larger ones are
    streamed: with stores that stream, memory stays below *concurrency* times a few MiB, for any number of keys.

    The first error stops the copy and is raised as it is. What was copied stays; call again with the last progress's
    ``key`` as *start_after*, or with ``overwrite=False``, to go on.

    Args:
        source: where objects are read.
        target: where they are put; what else it holds stays.
        overwrite: replace objects that the target has already; else they are skipped unread.
        prefix: copy only keys that start with this.
        start_after: copy only keys that sort behind this one.
        concurrency: objects under way at once; one at a time when run without an event loop.
        progress: called after each object; its ``key`` never goes back. What it raises stops the copy.

    Raises:
        StorageError: an object could not be read or written; the error's ``key`` says which.
        ValueError: *concurrency* is less than 1.
    """
    caller = calling(source, target)
    work = storage.copy_store(
        below(source),
        below(target),
        overwrite,
        prefix=prefix,
        start_after=start_after,
        concurrency=concurrency,
        progress=caller.told(progress),
    )
    return caller.run(work)


def get_or(store: ObjectStore, key: str, default: T) -> bytes | T:
    """Return the object's bytes, or *default* where there is none."""
    caller = calling(store)
    return caller.run(storage.get_or(below(store), key, default))


def sync_stores(
    source: ObjectStore,
    target: ObjectStore,
    delete: bool = False,
    *,
    compare: Literal["checksum", "etag", "size"] = "checksum",
    dry_run: bool = False,
    prefix: str = "",
    start_after: str = "",
    concurrency: int = 16,
    progress: Callable[[Progress], object] | None = None,
    on_change: Callable[[Change], object] | None = None,
) -> Progress:
    """
    Make another store hold what this one does, copying only objects that are missing or different there.

    Both are listed side by side, in order, and objects above 1 MiB are streamed: memory does not grow with the number
    of keys. The first error stops it and is raised as it is; call again, with the last progress's ``key`` as
    *start_after* to go on where it stopped.

    Args:
        source: where objects are read.
        target: where they are put.
        delete: delete from the target what the source has not (below *prefix*); else that stays.
        compare: how an object of the same key and size is found to be different. ``"checksum"`` reads both and compares
            bytes and attributes. ``"etag"`` keeps the source's etag with each copy, as the attribute ``source-etag``,
            and reads only what has another one since; the target must keep attributes. ``"size"`` takes it for the
            same.
        dry_run: change nothing, only count and tell what would be done.
        prefix: only keys that start with this.
        start_after: only keys that sort behind this one.
        concurrency: objects under way at once; one at a time when run without an event loop.
        progress: called after each object; its ``key`` never goes back. What it raises stops the work.
        on_change: called with each `Change` before it is made.

    Raises:
        StorageError: an object could not be read or written; the error's ``key`` says which.
        UnsupportedOperationError: ``compare="etag"``, and the target keeps no attributes.
        ValueError: *concurrency* is less than 1, or *compare* none of the three.
    """
    caller = calling(source, target)
    work = storage.sync_stores(
        below(source),
        below(target),
        delete,
        compare=compare,
        dry_run=dry_run,
        prefix=prefix,
        start_after=start_after,
        concurrency=concurrency,
        progress=caller.told(progress),
        on_change=caller.told(on_change),
    )
    return caller.run(work)


def update(store: ObjectStore, key: str, fn: Callable[[bytes | None], bytes], *, attempts: int = 100) -> bytes:
    """
    Replace the object's bytes with ``fn(bytes)`` and return them; no concurrent writer's change is lost.

    This is a compare-and-swap loop: when another writer came between the read and the write, *fn* is called again with
    the new bytes, after a short random pause. The object keeps its attributes.

    Args:
        store: one whose capabilities have ``conditional_put``.
        key: the object; where there is none, *fn* gets None and the object is created.
        fn: a function from the old bytes to the new; what it raises passes unchanged, and nothing is
            written then.
        attempts: how often to try.

    Raises:
        PreconditionFailedError: others were faster each time.
        UnsupportedOperationError: the store cannot put on a condition.
        ValueError: *attempts* is less than 1.
    """
    caller = calling(store)
    return caller.run(storage.update(below(store), key, caller.asked(fn), attempts=attempts))
