"""What a term has taken and not committed yet, and whether more may join it.

Theory of operation. Everything that a caller or a worker says is counted when it is taken (commands, rows, bytes) and until the
commit that tells of it has ended: that is the backlog. It is bounded, so that whoever waits does not wait long and the memory is
not filled by those who do. New work is the first to be refused: when too much waits, and when commits take too long, because
more work would only make them longer. What ends work, or is known of it (results, heartbeats, cancels), has places of its own
behind: it is what brings the backlog down. So overload shows to those who cause it, with a delay to come back after.

Pure: the time is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from foliot.kit.errors import ErrorReason, FoliotError
from foliot_scheduler.core import commands, subscriptions

if TYPE_CHECKING:
    from foliot_scheduler.core.commands import Command

CREATING: Final = frozenset(
    {
        commands.SubmitTasks,
        commands.CreateJob,
        commands.TriggerJob,
        commands.RedriveRun,
        commands.RetryTask,
        subscriptions.CreateWebhook,
        subscriptions.SendTestEvent,
    }
)
"""Commands that ask for more work: refused first."""

REPORTS: Final = frozenset(
    {
        commands.AttemptsEnded,
        commands.AttemptsStarted,
        commands.CancelRun,
        commands.CancelTask,
        commands.CheckpointReported,
        commands.EndClaim,
        commands.Heartbeat,
        commands.LeasesAcknowledged,
        commands.LeasesReleased,
        commands.RenewClaim,
        commands.WorkerDraining,
        commands.WorkerJoined,
        commands.WorkerLeft,
    }
)
"""Commands that end work or tell what became of it: refused last."""

SECONDS_PER_ROW: Final = 100e-6
"""What a commit may take for each row beside the time that any may take: four times what PostgreSQL was measured to need."""

RETRY_S: Final = 1.0
"""When to come back to a full backlog: about as long as it takes to work it off."""

RETRY_S_MAX: Final = 10.0
"""The longest delay that is told, however slow the commits."""


@dataclass(frozen=True, slots=True)
class BacklogLimits:
    """How much may wait for a commit."""

    creating_max: int = 8_000
    """Commands that may wait when one that asks for more work comes: about a second of work for a replica. Each is a call that
    waits, and there are places for more calls that change something (`api/rooms.py`), so that others find one."""
    wishes_max: int = 9_000
    """The same for other wishes of callers."""
    reports_max: int = 25_000
    """The same for what ends work. Workers' streams then wait, and hold their workers back."""
    rows_max: int = 50_000
    """Tasks and results in the commands that wait, before no more work is taken: two seconds of the engine."""
    bytes_max: int = 128 * 1024 * 1024
    """Specs, outputs and checkpoints in them, before no more work is taken."""
    reports_bytes_max: int = 256 * 1024 * 1024
    """The same before reports wait too: room for sixteen of the largest messages after the last new work."""
    commit_s_max: float = 2.0
    """How long a commit may take, but for its rows, before no more work is taken: after it a leader confirms no heartbeat."""


class Weight(NamedTuple):
    """What a command adds to the backlog."""

    rows: int
    size: int
    """Bytes of what the caller or worker sent along."""


_ONE: Final = Weight(1, 0)


def weight_of(command: Command) -> Weight:
    """Weigh a command: about 0.2 µs for a task or a result."""
    match command:
        case commands.SubmitTasks(tasks=tasks):
            return Weight(len(tasks), sum([len(new.plan.spec) for new in tasks]))
        case commands.AttemptsEnded(ends=ends):
            return Weight(len(ends), sum([len(end.output) + len(end.error_output) for end in ends]))
        case commands.EndClaim():
            return Weight(1, len(command.output) + len(command.error_output))
        case commands.CheckpointReported() | commands.SaveCheckpoint():
            return Weight(1, len(command.checkpoint))
        case commands.CreateJob():
            return Weight(1, len(command.plan.spec))
        case commands.UpdateJob(plan=plan) if plan is not None:
            return Weight(1, len(plan.spec))
        case _:
            return _ONE


class Backlog:
    """Counts what was taken, until its commit has ended."""

    def __init__(self, limits: BacklogLimits) -> None:
        """Take the limits."""
        self._limits = limits
        self.commands = self.rows = self.size = 0

    def refusal(self, command: Command, commit_s: float, commit_rows: int) -> FoliotError | None:
        """Say why a command is not taken now; None: it is.

        `commit_s` is how long the commit under way has taken by now, or the last one, whichever is more; `commit_rows` how many
        rows it has.
        """
        limits = self._limits
        kind = type(command)
        if kind in CREATING:
            if self.commands >= limits.creating_max or self.rows >= limits.rows_max or self.size >= limits.bytes_max:
                return _overloaded("too much work waits to be recorded", RETRY_S)
            if commit_s > limits.commit_s_max + commit_rows * SECONDS_PER_ROW:
                return _overloaded("recording takes too long", min(max(commit_s, RETRY_S), RETRY_S_MAX))
            return None
        if self.size >= limits.reports_bytes_max or self.commands >= limits.reports_max:
            return _overloaded("too many requests wait for the leader", RETRY_S)
        if self.commands >= limits.wishes_max and kind not in REPORTS:
            return _overloaded("too many requests wait for the leader", RETRY_S)
        return None

    def taken(self, weight: Weight) -> None:
        """Count a command that was taken."""
        self.commands += 1
        self.rows += weight.rows
        self.size += weight.size

    def done(self, load: Load) -> None:
        """Count out what a commit has dealt with."""
        self.commands -= load.commands
        self.rows -= load.rows
        self.size -= load.size


@dataclass(slots=True)
class Load:
    """What the commands of one commit add up to."""

    commands: int = 0
    rows: int = 0
    size: int = 0

    def add(self, weight: Weight) -> None:
        """Count a command."""
        self.commands += 1
        self.rows += weight.rows
        self.size += weight.size


def _overloaded(message: str, retry_after_s: float) -> FoliotError:
    return FoliotError(ErrorReason.OVERLOADED, message, retry_after_s=retry_after_s)
