"""Metrics of several processes in one Prometheus text.

In that text (format 0.0.4) all samples of a metric stand together, under one description. Processes of different kinds
declare some of the same metrics, so each sample is given a label that says whose it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

LABEL: Final = "component"
"""Says which process a sample is from."""

_SAMPLE_SUFFIXES: Final = ("_bucket", "_sum", "_count")


def merge_expositions(texts: Mapping[str, str]) -> str:
    """Return the metrics of several components, given their texts by their names, as one text."""
    described: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for component, text in texts.items():
        for line in text.splitlines():
            if line.startswith("# "):
                _, _, name, _ = line.split(" ", 3)
                lines = described.setdefault(name, [])
                if line.split(" ", 2)[1] not in {known.split(" ", 2)[1] for known in lines}:
                    lines.append(line)
            elif line:
                samples.setdefault(_metric(line, described), []).append(_labelled(line, component))
    found = [line for name in sorted(described) for line in (*described[name], *samples.get(name, ()))]
    return "".join(f"{line}\n" for line in found)


def _metric(sample: str, described: Mapping[str, object]) -> str:
    name = sample.partition("{")[0].partition(" ")[0]
    for suffix in _SAMPLE_SUFFIXES:
        bare = name.removesuffix(suffix)
        if bare != name and name not in described and bare in described:
            return bare
    return name


def _labelled(sample: str, component: str) -> str:
    name, brace, rest = sample.partition("{")
    if brace:
        return f'{name}{{{LABEL}="{component}",{rest}'
    name, _, value = sample.partition(" ")
    return f'{name}{{{LABEL}="{component}"}} {value}'
