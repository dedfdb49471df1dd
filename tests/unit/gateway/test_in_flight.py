"""How many requests a gateway serves at once, and what their bodies may have together."""

from __future__ import annotations

import pytest

from foliot_gateway.http.fault import FaultError
from foliot_gateway.http.in_flight import SMALL_BYTES, WATCHERS_MAX, InFlight, body_size


def refused(in_flight: InFlight, size: int) -> None:
    with pytest.raises(FaultError) as caught:
        in_flight.begin(size)
    fault = caught.value.fault
    assert (fault.status, fault.code, fault.headers()["retry-after"]) == (503, "overloaded", "1")


def test_more_requests_than_there_is_room_for_are_told_to_come_back() -> None:
    in_flight = InFlight(requests_max=2)
    in_flight.begin(0)
    in_flight.begin(0)
    refused(in_flight, 0)
    in_flight.end(0)
    in_flight.begin(0)
    assert in_flight.requests == 2


def test_who_asks_after_the_health_of_a_full_gateway_finds_a_place_kept_for_it() -> None:
    in_flight = InFlight(requests_max=2)
    in_flight.begin(0)
    in_flight.begin(0)
    for _ in range(WATCHERS_MAX):
        in_flight.begin(0, watches=True)
    with pytest.raises(FaultError):
        in_flight.begin(0, watches=True)
    refused(in_flight, 0)


def test_large_bodies_wait_for_one_another_and_small_ones_do_not() -> None:
    large = SMALL_BYTES + 1
    in_flight = InFlight(bytes_max=large)
    in_flight.begin(large)
    refused(in_flight, large)
    in_flight.begin(SMALL_BYTES)
    in_flight.end(SMALL_BYTES)
    in_flight.end(large)
    in_flight.begin(large)


@pytest.mark.parametrize(
    ("headers", "size"),
    [
        ({}, 0),
        ({"content-length": "10"}, 10),
        ({"content-length": "99999999999"}, 1_000),
        ({"content-length": "many"}, 0),
        ({"transfer-encoding": "chunked"}, 1_000),
    ],
)
def test_a_body_counts_for_what_it_may_become(headers: dict[str, str], size: int) -> None:
    assert body_size(headers, 1_000) == size
