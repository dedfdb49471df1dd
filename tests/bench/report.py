"""What the rounds found, as a table to read and as JSON to keep."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_WIDTHS = (28, 26, 12, 25, 24)


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement of one round."""

    name: str
    size: int
    figures: Mapping[str, float]
    calibration_before_ms: float
    calibration_after_ms: float


@dataclass(frozen=True, slots=True)
class Round:
    """What was measured on one stack, each measurement once."""

    samples: Sequence[Sample]
    yardsticks: Mapping[str, float]
    machine: Mapping[str, object]
    peak_memory_mib: Mapping[str, float]
    apart: bool = False
    """Its one measurement fills or breaks the stack: what it needs of memory is among its own figures."""


def summary(rounds: Sequence[Round], options: Mapping[str, object]) -> dict[str, Any]:
    """Answer everything, for JSON."""
    measured: dict[str, Any] = {}
    for name, samples in _by_name(rounds).items():
        measured[name] = {
            "size": samples[0].size,
            "figures": {key: _spread([sample.figures[key] for sample in samples]) for key in samples[0].figures},
            "calibration_ms": [[sample.calibration_before_ms, sample.calibration_after_ms] for sample in samples],
        }
    found_yardsticks = {key: _spread([one.yardsticks[key] for one in rounds]) for key in rounds[0].yardsticks}
    usual = [one for one in rounds if not one.apart] or rounds[:1]
    return {
        "options": dict(options),
        "machine": dict(rounds[0].machine),
        "ratios": dict(_ratios(measured, found_yardsticks)),
        "yardsticks": found_yardsticks,
        "measurements": measured,
        "peak_memory_mib": {key: _spread([one.peak_memory_mib[key] for one in usual]) for key in usual[0].peak_memory_mib},
    }


def table(found: Mapping[str, Any]) -> Iterator[str]:
    """Answer the summary's lines for people."""
    machine = found["machine"]
    yield f"{machine['cores']} cores, {machine['processor']}, Python {machine['python']}, PostgreSQL " + ", ".join(
        f"{name} {value}" for name, value in machine["postgres"].items()
    )
    yield ""
    for what, (ratio, bar) in found["ratios"].items():
        yield _line("ratio", what, f"{ratio:.3g}", f"wanted: {bar}", "")
    yield ""
    yield _line("measurement", "figure", "median", "min .. max", "2,000,000 additions, ms")
    for name, measured in found["measurements"].items():
        shown = f"{name} ({measured['size']:,})"
        calibrations = [ms for pair in measured["calibration_ms"] for ms in pair]
        loop = f"{statistics.median(calibrations):.0f} ({min(calibrations):.0f} .. {max(calibrations):.0f})"
        for key, spread in measured["figures"].items():
            yield _line(shown, key, *_shown(spread), loop)
            shown = loop = ""
    for title in ("yardsticks", "peak_memory_mib"):
        yield ""
        for key, spread in found[title].items():
            yield _line(title if key == next(iter(found[title])) else "", key, *_shown(spread), "")


def _ratios(measured: Mapping[str, Any], yardsticks: Mapping[str, Any]) -> Iterator[tuple[str, tuple[float, str]]]:
    """Answer what says more than a figure on machines whose speed swings, with what is wanted of it."""

    def median(name: str, key: str) -> float | None:
        figures = measured.get(name, {}).get("figures", {})
        return float(figures[key]["median"]) if key in figures else None

    bare_ms = yardsticks["commit_with_fsync_p50_ms"]["median"] + yardsticks["grpc_stream_ping_pong_p50_ms"]["median"]
    if (latency := median("latency", "submit_to_start_p50_ms")) is not None:
        yield "latency / (commit + ping)", (latency / bare_ms, "at most 3")
    if (commands := median("commands", "commands_per_s")) is not None:
        yield "commands / posix_spawn", (commands / yardsticks["posix_spawn_true_per_s"]["median"], "at least 0.75")
    if (over_http := median("tasks_http", "tasks_per_s")) is not None and (over_grpc := median("tasks_http", "grpc_tasks_per_s")):
        yield "POST / gRPC SubmitTask", (over_http / over_grpc, "no bar of its own")
    if (unary := yardsticks.get("grpc_unary_per_s")) and over_http is not None:
        yield "POST / bare gRPC unary", (over_http / unary["median"], "at least 0.35")
    if (dispatched := median("backlog", "dispatched_per_s")) is not None and (drained := median("drain", "tasks_per_s")):
        yield "from a backlog / drain", (dispatched / drained, "at least 0.9")


def _by_name(rounds: Sequence[Round]) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for one in rounds:
        for sample in one.samples:
            found.setdefault(sample.name, []).append(sample)
    return found


def _spread(values: Sequence[float]) -> dict[str, Any]:
    rounded = [_rounded(value) for value in values]
    return {"median": _rounded(statistics.median(values)), "min": min(rounded), "max": max(rounded), "values": rounded}


def _rounded(value: float) -> float:
    """Answer four significant digits, or whole numbers where those say as much."""
    return round(value) if value >= 1000 else float(f"{value:.4g}")


def _shown(spread: Mapping[str, Any]) -> tuple[str, str]:
    return f"{spread['median']:,}", f"{spread['min']:,} .. {spread['max']:,}"


def _line(*cells: str) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip()
