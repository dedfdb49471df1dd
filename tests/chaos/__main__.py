"""`python -m tests.chaos`: one long chaos run; prints a table and JSON, and ends with status 1 if a promise was broken."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from pathlib import Path

from tests.chaos.checker import check
from tests.chaos.history import History, decode, encode
from tests.chaos.nemesis import KINDS
from tests.chaos.planted import Plant
from tests.chaos.report import as_json, as_table
from tests.chaos.run import Plan, run


def main() -> int:
    """Run, judge and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=900.0, help="how long there is load")
    parser.add_argument("--seed", type=int, default=1, help="decides which faults and which wishes")
    parser.add_argument("--every", type=float, default=10.0, help="seconds from one fault to the next")
    parser.add_argument("--folder", type=Path, help="where data, logs and evidence are kept; a temporary one by default")
    parser.add_argument("--bug", type=Plant, choices=list(Plant), metavar="NAME", help="plant a bug: see planted.py")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS, metavar="FAULT", help="kinds of faults to draw from")
    parser.add_argument("--judge", type=Path, metavar="FILE", help="make no run; judge the history.json of an earlier one")
    given = parser.parse_args()
    # However it is asked to end, it takes its processes with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    plan = Plan(given.seconds, given.seed, given.every, tuple(given.only), given.bug)
    history = _make(plan, given.folder) if given.judge is None else decode(given.judge.read_bytes())
    verdict = check(history)
    print(as_table(history, verdict))
    print(as_json(history, verdict))
    return 0 if verdict.good else 1


def _make(plan: Plan, folder: Path | None) -> History:
    """Make a run; what it leaves is kept if a folder is named."""
    with tempfile.TemporaryDirectory(prefix="foliot-chaos-", ignore_cleanup_errors=True) as temporary:
        chosen = folder or Path(temporary)
        chosen.mkdir(parents=True, exist_ok=True)
        history = asyncio.run(run(plan, chosen))
        (chosen / "history.json").write_bytes(encode(history))
        return history


if __name__ == "__main__":
    sys.exit(main())
