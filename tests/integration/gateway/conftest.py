"""How long the tests of gateways wait for a Redis that is well: a busy machine must not make it look late."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from foliot_gateway.http import redis_link
from foliot_gateway.http.limits import shared

PATIENT_S = 20.0


@pytest.fixture(scope="module", autouse=True)
def patient_with_redis() -> Iterator[None]:
    """Wait for Redis for as long as it takes; a test that wants it late says how long to wait."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redis_link, "TIMEOUT_S", PATIENT_S)
        patch.setattr(shared, "PATIENCE_S", PATIENT_S)
        yield
