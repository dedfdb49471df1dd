"""A leader process that is stopped past its lease is replaced; thawed, it changes nothing and steps down."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import asyncpg
import pytest

from foliot.client import Client
from foliot.kit.clock import SystemClock
from foliot.v1 import system_pb2, task_pb2
from tests.processes import Stack

if TYPE_CHECKING:
    from pathlib import Path

WITHIN_S = 40.0
POLL_S = 0.05


def request(name: str) -> task_pb2.SubmitTaskRequest:
    """A wish for one command."""
    wish = task_pb2.SubmitTaskRequest()
    wish.task.spec.name = name
    wish.task.spec.command.line = "true"
    return wish


async def leader_seen_by(client: Client) -> str:
    """The address of the leader, as a replica sees it."""
    status = await client.system.GetStatus(system_pb2.GetStatusRequest())
    return status.leader_address


async def wait_for_leader(client: Client, *, other_than: str = "") -> str:
    """Wait until a replica sees a leader, and another one than the one named."""
    async with asyncio.timeout(WITHIN_S):
        while (leader := await leader_seen_by(client)) in {"", other_than}:
            await SystemClock().sleep(POLL_S)
    return leader


@pytest.mark.timeout(120)
@pytest.mark.slow
async def test_a_frozen_leader_is_replaced_and_its_late_commits_are_refused(tmp_path: Path) -> None:
    with Stack(tmp_path, schedulers=2, gateway=False) as stack:
        stack.start(workers=0)
        async with Client(stack.addresses) as anyone:
            first = await wait_for_leader(anyone)
            await anyone.tasks.SubmitTask(request("before"))
        frozen = stack.schedulers[stack.addresses.index(first)]
        assert frozen is not None
        other = next(address for address in stack.addresses if address != first)

        async with Client([first]) as old, Client([other]) as new:
            frozen.signal(signal.SIGSTOP)
            # Taken in by the frozen process's socket, and answered only after it thaws: a commit of its old term, were it let.
            late = asyncio.ensure_future(old.tasks.SubmitTask(request("late"), timeout=WITHIN_S))
            assert await wait_for_leader(new, other_than=first) == other
            await new.tasks.SubmitTask(request("meanwhile"))

            frozen.signal(signal.SIGCONT)
            await asyncio.gather(late, return_exceptions=True)
            after = await old.tasks.SubmitTask(request("after"), timeout=WITHIN_S)
            assert await leader_seen_by(old) == other

        conn = await asyncpg.connect(stack.database_url)
        try:
            epoch, address = await conn.fetchrow("SELECT epoch, address FROM leadership") or (0, "")
            names = {row["name"]: str(row["id"]) for row in await conn.fetch("SELECT id, name FROM task")}
        finally:
            await conn.close()
        # The thawed replica passed the last wish on to the new leader, which is still in its term.
        assert (epoch, address) == (2, other)
        assert names["after"] == after.task.id
        assert {"before", "meanwhile", "after"} <= set(names)
        stepped_down = frozen.log_tail()
        assert "leader.term_ended" in stepped_down
        assert frozen.process.poll() is None, "it stands for election again"
