from __future__ import annotations

import itertools

import pytest

from foliot_worker.stream_state import TRANSITIONS, IllegalMoveError, LocalProtocolError, StreamEvent, StreamState, next_state


def test_unknown_pair_raises_with_state_and_event() -> None:
    with pytest.raises(IllegalMoveError) as caught:
        next_state(StreamState.OFFLINE, StreamEvent.WELCOMED)
    assert (caught.value.state, caught.value.event) == (StreamState.OFFLINE, StreamEvent.WELCOMED)
    assert isinstance(caught.value, LocalProtocolError)
    assert str(caught.value) == "illegal move: welcomed while offline"


@pytest.mark.parametrize(("state", "event"), list(itertools.product(StreamState, StreamEvent)))
def test_every_pair_moves_or_raises(state: StreamState, event: StreamEvent) -> None:
    if (state, event) in TRANSITIONS:
        assert next_state(state, event) is TRANSITIONS[state, event]
    else:
        with pytest.raises(IllegalMoveError):
            next_state(state, event)


def test_nothing_leads_out_of_closed_and_everything_leads_there() -> None:
    assert not [pair for pair in TRANSITIONS if pair[0] is StreamState.CLOSED]
    reaching = {StreamState.CLOSED}
    for _ in StreamState:
        reaching |= {state for (state, _), after in TRANSITIONS.items() if after in reaching}
    assert reaching == set(StreamState)


def test_a_stream_can_break_wherever_there_is_one() -> None:
    for state in (StreamState.GREETING, StreamState.WORKING, StreamState.DRAINING):
        assert next_state(state, StreamEvent.BROKEN) is StreamState.OFFLINE
