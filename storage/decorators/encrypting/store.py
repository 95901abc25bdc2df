"""`EncryptingStore`: encrypted and authenticated objects in the store below."""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

from storage._concurrency.offload import offload
from storage._core.bulk import result_of
from storage._core.data import as_bytes, chunks, is_stream
from storage._core.deadlines import WrongLifetimeError, copied_attributes
from storage._core.keys import check_key
from storage._core.lazy import lazy
from storage._core.left_out import LeftOut
from storage._core.traits import Trait
from storage.base import ObjectStore
from storage.decorators.bases.store_decorator import StoreDecorator
from storage.decorators.encrypting.bound_attributes import Binding
from storage.decorators.encrypting.format import HEADER, SEGMENT, decrypted_size
from storage.decorators.encrypting.reader import SealedReader
from storage.errors import CorruptObjectError, KeyNotFoundError, PreconditionFailedError, StorageError
from storage.reader import ObjectReader
from storage.types import Attributes, ByteRange, Data, Keys, ObjectInfo, check_attributes, replace_info

if TYPE_CHECKING:  # so that the store can be imported without cryptography
    from storage.decorators.encrypting.keyring import Seal

__all__ = ["EncryptingStore"]

#: Bytes above which a worker thread encrypts and decrypts: 1 MiB takes 0.2 to 0.6 ms. The interpreter's lock is
#: released only between segments: the event loop continues, but nothing gets faster.
OFFLOAD_ABOVE = 1 << 20


class EncryptingStore(StoreDecorator):
    """
    Objects in the store below are encrypted and authenticated with AES-256-GCM, and bound to their names.

    Somebody who can write to the store below can delete an object or restore an older version of it. An object that was
    changed, truncated or stored under another name raises `CorruptObjectError`; only verified bytes are returned.
    Attributes are bound to their object, if the store below keeps any: `head`, `open` and `scan` return those that were
    put, or raise. Object names, attributes and times are not encrypted, and sizes are visible. `copy` and `rename`
    decrypt and encrypt again. Needs ``pip install 'stackstore[crypto]'``.

    Args:
        base: the store below.
        keys: the encryption keys by their ids: 32 bytes each, as bytes or as text in hex or base64. An id has up to 32
            bytes and is stored with every object. All keys are used to decrypt.
        active: the id of the key to encrypt with; can be omitted if there is only one key.
    """

    _steppable = True
    _traits = frozenset({Trait.TRANSFORMS, Trait.ENCRYPTS})

    def __init__(self, base: ObjectStore, keys: Mapping[str, bytes | str], *, active: str | None = None) -> None:
        try:
            from storage.decorators.encrypting.keyring import Keyring
        except ImportError as cause:
            raise ImportError("EncryptingStore needs cryptography: pip install 'stackstore[crypto]'") from cause
        super().__init__(base)
        self._keyring = Keyring(keys, active, self)
        self.active: str = self._keyring.active

    @staticmethod
    def generate_key() -> str:
        """Return a new random key as text, for a configuration."""
        return base64.b64encode(secrets.token_bytes(32)).decode()

    async def get(self, key: str, *, byte_range: ByteRange | None = None) -> bytes:
        if byte_range is None:
            return await self._decrypted(key, await self.base.get(key))
        async with self.open(key, byte_range=byte_range) as reader:
            return await reader.read()

    async def put(
        self,
        key: str,
        data: Data,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        check_key(key, self)
        if attributes:
            attributes = check_attributes(attributes)
        encrypted: Data
        size: int | None = None
        seal = self._keyring.new_seal(key, attributes)
        if is_stream(data):
            encrypted = self._encrypted(seal, data)
        else:
            content = as_bytes(data)
            size = len(content)
            encrypted = await offload(seal.encrypt, content) if size > OFFLOAD_ABOVE else seal.encrypt(content)
        if self._binds:
            attributes = self._keyring.bind(attributes, seal, key, size)
        return await self.base.put(key, encrypted, if_absent=if_absent, if_match=if_match, attributes=attributes)

    async def head(self, key: str) -> ObjectInfo:
        return await self._described(await self.base.head(key))

    @asynccontextmanager
    async def open(self, key: str, *, byte_range: ByteRange | None = None) -> AsyncIterator[ObjectReader]:
        async with self.base.open(key) as source:
            reader, proves_size = await self._reader(key, source)
            if not proves_size:
                await reader.verify_end_for(byte_range)
            reader.choose(byte_range)
            yield reader

    async def get_many(self, keys: Keys) -> dict[str, bytes | StorageError]:
        results = await self.base.get_many(keys)
        for key, result in results.items():
            if not isinstance(result, StorageError):
                results[key] = await result_of(self._decrypted(key, result))
        return results

    async def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        with LeftOut(self) as left_out:
            async for below in self.base.scan(prefix, start_after=start_after):
                try:
                    info = await self._described(below)
                except KeyNotFoundError:
                    continue
                except CorruptObjectError as error:
                    left_out.add(below.key, error)
                else:
                    yield info

    # copy and rename are the defaults of ObjectStore again, as for every class that overrides get and put: an object is
    # bound to its name, so it is read and written to move it.

    async def reencrypt(self, key: str) -> bool:
        """
        Encrypt an object again if its key is not the active one, and return whether that was done.

        It is also done for an object of an earlier version of this store, to which its attributes are not bound yet.

        The object keeps its attributes. An object that is put meanwhile is kept; over a store without conditional puts,
        nobody else may write meanwhile.

        Raises:
            KeyNotFoundError: there is no such object.
            CorruptObjectError: it is not encrypted with any of the keys.
        """
        async with self.base.open(key) as source:
            header = await source.read(HEADER)
            current = self._keyring.key_id(header, key) == self.active
            if current and (self._keyring.is_marked(header, key) or not self._binds):
                return False
        async with self.open(key) as reader:
            etag = reader.info.etag if self.capabilities.conditional_put else None
            try:
                await self.put(key, reader, if_match=etag, attributes=copied_attributes(reader.info))
            except PreconditionFailedError:
                return False
            except WrongLifetimeError as error:
                raise error.of_copy(key, self) from error
        return True

    @lazy
    def _binds(self) -> bool:
        """Whether the store below keeps attributes, so that there are some to bind."""
        return self.base.capabilities.attributes

    async def _described(self, below: ObjectInfo) -> ObjectInfo:
        """Return the description of the decrypted object, with attributes that were bound to it."""
        size = self._decrypted_size(below)
        if not self._binds:
            return replace_info(below, size=size)
        binding = Binding(below.attributes)
        if self._keyring.is_bound(binding, below.key, size):
            return replace_info(below, size=size, attributes=binding.attributes)
        # It may be of an earlier version, or its attributes were removed or changed: its header tells.
        async with self.base.open(below.key) as source:
            return (await self._reader(below.key, source))[0].info

    async def _reader(self, key: str, source: ObjectReader) -> tuple[SealedReader, bool]:
        """Return a reader of the decrypted object, whose attributes are verified, and whether its size is, too."""
        header = await source.read(HEADER)
        seal = self._keyring.seal_of(header, key)
        size = self._decrypted_size(source.info)
        if not self._binds:
            return SealedReader(replace_info(source.info, size=size), source, seal), False
        binding = Binding(source.info.attributes)
        found = self._keyring.attributes_of(binding, header, key, size)
        reader = SealedReader(replace_info(source.info, size=size, attributes=found), source, seal)
        if binding.random is None:  # without a seal all depends on the mark: the header may be changed, or another's
            await reader.verify_header()
        return reader, binding.covers_size

    def _decrypted_size(self, below: ObjectInfo) -> int:
        """Return the size of the decrypted object."""
        size = decrypted_size(below.size)
        if size is None:
            raise CorruptObjectError("not an encrypted object, or truncated", key=below.key, store=self)
        return size

    async def _decrypted(self, key: str, sealed: bytes) -> bytes:
        seal = self._keyring.seal_of(sealed, key)
        segments = memoryview(sealed)[HEADER:]
        return await offload(seal.decrypt, segments) if len(sealed) > OFFLOAD_ABOVE else seal.decrypt(segments)

    async def _encrypted(self, seal: Seal, data: Data) -> AsyncIterator[bytes]:
        """Yield the encrypted object of a stream, one piece late: it must be known whether a piece is the last one."""
        held, number = b"", 0
        async with aclosing(chunks(data)) as pieces:
            async for piece in pieces:
                if held:
                    yield seal.encrypt(held, number=number, last=False)
                    number += len(held) // SEGMENT
                held = piece
        yield seal.encrypt(held, number=number)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base!r}, active={self.active!r})"
