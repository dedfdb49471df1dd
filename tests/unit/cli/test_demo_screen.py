"""What the demonstration shows on a terminal and elsewhere."""

from __future__ import annotations

import io

import pytest

from foliot_gateway.cli.demo_screen import Progress, Screen, TaskProgress

STAGES = {"list": ["list"], "count": ["count-01", "count-02"]}
WAITING = TaskProgress("PENDING", 0, None)


def test_elsewhere_each_end_is_a_line() -> None:
    out = io.StringIO()
    progress = Progress(Screen(out), STAGES)
    tasks = {"list": WAITING, "count-01": WAITING, "count-02": WAITING}
    progress.show(tasks, elapsed_s=0.0)
    tasks["list"] = TaskProgress("SUCCEEDED", 1, None)
    tasks["count-01"] = TaskProgress("PENDING", 1, "oh no")
    progress.show(tasks, elapsed_s=0.25)
    progress.show(tasks, elapsed_s=0.5)
    tasks["count-01"] = TaskProgress("RUNNING", 2, "oh no")
    tasks["count-02"] = TaskProgress("FAILED", 1, "worse")
    progress.show(tasks, elapsed_s=0.75)
    tasks["count-01"] = TaskProgress("SUCCEEDED", 2, None)
    progress.show(tasks, elapsed_s=1.0)
    assert out.getvalue().splitlines() == [
        "    0.25 s  list       succeeded",
        "    0.25 s  count-01   failed at attempt 1, is to be retried: oh no",
        "    0.75 s  count-02   failed: worse",
        "    1.00 s  count-01   succeeded at attempt 2",
    ]


def test_on_a_terminal_the_block_is_drawn_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out = io.StringIO()
    progress = Progress(Screen(out, is_terminal=True), STAGES)
    tasks = {"list": TaskProgress("SUCCEEDED", 1, None), "count-01": WAITING, "count-02": WAITING}
    progress.show(tasks, elapsed_s=0.0)
    first = out.getvalue()
    progress.show({**tasks, "count-02": TaskProgress("RUNNING", 1, None)}, elapsed_s=1.0)
    second = out.getvalue().removeprefix(first)
    assert first.count("\n") == 3
    assert "\x1b[3A" not in first
    assert second.startswith("\x1b[3A\x1b[2K")
    assert "0/2" in second
    assert "1 running" in second


def test_a_table_is_aligned() -> None:
    out = io.StringIO()
    Screen(out).table(("task", "took"), [("a", "1 ms"), ("long-name", "100 ms")], right=frozenset({1}))
    assert out.getvalue().splitlines() == [
        "  task         took",
        "  a            1 ms",
        "  long-name  100 ms",
    ]
