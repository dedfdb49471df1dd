"""`python -m tests.chaos`: one long chaos run; prints a table and JSON, and ends with status 1 if a promise was broken."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.chaos.checker import check
from tests.chaos.report import as_json, as_table
from tests.chaos.run import Plan, run


def main() -> int:
    """Run, judge and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=900.0, help="how long there is load")
    parser.add_argument("--seed", type=int, default=1, help="decides which faults and which wishes")
    parser.add_argument("--every", type=float, default=10.0, help="seconds from one fault to the next")
    parser.add_argument("--folder", type=Path, help="where data, logs and evidence are kept; a temporary one by default")
    given = parser.parse_args()
    plan = Plan(given.seconds, given.seed, given.every)
    with tempfile.TemporaryDirectory(prefix="foliot-chaos-", ignore_cleanup_errors=True) as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        history = asyncio.run(run(plan, folder))
    verdict = check(history)
    print(as_table(plan, history, verdict))
    print(as_json(plan, history, verdict))
    return 0 if verdict.good else 1


if __name__ == "__main__":
    sys.exit(main())
