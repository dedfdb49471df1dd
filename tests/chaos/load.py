"""The load: clients that ask for work of every kind, and write down what they are told.

Each stream of wishes goes on at its own pace, whatever becomes of the wishes: one that is not answered is asked again with the
same idempotency key, beside those that follow, until it is answered.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from foliot.kit.errors import FoliotError
from foliot.v1 import job_pb2, spec_pb2, task_pb2
from tests.chaos import wishes
from tests.chaos.evidence import command_line
from tests.chaos.history import Asked, Interval, Node, ScheduledJob

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from foliot.client import Client
    from tests.chaos.cluster import Cluster
    from tests.unit.core.dice import Dice

CALL_TIMEOUT_S: Final = 10.0
"""Longer than most fail-overs: a call that fails has met something worse."""

ASK_AGAIN_S: Final = 0.5

REPEATED: Final = 0.1
"""How many of the acknowledged calls are repeated, to see whether they have their effect again."""

READ: Final = 0.1
"""How many of the acknowledged tasks are read at once: whichever replica is asked must know them."""

BULK: Final = 10

_KNOWN_MAX: Final = 50

_DEFINITE: Final = frozenset({"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "ALREADY_EXISTS", "PERMISSION_DENIED"})
"""Answers that asking again does not change."""


class Load:
    """Everything that is asked of one cluster."""

    def __init__(self, cluster: Cluster, client: Client, dice: Dice) -> None:
        """Take the cluster, a client of it, and what decides details."""
        self._cluster = cluster
        self._client = client
        self._dice = dice
        self._number = 0
        self._asking: set[asyncio.Task[object]] = set()
        self._recent: list[str] = []
        """Ids of tasks that others may wait for."""
        self.asked: list[Asked] = []
        self.schedules: list[ScheduledJob] = []
        self.graphs: dict[str, dict[str, Node]] = {}
        self._made: dict[str, tuple[str, Interval]] = {}
        self._streams: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Make the jobs, and begin to ask."""
        graphs = {"diamond": wishes.DIAMOND, "ruled": wishes.RULED}
        for name, nodes in graphs.items():
            self.graphs[await self._make_job(wishes.graph_job(name, nodes, seconds=0.05))] = dict(nodes)
        for policy, seconds in (("allow", 0.05), ("forbid", 1.3), ("queue", 0.3)):
            began = self._cluster.now()
            job_id = await self._make_job(wishes.scheduled_job(policy, policy, seconds=seconds))
            self._made[job_id] = (policy, Interval(began, self._cluster.now()))
        paces: list[tuple[float, Callable[[], Awaitable[object]]]] = [
            (0.1, self._short),
            (0.5, self._long),
            (1.0, self._command),
            (1.5, self._flaky),
            (1.5, self._steps),
            (1.0, self._dependent),
            (3.0, self._bulk),
            (2.0, self._run),
            (1.5, self._cancelled),
        ]
        self._streams = [asyncio.create_task(self._stream(every, wish)) for every, wish in paces]

    def abandon(self) -> None:
        """Ask for nothing any more, whatever has no answer yet."""
        for asking in (*self._streams, *self._asking):
            asking.cancel()

    async def stop(self) -> None:
        """Ask for nothing new, have the schedules pause, and wait until every wish has its answer."""
        for stream in self._streams:
            stream.cancel()
        await asyncio.gather(*self._streams, return_exceptions=True)
        while self._asking:
            await asyncio.wait(self._asking)
        for job_id, (policy, made) in self._made.items():
            began = self._cluster.now()
            await self._insist(lambda job_id=job_id: self._client.jobs.PauseJob(job_pb2.PauseJobRequest(job_id=job_id)))  # type: ignore[misc]
            self.schedules.append(ScheduledJob(job_id, policy, made, Interval(began, self._cluster.now())))

    # ---- wishes

    async def _short(self) -> None:
        await self._submit("task", wishes.function(self._name("short"), seconds=0.01))

    async def _long(self) -> None:
        """As long as a lease: it is running whatever happens to its worker."""
        await self._submit("task", wishes.function(self._name("long"), seconds=1 + 5 * self._dice.fraction()))

    async def _command(self) -> None:
        line = command_line(self._cluster.evidence_folder, seconds=round(2 * self._dice.fraction(), 2))
        await self._submit("task", wishes.command(self._name("command"), line))

    async def _flaky(self) -> None:
        await self._submit("task", wishes.function(self._name("flaky"), seconds=0.2, fail_first=self._dice.number(1, 2)))

    async def _steps(self) -> None:
        spec = wishes.function(self._name("steps"), seconds=2.0, steps=8, fail_first=self._dice.number(0, 1))
        await self._submit("task", spec)

    async def _dependent(self) -> None:
        parents = self._dice.some(self._recent[-8:], 0.3)
        await self._submit("task", wishes.function(self._name("dependent"), seconds=0.05), parents)

    async def _bulk(self) -> None:
        names = [self._name("bulk") for _ in range(BULK)]
        wish = Asked("bulk", self._key(), self._cluster.now(), names)
        tasks = [wishes.new_task(wishes.function(name, seconds=0.02)) for name in names]
        request = task_pb2.SubmitTasksRequest(tasks=tasks, idempotency_key=wish.key)

        async def call() -> list[str]:
            return list((await self._client.tasks.SubmitTasks(request)).task_ids)

        await self.ask(wish, call)

    async def _run(self) -> None:
        job_id = self._dice.pick(list(self.graphs))
        wish = Asked("run", self._key(), self._cluster.now(), target=job_id)
        request = job_pb2.TriggerJobRequest(job_id=job_id, idempotency_key=wish.key)

        async def call() -> list[str]:
            return [(await self._client.jobs.TriggerJob(request)).run.id]

        await self.ask(wish, call)

    async def _cancelled(self) -> None:
        """A task that is cancelled soon: before it starts, or while it runs."""
        made = await self._submit("task", wishes.function(self._name("cancelled"), seconds=4.0))
        await self._cluster.clock.sleep(1.5 * self._dice.fraction())
        if not made.answers:
            return
        task_id = made.answers[0][0]
        wish = Asked("cancel", "", self._cluster.now(), target=task_id)

        async def call() -> list[str]:
            await self._client.tasks.CancelTask(task_pb2.CancelTaskRequest(task_id=task_id))
            return [task_id]

        await self.ask(wish, call)

    async def _submit(self, kind: str, spec: spec_pb2.TaskSpec, parents: list[str] | None = None) -> Asked:
        wish = Asked(kind, self._key(), self._cluster.now(), [spec.name], parents or [])
        request = task_pb2.SubmitTaskRequest(task=wishes.new_task(spec, parents), idempotency_key=wish.key)

        async def call() -> list[str]:
            return [(await self._client.tasks.SubmitTask(request)).task.id]

        await self.ask(wish, call)
        if wish.answers and self._dice.chance(READ):
            await self._read(wish.answers[0][0])
        if wish.answers and not spec.name.startswith("cancelled"):
            self._recent = [*self._recent[-_KNOWN_MAX:], wish.answers[0][0]]
        return wish

    async def _read(self, task_id: str) -> None:
        wish = Asked("read", "", self._cluster.now(), target=task_id)

        async def call() -> list[str]:
            return [(await self._client.tasks.GetTask(task_pb2.GetTaskRequest(task_id=task_id))).task.id]

        await self.ask(wish, call)

    # ---- asking

    async def ask(self, wish: Asked, call: Callable[[], Awaitable[list[str]]]) -> None:
        """Ask until there is an answer, and write it down; now and then ask again, with the same key."""
        self.asked.append(wish)
        while not (wish.answers or wish.refused):
            await self._ask_once(wish, call)
            if not (wish.answers or wish.refused):
                await self._cluster.clock.sleep(ASK_AGAIN_S)
        if wish.key and self._dice.chance(REPEATED):
            await self._ask_once(wish, call)

    async def _ask_once(self, wish: Asked, call: Callable[[], Awaitable[list[str]]]) -> None:
        try:
            answer = await call()
        except FoliotError as error:
            wish.failures.append(error.code.name)
            wish.refused = error.code.name in _DEFINITE and not wish.answers
        else:
            wish.answers.append(answer)
            wish.answered_at = wish.answered_at or self._cluster.now()

    async def _stream(self, every_s: float, wish: Callable[[], Awaitable[object]]) -> None:
        while True:
            asking = asyncio.ensure_future(wish())
            self._asking.add(asking)
            asking.add_done_callback(self._asking.discard)
            # Half to one and a half times as long: streams do not march in step.
            await self._cluster.clock.sleep(every_s * (0.5 + self._dice.fraction()))

    async def _make_job(self, spec: job_pb2.JobSpec) -> str:
        wish = Asked("job", self._key(), self._cluster.now())
        request = job_pb2.CreateJobRequest(spec=spec, idempotency_key=wish.key)

        async def call() -> list[str]:
            return [(await self._client.jobs.CreateJob(request)).job.id]

        await self.ask(wish, call)
        return wish.answers[0][0]

    async def _insist(self, call: Callable[[], Awaitable[object]]) -> None:
        while True:
            with suppress(FoliotError):
                await call()
                return
            await self._cluster.clock.sleep(ASK_AGAIN_S)

    def _name(self, kind: str) -> str:
        self._number += 1
        return f"{kind}-{self._number}"

    def _key(self) -> str:
        self._number += 1
        return f"key-{self._number}"
