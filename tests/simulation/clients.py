"""Clients of a simulation: they ask, lose answers, ask again with the same key, and remember what they were promised."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from foliot.kit.errors import FoliotError
from foliot.v1 import job_pb2, spec_pb2
from foliot_scheduler.core import commands
from foliot_scheduler.core.effects import Refusal, Repeated, Reply
from foliot_scheduler.core.model import Job, Run, Task
from foliot_scheduler.core.types import DEFAULT_PROJECT, JobId, TaskId
from foliot_scheduler.specs.jobs import plan_job
from foliot_scheduler.specs.rules import Violations
from foliot_scheduler.specs.tasks import TaskPlans

if TYPE_CHECKING:
    from collections.abc import Callable

    from foliot_scheduler.core.model import TaskPlan
    from tests.simulation.cluster import Replica
    from tests.simulation.database import Database
    from tests.simulation.virtual import VirtualClock
    from tests.unit.core.dice import Dice

SCHEDULES: Final = ("@every 5s", "*/3 * * * * *", "* * * * *", "@every 20s")


@dataclass
class Promises:
    """What clients were told, which must therefore be so."""

    tasks: set[TaskId] = field(default_factory=set)
    runs: set[bytes] = field(default_factory=set)
    jobs: list[JobId] = field(default_factory=list)
    cancelled: set[TaskId] = field(default_factory=set)
    answers: dict[str, bytes] = field(default_factory=dict)
    """By idempotency key: the ids that were answered."""
    asked: int = 0
    refused: int = 0
    unanswered: int = 0


class Client:
    """One client, one call at a time."""

    def __init__(
        self, number: int, dice: Dice, clock: VirtualClock, replicas: Callable[[], list[Replica]], database: Database
    ) -> None:
        self._number = number
        self._dice = dice
        self._clock = clock
        self._replicas = replicas
        self._database = database
        self._plans = TaskPlans()
        self._keys = 0
        self.promises = Promises()
        self.done = False

    async def run(self, until_s: float) -> None:
        """Ask for things until the time is up."""
        while self._clock.monotonic() < until_s:
            await self._clock.sleep(self._dice.fraction() * 6.0)
            await self._dice.pick(
                (self._submit, self._submit, self._submit, self._chain, self._cancel, self._job, self._trigger)
            )()
        self.done = True

    async def _submit(self) -> None:
        new = [commands.NewTask(self._plan()) for _ in range(self._dice.pick((1, 1, 2, 10)))]
        once = self._once()
        self._note_tasks(once, await self._ask(once, lambda: commands.SubmitTasks(DEFAULT_PROJECT, new, once)))

    async def _chain(self) -> None:
        """A task that waits for others that were promised."""
        known = sorted(self.promises.tasks)
        if not known:
            return
        parents = tuple(dict.fromkeys(self._dice.pick(known) for _ in range(self._dice.number(1, 3))))
        once = self._once()

        def command() -> commands.Command:
            history = self._database.journal.history
            ended = {parent: history[parent].state for parent in parents if parent in history}
            return commands.SubmitTasks(DEFAULT_PROJECT, [commands.NewTask(self._plan(), parents)], once, ended=ended)

        self._note_tasks(once, await self._ask(once, command))

    async def _cancel(self) -> None:
        known = sorted(self.promises.tasks - self.promises.cancelled)
        if not known:
            return
        chosen = self._dice.pick(known)
        reply = await self._ask(None, lambda: commands.CancelTask(DEFAULT_PROJECT, chosen))
        if isinstance(reply, Task):
            self.promises.cancelled.add(chosen)

    async def _job(self) -> None:
        if len(self.promises.jobs) >= 2:
            return
        keys = [f"n{n}" for n in range(self._dice.number(1, 5))]
        nodes = [
            job_pb2.JobTask(key=key, dependencies=self._dice.some(keys[:n], 0.5), spec=self._spec()) for n, key in enumerate(keys)
        ]
        schedule = job_pb2.Schedule(cron=self._dice.pick(SCHEDULES)) if self._dice.chance(0.7) else None
        if schedule is not None:
            schedule.misfire_policy = self._dice.number(1, 3)  # type: ignore[assignment]
            schedule.concurrency_policy = self._dice.number(1, 4)  # type: ignore[assignment]
        plan = plan_job(job_pb2.JobSpec(name="job", tasks=nodes, schedule=schedule))
        once = self._once()
        reply = await self._ask(once, lambda: commands.CreateJob(DEFAULT_PROJECT, plan, once=once))
        created = reply.id if isinstance(reply, Job) else JobId(reply.ids) if isinstance(reply, Repeated) else None
        if created is not None:
            self.promises.jobs.append(created)

    async def _trigger(self) -> None:
        if not self.promises.jobs:
            return
        once, job_id = self._once(), self._dice.pick(self.promises.jobs)
        reply = await self._ask(once, lambda: commands.TriggerJob(DEFAULT_PROJECT, job_id, once))
        if isinstance(reply, Run | Repeated):
            self.promises.runs.add(reply.id if isinstance(reply, Run) else reply.ids)

    async def _ask(self, once: commands.Once | None, command: Callable[[], commands.Command]) -> Reply:
        """Ask whoever leads; ask again while nobody answers, with the same key or not at all."""
        self.promises.asked += 1
        for _ in range(30):
            answer = self._database.journal.answers.get((DEFAULT_PROJECT, once.key)) if once is not None else None
            if answer is not None and not self._database.away:
                return Repeated(answer.ids)
            replica = self._dice.pick(self._replicas())
            try:
                if replica.leadership is not None and replica.process.alive and not replica.process.stopped:
                    reply = await self._call(replica, command())
                    if isinstance(reply, Refusal):
                        self.promises.refused += 1
                    return reply
            except FoliotError:
                if once is None:
                    return None
            except TimeoutError:
                self.promises.unanswered += 1
                if once is None:
                    return None
            await self._clock.sleep(0.05 + self._dice.fraction())
        return None

    async def _call(self, replica: Replica, command: commands.Command) -> Reply:
        """Make one call on a replica's own time; the answer may get lost on its way."""
        await self._clock.sleep(self._dice.fraction() * 0.003)
        assert replica.leadership is not None
        served = replica.process.spawn(replica.leadership.execute(command), "call")
        replica.process.forget(served)
        async with asyncio.timeout(10.0):
            await asyncio.wait({served})
        if self._dice.chance(0.02):
            raise TimeoutError
        reply: Reply = served.result()
        return reply

    def _note_tasks(self, once: commands.Once, reply: Reply) -> None:
        if isinstance(reply, Task):
            ids = reply.id
        elif isinstance(reply, list):
            ids = TaskId(b"".join(reply))
        elif isinstance(reply, Repeated):
            ids = TaskId(reply.ids)
        else:
            return
        assert self.promises.answers.setdefault(once.key, ids) == ids, "one key has two answers"
        self.promises.tasks.update(TaskId(ids[at : at + 16]) for at in range(0, len(ids), 16))

    def _once(self) -> commands.Once:
        self._keys += 1
        return commands.Once(f"client{self._number}-{self._keys}", b"digest")

    def _plan(self) -> TaskPlan:
        violations = Violations()
        plan = self._plans.accept("spec", self._spec(), violations)
        violations.raise_if_any()
        assert plan is not None
        return plan

    def _spec(self) -> spec_pb2.TaskSpec:
        dice = self._dice
        spec = spec_pb2.TaskSpec(name="task", priority=dice.pick((1, 5, 10)), function=spec_pb2.FunctionWork(function="f"))
        spec.timeout.FromSeconds(dice.pick((5, 60)))
        spec.retry.max_attempts = dice.number(1, 3)
        if dice.chance(0.03):
            spec.limits.add(key="one", max_running=1)
        return spec
