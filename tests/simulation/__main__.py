"""`python -m tests.simulation --seeds 2000`: many stories on all cores; ends 1 and names the seeds if a promise was broken."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from collections.abc import Iterable

from foliot.kit.clock import SystemClock
from tests.simulation.telling import tell


def main(arguments: list[str]) -> int:
    """Tell stories, and return the exit status."""
    parser = argparse.ArgumentParser(prog="tests.simulation", description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=200, help="how many")
    parser.add_argument("--seconds", type=float, default=600.0, help="how long the nemesis is at work in each, in its own time")
    given = parser.parse_args(arguments)
    clock = SystemClock()
    began = clock.monotonic()
    wanted = [(seed, given.seconds) for seed in range(given.first, given.first + given.seeds)]
    broken: list[int] = []
    covered_s = 0.0
    attempts = 0
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        told: Iterable[tuple[int, str, float, int]] = pool.imap_unordered(tell, wanted)
        for seed, what, seconds, ran in told:
            covered_s += seconds
            attempts += ran
            if what:
                broken.append(seed)
                print(f"seed {seed}: make simulate SEED={seed}\n{what}")  # noqa: T201 - the report
    took_s = clock.monotonic() - began
    print(  # noqa: T201 - the report
        f"{len(wanted)} stories, {covered_s / 3600:.1f} hours of cluster time, {attempts:,} attempts, {took_s:.0f} s; "
        f"broken: {sorted(broken) or 'none'}"
    )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
