"""Commands that change very many tasks each do not gather in one commit, which would take longer than a leader may be silent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from foliot_scheduler.actors import leader
from foliot_scheduler.core.commands import CancelRun, CreateJob, TriggerJob
from foliot_scheduler.core.model import Job, Run, Task
from foliot_scheduler.core.types import DEFAULT_PROJECT
from foliot_scheduler.store.commit import Committer, EncodedCommit
from tests.integration.actors.test_deposed_leader import names, replica, submission
from tests.unit.core.support import Node, job_plan

if TYPE_CHECKING:
    from foliot_scheduler.core.effects import WriteSet
    from foliot_scheduler.store.pool import Pool

TASKS = 8


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tasks each commit writes, where more than 5 changed ones are very many."""
    sizes: list[int] = []
    encode = Committer.encode

    def counted(self: Committer, writes: WriteSet) -> EncodedCommit:
        if writes.tasks:
            sizes.append(len(writes.tasks))
        return encode(self, writes)

    monkeypatch.setattr(Committer, "encode", counted)
    monkeypatch.setattr(leader, "UNCOMMITTED_MAX", 5)
    return sizes


async def test_large_runs_that_are_asked_for_at_once_are_committed_one_by_one(
    database_url: str, pool: Pool, sizes: list[int]
) -> None:
    async with replica(database_url, pool, "a") as (leadership, _elector):
        await leadership.wait_leading()
        job = await leadership.execute(CreateJob(DEFAULT_PROJECT, job_plan(*[Node(f"t{n}") for n in range(TASKS)])))
        assert isinstance(job, Job)

        trigger = TriggerJob(DEFAULT_PROJECT, job.id)
        *runs, task = await asyncio.gather(
            *[leadership.execute(wish) for wish in (trigger, trigger, trigger, submission("small"))]
        )

        assert isinstance(task, Task)
        assert sizes == [TASKS + 1, TASKS, TASKS], "what is small does not wait"
        sizes.clear()
        cancels = [CancelRun(DEFAULT_PROJECT, run.id) for run in runs if isinstance(run, Run)]
        await asyncio.gather(*[leadership.execute(cancel) for cancel in cancels])
        assert sizes == [TASKS] * 3
        assert await names(pool) == ["small"]


async def test_large_commands_that_were_put_off_are_done_before_the_leader_stops(
    database_url: str, pool: Pool, sizes: list[int]
) -> None:
    async with replica(database_url, pool, "a") as (leadership, elector):
        await leadership.wait_leading()
        job = await leadership.execute(CreateJob(DEFAULT_PROJECT, job_plan(*[Node(f"t{n}") for n in range(TASKS)])))
        assert isinstance(job, Job)
        calls = [asyncio.ensure_future(leadership.execute(TriggerJob(DEFAULT_PROJECT, job.id))) for _ in range(3)]
        await asyncio.wait(calls, timeout=0)  # one turn of the loop: the commands are in the mailbox
        await elector.drain()
        assert all(isinstance(run, Run) for run in await asyncio.gather(*calls))
        assert sizes == [TASKS] * 3
