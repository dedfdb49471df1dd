"""Metrics: declaring, counting, and the text that Prometheus reads."""

import pytest

from foliot.kit.metrics import SERIES_MAX, Counter, Gauge, Histogram, Registry, render_prometheus


def test_everything_comes_out_in_the_text_format() -> None:
    registry = Registry()
    commits = Counter("foliot_commits_total", unit="commits", description="Commits taken.", registry=registry)
    tasks = Gauge("foliot_tasks", unit="tasks", description="Tasks\nby state.", labels=["state"], registry=registry)
    took = Histogram("foliot_commit_seconds", unit="seconds", description="Duration.", buckets=(0.5, 1), registry=registry)
    commits.add()
    commits.add(2)
    tasks.set(5, "ready")
    tasks.add(-2, "ready")
    tasks.set(1.5, 'od"d\n\\')
    for value in (0.5, 0.75, 4):
        took.observe(value)
    assert commits.value() == 3
    assert tasks.value("ready") == 3
    assert tasks.value("running") == 0
    assert took.count() == 3
    assert render_prometheus(registry).splitlines() == [
        "# HELP foliot_commit_seconds Duration. Unit: seconds.",
        "# TYPE foliot_commit_seconds histogram",
        'foliot_commit_seconds_bucket{le="0.5"} 1',
        'foliot_commit_seconds_bucket{le="1"} 2',
        'foliot_commit_seconds_bucket{le="+Inf"} 3',
        "foliot_commit_seconds_sum 5.25",
        "foliot_commit_seconds_count 3",
        "# HELP foliot_commits_total Commits taken. Unit: commits.",
        "# TYPE foliot_commits_total counter",
        "foliot_commits_total 3",
        r"# HELP foliot_tasks Tasks\nby state. Unit: tasks.",
        "# TYPE foliot_tasks gauge",
        'foliot_tasks{state="ready"} 3',
        r'foliot_tasks{state="od\"d\n\\"} 1.5',
    ]


def test_a_counter_without_labels_is_shown_from_the_start() -> None:
    registry = Registry()
    Counter("foliot_x_total", unit="x", description="X.", registry=registry)
    assert render_prometheus(registry).endswith("foliot_x_total 0\n")
    assert render_prometheus(Registry()) == ""


def test_too_many_series_are_counted_together() -> None:
    registry = Registry()
    counter = Counter("foliot_x_total", unit="x", description="X.", labels=["id"], registry=registry)
    took = Histogram("foliot_y_seconds", unit="s", description="Y.", labels=["id"], registry=registry)
    for number in range(SERIES_MAX + 10):
        counter.add(1, str(number))
        took.observe(1, str(number))
    assert counter.value("other") == 10
    assert took.count("other") == 10
    assert counter.value("0") == took.count("0") == 1
    assert took.count("absent") == 0


@pytest.mark.parametrize("name", ["commits_total", "foliot_Commits", "foliot_", "foliot_a-b"])
def test_names_keep_the_convention(name: str) -> None:
    with pytest.raises(ValueError, match="metric name"):
        Counter(name, unit="x", description="X.", registry=Registry())


def test_declarations_are_complete_and_unique() -> None:
    registry = Registry()
    Gauge("foliot_x", unit="x", description="X.", registry=registry)
    with pytest.raises(ValueError, match="declared twice"):
        Gauge("foliot_x", unit="x", description="X.", registry=registry)
    with pytest.raises(ValueError, match="unit and a description"):
        Gauge("foliot_y", unit="", description="X.", registry=registry)
    with pytest.raises(ValueError, match="label name"):
        Gauge("foliot_y", unit="x", description="X.", labels=["le"], registry=registry)
    with pytest.raises(ValueError, match="bucket"):
        Histogram("foliot_z", unit="x", description="X.", buckets=(2, 1), registry=registry)


def test_misuse_is_refused() -> None:
    registry = Registry()
    counter = Counter("foliot_x_total", unit="x", description="X.", labels=["a"], registry=registry)
    with pytest.raises(ValueError, match="go down"):
        counter.add(-1, "a")
    with pytest.raises(ValueError, match="has the labels"):
        counter.add(1)


def test_a_gauge_s_series_can_be_replaced_as_a_whole() -> None:
    registry = Registry()
    gauge = Gauge("foliot_x", unit="x", description="X.", labels=["a"], registry=registry)
    gauge.set(1, "old")
    gauge.replace({("new",): 2})
    assert [line for line in render_prometheus(registry).splitlines() if not line.startswith("#")] == ['foliot_x{a="new"} 2']
