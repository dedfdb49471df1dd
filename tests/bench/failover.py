"""`python -m tests.bench.failover`: how long nothing is leased while leadership moves, with thousands of tasks running.

Three replicas, one worker that runs `--running` functions all the time, and `--rate` submits a second of functions that end at
once. In each round the leader is killed (SIGKILL), or with `--how stop` asked to end (SIGTERM), and started again. The *gap* is
the longest time between two starts, one after the other, around that: from the last lease before to the first lease after, as the
functions themselves saw it. Every call must be answered, and nothing may be lost or run twice.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from foliot.client import Client
from foliot.v1 import task_pb2
from tests.bench.measurements import function
from tests.bench.replicas import APP, Cluster, Load, Starts, judge, over_grpc
from tests.processes import Stack

SIGNALS: Final = {"kill": signal.SIGKILL, "stop": signal.SIGTERM}
BULK: Final = 500
SETTLE_S: Final = 2.0
"""Before and after each round, so that no round begins in the midst of what the one before left."""


async def measure(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Start everything, go through the rounds, and return the figures."""
    async with Starts(folder) as starts:
        with Stack(folder, schedulers=options.replicas, gateway=False) as stack:
            await asyncio.to_thread(stack.start, workers=0)
            await asyncio.to_thread(stack.start_worker, app=APP, concurrency=options.running + 1_000)
            cluster = Cluster(stack)
            async with Client(stack.addresses) as client:
                held = range(options.running)
                for first in range(0, options.running, BULK):
                    tasks = [function("bench.hold", str(n)) for n in held[first : first + BULK]]
                    await client.tasks.SubmitTasks(task_pb2.SubmitTasksRequest(tasks=tasks))
                await starts.wait_for(held)
                say(f"{options.running} functions are running")
                async with Load([over_grpc(client)], options.rate, options.running) as load:
                    gaps = [await one_round(options, cluster, client, starts) for _ in range(options.rounds)]
                verdict = await judge(stack.database_url, load, starts)
    ordered = sorted(gaps)
    return {
        "how": options.how,
        "rounds": options.rounds,
        "running": options.running,
        "gap_p50_ms": ordered[len(ordered) // 2],
        "gap_p99_ms": ordered[min(len(ordered) - 1, round(len(ordered) * 0.99))],
        "gap_max_ms": ordered[-1],
        "gaps_ms": gaps,
        "calls": len(load.latencies_ms),
        "call_max_ms": round(max(load.latencies_ms), 1),
        "failed_calls": len(load.failures),
        "failures": load.failures[:5],
        "lost_tasks": verdict.missing,
        "repeated_tasks": verdict.repeated,
        "leased_again": verdict.leased_again,
    }


async def one_round(options: argparse.Namespace, cluster: Cluster, client: Client, starts: Starts) -> float:
    """Take leadership away once; return the gap in milliseconds."""
    await asyncio.sleep(SETTLE_S)
    index = await cluster.leader(client)
    leader = cluster.replica(index)
    since_ns = time.monotonic_ns()
    leader.signal(SIGNALS[options.how])
    await asyncio.to_thread(leader.process.wait, 60)
    await cluster.leader(client)
    await asyncio.sleep(SETTLE_S)
    gap_ms = round(starts.largest_gap_ms(since_ns, time.monotonic_ns()), 1)
    say(f"  replica {index} gone: {gap_ms} ms")
    await cluster.restart(index)
    return gap_ms


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; answers 0, or 1 where a call failed or a task was lost or ran twice."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.failover", description=__doc__)
    parser.add_argument("--how", choices=list(SIGNALS), default="kill", help="what happens to the leader (default kill)")
    parser.add_argument("--rounds", type=int, default=10, help="how often (default 10)")
    parser.add_argument("--running", type=int, default=5_000, help="functions that run all the time (default 5,000)")
    parser.add_argument("--rate", type=float, default=200.0, help="submits a second besides (default 200)")
    parser.add_argument("--replicas", type=int, default=3, help="schedulers (default 3)")
    parser.add_argument("--folder", type=Path, default=None, help="where data and logs go (default: a temporary folder)")
    options = parser.parse_args(arguments)
    if options.folder is not None:
        options.folder.mkdir(parents=True, exist_ok=True)
        found = asyncio.run(measure(options, options.folder))
    else:
        with tempfile.TemporaryDirectory(prefix="foliot-failover-", ignore_cleanup_errors=True) as folder:
            found = asyncio.run(measure(options, Path(folder)))
    print(json.dumps(found, indent=1))
    return 1 if found["failed_calls"] or found["lost_tasks"] or found["repeated_tasks"] else 0


def say(line: str) -> None:
    """Print a line for people."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
