"""The keys of encryption: their forms, their rotation, and that they are never visible."""

from __future__ import annotations

import base64
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from storage import (
    Attributes,
    ConfigError,
    CorruptObjectError,
    Data,
    DictStore,
    EncryptingStore,
    GzipStore,
    KeyNotFoundError,
    PrefixStore,
    SqliteStore,
    StoreDecorator,
)

SECRET = bytes(range(32))
OTHER = bytes(range(100, 132))


# -- their forms -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        SECRET.hex(),
        SECRET.hex().upper(),
        base64.b64encode(SECRET).decode(),
        base64.b64encode(SECRET).decode().rstrip("="),
        base64.b64encode(SECRET).decode() + "\n",
    ],
)
async def test_key_may_be_text(text: str) -> None:
    """A configuration cannot contain bytes."""
    base = DictStore()
    await EncryptingStore(base, {"a": text}).put("k", b"v")

    assert b"v" == await EncryptingStore(base, {"a": SECRET}).get("k")


async def test_urlsafe_base64_is_base64() -> None:
    """Either alphabet, padded or not: ``secrets.token_urlsafe(32)`` makes such keys."""
    base, key = DictStore(), bytes(range(224, 256))
    await EncryptingStore(base, {"a": base64.urlsafe_b64encode(key).decode().rstrip("=")}).put("k", b"v")

    assert b"v" == await EncryptingStore(base, {"a": key}).get("k")


async def test_generated_keys_work_and_differ() -> None:
    """They can be used in a configuration directly."""
    first, second = EncryptingStore.generate_key(), EncryptingStore.generate_key()
    base = DictStore()
    await EncryptingStore(base, {"a": first}).put("k", b"v")

    assert b"v" == await EncryptingStore(base, {"a": first}).get("k")
    with pytest.raises(CorruptObjectError):
        await EncryptingStore(base, {"a": second}).get("k")


WRONG_KEYS: Mapping[str, Any] = {
    "too short": b"0123456789abcdef",
    "too long": b"0123456789abcdef" * 3,
    "a password": "0123456789abcdef",
    "32 characters": "0123456789abcdef" * 2,
    "63 digits": ("0123456789abcdef" * 4)[:-1],
    "not base64": "0123456789abcdef!" * 3,
    "not ASCII": "0123456789abcdefü" * 3,
    "empty": "",
    "none": None,
    "a number": 0x0123456789ABCDEF,
}


@pytest.mark.parametrize("name", WRONG_KEYS)
def test_wrong_key_is_refused_and_not_shown(name: str) -> None:
    """The error names the key's id. Neither it nor its causes contain the key."""
    with pytest.raises(
        ValueError, match=r"the key 'a' is not 32 bytes, as bytes or in hex or base64; create one with generate_key"
    ) as caught:
        EncryptingStore(DictStore(), {"a": WRONG_KEYS[name]})

    assert "0123456789" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("key_id", ["", "x" * 33, "ü" * 17, "a\0"])
def test_wrong_id_is_refused(key_id: str) -> None:
    """An id has 32 bytes in each object."""
    with pytest.raises(ValueError, match="the id of a key must be 1 to 32 bytes of text"):
        EncryptingStore(DictStore(), {key_id: SECRET})


def test_number_as_an_id_is_refused() -> None:
    """In YAML, 2026 is a number."""
    keys: Any = {2026: SECRET}

    with pytest.raises(TypeError, match="the id of a key must be text: put 2026 in quotes"):
        EncryptingStore(DictStore(), keys)


@pytest.mark.parametrize(("keys", "active"), [({}, None), ({"a": SECRET, "b": OTHER}, None), ({"a": SECRET}, "b")])
def test_it_must_be_clear_which_key_encrypts(keys: dict[str, bytes], active: str | None) -> None:
    """There is one key, or one of several is named."""
    with pytest.raises(ValueError, match="active must be the id of the key to encrypt with"):
        EncryptingStore(DictStore(), keys, active=active)


async def test_longest_id_fits() -> None:
    """It uses all 32 bytes."""
    store = EncryptingStore(DictStore(), {"ü" * 16: SECRET})
    await store.put("k", b"v")

    assert b"v" == await store.get("k")


async def test_no_secret_is_shown() -> None:
    """Neither by the store nor by its errors with all their causes."""
    base = DictStore()
    store = EncryptingStore(base, {"a": SECRET})
    await store.put("k", b"v")
    await base.put("k", (await base.get("k"))[:-1] + b"?")
    with pytest.raises(CorruptObjectError) as caught:
        await store.get("k")

    shown = [repr(store), str(store), *traceback.format_exception(caught.value)]
    assert "EncryptingStore(DictStore(), active='a')" == repr(store)
    assert not any(secret in each for each in shown for secret in (repr(SECRET)[2:20], SECRET.hex()[:8]))


# -- rotation ---------------------------------------------------------------------------------------------------


async def test_old_keys_still_read() -> None:
    """An object is read with the key that it was written with, and written with the active one."""
    base = DictStore()
    await EncryptingStore(base, {"2025": SECRET}).put("old", b"old")
    store = EncryptingStore(base, {"2025": SECRET, "2026": OTHER}, active="2026")
    await store.put("new", b"new")

    assert [b"old", b"new"] == [await store.get("old"), await store.get("new")]
    assert b"new" == await EncryptingStore(base, {"2026": OTHER}).get("new")


async def test_key_that_is_not_there_is_named() -> None:
    """The id tells the user which key is missing."""
    base = DictStore()
    await EncryptingStore(base, {"2025": SECRET}).put("k", b"v")
    store = EncryptingStore(base, {"2026": OTHER})

    for read in (store.get("k"), store.open("k").__aenter__(), store.reencrypt("k")):
        with pytest.raises(CorruptObjectError, match="encrypted with the key '2025', which this store does not have"):
            await read


async def test_objects_are_reencrypted_once() -> None:
    """Then the old key can be removed; attributes are kept, and large objects are streamed."""
    base, data = DictStore(), bytes(range(256)) * 6000 + b"end"
    old = EncryptingStore(base, {"2025": SECRET})
    await old.put("small", b"", attributes={"color": "red"})
    await old.put("large", data)
    store = EncryptingStore(base, {"2025": SECRET, "2026": OTHER}, active="2026")

    assert [True, True] == [await store.reencrypt(key) async for key in store.keys()]
    assert [False, False] == [await store.reencrypt(key) async for key in store.keys()]

    new = EncryptingStore(base, {"2026": OTHER})
    assert [b"", data] == [await new.get("small"), await new.get("large")]
    assert {"color": "red"} == (await new.head("small")).attributes


async def test_reencrypting_does_not_undo_a_put() -> None:
    """An object that is put while the old version is read is kept."""

    class Overtaken(StoreDecorator):
        async def put(
            self,
            key: str,
            data: Data,
            *,
            if_absent: bool = False,
            if_match: str | None = None,
            attributes: Attributes | None = None,
        ) -> str:
            if if_match is not None:
                await store.put(key, b"newer")
            return await super().put(key, data, if_absent=if_absent, if_match=if_match, attributes=attributes)

    base = DictStore()
    store = EncryptingStore(base, {"2025": SECRET, "2026": OTHER}, active="2026")
    await EncryptingStore(base, {"2025": SECRET}).put("k", b"old")

    overtaken = EncryptingStore(Overtaken(base), {"2025": SECRET, "2026": OTHER}, active="2026")

    assert not await overtaken.reencrypt("k")
    assert b"newer" == await store.get("k")


async def test_what_is_missing_is_not_reencrypted() -> None:
    """A missing object is an error."""
    with pytest.raises(KeyNotFoundError):
        await EncryptingStore(DictStore(), {"a": SECRET}).reencrypt("k")


# -- in a stack -------------------------------------------------------------------------------------------------


async def test_copy_and_rename_encrypt_anew(tmp_path: Path) -> None:
    """A copy in the store below cannot be decrypted; a copy by the store can, and has its own salt."""
    async with SqliteStore(tmp_path / "objects.db") as base:
        store = PrefixStore(EncryptingStore(base, {"a": SECRET}), "a/")
        await store.put("k", b"v", attributes={"color": "red"})
        await store.copy("k", "copy")
        await store.rename("k", "renamed")

        assert {"copy": b"v", "renamed": b"v"} == await store.get_many(["copy", "renamed"])
        assert {"color": "red"} == (await store.head("renamed")).attributes
        assert (await base.get("a/copy"))[40:72] != (await base.get("a/renamed"))[40:72]


def test_compression_of_encrypted_bytes_is_refused() -> None:
    """Compression must be above; the message says so."""
    with pytest.raises(ConfigError, match=r"GzipStore\(EncryptingStore\(\.\.\.\)\)"):
        EncryptingStore(GzipStore(DictStore()), {"a": SECRET})
    GzipStore(EncryptingStore(DictStore(), {"a": SECRET}))


async def test_large_objects_leave_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over 1 MiB a worker thread encrypts and decrypts; for small ones a thread is not worth its hop."""
    from storage.decorators.encrypting import store as encrypting

    sent: list[str] = []

    async def offload(work: Any, *args: Any) -> Any:
        sent.append(work.__name__)
        return work(*args)

    monkeypatch.setattr(encrypting, "offload", offload)
    store = EncryptingStore(DictStore(), {"a": SECRET})
    await store.put("small", bytes(1 << 20))
    await store.put("large", bytes(1 << 21))
    await store.get_many(["small", "large"])

    assert ["encrypt", "decrypt", "decrypt"] == sent
