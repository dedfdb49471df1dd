"""Ids and units of the core: distinct types for what must never be mixed up."""

from collections.abc import Callable
from typing import NewType

Micros = NewType("Micros", int)
"""An instant: microseconds since the Unix epoch, UTC."""

Span = NewType("Span", int)
"""A length of time in microseconds."""

TaskId = NewType("TaskId", bytes)
RunId = NewType("RunId", bytes)
JobId = NewType("JobId", bytes)
"""Ids are the 16 bytes of a UUIDv7, so that they sort by creation."""

WorkerId = NewType("WorkerId", str)
Project = NewType("Project", str)

Token = NewType("Token", int)
"""A fencing token: leader epoch times 2^32, plus a counter. A later lease of a task always has the higher token."""

NewId = Callable[[], bytes]
"""Gives a fresh UUIDv7 each time."""

Draw = Callable[[], float]
"""Gives a number drawn evenly from [0, 1)."""

MILLISECOND = Span(1_000)
SECOND = Span(1_000_000)
MINUTE = Span(60_000_000)
HOUR = Span(3_600_000_000)

DEFAULT_PROJECT = Project("default")
