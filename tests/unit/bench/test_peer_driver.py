"""What a peer's program says is heard, whatever it says besides."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

import pytest

from tests.bench.peers.contest import ratio
from tests.bench.peers.driver import Driver, DriverError

PROGRAM = """
import sys
print("A banner of 3 lines", flush=True)
print("", flush=True)
print("first 7", flush=True)
print("ready", flush=True)
for line in sys.stdin:
    what, *numbers = line.split()
    print("pending 0" if what == "pending" else " ".join(["did", *numbers]), flush=True)
    if what == "end":
        break
"""


@pytest.fixture
async def driver() -> AsyncIterator[Driver]:
    driver = Driver((sys.executable, "-c", PROGRAM), {})
    await driver.start()
    yield driver
    await driver.stop()


async def test_what_was_said_early_is_not_lost(driver: Driver) -> None:
    assert await driver.ask("one", 5, 6) == [5, 6]
    assert await driver.hear("first") == [7]
    await driver.wait_none_pending()


async def test_a_program_that_ends_is_told(driver: Driver) -> None:
    await driver.ask("end")
    with pytest.raises(DriverError, match="ended without saying reached"):
        await driver.hear("reached")


def test_a_ratio_above_one_is_better_for_rates_and_for_times() -> None:
    assert ratio(30.0, 20.0, "drain_per_s") == 1.5
    assert ratio(2.0, 3.0, "submit_to_start_p50_ms") == 1.5
