"""Writes that reach a replica that does not lead, passed on to the one that does.

A client may talk to any replica. The request's bytes go on as they came, with the caller's metadata and what is
left of its deadline, and so does the answer. A forwarded call is marked and not forwarded again: when leadership
moves meanwhile, the replica that passed it on is told so and looks for the leader anew (see `writes`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import grpc.aio

from foliot.client import channel_options
from foliot.kit.errors import ErrorReason, FoliotError
from foliot.kit.following import NEW_KEY_ENTRY, answer_of
from foliot.kit.telemetry import TRACEPARENT, inject_metadata
from foliot_scheduler.api.calls import FORWARDED_ENTRY, remaining_s
from foliot_scheduler.api.ports import LeaderAddress
from foliot_scheduler.store import election
from foliot_scheduler.store.pool import Pool, translated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from foliot.kit.tls import ClientTls
    from foliot_scheduler.api.calls import Call
    from foliot_scheduler.api.ports import FindLeader, ServicerContext

FORWARD_S_MAX: Final = 30.0
"""Deadline of a forwarded call whose caller named none."""

# What belongs to the caller's own connection, or is said anew.
_HOP_ENTRIES: Final = frozenset({"user-agent", "content-type", "te", TRACEPARENT, FORWARDED_ENTRY, NEW_KEY_ENTRY})


def open_plain_channel(address: str) -> grpc.aio.Channel:
    """Open a channel in clear to another replica."""
    return grpc.aio.insecure_channel(address, options=channel_options())


def secure_opener(tls: ClientTls) -> Callable[[str], grpc.aio.Channel]:
    """Answer what opens channels over TLS to other replicas."""
    key, certificate = (None, None) if tls.identity is None else (tls.identity.key, tls.identity.certificate)
    credentials = grpc.ssl_channel_credentials(tls.ca, key, certificate)

    def open_secure_channel(address: str) -> grpc.aio.Channel:
        return grpc.aio.secure_channel(address, credentials, options=channel_options())

    return open_secure_channel


def leader_finder(pool: Pool, shard: int) -> FindLeader:
    """Answer what reads from PostgreSQL who leads a shard."""

    async def find() -> LeaderAddress | None:
        with translated("read who leads"):
            connection = await pool.acquire()
        try:
            found = await election.read_leadership(connection, shard)
        finally:
            await pool.release(connection)
        if found is None or not found.leader:
            return None
        return LeaderAddress(found.leader, found.address, found.epoch)

    return find


class Peer:
    """A replica that leads, or led."""

    __slots__ = ("address", "calls", "channel")

    def __init__(self, address: str, channel: grpc.aio.Channel) -> None:
        self.address = address
        self.channel = channel
        self.calls = 0
        """Calls under way on the channel."""


class Forwarder:
    """Passes calls on to the leader; remembers where it is until a call fails there."""

    def __init__(self, open_channel: Callable[[str], grpc.aio.Channel] = open_plain_channel) -> None:
        self._open_channel = open_channel
        self._current: Peer | None = None
        self._former: list[Peer] = []

    @property
    def current(self) -> Peer | None:
        """The leader as of the last call that went well; None: it has to be looked for."""
        return self._current

    def follow(self, address: str) -> Peer:
        """Pass calls on to the replica with this address from now on."""
        if self._current is None or self._current.address != address:
            self._retire()
            self._current = Peer(address, self._open_channel(address))
        return self._current

    async def forward(self, peer: Peer, path: str, raw: bytes, call: Call, context: ServicerContext) -> bytes:
        """Answer a call by the peer's answer. Raises FoliotError as the peer did; a peer that does not answer or lead is left."""
        left_s = remaining_s(context)
        passed_on = _passed_on(context.invocation_metadata() or ())
        mark = ((NEW_KEY_ENTRY, "1"),) if call.key_is_new else ()
        peer.calls += 1
        try:
            answering = peer.channel.unary_unary(path, None, None)(
                raw,
                timeout=FORWARD_S_MAX if left_s is None else left_s,
                metadata=(*passed_on, *inject_metadata(), (FORWARDED_ENTRY, "1"), *mark),
            )
            answer: bytes = await answer_of(answering)
        except FoliotError as error:
            if error.reason is ErrorReason.NO_LEADER and self._current is peer:
                self._retire()
            raise
        finally:
            peer.calls -= 1
            await self._close_idle()
        return answer

    async def close(self) -> None:
        """Close the channels; calls under way on them fail."""
        self._retire()
        peers, self._former = self._former, []
        for peer in peers:
            await peer.channel.close(None)

    def _retire(self) -> None:
        """Have the present peer's channel closed once its calls have ended."""
        if self._current is not None:
            self._former.append(self._current)
            self._current = None

    async def _close_idle(self) -> None:
        idle = [peer for peer in self._former if not peer.calls]
        if idle:
            self._former = [peer for peer in self._former if peer.calls]
            for peer in idle:
                await peer.channel.close(None)


def _passed_on(metadata: Iterable[tuple[str, str | bytes]]) -> list[tuple[str, str | bytes]]:
    return [(key, value) for key, value in metadata if key not in _HOP_ENTRIES and not key.startswith(("grpc-", ":"))]
