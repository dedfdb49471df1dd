"""`make bench-peers`: Foliot and its peers, one after the other in each round, on the same machine and the same PostgreSQL."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.bench.peers.contest import Figures, Peer, Sizes, measure_foliot, measure_peer, medians, peers, ratio, say
from tests.bench.peers.driver import DriverError
from tests.bench.peers.install import install
from tests.bench.stack import ROOT, Child, StackError
from tests.bench.yardsticks import calibrate_ms
from tests.redis_server import RedisServer

TOOLS: Final = ROOT / ".tools" / "peers"
FOLIOT: Final = "Foliot"


def main(arguments: Sequence[str] | None = None) -> int:
    """Install the peers and measure; answers 0, or 1 where something failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.peers", description="Foliot beside its peers; see README.md.")
    parser.add_argument("--rounds", type=int, default=3, help="how often to measure everybody, in turn (default 3)")
    parser.add_argument("--only", action="append", default=[], help="a peer by its name; may be repeated")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    parser.add_argument("--output", type=Path, default=None, help="write the JSON to this file too")
    options = parser.parse_args(arguments)
    for problem in install(TOOLS):
        say(f"not there: {problem}")
    sizes = Sizes().scaled(0.02) if options.quick else Sizes()
    chosen = [peer for peer in peers(TOOLS) if not options.only or peer.name in options.only]
    try:
        found = asyncio.run(measure(chosen, sizes, options.rounds))
    except (DriverError, StackError, TimeoutError) as error:
        say(f"error: {str(error) or type(error).__name__}")
        return 1
    for line in table(found["median"]):
        say(line)
    text = json.dumps(found, indent=1)
    print(text)
    if options.output is not None:
        options.output.write_text(text + "\n", encoding="utf-8")
    return 0


async def measure(chosen: Sequence[Peer], sizes: Sizes, rounds: int) -> dict[str, Any]:
    """Measure everybody in each round, each on fresh servers."""
    taken: dict[str, list[Figures]] = {}
    loops = []
    for number in range(1, rounds + 1):
        say(f"round {number} of {rounds}")
        loops.append(calibrate_ms())
        with folder() as where:
            taken.setdefault(FOLIOT, []).append(await measure_foliot(where, sizes, say))
        for peer in chosen:
            loops.append(calibrate_ms())
            with folder() as where:
                async with servers(where) as environ:
                    taken.setdefault(peer.name, []).append(await measure_peer(peer, environ, sizes, say))
    return {
        "sizes": {name: getattr(sizes, name) for name in sizes.__slots__},
        "calibration_ms": [round(loop, 1) for loop in loops],
        "median": {name: medians(figures) for name, figures in taken.items()},
        "rounds": taken,
    }


@contextlib.asynccontextmanager
async def servers(where: Path) -> AsyncIterator[Mapping[str, str]]:
    """A fresh PostgreSQL with the settings that Foliot's users get, and a Redis that keeps a log."""
    database = Child("database", ("database", "--data-dir", str(where / "postgres")), folder=where, environ=dict(child()))
    url = (await database.start()).partition(": ")[2]
    redis = RedisServer(where, durable=True)
    redis.start()
    try:
        yield {"PEER_DATABASE_URL": url, "PEER_REDIS_URL": redis.url}
    finally:
        redis.kill()
        await database.stop()


def child() -> Mapping[str, str]:
    """The environment of our own command."""
    from foliot_gateway.cli.children import child_environ

    return child_environ()


def table(found: Mapping[str, Figures]) -> Iterator[str]:
    """Answer everybody's medians, and how many times better Foliot is."""
    ours = found[FOLIOT]
    yield "  ".join(["".ljust(16), *(key.rjust(24) for key in ours)])
    for name, figures in found.items():
        times = {key: f" ({ratio(ours[key], figures[key], key):.2f} x)" if figures is not ours else "" for key in ours}
        yield "  ".join([name.ljust(16), *(f"{figures[key]:,.4g}{times[key]}".rjust(24) for key in ours)])


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Give a temporary folder."""
    where = Path(tempfile.mkdtemp(prefix="foliot-peers-"))
    try:
        yield where
    finally:
        shutil.rmtree(where, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
