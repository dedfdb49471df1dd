"""What clients ask for about jobs and their runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from foliot.kit.errors import FoliotError
from foliot.kit.ids import format_uuid, parse_uuid
from foliot.v1 import job_pb2, run_pb2
from foliot_scheduler.core.types import JobId, RunId
from tests.simulation.clients import Client
from tests.simulation.ledger import JobOrder, KeyUse

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEDULES: Final = ("@every 5s", "*/3 * * * * *", "* * * * *", "@every 20s", "*/10 * * * * *")
JOBS_MAX: Final = 3
"""Of all clients together."""

KNOWN_RUNS_MAX: Final = 60


class JobClient(Client):
    """A client that cares for jobs too."""

    def wishes(self) -> list[Callable[[], Any]]:
        """See `Client`."""
        wishes = [*super().wishes(), self._create_job, self._create_job, self._trigger]
        if "jobs" in self._themes:
            wishes += [self._trigger, self._restate_job, self._respecify_job, self._restate_job]
        if "runs" in self._themes:
            wishes += [self._trigger, self._cancel_run, self._redrive, self._redrive]
        return wishes

    async def _create_job(self) -> None:
        ledger = self._ledger
        if len(ledger.jobs) - len(ledger.deletions_told) >= JOBS_MAX:
            return
        spec = self._job_spec()
        request = job_pb2.CreateJobRequest(spec=spec, idempotency_key=self._key())
        request.paused = "jobs" in self._themes and self._dice.chance(0.1)
        response = await self.ask("CreateJob", request)
        assert not isinstance(response, FoliotError), response
        if response is not None:
            job_id = JobId(parse_uuid(response.job.id))
            ledger.jobs[job_id] = JobOrder(spec, restated=request.paused)
            ledger.keys[request.idempotency_key] = KeyUse("CreateJob", request, (job_id,))

    async def _trigger(self) -> None:
        jobs = self._jobs()
        if not jobs:
            return
        job_id = self._dice.pick(jobs)
        self._ledger.jobs[job_id].triggered = True
        request = job_pb2.TriggerJobRequest(job_id=format_uuid(job_id), idempotency_key=self._key())
        request.obeys_concurrency_policy = self._dice.chance(0.3)
        response = await self.ask("TriggerJob", request)
        if isinstance(response, job_pb2.TriggerJobResponse):
            self._note_run("TriggerJob", request, response.run.id, job_id)

    async def _restate_job(self) -> None:
        """Pause, resume or delete one."""
        jobs = self._jobs()
        if not jobs:
            return
        job_id = self._dice.pick(jobs)
        order = self._ledger.jobs[job_id]
        text = format_uuid(job_id)
        match self._dice.number(0, 9):
            case 0:
                order.deletions += 1
                response = await self.ask("DeleteJob", job_pb2.DeleteJobRequest(job_id=text))
                if isinstance(response, job_pb2.DeleteJobResponse):
                    self._ledger.deletions_told.add(job_id)
            case 1 | 2 | 3:
                order.restated = True
                await self.ask("PauseJob", job_pb2.PauseJobRequest(job_id=text))
            case _:
                order.restated = True
                await self.ask("ResumeJob", job_pb2.ResumeJobRequest(job_id=text))

    async def _respecify_job(self) -> None:
        """Give one other tasks, and now and then another schedule."""
        jobs = self._jobs()
        if not jobs:
            return
        job_id = self._dice.pick(jobs)
        order = self._ledger.jobs[job_id]
        request = job_pb2.UpdateJobRequest(job_id=format_uuid(job_id), spec=self._job_spec(), update_fields=["tasks"])
        order.respecified = True
        if self._dice.chance(0.2):
            order.rescheduled = True
            request.update_fields.append("schedule")
        await self.ask("UpdateJob", request)

    async def _cancel_run(self) -> None:
        runs = sorted(self._ledger.runs)[-5:]
        if not runs:
            return
        run_id = self._dice.pick(runs)
        self._ledger.run_cancels_asked.add(run_id)
        response = await self.ask("CancelRun", run_pb2.CancelRunRequest(run_id=format_uuid(run_id)))
        if isinstance(response, run_pb2.CancelRunResponse):
            self._ledger.run_cancels_told[run_id] = self._clock.monotonic()

    async def _redrive(self) -> None:
        """Ask for another try of a run; most have not failed, and of those that have each can be tried once."""
        runs = sorted(self._ledger.runs)[-KNOWN_RUNS_MAX:]
        if not runs:
            return
        run_id = self._dice.pick(runs)
        request = run_pb2.RedriveRunRequest(run_id=format_uuid(run_id), idempotency_key=self._key())
        response = await self.ask("RedriveRun", request)
        if isinstance(response, run_pb2.RedriveRunResponse):
            job_id = self._ledger.runs[run_id]
            self._note_run("RedriveRun", request, response.run.id, job_id)
            self._ledger.redrives.setdefault(run_id, set()).add(RunId(parse_uuid(response.run.id)))

    def _note_run(self, method: str, request: Any, run_text: str, job_id: JobId) -> None:
        run_id = RunId(parse_uuid(run_text))
        self._ledger.runs[run_id] = job_id
        self._ledger.keys[request.idempotency_key] = KeyUse(method, request, (run_id,))

    def _jobs(self) -> list[JobId]:
        return [job_id for job_id in self._ledger.jobs if job_id not in self._ledger.deletions_told]

    def _job_spec(self) -> job_pb2.JobSpec:
        dice = self._dice
        keys = [f"n{n}" for n in range(dice.number(1, 5))]
        spec = job_pb2.JobSpec(name="job", max_active_runs=dice.pick((0, 0, 0, 2)))
        for n, key in enumerate(keys):
            node = spec.tasks.add(key=key, dependencies=dice.some(keys[:n], 0.5), spec=self._spec())
            node.spec.ClearField("start_at")
            if node.dependencies:
                node.trigger_rule = dice.pick((1, 1, 1, 2, 3, 4, 5, 6))  # type: ignore[assignment]
            if "runs" in self._themes and dice.chance(0.3):
                node.spec.ClearField("work")
                node.spec.function.function = "f"
                node.spec.function.input_json = json.dumps("failing")
        if dice.chance(0.7):
            every_second = "schedules" in self._themes and dice.chance(0.2)
            spec.schedule.cron = "* * * * * *" if every_second else dice.pick(SCHEDULES)
            spec.schedule.misfire_policy = dice.number(1, 3)  # type: ignore[assignment]
            spec.schedule.concurrency_policy = dice.number(1, 4)  # type: ignore[assignment]
        return spec
