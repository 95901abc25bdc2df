"""The seal of attributes and the mark of a salt are what the description of the format says."""

from __future__ import annotations

import base64
from hashlib import blake2b

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from storage import DictStore, EncryptingStore

SECRET = bytes(range(32))


def seal_written_down(salt: bytes, covered: int, size: int | None, texts: list[str]) -> tuple[str, bytes]:
    """Return the seal and the marks that are made exactly as `bound_attributes` says."""
    key = HKDF(SHA256(), 32, None, b"stackstore sealed 1 attributes").derive(SECRET)
    lengths = " ".join(str(len(text)) for text in texts)
    text = f"{'' if size is None else size}\n{lengths}\n{''.join(texts)}".encode()
    tag = blake2b(salt[:24] + bytes([covered]) + text, key=key, digest_size=17).digest()
    marks = blake2b(salt[:24], key=key, digest_size=16).digest()
    return base64.b64encode(salt[:24] + bytes([covered]) + tag).decode(), marks


OWNER = ["owner", "zoë"]

#: For attributes: which of those that servers add are covered, and the texts that are.
COVERED: list[tuple[dict[str, str] | None, int, list[str]]] = [
    (None, 0, []),
    ({"expires-in": "60"}, 0, []),
    (
        {"content-type": "text/plain", "owner": "zoë", "expires-in": "60"},
        1 << 4,
        ["content-type", "text/plain", *OWNER],
    ),
    ({"owner": "zoë", "expires-at": "-", "cache-control": "x"}, 65, ["cache-control", "x", "expires-at", "-", *OWNER]),
]


@pytest.mark.parametrize(("attributes", "covered", "texts"), COVERED)
@pytest.mark.parametrize("streamed", [False, True])
async def test_attributes_are_bound_as_the_format_says(
    attributes: dict[str, str] | None,
    covered: int,
    texts: list[str],
    streamed: bool,
) -> None:
    """The seal and the mark are those of the format with the same salt, so that other versions read them."""
    base = DictStore()
    store = EncryptingStore(base, {"1": SECRET})
    await store.put("a/ü", iter([b"data"]) if streamed else b"data", attributes=attributes)

    salt = (await base.get("a/ü"))[40:72]
    size, sized = (None, 0) if streamed else (4, 1 << 7)
    seal, marks = seal_written_down(salt, covered | sized, size, ["a/ü", *texts])
    assert {**(attributes or {}), "seal": seal} == (await base.head("a/ü")).attributes
    assert (marks[8:] if texts else marks[:8]) == salt[24:]
