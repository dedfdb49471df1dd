"""Executors of a simulation: they claim tasks by unary calls, renew their claims, and report, or fall silent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.kit.ids import parse_uuid
from foliot.v1 import spec_pb2, worker_pb2
from foliot_scheduler.core.types import TaskId
from tests.simulation.bodies import FAILED, SUCCEEDED, Evidence, nature
from tests.simulation.clients import Caller

if TYPE_CHECKING:
    from tests.simulation.clients import World
    from tests.unit.core.dice import Dice

RENEW_EVERY_S: Final = 15.0
LANES: Final = 3
GIVE_UP_AFTER_S: Final = 55.0
"""How long after the last renewal that was confirmed an executor stops its work: before the claim ends, 60 s after it."""

_LOST: Final = frozenset({ErrorReason.STALE_LEASE, ErrorReason.WRONG_STATE, ErrorReason.NOT_FOUND})


class Executor(Caller):
    """One executor, a few tasks at a time.

    One that is `careless` now and then sleeps through the end of its claim, and reports all the same.
    """

    def __init__(self, name: str, dice: Dice, world: World, *, careless: bool) -> None:
        super().__init__(dice, world)
        self.name = name
        self.careless = careless
        self._note = world.note

    async def run(self) -> None:
        """Claim and work for ever."""
        async with asyncio.TaskGroup() as lanes:
            for _ in range(LANES):
                lanes.create_task(self._claim_and_work())

    async def _claim_and_work(self) -> None:
        while True:
            claim = worker_pb2.ClaimTaskRequest(executor_id=self.name, standalone=self._dice.chance(0.3))
            response = await self.ask("ClaimTask", claim, tries=1)
            if isinstance(response, worker_pb2.ClaimTaskResponse) and response.HasField("task"):
                await self._work(response)
            else:
                await self._clock.sleep(0.5 + self._dice.fraction() * 2.0)

    async def _work(self, claim: worker_pb2.ClaimTaskResponse) -> None:
        task = claim.task
        task_id = TaskId(parse_uuid(task.id))
        attempt = task.attempts[-1].number

        def note(what: str) -> None:
            self._note(Evidence(self._clock.monotonic(), self.name, task_id, attempt, claim.token, what))

        # The claim began before its answer came: it is counted from the call, which took this long at most.
        until = self._clock.monotonic() + GIVE_UP_AFTER_S - 10.0
        takes_s, outcome = nature(task_id, attempt, "plain")
        outcome = SUCCEEDED if outcome == SUCCEEDED else FAILED  # they have no other ends to report
        takes_s = min(takes_s * self._dice.pick((1.0, 1.0, 6.0)), task.spec.timeout.ToMicroseconds() / 1e6)
        note("start")
        if self.careless and self._dice.chance(0.1):
            note("end:SLEPT")  # it holds nothing once it has slept for so long
            await self._clock.sleep(takes_s + 80.0 * self._dice.fraction())
        else:
            ends_at = self._clock.monotonic() + takes_s
            while (left_s := ends_at - self._clock.monotonic()) > 0:
                await self._clock.sleep(min(left_s, RENEW_EVERY_S))
                if left_s > RENEW_EVERY_S:
                    asked_at = self._clock.monotonic()
                    request = worker_pb2.HeartbeatTaskRequest(task_id=task.id, executor_id=self.name, token=claim.token)
                    renewed = await self.ask("HeartbeatTask", request, tries=2)
                    if isinstance(renewed, FoliotError) or (renewed is None and self._clock.monotonic() > until):
                        note("end:GAVE_UP")
                        return
                    if renewed is not None:
                        until = asked_at + GIVE_UP_AFTER_S
        note(f"end:{spec_pb2.Outcome.Name(outcome)}")
        output = claim.token.to_bytes(8, "big")
        report: Any
        if outcome == SUCCEEDED:
            method = "CompleteTask"
            report = worker_pb2.CompleteTaskRequest(task_id=task.id, executor_id=self.name, token=claim.token, output=output)
        else:
            method = "FailTask"
            report = worker_pb2.FailTaskRequest(task_id=task.id, executor_id=self.name, token=claim.token, error="it went wrong")
        response = await self.ask(method, report)
        assert not isinstance(response, FoliotError) or response.reason in _LOST, response


async def stop(tasks: list[asyncio.Task[None]]) -> None:
    """End executors, and raise what one of them found to be wrong."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.result()
