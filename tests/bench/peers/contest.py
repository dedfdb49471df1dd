"""What is measured of every peer, and of Foliot in the same shape: sizes, figures, and who is measured how."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.bench import measurements
from tests.bench.ledger import Ledger
from tests.bench.measurements import Bench, percentile
from tests.bench.peers.driver import Driver
from tests.bench.stack import Stack

HERE: Final = Path(__file__).parent
BULK: Final = 1_000
WARM_UP: Final = 20
PAUSE_S: Final = 0.01


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many tasks each shape has; a slow peer gets fewer, so that a round ends."""

    throughput: int = 100_000
    drain: int = 50_000
    commands: int = 2_000
    latency: int = 200

    def scaled(self, factor: float) -> Sizes:
        """Answer the sizes times a factor."""
        return Sizes(*(max(20, int(size * factor)) for size in (self.throughput, self.drain, self.commands, self.latency)))


@dataclass(frozen=True, slots=True)
class Peer:
    """A program to compare with: how it is called, what it needs, and which share of the sizes it gets."""

    name: str
    command: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)
    share: float = 1.0

    def submitter(self, servers: Mapping[str, str]) -> Driver:
        """Its process that submits."""
        return Driver((*self.command, "submit"), {**self.environ, **servers})

    def worker(self, servers: Mapping[str, str], kind: str, expected: int) -> Driver:
        """Its process that works and tells of the last of so many tasks."""
        return Driver((*self.command, "work", kind, str(expected)), {**self.environ, **servers})


def peers(tools: Path) -> list[Peer]:
    """Answer the peers that are installed below a folder (see install.py)."""
    python = str(tools / "python" / "bin" / "python")
    node = str(tools / "node" / "node_modules" / ".bin" / "node")
    modules = {"NODE_PATH": str(tools / "node" / "node_modules")}
    found = []
    if Path(python).exists():
        found.append(Peer("PgQueuer", (python, str(HERE / "pgqueuer_driver.py"))))
        found.append(Peer("Celery", (python, str(HERE / "celery_driver.py")), share=0.1))
    if Path(node).exists():
        found.append(Peer("graphile-worker", (node, str(HERE / "graphile_driver.cjs")), modules))
        found.append(Peer("BullMQ", (node, str(HERE / "bullmq_driver.cjs")), modules))
    return found


Figures = dict[str, float]


async def measure_peer(peer: Peer, servers: Mapping[str, str], sizes: Sizes, say: Callable[[str], None]) -> Figures:
    """Measure a peer in all shapes, on servers of its own; `servers` are its environment."""
    sizes = sizes.scaled(peer.share)
    submitter = peer.submitter(servers)
    await submitter.start()
    try:
        found: Figures = {}
        for shape in (_latency, _commands, _throughput, _drain):
            figures = await shape(peer, servers, submitter, sizes)
            say(f"  {peer.name}: " + ", ".join(f"{key} {value:,.4g}" for key, value in figures.items()))
            found |= figures
        return found
    finally:
        await submitter.stop()


async def _latency(peer: Peer, servers: Mapping[str, str], submitter: Driver, sizes: Sizes) -> Figures:
    worker = peer.worker(servers, "functions", 0)
    await worker.start()
    try:
        took = []
        for number in range(WARM_UP + sizes.latency):
            began, _ = await submitter.ask("one", number)
            started = (await worker.hear("started"))[1]
            took.append((started - began) / 1e6)
            await asyncio.sleep(PAUSE_S)
        await submitter.wait_none_pending()
    finally:
        await worker.stop()
    return {"submit_to_start_p50_ms": percentile(took[WARM_UP:], 50), "submit_to_start_p99_ms": percentile(took[WARM_UP:], 99)}


async def _commands(peer: Peer, servers: Mapping[str, str], submitter: Driver, sizes: Sizes) -> Figures:
    return {"commands_per_s": await _while_worked(peer, servers, submitter, "true", sizes.commands)}


async def _throughput(peer: Peer, servers: Mapping[str, str], submitter: Driver, sizes: Sizes) -> Figures:
    return {"throughput_per_s": await _while_worked(peer, servers, submitter, "noop", sizes.throughput)}


async def _while_worked(peer: Peer, servers: Mapping[str, str], submitter: Driver, name: str, size: int) -> float:
    worker = peer.worker(servers, "commands" if name == "true" else "functions", size)
    await worker.start()
    try:
        began, _ = await submitter.ask("bulk", name, size, BULK)
        reached = (await worker.hear("reached"))[0]
        await submitter.wait_none_pending()
    finally:
        await worker.stop()
    return size / (max(reached, time.monotonic_ns()) - began) * 1e9


async def _drain(peer: Peer, servers: Mapping[str, str], submitter: Driver, sizes: Sizes) -> Figures:
    began, done = await submitter.ask("bulk", "noop", sizes.drain, BULK)
    worker = peer.worker(servers, "functions", sizes.drain)
    await worker.start()
    try:
        first = (await worker.hear("first"))[0]
        await worker.hear("reached")
        await submitter.wait_none_pending()
        ended = time.monotonic_ns()
    finally:
        await worker.stop()
    return {"drain_per_s": sizes.drain / (ended - first) * 1e9, "queued_per_s": sizes.drain / (done - began) * 1e9}


async def measure_foliot(folder: Path, sizes: Sizes, say: Callable[[str], None]) -> Figures:
    """Measure Foliot in the same shapes, by the measurements of `make bench`, with the defaults that users get."""
    shapes: Mapping[str, tuple[Callable[[Bench, int], Awaitable[Figures]], int, Mapping[str, str]]] = {
        "latency": (
            measurements.latency,
            sizes.latency,
            {key: key for key in ("submit_to_start_p50_ms", "submit_to_start_p99_ms")},
        ),
        "commands": (measurements.commands, sizes.commands, {"commands_per_s": "commands_per_s"}),
        "throughput": (measurements.throughput, sizes.throughput, {"tasks_per_s": "throughput_per_s"}),
        "drain": (measurements.drain, sizes.drain, {"tasks_per_s": "drain_per_s", "queued_per_s": "queued_per_s"}),
    }
    found: Figures = {}
    async with Stack(folder, 16) as stack:
        ledger = await Ledger.open(stack.database_url)
        try:
            for run, size, names in shapes.values():
                figures = await run(Bench(stack, ledger), size)
                chosen = {shown: figures[key] for key, shown in names.items()}
                say("  Foliot: " + ", ".join(f"{key} {value:,.4g}" for key, value in chosen.items()))
                found |= chosen
        finally:
            await ledger.close()
    return found


def ratio(ours: float, theirs: float, name: str) -> float:
    """How many times better we are: rates are better when high, times when low."""
    return ours / theirs if name.endswith("_per_s") else theirs / ours


def medians(rounds: list[Figures]) -> Figures:
    """Answer the median of each figure."""
    return {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}


def say(line: str) -> None:
    """Print a line for people."""
    print(line, file=sys.stderr, flush=True)
