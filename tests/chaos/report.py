"""Tells what came of a run: a table for people, JSON for programs."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from tests.chaos.gaps import gaps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.chaos.checker import Verdict
    from tests.chaos.history import History

_SHOWN_MAX: Final = 40


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Answer how many there are, and their p50, p99 and maximum."""
    if not values:
        return {"count": 0}
    ordered = sorted(values)
    last = len(ordered) - 1
    return {
        "count": len(ordered),
        "p50": round(ordered[round(0.5 * last)], 3),
        "p99": round(ordered[round(0.99 * last)], 3),
        "max": round(ordered[-1], 3),
    }


def _figures(history: History, verdict: Verdict) -> dict[str, Any]:
    return {
        "seconds": history.seconds,
        "seed": history.seed,
        "fault every s": history.fault_every_s,
        "counts": verdict.counts,
        "faults": dict(Counter(fault.kind for fault in history.faults)),
        "failed calls": verdict.failures,
        "fires late s, calm": percentiles(verdict.lateness.calm),
        "fires late s, troubled": percentiles(verdict.lateness.troubled),
        "fail-over gap s": {kind: percentiles(found) for kind, found in gaps(history).items()},
        "violations": [str(violation) for violation in verdict.violations],
    }


def as_json(history: History, verdict: Verdict) -> str:
    """Everything on one line."""
    return json.dumps(_figures(history, verdict))


def as_table(history: History, verdict: Verdict) -> str:
    """Everything, for people."""
    figures = _figures(history, verdict)
    violations = figures.pop("violations")
    lines = []
    for name, value in figures.items():
        if isinstance(value, dict):
            lines.append(f"{name}:")
            lines += [f"    {key:<42} {_shown(found)}" for key, found in value.items()]
        else:
            lines.append(f"{name:<46} {value}")
    lines.append("what was done, in s from the first:")
    first = min((fault.began for fault in history.faults), default=0.0)
    for fault in history.faults:
        lines.append(f"    {fault.began - first:6.1f} to {fault.healed - first:6.1f}  {fault.kind}: {fault.target}")
    lines.append(f"{len(violations)} promises broken" if violations else "every promise was kept")
    lines += [f"    {violation}" for violation in violations[:_SHOWN_MAX]]
    return "\n".join(lines)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {found}" for name, found in value.items())
    return str(value)
