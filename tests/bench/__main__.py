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

from tests.bench import graphs, http, measurements, yardsticks
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
}


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for."""

    rounds: int
    only: Sequence[str]
    quick: bool
    concurrency: int
    prefetch: int | None
    output: Path | None

    def sizes(self) -> dict[str, int]:
        """Answer the chosen measurements with their sizes, in the order to run them in."""
        chosen = {name: entry for name, entry in ENTRIES.items() if not self.only or name in self.only}
        return {name: entry.quick_size if self.quick else entry.size for name, entry in chosen.items()}


def parse(arguments: Sequence[str] | None) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure a real stack; see tests/bench/README.md.")
    parser.add_argument("--rounds", type=int, default=3, help="how often to measure, each time with a fresh stack (default 3)")
    parser.add_argument("--only", action="append", default=[], choices=list(ENTRIES), help="measure this alone; may be repeated")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    parser.add_argument("--concurrency", type=int, default=16, help="tasks that the worker runs at once (default 16, as its own)")
    parser.add_argument("--prefetch", type=int, default=None, help="leases that the worker keeps ready (default: its own)")
    parser.add_argument("--output", type=Path, default=None, help="write the JSON to this file too")
    given = parser.parse_args(arguments)
    if given.rounds < 1:
        parser.error("--rounds must be at least 1")
    return Options(**vars(given))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; answers 0, or 1 where a task was lost or the stack failed."""
    options = parse(arguments)
    try:
        rounds = [asyncio.run(one_round(options, number)) for number in range(1, options.rounds + 1)]
    except (LedgerError, StackError, TimeoutError) as error:
        say(f"error: {str(error) or type(error).__name__}")
        return 1
    asked = {"rounds": options.rounds, "quick": options.quick, "concurrency": options.concurrency, "prefetch": options.prefetch}
    found = summary(rounds, asked)
    text = json.dumps(found, indent=1)
    for line in table(found):
        say(line)
    print(text)
    if options.output is not None:
        options.output.write_text(text + "\n", encoding="utf-8")
    return 0


async def one_round(options: Options, number: int) -> Round:
    """Start a stack, measure everything once, stop it."""
    say(f"round {number} of {options.rounds}")
    with folder() as where:
        async with Stack(where, options.concurrency, options.prefetch) as stack:
            say("  " + ", ".join(f"{name} is process {pid}" for name, pid in stack.pids().items()))
            sticks = await yardsticks.measure(stack.database_url, quick=options.quick)
            machine = await yardsticks.machine(stack.database_url)
            ledger = await Ledger.open(stack.database_url)
            try:
                samples = [await sample(Bench(stack, ledger), name, size) for name, size in options.sizes().items()]
            finally:
                await ledger.close()
            stack.look_at_memory()
            peaks = {**stack.peak_kib, "this benchmark": peak_kib_of_self()}
    return Round(samples, sticks, machine, {name: kib / 1024 for name, kib in peaks.items()})


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
