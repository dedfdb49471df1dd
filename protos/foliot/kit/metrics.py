"""Metrics: declared once, at the top of the module that counts, with unit and description.

    _COMMITS = Counter("foliot_journal_commits_total", unit="commits", description="Commits that PostgreSQL took.")
    _COMMITS.add()

Values live in the process and are read by `render_prometheus`, in the text format that Prometheus scrapes. To count
costs about 0.2 us. A metric is used from one thread, the event loop's.
"""

from __future__ import annotations

import abc
import bisect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

_NAME = re.compile(r"^foliot_[a-z][a-z0-9_]*$")
_LABEL = re.compile(r"^[a-z][a-z0-9_]*$")

# Each combination of label values is a series that Prometheus keeps for days. Labels are for small fixed sets; past the
# bound, what comes is counted as `other`, so that a mistake costs detail and not memory.
SERIES_MAX: Final = 1_000
_OTHER: Final = "other"

DURATION_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Bounds for durations in seconds: from one group commit (about a millisecond) to the longest a caller waits."""

Sample = tuple[str, str, float]
"""Name suffix, rendered labels, value."""


class Registry:
    """The metrics of a process by name."""

    def __init__(self) -> None:
        self._metrics: dict[str, Metric] = {}

    def add(self, metric: Metric) -> None:
        """Take in a metric. Raises ValueError if its name is taken: a metric is declared once."""
        if metric.name in self._metrics:
            raise ValueError(f"metric {metric.name} is declared twice")
        self._metrics[metric.name] = metric

    def __iter__(self) -> Iterator[Metric]:
        return iter(sorted(self._metrics.values(), key=lambda metric: metric.name))


REGISTRY: Final = Registry()
"""The process's own registry, which declarations use unless told otherwise."""


class Metric(abc.ABC):
    """What all metrics have: a `name` (`foliot_…`), a `unit`, a `description` and the names of its labels.

    Raises ValueError for a name that Prometheus or our convention does not allow, or that is taken.
    """

    kind: str
    """The type's name in the Prometheus text format."""

    def __init__(
        self,
        name: str,
        *,
        unit: str,
        description: str,
        labels: Sequence[str] = (),
        registry: Registry = REGISTRY,
    ) -> None:
        if not _NAME.match(name):
            raise ValueError(f"metric name {name!r} is not foliot_… in lower case")
        if not unit or not description:
            raise ValueError(f"metric {name} needs a unit and a description")
        for label in labels:
            if not _LABEL.match(label) or label == "le":
                raise ValueError(f"metric {name}: label name {label!r} is not allowed")
        self.name = name
        self.unit = unit
        self.description = description
        self.labels = tuple(labels)
        registry.add(self)

    @abc.abstractmethod
    def samples(self) -> Iterator[Sample]:
        """Go through the values to show."""

    def _checked(self, values: tuple[str, ...], series_count: int) -> tuple[str, ...]:
        """Answer the key of a series that is new."""
        if len(values) != len(self.labels):
            raise ValueError(f"metric {self.name} has the labels {self.labels}, not values {values}")
        return values if series_count < SERIES_MAX else (_OTHER,) * len(self.labels)

    def _rendered(self, values: tuple[str, ...], *, le: str = "") -> str:
        pairs = [f'{label}="{_escaped(value)}"' for label, value in zip(self.labels, values, strict=True)]
        if le:
            pairs.append(f'le="{le}"')
        return f"{{{','.join(pairs)}}}" if pairs else ""


class _Single(Metric):
    """A metric with one number for each series."""

    def __init__(
        self,
        name: str,
        *,
        unit: str,
        description: str,
        labels: Sequence[str] = (),
        registry: Registry = REGISTRY,
    ) -> None:
        super().__init__(name, unit=unit, description=description, labels=labels, registry=registry)
        # Without labels there is one series, and it is shown from the start: an absent zero looks like a broken scrape.
        self._values: dict[tuple[str, ...], float] = {} if self.labels else {(): 0}

    def value(self, *labels: str) -> float:
        """Answer the number of a series, given its label values; 0 if it has none yet."""
        return self._values.get(labels, 0)

    def samples(self) -> Iterator[Sample]:
        """See `Metric.samples`."""
        for key, value in self._values.items():
            yield "", self._rendered(key), value

    def _add(self, amount: float, labels: tuple[str, ...]) -> None:
        values = self._values
        if labels not in values:
            labels = self._checked(labels, len(values))
        values[labels] = values.get(labels, 0) + amount


class Counter(_Single):
    """A number that only grows; its name ends in `_total`."""

    kind = "counter"

    def add(self, amount: float = 1, /, *labels: str) -> None:
        """Count `amount` (0 or more) more, under the values of the labels in their declared order."""
        if amount < 0:
            raise ValueError(f"counter {self.name} cannot go down")
        self._add(amount, labels)


class Gauge(_Single):
    """A number that goes up and down."""

    kind = "gauge"

    def set(self, value: float, /, *labels: str) -> None:
        """Make it `value`, under the values of the labels in their declared order."""
        if labels not in self._values:
            labels = self._checked(labels, len(self._values))
        self._values[labels] = value

    def replace(self, values: Mapping[tuple[str, ...], float]) -> None:
        """Make these its series, by their label values; those it had and that are not among them go."""
        self._values.clear()
        for labels, value in values.items():
            self.set(value, *labels)

    def add(self, amount: float, /, *labels: str) -> None:
        """Change it by `amount`, under the values of the labels in their declared order."""
        self._add(amount, labels)


class Histogram(Metric):
    """A distribution: how many observations were at most each of the `buckets` (growing upper bounds)."""

    kind = "histogram"

    def __init__(
        self,
        name: str,
        *,
        unit: str,
        description: str,
        labels: Sequence[str] = (),
        buckets: Sequence[float] = DURATION_BUCKETS_S,
        registry: Registry = REGISTRY,
    ) -> None:
        super().__init__(name, unit=unit, description=description, labels=labels, registry=registry)
        if not buckets or list(buckets) != sorted(set(buckets)):
            raise ValueError(f"histogram {name} needs growing bucket bounds")
        self.buckets = tuple(buckets)
        # For each series: a count for each bucket and one past the last, then the sum at the end.
        self._series: dict[tuple[str, ...], tuple[list[int], list[float]]] = {}

    def observe(self, value: float, /, *labels: str) -> None:
        """Count one observation, under the values of the labels in their declared order."""
        series = self._series.get(labels)
        if series is None:
            labels = self._checked(labels, len(self._series))
            series = self._series.setdefault(labels, ([0] * (len(self.buckets) + 1), [0.0]))
        counts, total = series
        counts[bisect.bisect_left(self.buckets, value)] += 1
        total[0] += value

    def count(self, *labels: str) -> int:
        """Answer how many observations a series has."""
        series = self._series.get(labels)
        return sum(series[0]) if series else 0

    def samples(self) -> Iterator[Sample]:
        """See `Metric.samples`."""
        for key, (counts, total) in self._series.items():
            running = 0
            for bound, count in zip((*self.buckets, float("inf")), counts, strict=True):
                running += count
                yield "_bucket", self._rendered(key, le=_number(bound)), running
            yield "_sum", self._rendered(key), total[0]
            yield "_count", self._rendered(key), running


def render_prometheus(registry: Registry = REGISTRY) -> str:
    """Answer all values in the Prometheus text format 0.0.4 (`text/plain; version=0.0.4; charset=utf-8`)."""
    lines: list[str] = []
    for metric in registry:
        help_text = f"{metric.description} Unit: {metric.unit}.".replace("\\", r"\\").replace("\n", r"\n")
        lines.extend((f"# HELP {metric.name} {help_text}", f"# TYPE {metric.name} {metric.kind}"))
        lines.extend(f"{metric.name}{suffix}{labels} {_number(value)}" for suffix, labels, value in metric.samples())
    return "\n".join(lines) + "\n" if lines else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    if value == float("inf"):
        return "+Inf"
    return str(int(value)) if value == int(value) else repr(value)
