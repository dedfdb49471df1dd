"""The whole scheduler in virtual time, with every fault that we can think of, from seeds."""

from __future__ import annotations

import pytest

from tests.simulation.story import Story


def tell(story: Story) -> None:
    try:
        story.run()
    except BaseException:
        print("\n".join(story.log))  # noqa: T201 - what the nemesis did
        raise


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_lost_or_doubled_whatever_happens(seed: int) -> None:
    tell(Story(seed, faults_s=120.0))


@pytest.mark.parametrize("seed", range(2))
def test_nothing_is_run_again_because_a_stream_breaks(seed: int) -> None:
    tell(Story(seed, faults_s=120.0, gentle=True))


def test_a_seed_tells_the_same_story_twice() -> None:
    assert Story(5, faults_s=60.0).run() == Story(5, faults_s=60.0).run()
