"""One story of many, told in a process of its own."""

from __future__ import annotations

import traceback

import structlog

from tests.simulation.story import Story


def tell(given: tuple[int, float]) -> tuple[int, str, float, int]:
    """Tell one story; answers its seed, what was broken (empty: nothing), how many seconds it covered, and its attempts."""
    seed, faults_s = given
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    story = Story(seed, faults_s=faults_s, gentle=seed % 10 == 9)
    try:
        summary = story.run()
    except BaseException:  # noqa: BLE001 - whatever it is, it is this seed's
        about = f"about {', '.join(sorted(story.themes))}"
        return seed, "\n".join([traceback.format_exc(), about, *story.log]), story.loop.seconds, 0
    return seed, "", summary.seconds, summary.attempts
