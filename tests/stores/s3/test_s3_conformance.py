"""The suite on `BucketStore` over every installed S3 server, plain and over TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count

import pytest
from servers.buckets import bucket_store, conditions_of
from servers.s3 import Server, Servers, both_ways

from storage import BucketStore, ObjectStore
from storage.testing import StoreConformance

#: Faults of servers that a store cannot repair: tests that are not run on them, and why.
LIMITS: dict[str, dict[str, tuple[str, ...]]] = {
    "ceph": {
        "it drops a plain put that meets a conditional one, and says that it was done": (
            "test_if_match_holds_against_plain_puts",
        ),
        "it says that it deleted a version also when somebody else did": ("test_one_of_many_deleters_wins",),
        "it takes an etag with something behind it for the etag": ("test_if_match_refuses_another_version",),
        "it cannot list from behind a key that ends in U+FFFF": (
            "test_every_key_is_its_own_start",
            "test_prefix_and_start_after_select",
        ),
    },
    "rclone": {
        "keys are paths of files to it; asked for 'a' beside 'a/b' it never answers": (
            "test_children_for_any_prefix_and_delimiter",
            "test_every_key_is_its_own_start",
            "test_every_method_agrees_on_a_key",
            "test_keys_come_in_code_point_order",
            "test_nasty_keys_come_back_or_are_refused",
            "test_object_that_is_a_directory_too",
            "test_prefix_and_start_after_select",
        ),
        "it overwrites in place, and its listings lag behind concurrent writes": (
            "test_cancelled_bulk_put_leaves_whole_objects",
            "test_cancelled_creation_is_whole_or_nothing",
            "test_cancelled_put_is_over",
            "test_cancelled_put_is_whole_or_nothing",
            "test_delete_many_takes_every_key",
            "test_many_writers_leave_one_of_their_values",
            "test_puts_and_deletes_in_one_directory_do_not_fail",
            "test_readers_beside_writers_see_whole_objects",
            "test_readers_see_whole_versions_during_overwrites",
        ),
        "its metadata is short, and a copy's has a time that nobody gave": (
            "test_attributes_go_with_a_copy_and_a_rename",
            "test_two_kilobytes_of_attributes_fit",
        ),
    },
}


class TestBucketStore(StoreConformance):
    """One bucket on each server, with a prefix in it for every test."""

    late_writes = True
    large = 9_000_000  # more than a part of an upload
    numbers = count()

    server: Server
    prefix: str
    conditions: str

    @pytest.fixture(params=both_ways("ministack", "ceph", "rclone"))
    async def store(self, request: pytest.FixtureRequest, servers: Servers) -> AsyncIterator[ObjectStore]:
        self.server = servers.get(request.param)
        for reason, tests in LIMITS.get(self.server.kind, {}).items():
            if request.function.__name__ in tests:
                pytest.skip(f"{self.server.kind}: {reason}")
        paged = request.param == "ceph" and request.function.__name__ == "test_listing_goes_on_over_pages"
        self.many = 1203 if paged else 120  # a page of keys takes long
        self.prefix = f"t{next(self.numbers)}/"
        self.conditions = await conditions_of(self.server)
        async with self._store() as store:
            yield store

    def _store(self) -> BucketStore:
        return bucket_store(self.server, prefix=self.prefix, conditions=self.conditions)

    def another(self, store: ObjectStore) -> BucketStore:
        return self._store()
