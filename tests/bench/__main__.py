"""`python -m tests.bench`: measures a real stack, prints a table to standard error and JSON to standard output."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench import graphs, http, measurements, reads, scale, yardsticks
from tests.bench.ledger import Ledger, LedgerError
from tests.bench.measurements import Bench, Measurement
from tests.bench.report import Round, Sample, summary, table
from tests.bench.stack import Stack, StackError, peak_kib


@dataclass(frozen=True, slots=True)
class Entry:
    """A measurement with its sizes."""

    run: Measurement
    size: int
    quick_size: int
    apart: bool = False
    """It fills or breaks its stack: it gets one of its own, once, after the rounds."""


# In this order: what needs an idle, small system first, what fills it last.
ENTRIES: Mapping[str, Entry] = {
    "latency": Entry(measurements.latency, 200, 20),
    "chain": Entry(graphs.chain, 100, 10),
    "fan": Entry(graphs.fan, 500, 20),
    "diamonds": Entry(graphs.diamonds, 100, 5),
    "commands": Entry(measurements.commands, 2_000, 40),
    "throughput": Entry(measurements.throughput, 100_000, 2_000),
    "queue": Entry(http.queue, 10_000, 200),
    "tasks_http": Entry(http.tasks_http, 5_000, 100),
    "drain": Entry(measurements.drain, 50_000, 1_000),
    "reads": Entry(reads.reads, 20, 2),
    "killed_worker": Entry(scale.killed_worker, 3, 1, apart=True),
    "due_at_once": Entry(scale.due_at_once, 60_000, 100, apart=True),
    "due_over_a_minute": Entry(scale.due_over_a_minute, 10_000, 100, apart=True),
    "large_run": Entry(scale.large_run, 100_000, 400, apart=True),
    "backlog": Entry(scale.backlog, 1_000_000, 2_000, apart=True),
}


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for."""

    rounds: int
    only: Sequence[str]
    quick: bool
    concurrency: int
    prefetch: int | None
    history: int
    output: Path | None

    def sizes(self, *, apart: bool) -> dict[str, int]:
        """Answer the chosen measurements with their sizes, in the order to run them in."""
        wanted = self.only or ENTRIES
        # One stack is enough to see that all work.
        chosen = {name: entry for name, entry in ENTRIES.items() if name in wanted and (entry.apart and not self.quick) is apart}
        return {name: entry.quick_size if self.quick else entry.size for name, entry in chosen.items()}


def parse(arguments: Sequence[str] | None) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure a real stack; see tests/bench/README.md.")
    parser.add_argument("--rounds", type=int, default=3, help="how often to measure, each time with a fresh stack (default 3)")
    parser.add_argument("--only", action="append", default=[], choices=list(ENTRIES), help="measure this alone; may be repeated")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    parser.add_argument("--concurrency", type=int, default=16, help="tasks that the worker runs at once (default 16, as its own)")
    parser.add_argument("--prefetch", type=int, default=None, help="leases that the worker keeps ready (default: its own)")
    parser.add_argument("--history", type=int, default=0, help="no-ops that have ended before the first measurement (default 0)")
    parser.add_argument("--output", type=Path, default=None, help="write the JSON to this file too")
    given = parser.parse_args(arguments)
    if given.rounds < 1:
        parser.error("--rounds must be at least 1")
    return Options(**vars(given))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; answers 0, or 1 where a task was lost or the stack failed."""
    options = parse(arguments)
    try:
        common = options.sizes(apart=False)
        rounds = []
        for number in range(1, options.rounds + 1 if common else 1):
            say(f"round {number} of {options.rounds}")
            rounds.append(asyncio.run(one_stack(options, common)))
        for name, size in options.sizes(apart=True).items():
            rounds.append(asyncio.run(one_stack(options, {name: size}, apart=True)))
    except (LedgerError, StackError, TimeoutError) as error:
        say(f"error: {str(error) or type(error).__name__}")
        return 1
    asked = {"rounds": options.rounds, "quick": options.quick, "concurrency": options.concurrency, "prefetch": options.prefetch}
    asked["history"] = options.history
    found = summary(rounds, asked)
    text = json.dumps(found, indent=1)
    for line in table(found):
        say(line)
    print(text)
    if options.output is not None:
        options.output.write_text(text + "\n", encoding="utf-8")
    return 0


async def one_stack(options: Options, sizes: Mapping[str, int], *, apart: bool = False) -> Round:
    """Start a stack, measure everything of these sizes once, stop it."""
    with folder() as where:
        async with Stack(where, options.concurrency, options.prefetch) as stack:
            say("  " + ", ".join(f"{name} is process {pid}" for name, pid in stack.pids().items()))
            sticks = await yardsticks.measure(stack.database_url, quick=options.quick)
            machine = await yardsticks.machine(stack.database_url)
            ledger = await Ledger.open(stack.database_url)
            try:
                if options.history:
                    filled = await measurements.throughput(Bench(stack, ledger), options.history)
                    say(f"  history: {options.history:,} tasks, {filled['tasks_per_s']:,.0f} a second")
                samples = [await sample(Bench(stack, ledger), name, size) for name, size in sizes.items()]
            finally:
                await ledger.close()
            stack.look_at_memory()
            peaks = {**stack.peak_kib, "this benchmark": peak_kib_of_self()}
    return Round(samples, sticks, machine, {name: kib / 1024 for name, kib in peaks.items()}, apart)


async def sample(bench: Bench, name: str, size: int) -> Sample:
    """Measure one thing, and the machine's speed before and after."""
    before = yardsticks.calibrate_ms()
    figures = await ENTRIES[name].run(bench, size)
    after = yardsticks.calibrate_ms()
    say(
        f"  {name}: "
        + ", ".join(f"{key} {value:,.4g}" for key, value in figures.items())
        + f"  (loop {before:.0f}, {after:.0f} ms)"
    )
    return Sample(name, size, figures, round(before, 1), round(after, 1))


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Give a temporary folder."""
    where = Path(tempfile.mkdtemp(prefix="foliot-bench-"))
    try:
        yield where
    finally:
        shutil.rmtree(where, ignore_errors=True)


def peak_kib_of_self() -> int:
    """Answer this process's own peak."""
    import os

    return peak_kib(os.getpid())


def say(line: str) -> None:
    """Print a line for people."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
