"""A loop that works while its replica leads, and begins anew with each term."""

from __future__ import annotations

from foliot.kit.clock import ManualClock
from foliot_scheduler.actors.term_loop import TERM_CHECK_S, TermLoop
from tests.unit.actors.standing import StandIn


class Rounds(TermLoop):
    """Notes what it is asked to do."""

    def __init__(self, leadership: StandIn, clock: ManualClock, pause_s: float = 30.0) -> None:
        super().__init__("rounds", leadership=leadership, clock=clock)
        self._pause_s = pause_s
        self.terms = 0
        self.rounds: list[float] = []

    def begin_term(self) -> None:
        self.terms += 1

    async def do_round(self) -> float:
        self.rounds.append(self._clock.monotonic())
        return self._pause_s


async def test_nothing_is_done_by_who_does_not_lead() -> None:
    clock = ManualClock()
    async with Rounds(StandIn(), clock) as loop:
        await clock.run_for(300)
    assert (loop.terms, loop.rounds) == (0, [])


async def test_the_first_round_comes_at_once_and_others_after_their_pauses() -> None:
    leadership, clock = StandIn(), ManualClock()
    async with Rounds(leadership, clock) as loop:
        await clock.run_for(5)
        leadership.elect(1)
        await clock.run_for(65)
    assert (loop.terms, loop.rounds) == (1, [5.0, 35.0, 65.0])


async def test_a_deposed_leader_stops() -> None:
    leadership, clock = StandIn(), ManualClock()
    leadership.elect(1)
    async with Rounds(leadership, clock) as loop:
        await clock.run_for(10)
        leadership.depose()
        await clock.run_for(300)
    assert loop.rounds == [0.0]


async def test_a_new_term_does_not_wait_for_the_pause_of_the_old_one() -> None:
    leadership, clock = StandIn(), ManualClock()
    leadership.elect(1)
    async with Rounds(leadership, clock, pause_s=3600.0) as loop:
        await clock.run_for(10)
        leadership.depose()
        leadership.elect(3)
        await clock.run_for(TERM_CHECK_S)
        assert (loop.terms, len(loop.rounds)) == (2, 2)
        leadership.depose()
        await clock.run_for(10)
        leadership.elect(4)
        await clock.run_for(TERM_CHECK_S)
    assert (loop.terms, len(loop.rounds)) == (3, 3)


async def test_a_term_that_ends_before_the_loop_wakes_is_passed_over() -> None:
    leadership, clock = StandIn(), ManualClock()
    async with Rounds(leadership, clock) as loop:
        await clock.run_for(1)
        leadership.elect(1)
        leadership.depose()
        await clock.run_for(10)
        assert loop.terms == 0
        leadership.elect(2)
        await clock.run_for(1)
    assert loop.terms == 1
