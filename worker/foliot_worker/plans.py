"""What a lease asks for, read once.

Tasks submitted in bulk share their spec, byte for byte, so plans are kept by the spec's bytes: finding one costs a
tenth of reading it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import DecodeError

from foliot.v1.spec_pb2 import BinaryWork, CommandWork, FunctionWork, HttpWork, TaskSpec

DEFAULT_TIMEOUT_S: Final = 3_600.0
"""Stands for an unset timeout, as the contract says."""

_PLANS_MAX: Final = 2_048
_SPEC_BYTES_KEPT_MAX: Final = 4_096
# Together 8 MiB of keys at most; a larger spec takes long enough to run that reading it does not matter.

Work = CommandWork | HttpWork | BinaryWork | FunctionWork


class Kind(enum.StrEnum):
    """The kinds of work, as hello names them."""

    COMMAND = "command"
    HTTP = "http"
    BINARY = "binary"
    FUNCTION = "function"


class PlanError(Exception):
    """A lease's spec cannot be run here: it is no TaskSpec, or of a kind this worker does not know."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one attempt is to do."""

    kind: Kind
    work: Work
    timeout_s: float
    """Bound of the attempt, from its start."""

    name: str


class Plans:
    """Reads specs and remembers them."""

    def __init__(self) -> None:
        self._plans: dict[bytes, Plan] = {}

    def plan(self, spec: bytes) -> Plan:
        """Answer what a serialized TaskSpec asks for. Raises `PlanError`."""
        found = self._plans.get(spec)
        if found is not None:
            return found
        plan = _read(spec)
        if len(spec) <= _SPEC_BYTES_KEPT_MAX:
            if len(self._plans) >= _PLANS_MAX:
                # Starting over costs one reading of each spec in use, and nothing at all on the way of a hit.
                self._plans.clear()
            self._plans[spec] = plan
        return plan


def _read(spec: bytes) -> Plan:
    try:
        task = TaskSpec.FromString(spec)
    except DecodeError as error:
        raise PlanError("the spec cannot be read") from error
    kind = task.WhichOneof("work")
    if kind is None:
        raise PlanError("the spec asks for no work that this worker knows")
    timeout_s = task.timeout.ToMicroseconds() / 1e6 if task.HasField("timeout") else DEFAULT_TIMEOUT_S
    return Plan(kind=Kind(kind), work=getattr(task, kind), timeout_s=timeout_s, name=task.name)
