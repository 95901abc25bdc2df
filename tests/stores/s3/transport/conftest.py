"""What the tests of connections share: the two ways to wait, plain and with TLS."""

from __future__ import annotations

import pytest
from servers.tls import Certificate
from wire import Encryption, Everyway, Way


@pytest.fixture(params=["awaited", "stepped"])
def way(request: pytest.FixtureRequest) -> Way:
    """Return each way to wait."""
    return Way(request.param == "stepped")


@pytest.fixture(params=["plain", "TLS"])
def encryption(request: pytest.FixtureRequest, certificate: Certificate) -> Encryption:
    """Return each kind of connection."""
    return Encryption(certificate if request.param == "TLS" else None)


@pytest.fixture
def tls(certificate: Certificate) -> Encryption:
    """Return what both sides need for TLS."""
    return Encryption(certificate)


@pytest.fixture
def everyway(certificate: Certificate) -> Everyway:
    """Return each way with each kind of connection, for tests that take their time: together."""
    return [(Way(stepped), Encryption(each)) for stepped in (False, True) for each in (None, certificate)]
