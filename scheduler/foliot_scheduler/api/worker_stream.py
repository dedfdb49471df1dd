"""The Work stream: one worker's messages to commands, and the session's messages back.

A stream has one reader and one writer. The reader turns messages into commands and posts them; when the leader's
mailbox is full it waits, so that gRPC's own flow control holds the worker back. The writer sends what the session
has gathered. Whichever ends first ends the stream, and the worker's leases then go on without it until they end.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.kit.lifecycle import run_forever
from foliot.kit.logs import get_logger
from foliot.v1 import spec_pb2, worker_pb2
from foliot_scheduler.actors.sessions import Session, Sessions, messages_of, tokens_of
from foliot_scheduler.core import commands
from foliot_scheduler.core.access import TRUSTED, Caller
from foliot_scheduler.core.effects import Repeated
from foliot_scheduler.core.model import Kind, Outcome, Resources, WorkerProfile
from foliot_scheduler.core.types import Micros, Token, WorkerId
from foliot_scheduler.store.errors import StoreError

if TYPE_CHECKING:
    import grpc

    from foliot.kit.clock import Clock
    from foliot_scheduler.actors.leadership import Leadership
    from foliot_scheduler.api.calls import Call
    from foliot_scheduler.api.whereabouts import Whereabouts
    from foliot_scheduler.core.state import CoreSettings

    Context = grpc.aio.ServicerContext[worker_pb2.WorkRequest, worker_pb2.WorkResponse]

HELLO_WITHIN_S = 5.0
"""A stream that says nothing for so long is closed: half-open connections must not pile up."""

LEADER_WITHIN_S = 2.0
"""How long a worker is kept waiting for a leader: longer than a fail-over takes, well within the 5 s that it gives its hello and
the life of its leases."""

CAPACITY_MAX = 100_000
HELD_MAX = 200_000
"""The contract's bound on capacity, and twice as many leases held at a reconnect: those and their unconfirmed results."""

NAME_BYTES_MAX = 255
PROCESS_BYTES_MAX = 64
ERROR_CHARS_MAX = 8 * 1024
OUTPUT_BYTES_MAX = 1024 * 1024
CHECKPOINT_CHARS_MAX = 1024 * 1024
RESULTS_MAX = 10_000
"""The contract's bounds on what a worker may say."""

RETRY_POST_S = 0.01
"""How long a worker's message waits before it knocks again at a full mailbox: the engine drains a full one in about a second."""

log = get_logger(__name__)

_OUTCOMES = {
    spec_pb2.OUTCOME_SUCCEEDED: Outcome.SUCCEEDED,
    spec_pb2.OUTCOME_FAILED: Outcome.FAILED,
    spec_pb2.OUTCOME_TIMED_OUT: Outcome.TIMED_OUT,
    spec_pb2.OUTCOME_NON_RETRYABLE: Outcome.NON_RETRYABLE,
    spec_pb2.OUTCOME_CANCELLED: Outcome.CANCELLED,
}


def violation(message: str) -> FoliotError:
    """The error for a worker that breaks the rules of the stream."""
    return FoliotError(ErrorReason.PROTOCOL_VIOLATION, message)


class WorkStreams:
    """Serves WorkerService.Work."""

    def __init__(
        self,
        *,
        leadership: Leadership,
        whereabouts: Whereabouts,
        sessions: Sessions,
        settings: CoreSettings,
        clock: Clock,
        replica: str,
    ) -> None:
        """Take who leads, where sessions are kept, and the numbers that workers are told."""
        self._leadership = leadership
        self._whereabouts = whereabouts
        self._sessions = sessions
        self._settings = settings
        self._clock = clock
        self._replica = replica

    async def work(self, context: Context, call: Call) -> None:
        """Serve one stream to its end, for what its caller reaches. Raises FoliotError for a worker that breaks the rules."""
        hello = await self._read_hello(context)
        if hello is None:
            return
        if not self._leadership.leading and (elsewhere := await self._await_leader()) is not None:
            await context.write(worker_pb2.WorkResponse(redirect=worker_pb2.Redirect(address=elsewhere)))
            return
        profile = profile_of(hello, call.caller)
        project = None if call.caller.any_project else call.caller.project
        session = self._sessions.open(profile.id)
        try:
            dropped = await self._leadership.execute(
                commands.WorkerJoined(session.number, profile, tokens_of(hello.held_tokens), project, hello.process)
            )
            assert isinstance(dropped, tuple)
            assert not isinstance(dropped, Repeated)
            # What the session has gathered since is sent after this: welcome comes first.
            await context.write(self._welcome(dropped))
            await self._serve(context, session)
        finally:
            self._sessions.forget(session)
            self._post_if_leading(commands.WorkerLeft(session.number, session.worker_id))

    async def _await_leader(self) -> str | None:
        """Keep a worker waiting until somebody leads: return where, or nothing if nobody does in time; None: this replica leads.

        So a worker whose leader has died needs to come back once only, whichever replica it comes to, and is welcomed by the next
        leader the moment that one begins.
        """
        try:
            found = await self._whereabouts.wait(LEADER_WITHIN_S)
        except (FoliotError, StoreError) as error:
            log.debug("work_stream.no_leader", reason=str(error))
            return ""
        return None if found is None else found.address

    async def _read_hello(self, context: Context) -> worker_pb2.Hello | None:
        try:
            async with asyncio.timeout(HELLO_WITHIN_S):
                first: object = await context.read()
        except TimeoutError:
            raise violation(f"no hello within {HELLO_WITHIN_S:g} s") from None
        if not isinstance(first, worker_pb2.WorkRequest):
            return None  # the worker has gone
        if first.WhichOneof("message") != "hello":
            raise violation("the first message must be hello")
        return first.hello

    def _welcome(self, dropped: tuple[Token, ...]) -> worker_pb2.WorkResponse:
        welcome = worker_pb2.Welcome(leader=self._replica, epoch=self._leadership.epoch, dropped_tokens=dropped)
        welcome.lease_ttl.FromMicroseconds(self._settings.lease_ttl)
        welcome.heartbeat_interval.FromMicroseconds(self._settings.lease_ttl // 5)
        return worker_pb2.WorkResponse(welcome=welcome)

    async def _serve(self, context: Context, session: Session) -> None:
        """Read and write until either ends."""
        reader = asyncio.create_task(self._read(context, session), name=f"work.read.{session.worker_id}")
        writer = asyncio.create_task(_write(context, session), name=f"work.write.{session.worker_id}")
        try:
            await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for loop in (reader, writer):
                loop.cancel()
            await asyncio.wait({reader, writer})
        for loop in (reader, writer):
            if not loop.cancelled():
                loop.result()

    async def _read(self, context: Context, session: Session) -> None:
        while True:
            message: object = await context.read()
            if not isinstance(message, worker_pb2.WorkRequest):
                return None  # the worker has closed its side
            command = command_of(message, session)
            while True:
                try:
                    self._leadership.post(command)
                    break
                except FoliotError as error:
                    if error.reason is not ErrorReason.OVERLOADED:
                        # The term takes no more. The stream stays open for what its last commits still have to say, and the
                        # term's end ends it; what was not heard here is said again to the next leader.
                        return await run_forever()
                await self._clock.sleep(RETRY_POST_S)

    def _post_if_leading(self, command: commands.Command) -> None:
        try:
            self._leadership.post(command)
        except FoliotError as error:
            log.debug("work_stream.left_unheard", reason=str(error))  # the worker's leases end by themselves


async def _write(context: Context, session: Session) -> None:
    while taken := await session.take():
        for message in messages_of(taken):
            await context.write(message)


def command_of(message: worker_pb2.WorkRequest, session: Session) -> commands.Command:
    """Turn a worker's message into a command; raises FoliotError PROTOCOL_VIOLATION for one that no worker sends."""
    number, worker_id = session.number, session.worker_id
    match message.WhichOneof("message"):
        case "results":
            return commands.AttemptsEnded(number, worker_id, _ends_of(message.results))
        case "lease_ack":
            return commands.LeasesAcknowledged(number, worker_id, tokens_of(message.lease_ack.batches))
        case "heartbeat":
            return _heartbeat_of(message.heartbeat, session)
        case "started":
            started = [commands.AttemptStarted(Token(a.token), Micros(a.started_at_us)) for a in message.started.attempts]
            return commands.AttemptsStarted(number, worker_id, started)
        case "checkpoint":
            saved = message.checkpoint
            if len(saved.checkpoint_json) > CHECKPOINT_CHARS_MAX:
                raise violation("checkpoint.checkpoint_json: at most 1 MiB")
            return commands.CheckpointReported(number, worker_id, Token(saved.token), saved.sequence, saved.checkpoint_json)
        case "release":
            return commands.LeasesReleased(number, worker_id, tokens_of(message.release.tokens))
        case "goodbye":
            return commands.WorkerDraining(number, worker_id)
        case "hello":
            raise violation("hello comes once")
        case _:
            raise violation("a message without content")


def _ends_of(results: worker_pb2.Results) -> list[commands.AttemptEnd]:
    if len(results.results) > RESULTS_MAX:
        raise violation(f"results: at most {RESULTS_MAX}")
    ends = []
    for result in results.results:
        outcome = _OUTCOMES.get(result.outcome)
        if outcome is None:
            raise violation("results.outcome: must be succeeded, failed, timed out, non-retryable or cancelled")
        ends.append(
            commands.AttemptEnd(
                Token(result.token),
                outcome,
                result.exit_code if result.HasField("exit_code") else None,
                result.error[:ERROR_CHARS_MAX],
                result.output[-OUTPUT_BYTES_MAX:],
                result.error_output[-OUTPUT_BYTES_MAX:],
                Micros(result.started_at_us),
                Micros(result.ended_at_us),
            )
        )
    return ends


def _heartbeat_of(heartbeat: worker_pb2.Heartbeat, session: Session) -> commands.Heartbeat:
    resources = None
    if heartbeat.HasField("resources"):
        used = heartbeat.resources
        resources = Resources(used.cpu_usage, used.memory_usage, used.disk_usage)
    return commands.Heartbeat(session.number, session.worker_id, heartbeat.sequence, resources)


def shown_address(hostname: str) -> str:
    """Cut what a worker says of where it runs to what is kept with each of its attempts."""
    return hostname.replace("\0", "\N{REPLACEMENT CHARACTER}").encode()[:NAME_BYTES_MAX].decode(errors="ignore")


def profile_of(hello: worker_pb2.Hello, caller: Caller = TRUSTED) -> WorkerProfile:
    """Read a worker's introduction; raises FoliotError PROTOCOL_VIOLATION naming the field that breaks its rule."""
    if not hello.worker_id:
        raise violation(f"hello.worker_id: 1 to {NAME_BYTES_MAX} bytes")
    worker_id = worker_id_of(hello.worker_id, caller)
    if not 1 <= hello.capacity <= CAPACITY_MAX:
        raise violation(f"hello.capacity: 1 to {CAPACITY_MAX}")
    if not 0 <= hello.concurrency <= hello.capacity:
        raise violation("hello.concurrency: 0 to capacity")
    if len(hello.process.encode()) > PROCESS_BYTES_MAX:
        raise violation(f"hello.process: at most {PROCESS_BYTES_MAX} bytes")
    if len(hello.held_tokens) > HELD_MAX:
        raise violation(f"hello.held_tokens: at most {HELD_MAX}")
    kinds = {str(kind) for kind in Kind} - {Kind.MARKER}
    for kind in hello.kinds:
        if kind not in kinds:
            raise violation(f"hello.kinds: {kind!r} is none of {', '.join(sorted(kinds))}")
    return WorkerProfile(
        worker_id,
        shown_address(hello.hostname),
        hello.version,
        hello.capacity,
        frozenset(hello.queues or ("default",)),
        tuple(sorted(hello.labels.items())),
        frozenset(Kind(kind) for kind in hello.kinds),
        frozenset(hello.functions),
        tuple(hello.tags),
        hello.concurrency,
    )


def worker_id_of(given: str, caller: Caller) -> WorkerId:
    """Answer the name by which a worker is known: with a project's credential, `project:name`.

    So nobody can take the name, and with it the leases, of another project's worker. Raises FoliotError PROTOCOL_VIOLATION.
    """
    if not caller.authenticated:
        known = given  # no worker is of one project alone
    elif ":" in given:
        # A project's name may hold a colon, so the name behind the last one must not.
        raise violation("hello.worker_id: must not contain a colon")
    else:
        known = given if caller.any_project else f"{caller.project}:{given}"
    if len(known.encode()) > NAME_BYTES_MAX:
        raise violation(f"hello.worker_id: 1 to {NAME_BYTES_MAX} bytes, with its project")
    return WorkerId(known)
