"""`python -m tests.simulation --seeds 2000`: many stories on all cores; ends 1 and says what was broken if a promise was.

--first 7 --seeds 1         one story
--shrink                    cut what was broken down, and write it to a file that `--replay` and the tests tell again
--replay FILE               tell such a file, with all that took part heard
--plant fence               with a bug, to see that it is noticed; ends 1 because it is
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from foliot.kit.clock import SystemClock
from tests.simulation.plan import Plan
from tests.simulation.planted import BUGS, GENTLE
from tests.simulation.shrink import shrink
from tests.simulation.telling import Told, begin, tell
from tests.simulation.witness import Witness, read_witness

if TYPE_CHECKING:
    from multiprocessing.pool import Pool

BROKEN_MAX: Final = 5
"""After so many broken stories no more are told: they mostly break for one reason."""


def main(arguments: list[str]) -> int:
    """Tell stories, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="tests.simulation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=200, help="how many")
    parser.add_argument("--seconds", type=float, default=600.0, help="how long the nemesis is at work in each, in its own time")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many processes; the stories are the same")
    parser.add_argument("--plant", choices=sorted(BUGS), default="", help="a bug to put into the code")
    parser.add_argument("--shrink", action="store_true", help="cut the first broken story down to what breaks it")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="tell the story of a file that --shrink wrote")
    given = parser.parse_args(arguments)
    with multiprocessing.get_context("spawn").Pool(given.jobs, begin) as pool:
        if given.replay is not None:
            return _replay(pool, read_witness(given.replay))
        plans = [story_of(seed, given.seconds, given.plant) for seed in range(given.first, given.first + given.seeds)]
        broken = _tell_all(pool, plans, given.plant)
        if broken and given.shrink:
            _shrink(pool, broken[0], given.plant)
    return 1 if broken else 0


def story_of(seed: int, seconds: float, bug: str) -> Plan:
    """The story of a seed: one of ten is gentle, or all are if the bug shows in no others."""
    return Plan(seed, seconds, gentle=seed % 10 == 9 or bug in GENTLE)


def _tell_all(pool: Pool, plans: list[Plan], bug: str) -> list[Told]:
    clock = SystemClock()
    began = clock.monotonic()
    broken: list[Told] = []
    faults: Counter[str] = Counter()
    stories = seconds = attempts = commits = 0.0
    for told in pool.imap(partial(tell, bug=bug), plans):
        stories, seconds = stories + 1, seconds + told.seconds
        faults += told.faults
        if told.summary is None:
            broken.append(told)
            _clear_line()
            _show(told, bug)
            if len(broken) >= BROKEN_MAX:
                break
        else:
            attempts, commits = attempts + told.summary.attempts, commits + told.summary.commits
        if sys.stderr.isatty():
            rate = stories / (clock.monotonic() - began)
            print(f"\r{stories:.0f} of {len(plans)}, {rate:.2f} a second, {len(broken)} broken", end="", file=sys.stderr)
    _clear_line()
    took_s = clock.monotonic() - began
    say(
        f"{stories:.0f} stories, {seconds / 3600:.1f} hours of cluster time, {attempts:,.0f} attempts, {commits:,.0f} commits; "
        f"{took_s:.0f} s, {stories / took_s:.2f} stories a second"
    )
    say("faults: " + ", ".join(f"{kind} {count:,}" for kind, count in sorted(faults.items())))
    say("broken: " + (", ".join(f"seed {told.plan.seed} ({told.promise})" for told in broken) or "none"))
    return broken


def _show(told: Told, bug: str) -> None:
    seed = told.plan.seed
    extra = f" --seconds {told.plan.seconds:g}" + (f" --plant {bug}" if bug else "")
    say(f"seed {seed} breaks a promise: {told.promise}")
    say(told.tail)
    say(told.what)
    say(f"again: python -m tests.simulation --first {seed} --seeds 1{extra}; cut down: the same with --shrink\n")


def _shrink(pool: Pool, broken: Told, bug: str) -> None:
    clock = SystemClock()
    began = clock.monotonic()
    plan, tries = shrink(broken.plan, broken.promise, partial(pool.imap, partial(tell, bug=bug)))
    witness = Witness(plan, broken.promise, bug)
    path = Path(f"simulation-seed{plan.seed}{'-' + bug if bug else ''}.json")
    path.write_text(witness.as_text())
    told = pool.apply(tell, (plan, bug), {"aloud": True})
    say(f"shrunk in {tries} tries and {clock.monotonic() - began:.0f} s:\n{told.tail}\n{told.what}\n{json.dumps(plan.as_json())}")
    say(f"written to {path}: --replay tells it again; the tests do, once it is in tests/simulation/regressions")


def _replay(pool: Pool, witness: Witness) -> int:
    told = pool.apply(tell, (witness.plan, witness.bug), {"aloud": True})
    say(f"{told.tail}\n{told.what}" if told.promise else f"no promise was broken: {told.summary}")
    return 1 if told.promise else 0


def _clear_line() -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)


def say(text: str) -> None:
    """Put a part of the report out."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
