"""A release is rolled out: replicas of the commit before and of this one share a database, and lead in turn.

The code of the commit before comes from the history, so there is no test of it where there is no history.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import os
import subprocess
import sys
import tarfile
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration

from foliot.client import Client
from foliot.kit.clock import SystemClock
from foliot.v1 import job_pb2, spec_pb2, task_pb2
from foliot_scheduler.store.migration_files import SCHEMA_VERSION
from foliot_scheduler.store.pool import Pool, open_pool
from tests.processes import Daemon, free_port

ROOT = Path(__file__).parents[3]
PACKAGES = ("protos", "scheduler", "worker", "gateway")
RUN_BY_A_REPLICA = ("scheduler/foliot_scheduler", "protos/foliot", "gateway/foliot_gateway/cli")
COMMITS_LOOKED_AT = 50
"""So far back is looked for a commit whose code differs: commits that only describe or test are passed over."""

WITHIN_S = 60.0
POLL_S = 0.05
PORTION = 30
"""Tasks that are recorded in each phase before the next begins."""


def git(*arguments: str) -> bytes:
    """Run git in the project's folder; raises CalledProcessError, or OSError where there is no git."""
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True).stdout


def previous_commit() -> str:
    """Name the newest commit whose scheduler is not that of the working tree; skips the test where there is none to be had."""
    try:
        commits = git("rev-list", f"--max-count={COMMITS_LOOKED_AT}", "HEAD").decode().split()
        for commit in commits:
            if git("diff", "--name-only", commit, "--", *RUN_BY_A_REPLICA):
                return commit
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"the code of an earlier commit is not to be had here: {error}")
    pytest.skip(f"none of the {len(commits)} commits of this checkout has another scheduler than the working tree")


@pytest.fixture(scope="module")
def previous_code(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The PYTHONPATH of the previous commit's code."""
    folder = tmp_path_factory.mktemp("previous")
    archive = git("archive", "--format=tar", previous_commit(), *PACKAGES)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    path = os.pathsep.join(str(folder / package) for package in PACKAGES)
    where = [
        sys.executable,
        "-c",
        "import foliot_scheduler, foliot; print(foliot_scheduler.__path__, foliot.__path__)",
    ]
    found = subprocess.run(where, env={**os.environ, "PYTHONPATH": path}, check=True, capture_output=True, text=True).stdout
    assert found.count(str(folder)) == 2, f"not the previous code, but {found}"
    return path


@dataclass(slots=True)
class Rollout:
    """Two replicas, of which one runs the code before, a worker of each code, and callers who never stop."""

    folder: Path
    database_url: str
    previous_code: str
    pool: Pool
    old_address: str = field(default_factory=lambda: f"127.0.0.1:{free_port()}")
    new_address: str = field(default_factory=lambda: f"127.0.0.1:{free_port()}")
    running: list[Daemon] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    acknowledged: dict[str, str] = field(default_factory=dict)
    """Names by the ids that were answered."""

    @property
    def evidence(self) -> Path:
        """Where each attempt writes its task's name."""
        return self.folder / "evidence"

    def start_replica(self, *, old: bool) -> Daemon:
        """Start a replica with one of the two codes."""
        address = self.old_address if old else self.new_address
        return self._start("scheduler", "--database-url", self.database_url, "--grpc", address, old=old)

    def start_worker(self, *, old: bool) -> Daemon:
        """Start a worker with one of the two codes."""
        options = ["--scheduler", f"{self.old_address},{self.new_address}", "--concurrency", "4"]
        return self._start("worker", *options, "--data-dir", str(self.folder / f"worker-{old}"), old=old)

    def _start(self, *arguments: str, old: bool) -> Daemon:
        log = self.folder / f"{arguments[0]}-{'old' if old else 'new'}.log"
        daemon = Daemon(arguments, log, {"PYTHONPATH": self.previous_code} if old else None)
        self.running.append(daemon)
        return daemon

    async def submit(self, client: Client, phase: str) -> None:
        """Have one task accepted that writes its name down."""
        name = f"{phase}-{next(self.numbers)}"
        spec = spec_pb2.TaskSpec(name=name, command=spec_pb2.CommandWork(line=f"echo {name} >> {self.evidence}"))
        answer = await client.tasks.SubmitTask(task_pb2.SubmitTaskRequest(task=task_pb2.NewTask(spec=spec)))
        self.acknowledged[answer.task.id] = name

    async def keep_submitting(self) -> None:
        """Submit until cancelled, through whichever replica answers."""
        async with Client([self.new_address, self.old_address], timeout_s=WITHIN_S) as client:
            while True:
                await self.submit(client, "always")
                await SystemClock().sleep(POLL_S)

    async def work_through(self, address: str, phase: str) -> None:
        """Have a portion of tasks accepted by one replica alone, whether it leads or passes them on, and wait for their ends."""
        async with Client([address], timeout_s=WITHIN_S) as client:
            for _ in range(PORTION):
                await self.submit(client, phase)
        wanted = [uuid.UUID(task_id).bytes for task_id, name in self.acknowledged.items() if name.startswith(phase)]
        await self.wait_for("SELECT count(*) = $2 FROM task_history WHERE id = ANY ($1::uuid[])", wanted, len(wanted))

    async def wait_for(self, condition: str, *arguments: object) -> None:
        """Wait until PostgreSQL says yes."""
        async with asyncio.timeout(WITHIN_S):
            while not await self.pool.fetchval(condition, *arguments):
                await SystemClock().sleep(POLL_S)

    async def wait_leader(self, address: str) -> None:
        """Wait until a replica leads."""
        await self.wait_for("SELECT address = $1 FROM leadership", address)


@pytest.mark.timeout(180)
@pytest.mark.slow
async def test_a_release_is_rolled_out_and_back_and_work_goes_on(
    tmp_path: Path, empty_database_url: str, previous_code: str
) -> None:
    pool = await open_pool(empty_database_url)
    rollout = Rollout(tmp_path, empty_database_url, previous_code, pool)
    try:
        await roll_out_and_back(rollout)
        await check_that_nothing_is_lost_or_repeated(rollout)
    finally:
        for daemon in rollout.running:
            daemon.kill()
        await pool.close()


async def roll_out_and_back(rollout: Rollout) -> None:
    old = rollout.start_replica(old=True)
    workers = [rollout.start_worker(old=True), rollout.start_worker(old=False)]
    old.wait_ready()
    await rollout.wait_leader(rollout.old_address)
    async with Client([rollout.old_address]) as client:
        schedule = job_pb2.Schedule(cron="@every 1s", misfire_policy=job_pb2.MISFIRE_POLICY_FIRE_ALL)
        task = job_pb2.JobTask(
            key="a", spec=spec_pb2.TaskSpec(command=spec_pb2.CommandWork(line="true"), timeout=Duration(seconds=60))
        )
        await client.jobs.CreateJob(
            job_pb2.CreateJobRequest(spec=job_pb2.JobSpec(name="every second", schedule=schedule, tasks=[task]))
        )

    always = asyncio.create_task(rollout.keep_submitting())
    for worker in workers:
        worker.wait_ready()
    await rollout.work_through(rollout.old_address, "before")

    # The new one changes the schema under the old leader, and passes on to it what it is asked.
    new = rollout.start_replica(old=False)
    await asyncio.to_thread(new.wait_ready)
    assert await rollout.pool.fetchval("SELECT max(version) FROM schema_version") == SCHEMA_VERSION
    await rollout.work_through(rollout.new_address, "joined")
    await rollout.wait_leader(rollout.old_address)

    # The new one leads; the old one comes back on a schema it does not know, and passes on.
    assert await asyncio.to_thread(old.stop) == 0
    await rollout.wait_leader(rollout.new_address)
    old = rollout.start_replica(old=True)
    await asyncio.to_thread(old.wait_ready)
    await rollout.work_through(rollout.old_address, "handed-over")

    # And back.
    assert await asyncio.to_thread(new.stop) == 0
    await rollout.wait_leader(rollout.old_address)
    await rollout.work_through(rollout.old_address, "handed-back")

    always.cancel()
    await asyncio.wait([always])
    assert always.cancelled(), always.exception()


async def check_that_nothing_is_lost_or_repeated(rollout: Rollout) -> None:
    ids = [uuid.UUID(task_id).bytes for task_id in rollout.acknowledged]
    await rollout.wait_for("SELECT count(*) >= $2 FROM task_history WHERE id = ANY ($1::uuid[])", ids, len(ids))
    rows = await rollout.pool.fetch("SELECT name, state, attempt FROM task_history WHERE run_id IS NULL")
    assert {row["state"] for row in rows} == {"succeeded"}
    recorded = Counter(row["name"] for row in rows)
    assert set(recorded.values()) == {1}, "a call was carried out twice"
    assert set(rollout.acknowledged.values()) <= set(recorded), "an acknowledged task is lost"

    written = Counter(rollout.evidence.read_text().split())
    attempts = {row["name"]: row["attempt"] for row in rows}
    assert set(written) == set(recorded)
    assert not {name: count for name, count in written.items() if count > attempts[name]}, "an attempt that nobody recorded"

    dues = [row["due_at"] for row in await rollout.pool.fetch("SELECT due_at FROM fire ORDER BY due_at")]
    assert len(dues) > 1
    assert [later - earlier for earlier, later in itertools.pairwise(dues)] == [1_000_000] * (len(dues) - 1)


@pytest.mark.slow
async def test_a_replica_that_is_left_behind_ends_with_words_and_does_not_start_again(tmp_path: Path, database_url: str) -> None:
    arguments = ("scheduler", "--database-url", database_url, "--grpc", f"127.0.0.1:{free_port()}")
    pool = await open_pool(database_url)
    with Daemon(arguments, tmp_path / "running.log") as replica:
        await asyncio.to_thread(replica.wait_ready)
        await pool.execute("INSERT INTO schema_version VALUES ($1, $1, 'more', now())", SCHEMA_VERSION + 1)
        assert await asyncio.to_thread(replica.process.wait, WITHIN_S) == 1
        words = f"only Foliot of schema version {SCHEMA_VERSION + 1} or newer may use; this one knows {SCHEMA_VERSION}"
        assert words in replica.log_tail()
    with Daemon(arguments, tmp_path / "again.log") as again:
        assert await asyncio.to_thread(again.process.wait, WITHIN_S) == 2
        assert again.log_tail().startswith("foliot scheduler: error: ")
        assert words in again.log_tail()
    await pool.close()
