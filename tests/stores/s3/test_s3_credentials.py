"""`BucketStore` with credentials that expire: those of a role on Ceph, or of a command."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiobotocore.session import get_session
from servers.buckets import bucket_store
from servers.registry import free_port
from servers.s3 import Server, Servers

from storage import BucketStore, ConfigError, PermissionDeniedError, StoreUnavailableError
from storage.testing import FaultProxy, ProxiedRequest

MIB = 1 << 20

#: The shortest duration of a role in seconds; botocore assumes it again when no more than that is left.
SHORTEST = 900

ROLE = "worker"


@pytest.fixture
def server(servers: Servers) -> Server:
    return servers.get("ceph")


@pytest.fixture
def own_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Make one file the only source of credentials, and return it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    return tmp_path / "config"


def chained(server: Server, **options: object) -> BucketStore:
    """Return a store without credentials of its own."""
    return bucket_store(
        server, s3_access_key=None, s3_secret_key=None, prefix=f"chained-{uuid.uuid4().hex}/", **options
    )


async def make_role(server: Server) -> str:
    """Allow the server's user to assume a role with all rights on objects, and return the role's full name."""
    everybody = {"Effect": "Allow", "Principal": {"AWS": ["*"]}, "Action": ["sts:AssumeRole"]}
    everything = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    async with get_session().create_client(
        "iam",
        endpoint_url=server.url,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name="us-east-1",
    ) as client:
        made = await client.create_role(
            RoleName=ROLE, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [everybody]})
        )
        await client.put_role_policy(
            RoleName=ROLE,
            PolicyName="all",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [everything]}),
        )
    arn: str = made["Role"]["Arn"]
    return arn


async def test_role_is_taken_again_before_it_ends(
    server: Server, own_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ceph issues the credentials, and accepts every request: each is signed with those that are valid now."""
    own_files.write_text(
        f"""
[profile main]
aws_access_key_id = {server.access_key}
aws_secret_access_key = {server.secret_key}
[default]
role_arn = {await make_role(server)}
source_profile = main
duration_seconds = {SHORTEST}
"""
    )
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
    seen: list[tuple[str, str]] = []

    def decide(request: ProxiedRequest) -> None:
        key = request.headers["authorization"].partition("Credential=")[2].partition("/")[0]
        seen.append((key, request.headers["x-amz-security-token"]))

    async with FaultProxy(server.url, decide) as proxy, chained(server, endpoint_url=proxy.url) as store:
        await store.put("k", b"value")
        await store.put("big", [b"x" * MIB] * 20)
        assert ["big", "k"] == [key async for key in store.keys()]
        assert [b"value"] * 20 == await asyncio.gather(*(store.get("k") for _ in range(20)))
        assert {"k": None, "big": None} == await store.delete_many(["k", "big"])

    keys, tokens = ({each[part] for each in seen} for part in (0, 1))
    assert len(keys) > 3
    assert len(keys) == len(tokens) == len(set(seen))
    assert server.access_key not in keys


async def test_command_that_gives_credentials(server: Server, own_files: Path) -> None:
    """Its output is used once the last credentials are about to expire; while it fails, so do calls."""
    says = own_files.with_name("says.json")
    own_files.write_text(f"[default]\ncredential_process = cat {says}\n")

    def say(secret_key: str) -> None:
        soon = datetime.now(UTC) + timedelta(minutes=1)  # botocore refreshes them when less than ten are left
        keys = {"AccessKeyId": server.access_key, "SecretAccessKey": secret_key, "Expiration": soon.isoformat()}
        says.write_text(json.dumps({"Version": 1, **keys}))

    async def results(store: BucketStore) -> list[object]:
        calls = (store.get("k"), store.put("k", b"value"), anext(store.keys()), store.presigned_get("k"))
        return [*await asyncio.gather(*calls, return_exceptions=True)]

    async with chained(server) as store:
        assert [PermissionDeniedError] * 4 == [type(result) for result in await results(store)]

        say(server.secret_key)
        await store.put("k", b"value")

        say("wrong")
        *made, signed = await results(store)
        assert [PermissionDeniedError] * 3 == [type(result) for result in made]
        assert isinstance(signed, str)

        says.unlink()
        assert [PermissionDeniedError] * 4 == [type(result) for result in await results(store)]

        say(server.secret_key)
        assert b"value" == await store.get("k")
        assert ["k"] == [key async for key in store.keys()]


async def test_who_gives_credentials_does_not_answer(
    server: Server, own_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That may be temporary, so it is retried; a missing profile is not."""
    own_files.write_text(
        f"""
[profile main]
aws_access_key_id = {server.access_key}
aws_secret_access_key = {server.secret_key}
[default]
role_arn = arn:aws:iam:::role/worker
source_profile = main
"""
    )
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    async with chained(server, retry_timeout=0.5) as store:
        for call in (store.get("k"), anext(store.keys())):
            with pytest.raises(StoreUnavailableError, match="the credentials provider"):
                await call

    monkeypatch.setenv("AWS_PROFILE", "nobody")
    async with chained(server) as store:
        with pytest.raises(ConfigError, match="nobody"):
            await store.get("k")
