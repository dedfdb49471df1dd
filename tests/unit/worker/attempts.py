"""Attempts and a host for tests of executors."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from datetime import timedelta

from foliot.kit.clock import SystemClock
from foliot.v1 import spec_pb2
from foliot.v1.worker_pb2 import Lease, Result
from foliot_worker.checkpoints import CheckpointSaver
from foliot_worker.logs import LogBuffer
from foliot_worker.plans import Kind
from foliot_worker.runner import Executor, Runner

_tokens = itertools.count(1)


def lease(spec: spec_pb2.TaskSpec, *, timeout_s: float | None = None, **fields: object) -> Lease:
    """Make a lease of a spec, with a token of its own."""
    if timeout_s is not None:
        spec.timeout.FromTimedelta(timedelta(seconds=timeout_s))
    token = next(_tokens)
    given: dict[str, object] = {"token": token, "task_id": token.to_bytes(16, "big"), "attempt": 1, "project": "default"}
    return Lease(spec=spec.SerializeToString(), **{**given, **fields})  # type: ignore[arg-type]  # the test's own fields


def function(name: str, input_json: str = "") -> spec_pb2.TaskSpec:
    return spec_pb2.TaskSpec(name=name, function=spec_pb2.FunctionWork(function=name, input_json=input_json))


def command(line: str, *, working_directory: str = "", **environment: str) -> spec_pb2.TaskSpec:
    work = spec_pb2.CommandWork(line=line, environment=environment, working_directory=working_directory)
    return spec_pb2.TaskSpec(name="command", command=work)


class Bench:
    """A runner with executors, and their results as futures by token; make it inside an event loop."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.logs = LogBuffer(self.clock)
        self.checkpoints_sent: list[tuple[int, str]] = []
        self.saver = CheckpointSaver(self._submit)
        self.runner: Runner | None = None
        self.batches: list[list[int]] = []
        self._results: dict[int, asyncio.Future[Result]] = {}

    def use(self, executors: dict[Kind, Executor]) -> Bench:
        self.runner = Runner(executors, clock=self.clock, finished=self._finished)
        return self

    def start(self, *leases: Lease) -> None:
        assert self.runner is not None
        for one in leases:
            self._results[one.token] = asyncio.get_running_loop().create_future()
        self.runner.start(leases)

    def stop(self, one: Lease, grace_s: float = 5.0) -> None:
        assert self.runner is not None
        self.runner.stop(one.token, grace_s)

    async def result(self, one: Lease) -> Result:
        return await self._results[one.token]

    async def run(self, one: Lease) -> Result:
        self.start(one)
        return await self.result(one)

    def lines(self) -> list[tuple[str, str]]:
        """Take the log lines: level and message."""
        return [(line.level, line.message) for line in self.logs.take(count_max=10_000, bytes_max=10**9)]

    async def close(self) -> None:
        if self.runner is not None:
            await self.runner.close()

    def _finished(self, results: Sequence[Result]) -> None:
        self.batches.append([result.token for result in results])
        for result in results:
            self._results[result.token].set_result(result)

    def _submit(self, token: int, checkpoint_json: str) -> int:
        self.checkpoints_sent.append((token, checkpoint_json))
        return len(self.checkpoints_sent)
