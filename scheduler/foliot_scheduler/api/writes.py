"""The way of a write to whoever leads, over any change of the leader.

Theory of operation. A write that reaches the leader is carried out there; one that reaches another replica is passed on. When
there is no leader, or it is gone before it answers, the write waits here for the next one and is tried again, within its deadline
and a bounded time, instead of failing: so neither a fail-over nor a leader that hands over is seen by callers. It is tried again
only where that does no harm: a leader says of commands that it never took that they were not taken, and what may have been taken
is repeated if the request carries an idempotency key or has none to carry, as the client does (`foliot.client`). A forwarded call
is neither forwarded nor kept waiting: whoever passed it on does that.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from foliot.kit.errors import NOT_TAKEN, ErrorReason, FoliotError
from foliot.kit.following import KEY_FIELD, REPEATED
from foliot_scheduler.actors.leader import no_leader
from foliot_scheduler.api.calls import remaining_s
from foliot_scheduler.api.wire import parse_request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from google.protobuf.message import Message

    from foliot.kit.clock import Clock
    from foliot_scheduler.api.calls import Call
    from foliot_scheduler.api.forwarding import Forwarder
    from foliot_scheduler.api.ports import LeaderPort, ServicerContext
    from foliot_scheduler.api.whereabouts import Whereabouts

AGAIN_S: Final = 0.01
"""The pause before another try: PostgreSQL names a leader that has just died until the next one begins, milliseconds later."""

ANSWER_S: Final = 0.05
"""What is kept of a caller's deadline to say that nobody leads and when to come back: a passed deadline says neither."""


class Write(NamedTuple):
    """One write on its way."""

    path: str
    """The method's, as gRPC names it."""
    raw: bytes
    request_type: type[Message]
    here: Callable[[Call], Awaitable[bytes]]
    """Carries it out by this replica's term."""


class Writes:
    """Brings writes to the leader."""

    def __init__(self, *, leader: LeaderPort, forwarder: Forwarder, whereabouts: Whereabouts, clock: Clock) -> None:
        """Take this replica's term, and the way to others'."""
        self._leader = leader
        self._forwarder = forwarder
        self._whereabouts = whereabouts
        self._clock = clock

    async def carry_out(self, write: Write, call: Call, context: ServicerContext) -> bytes:
        """Answer a write by the leader's answer, whoever that is.

        Raises what the leader raises, here or there; FoliotError NO_LEADER when there is none in time; StoreError when PostgreSQL
        cannot say.
        """
        if self._leader.leading and call.forwarded:
            return await write.here(call)
        until = float("inf")  # for as long as there is no trouble
        doubtful = False
        while True:
            if not self._leader.leading and self._forwarder.current is None:
                until = min(until, self._give_up_at(context))
            try:
                return await self._carry_out_once(write, call, context, until)
            except FoliotError as error:
                if error.reason is not ErrorReason.NO_LEADER:
                    if doubtful:
                        error.metadata[REPEATED] = "true"
                    raise
                taken = error.metadata.get(NOT_TAKEN) != "true"
                until = min(until, self._give_up_at(context))
                late = self._clock.monotonic() + AGAIN_S >= until
                if call.forwarded or late or (taken and not _repeatable(write)):
                    raise
                doubtful = doubtful or taken
            # What was sent before may have used the key.
            call = replace(call, key_is_new=False)
            await self._clock.sleep(AGAIN_S)

    async def _carry_out_once(self, write: Write, call: Call, context: ServicerContext, until: float) -> bytes:
        """Try it where the leader is now, waiting for one first if there is none."""
        if self._leader.leading:
            return await write.here(call)
        if call.forwarded:
            raise no_leader()
        peer = self._forwarder.current
        if peer is None:
            found = await self._whereabouts.wait(until - self._clock.monotonic())
            if found is None:
                return await write.here(call)
            peer = self._forwarder.follow(found.address)
        return await self._forwarder.forward(peer, write.path, write.raw, call, context)

    def _give_up_at(self, context: ServicerContext) -> float:
        """Until when a caller is kept who has met with trouble just now."""
        left_s, most_s = remaining_s(context), self._whereabouts.wait_s
        return self._clock.monotonic() + (most_s if left_s is None else min(most_s, left_s - ANSWER_S))


def _repeatable(write: Write) -> bool:
    """Say whether doing it twice does what doing it once does."""
    if KEY_FIELD not in write.request_type.DESCRIPTOR.fields_by_name:
        return True
    return bool(getattr(parse_request(write.request_type, write.raw), KEY_FIELD))
