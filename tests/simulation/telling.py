"""Tells stories: one, or one of many in a process of its own; says what was broken, and what led to it."""

from __future__ import annotations

import asyncio
import gc
import re
import traceback
from collections import Counter
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import structlog

from tests.simulation.planted import planted
from tests.simulation.story import Story, Summary
from tests.simulation.virtual import VirtualLoop, current_process

if TYPE_CHECKING:
    from tests.simulation.plan import Plan

TAIL_LINES: Final = 40
"""How much of a telling is shown: a failure comes of what happened in the half minute before."""

SILENT: Final = 50
"""The highest level there is; nobody logs at it."""


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a story."""

    plan: Plan
    summary: Summary | None
    """None if a promise was broken."""
    promise: str = ""
    """The promise that was broken, in words that are the same for every story that breaks it; empty: none was."""
    what: str = ""
    """The same with names and numbers, and where it was noticed."""
    tail: str = ""
    """What happened last."""
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)


def tell(plan: Plan, bug: str = "", *, aloud: bool = False) -> Told:
    """Tell a story, with a planted bug or without; `aloud` with the log lines of all that took part, which takes longer."""
    lines: list[str] = []
    structlog.configure(
        processors=[_Listener(lines)], wrapper_class=structlog.make_filtering_bound_logger(20 if aloud else SILENT)
    )
    try:
        with planted(bug):
            story = Story(plan)
            try:
                summary = story.run()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is this story's
                noticed = traceback.extract_tb(error.__traceback__)[-1].name
                what = f"{type(error).__name__} in {noticed}: {error}"
                tail = _tail([*story.log, *lines, *(_told(one) for one in story.evidence if aloud)], str(error))
                return Told(plan, None, promise_of(error), what, tail, story.loop.seconds, story.faults)
            return Told(plan, summary, seconds=summary.seconds, faults=story.faults)
    finally:
        structlog.reset_defaults()


def promise_of(error: Exception) -> str:
    """What all stories that fail in the same way have in common: the first words, without what is this story's own."""
    text = re.sub(r"\d+", "N", str(error).partition(":")[0].partition("\n")[0].strip())
    noticed = traceback.extract_tb(error.__traceback__)[-1].name
    return text if isinstance(error, AssertionError) and text else f"{type(error).__name__} in {noticed}"


def begin() -> None:
    """Make a process ready to tell many: what was imported is not looked at again for garbage."""
    gc.collect()
    gc.freeze()


class _Listener:
    """Takes log lines of all processes, and lets none out."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def __call__(self, _logger: Any, level: str, event: MutableMapping[str, Any]) -> Any:
        loop = asyncio.get_running_loop()
        process = current_process()
        assert isinstance(loop, VirtualLoop)
        fields = " ".join(f"{key}={value!r}" for key, value in event.items() if key not in {"event", "exc_info"})
        self._lines.append(f"{loop.seconds:9.3f} {process.name if process else 'world'}: {level} {event['event']} {fields}")
        raise structlog.DropEvent


def _told(one: Any) -> str:
    return f"{one.at:9.3f} {one.worker}: {one.what} task {one.task_id.hex()[-6:]} attempt {one.attempt} token {one.token}"


def _tail(lines: list[str], error: str) -> str:
    """What happened last: up to the instant that the error names, where it names one, since the checker looks at the end only."""
    named = [float(at) for at in re.findall(r"\bat=([0-9.]+)", error)]
    until = max(named) + 0.001 if named else float("inf")
    return "\n".join([line for line in sorted(lines, key=_second) if _second(line) <= until][-TAIL_LINES:])


def _second(line: str) -> float:
    return float(line.split(maxsplit=1)[0])
