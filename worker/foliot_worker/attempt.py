"""One attempt of a task while it is in the runner's hands, and the results it can have."""

from __future__ import annotations

import asyncio
import enum
from typing import Any, Final

from foliot.kit.ids import format_uuid
from foliot.v1 import spec_pb2
from foliot.v1.worker_pb2 import Lease, Result
from foliot_worker.plans import Plan

ERROR_BYTES_MAX: Final = 8 * 1024
"""The contract's limit of an error."""

OUTPUT_BYTES_MAX: Final = 1024 * 1024
"""The contract's limit of each output."""

SUCCEEDED: Final = spec_pb2.OUTCOME_SUCCEEDED
FAILED: Final = spec_pb2.OUTCOME_FAILED
TIMED_OUT: Final = spec_pb2.OUTCOME_TIMED_OUT
NON_RETRYABLE: Final = spec_pb2.OUTCOME_NON_RETRYABLE
CANCELLED: Final = spec_pb2.OUTCOME_CANCELLED


class StopReason(enum.Enum):
    """Why an attempt was asked to stop."""

    TIMED_OUT = "timed out"
    DROPPED = "dropped"
    """Its lease no longer counts, or the worker is about to end: nobody waits for its result."""


class Attempt:
    """A lease that runs. Plain and slotted, as one is made for each task; `lease` is read only where it is needed."""

    __slots__ = ("lease", "plan", "started_at_us", "state", "stop_reason", "timer", "token")

    def __init__(self, lease: Lease, plan: Plan) -> None:
        self.token = lease.token
        self.lease = lease
        self.plan = plan
        self.started_at_us = 0
        """When its work began, in microseconds since the Unix epoch."""
        self.timer: asyncio.TimerHandle | None = None
        """Its timeout; the runner's."""
        self.stop_reason: StopReason | None = None
        """Set when it is asked to stop; the runner's."""
        self.state: Any = None
        """What its executor keeps of it."""

    @property
    def task_id(self) -> str:
        """The task's UUID in canonical text."""
        return format_uuid(self.lease.task_id)

    @property
    def run_id(self) -> str:
        """The run's UUID in canonical text; empty for a task on its own."""
        run_id = self.lease.run_id
        return format_uuid(run_id) if run_id else ""

    @property
    def number(self) -> int:
        """The attempt's number, from 1."""
        return self.lease.attempt

    def result(
        self,
        outcome: spec_pb2.Outcome.ValueType,
        ended_at_us: int,
        *,
        error: str = "",
        exit_code: int | None = None,
        output: bytes = b"",
        error_output: bytes = b"",
    ) -> Result:
        """Make a result; a long error is cut. `ended_at_us` is in microseconds since the Unix epoch."""
        return Result(
            token=self.token,
            outcome=outcome,
            exit_code=exit_code,
            error=cut_error(error) if error else "",
            output=output,
            error_output=error_output,
            started_at_us=self.started_at_us,
            ended_at_us=ended_at_us,
        )


def cut_error(error: str) -> str:
    """Cut an error to its limit in UTF-8, and replace what cannot be encoded (lone surrogates)."""
    encoded = error.encode(errors="replace")
    if len(encoded) > ERROR_BYTES_MAX:
        encoded = encoded[: ERROR_BYTES_MAX - 3] + "…".encode()
    return encoded.decode(errors="ignore")
