"""The states of a worker's side of the Work stream, as a table.

Theory of operation. One session lives as long as the worker's process and outlives its connections, because the leases do.

- `OFFLINE`: there is no stream. What runs goes on; results are kept.
- `GREETING`: a stream is open and hello is the only thing that may be said; the answer is welcome or redirect.
- `WORKING`: leases come, everything else may be said.
- `DRAINING`: goodbye was said. Leases that come now crossed it on the way and go back unstarted.
- `CLOSED`: said goodbye and holds nothing, or was asked to leave while it held nothing. Nothing leads out of it.

A stream may break at any time (`BROKEN`), and a leader may hand over (`HANDED_OVER`); both lead to `OFFLINE` with all work kept.
The wish to leave outlives the stream: a session that was asked to leave says goodbye again (`LEFT`) as soon as it is welcomed.

This file knows no messages, leases or time: only which event is legal when.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final


class StreamState(enum.Enum):
    """Where the conversation with the scheduler stands."""

    OFFLINE = "offline"
    GREETING = "greeting"
    WORKING = "working"
    DRAINING = "draining"
    CLOSED = "closed"


class StreamEvent(enum.Enum):
    """What moves it."""

    OPENED = "opened"
    """A stream to a replica is open."""

    WELCOMED = "welcomed"
    """The scheduler answered hello with welcome."""

    REDIRECTED = "redirected"
    """The scheduler answered hello with redirect."""

    HANDED_OVER = "handed over"
    """The scheduler said drain: it is about to stop leading."""

    BROKEN = "broken"
    """The stream ended, whoever ended it."""

    LEFT = "left"
    """The worker says goodbye."""

    EMPTIED = "emptied"
    """The worker was asked to leave and holds nothing any more."""


TRANSITIONS: Final[Mapping[tuple[StreamState, StreamEvent], StreamState]] = MappingProxyType(
    {
        (StreamState.OFFLINE, StreamEvent.OPENED): StreamState.GREETING,
        (StreamState.OFFLINE, StreamEvent.EMPTIED): StreamState.CLOSED,
        (StreamState.GREETING, StreamEvent.WELCOMED): StreamState.WORKING,
        (StreamState.GREETING, StreamEvent.REDIRECTED): StreamState.OFFLINE,
        (StreamState.GREETING, StreamEvent.BROKEN): StreamState.OFFLINE,
        (StreamState.GREETING, StreamEvent.EMPTIED): StreamState.CLOSED,
        (StreamState.WORKING, StreamEvent.HANDED_OVER): StreamState.OFFLINE,
        (StreamState.WORKING, StreamEvent.BROKEN): StreamState.OFFLINE,
        (StreamState.WORKING, StreamEvent.LEFT): StreamState.DRAINING,
        (StreamState.DRAINING, StreamEvent.HANDED_OVER): StreamState.OFFLINE,
        (StreamState.DRAINING, StreamEvent.BROKEN): StreamState.OFFLINE,
        (StreamState.DRAINING, StreamEvent.EMPTIED): StreamState.CLOSED,
    }
)
"""Every legal move; what is not here raises."""


class ProtocolError(Exception):
    """The rules of the Work stream were broken; see the two kinds."""


class LocalProtocolError(ProtocolError):
    """This worker broke them: a bug here, which ends the process."""


class RemoteProtocolError(ProtocolError):
    """The scheduler broke them: the stream is given up and opened anew."""


class IllegalMoveError(LocalProtocolError):
    """An event came in a state that has no place for it."""

    def __init__(self, state: StreamState, event: StreamEvent) -> None:
        super().__init__(f"illegal move: {event.value} while {state.value}")
        self.state = state
        self.event = event


def next_state(state: StreamState, event: StreamEvent) -> StreamState:
    """Answer the state that `event` leads to. Raises `IllegalMoveError`."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise IllegalMoveError(state, event) from None
