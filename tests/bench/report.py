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
    """One round: a fresh stack, each measurement once."""

    samples: Sequence[Sample]
    yardsticks: Mapping[str, float]
    machine: Mapping[str, object]
    peak_memory_mib: Mapping[str, float]


def summary(rounds: Sequence[Round], options: Mapping[str, object]) -> dict[str, Any]:
    """Answer everything, for JSON."""
    measured: dict[str, Any] = {}
    for name, samples in _by_name(rounds).items():
        measured[name] = {
            "size": samples[0].size,
            "figures": {key: _spread([sample.figures[key] for sample in samples]) for key in samples[0].figures},
            "calibration_ms": [[sample.calibration_before_ms, sample.calibration_after_ms] for sample in samples],
        }
    return {
        "options": dict(options),
        "machine": dict(rounds[0].machine),
        "yardsticks": {key: _spread([one.yardsticks[key] for one in rounds]) for key in rounds[0].yardsticks},
        "measurements": measured,
        "peak_memory_mib": {key: _spread([one.peak_memory_mib[key] for one in rounds]) for key in rounds[0].peak_memory_mib},
    }


def table(found: Mapping[str, Any]) -> Iterator[str]:
    """Answer the summary's lines for people."""
    machine = found["machine"]
    yield f"{machine['cores']} cores, {machine['processor']}, Python {machine['python']}, PostgreSQL " + ", ".join(
        f"{name} {value}" for name, value in machine["postgres"].items()
    )
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
