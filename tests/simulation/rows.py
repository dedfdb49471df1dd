"""What a new leader reads, made of what `FakeJournal` keeps and of the columns that it leaves out."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from foliot_scheduler.store.recovery import EndedTask, LiveRows, OpenBatch

if TYPE_CHECKING:
    from foliot_scheduler.core.effects import WriteSet
    from tests.unit.core.fake_journal import FakeJournal


@dataclass
class Shelf:
    """Columns that do not change, or that nobody checks, by table and key."""

    rows: dict[tuple[str, Any], dict[str, Any]] = field(default_factory=dict)

    def take(self, writes: WriteSet) -> list[tuple[tuple[str, Any], dict[str, Any]]]:
        """Copy what stands on the shelf of everything a commit writes."""
        taken: list[tuple[tuple[str, Any], dict[str, Any]]] = []
        for run in writes.runs.values():
            run_row = {"project": run.project, "created_at": run.created, "trigger": str(run.trigger)}
            taken.append((("run", run.id), run_row))
        for job in writes.jobs.values():
            taken.append((("spec", (job.id, job.version)), {"spec": job.plan.spec}))
            job_row = {"project": job.project, "created_at": job.created, "updated_at": job.updated}
            taken.append((("job", job.id), job_row))
        opened = writes.batches_opened.values()
        taken += [(("batch", batch.first_token), {"leased": batch.leased, "project": batch.project}) for batch in opened]
        for worker in writes.workers.values():
            said = worker.profile
            row: dict[str, Any] = {
                "project": worker.project or "",
                "id": said.id,
                "is_executor": worker.is_executor,
                "hostname": said.hostname,
            }
            row |= {"version": said.version, "capacity": said.capacity, "queues": sorted(said.queues), "tags": list(said.tags)}
            row |= {"kinds": sorted(said.kinds), "functions": sorted(said.functions), "labels": json.dumps(dict(said.labels))}
            row |= {"registered_at": worker.registered, "last_heartbeat_at": worker.last_heard, "cpu": None}
            row |= {"tasks_completed": worker.succeeded, "tasks_failed": worker.failed, "offline": worker.offline}
            row |= {"is_executor": worker.is_executor}
            taken.append((("worker", (worker.project or "", said.id)), row))
        return taken

    def put(self, taken: list[tuple[tuple[str, Any], dict[str, Any]]]) -> None:
        """Make the copies the truth."""
        self.rows.update(taken)

    def live_rows(self, journal: FakeJournal) -> LiveRows:
        """What has not ended."""
        rows = self.rows
        runs: list[Any] = []
        for run_id, run in sorted(journal.runs.items()):
            row: dict[str, Any] = {
                "id": run_id,
                "job_id": run.job_id,
                "job_version": run.job_version,
                "due_at": run.due_at,
                "state": run.state,
                "redrive_of": run.redrive_of,
            }
            runs.append({**rows["run", run_id], **row, "started_at": run.started, "cancelled": run.cancelled})
        jobs: list[Any] = []
        busy = {run.job_id for run in journal.runs.values()}
        busy |= {job_id for job_id, job in journal.jobs.items() if job.waiting_runs}
        for job_id, job in journal.jobs.items():
            if job_id not in busy:
                continue
            row = {"id": job_id, "state": str(job.state), "version": job.version, "next_due_at": job.next_due}
            row |= {"fires_at": job.fires_at, "waiting_runs": list(job.waiting_runs) or None}
            jobs.append({**rows["job", job_id], **rows["spec", (job_id, job.version)], **row})
        return LiveRows(
            tasks=self._tasks(journal),
            runs=runs,
            job_specs={(row["job_id"], row["job_version"]): self._spec(row["job_id"], row["job_version"]) for row in runs},
            ended_tasks=[
                EndedTask(task_id, row.run_id, row.position, row.state, row.attempt)
                for task_id, row in sorted(journal.history.items())
                if row.run_id is not None and row.run_id in journal.runs
            ],
            jobs=jobs,
            batches=[
                OpenBatch(
                    first,
                    rows["batch", first]["project"],
                    batch.worker_id,
                    rows["batch", first]["leased"],
                    batch.task_ids,
                    batch.attempts,
                )
                for first, batch in sorted(journal.batches.items())
            ],
            dependencies={task_id: row.state for task_id, row in journal.history.items()},
            checkpoints={task_id: saved.checkpoint for task_id, saved in journal.checkpoints.items() if task_id in journal.live},
            workers=[row for (table, _), row in rows.items() if table == "worker" and not row["offline"]],  # type: ignore[misc]
            webhooks=[],
            retried=frozenset(parent for parent, _ in journal.notes if parent in journal.live),
        )

    def _spec(self, job_id: object, version: object) -> bytes:
        spec = self.rows["spec", (job_id, version)]["spec"]
        assert isinstance(spec, bytes)
        return spec

    @staticmethod
    def _tasks(journal: FakeJournal) -> list[Any]:
        found: list[Any] = []
        for task_id, task in sorted(journal.live.items()):
            row: dict[str, Any] = {"id": task_id, "run_id": task.run_id, "position": task.position, "project": task.project}
            row |= {"state": str(task.state), "trigger_rule": str(task.trigger_rule), "depends_on": b"".join(task.depends_on)}
            row |= {"spec": task.plan.spec, "attempt": task.attempt, "failed_attempts": task.failed_attempts}
            row |= {"lost_attempts": task.lost_attempts, "outcome": task.outcome and str(task.outcome)}
            row |= {"exit_code": task.exit_code, "error": task.error, "traceparent": "", "created_at": task.created}
            row |= {"updated_at": task.updated, "due_at": task.due, "started_at": task.started, "worker_id": task.worker_id}
            found.append({**row, "name": task.plan.name, "worker_address": ""})
        return found
