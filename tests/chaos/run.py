"""One chaos run: start the cluster, load it, torment it, heal it, let it drain, and collect what is left for the checker."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import asyncpg

from tests.chaos.cluster import Cluster
from tests.chaos.collect import collect, unended
from tests.chaos.evidence import read_lines
from tests.chaos.history import History
from tests.chaos.http_load import HttpLoad
from tests.chaos.load import CALL_TIMEOUT_S, Load
from tests.chaos.nemesis import KINDS, Nemesis
from tests.unit.core.dice import Dice

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.planted import Plant

WARM_UP_S: Final = 3.0
"""Load without faults before the first."""

COOL_DOWN_S: Final = 8.0
"""Load without faults after the last: work that began under it ends under it."""

DRAINED_WITHIN_S: Final = 120.0
"""What is asked must be answered, and what is acknowledged must end, within this once everything is healed; it takes seconds."""

CLOCK_TOLERANCE_S: Final = 0.2
"""How far the wall clock may go from the monotonic one in a run before its times are worth nothing."""

_POLL_S: Final = 0.5


class ClockMovedError(Exception):
    """Somebody set the machine's clock during the run."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is made of."""

    seconds: float
    """How long there is load."""

    seed: int
    fault_every_s: float
    kinds: tuple[str, ...] = KINDS
    plant: Plant | None = None


async def run(plan: Plan, folder: Path) -> History:
    """Make a run in a folder of its own. Raises ClockMovedError."""
    cluster = Cluster(folder, plant=plan.plant)
    try:
        await cluster.start()
        async with cluster.client(CALL_TIMEOUT_S) as client:
            load = Load(cluster, client, Dice(plan.seed))
            http = HttpLoad(cluster, Dice(plan.seed + 1))
            nemesis = Nemesis(cluster, Dice(plan.seed + 2), kinds=plan.kinds)
            try:
                stuck = await _torment(plan, cluster, load, http, nemesis)
            finally:
                load.abandon()
                await http.close()
        history = History(plan.seconds, plan.seed, plan.fault_every_s, stuck=stuck)
        history.asked, history.claims = [*load.asked, *http.asked], http.claims()
        history.schedules, history.graphs = load.schedules, load.graphs
        history.faults = nemesis.faults
        suffered = cluster.suffered
        history.killed, history.stopped, history.unlinked = suffered.killed, suffered.stopped, suffered.unlinked
        await collect(cluster.database_url, history)
        history.evidence = read_lines(cluster.evidence_folder)
    finally:
        await cluster.stop()
    offsets = [line.at - line.monotonic for line in history.evidence if line.monotonic]
    if offsets and max(offsets) - min(offsets) > CLOCK_TOLERANCE_S:
        raise ClockMovedError(f"the wall clock moved by {max(offsets) - min(offsets):.3f} s")
    return history


async def _torment(plan: Plan, cluster: Cluster, load: Load, http: HttpLoad, nemesis: Nemesis) -> bool:
    """Load and torment the cluster, and have it drain; answer whether clients were left without answers."""
    clock = cluster.clock
    until = cluster.now() + plan.seconds - COOL_DOWN_S
    await load.start()
    http.start()
    await clock.sleep(WARM_UP_S)
    await nemesis.torment(plan.fault_every_s, until)
    await clock.sleep(COOL_DOWN_S)
    stuck = await _wind_down(load, http)
    await _drain(cluster)
    return stuck


async def _wind_down(load: Load, http: HttpLoad) -> bool:
    """End the load; answer whether clients still had no answers when the patience ended."""
    try:
        async with asyncio.timeout(DRAINED_WITHIN_S):
            await asyncio.gather(load.stop(), http.stop())
    except TimeoutError:
        return True
    return False


async def _drain(cluster: Cluster) -> None:
    """Wait until no task is left, or the patience ends: the checker then finds those that are."""
    try:
        async with asyncio.timeout(DRAINED_WITHIN_S):
            while await _left(cluster):
                await cluster.clock.sleep(_POLL_S)
    except TimeoutError:
        return


async def _left(cluster: Cluster) -> int:
    try:
        return await unended(cluster.database_url)
    except (OSError, asyncpg.PostgresError):
        return 1
