"""The diagram of task states in README.md is drawn from the table of legal moves.

`python tests/unit/core/test_state_diagram.py` writes it anew.
"""

from __future__ import annotations

import pathlib

from foliot_scheduler.core.transitions import ENDED_TASK_STATES, TASK_TRANSITIONS, TaskState

README = pathlib.Path(__file__).resolve().parents[3] / "README.md"
BEGIN = "<!-- task-states:begin -->\n"
END = "<!-- task-states:end -->"


def diagram() -> str:
    """The table as a state diagram of Mermaid, which the usual forges draw."""
    events: dict[tuple[TaskState, TaskState], list[str]] = {}
    for (start, event), end in TASK_TRANSITIONS.items():
        events.setdefault((start, end), []).append(event.value)
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> blocked"]
    lines += [f"    {start} --> {end}: {', '.join(why)}" for (start, end), why in events.items()]
    lines += [f"    {state} --> [*]" for state in TaskState if state in ENDED_TASK_STATES]
    return "\n".join([*lines, "```", ""])


def rewritten(text: str) -> str:
    """The README with the diagram as the table has it now."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + diagram() + END + after


def test_the_readme_shows_the_table_of_moves() -> None:
    text = README.read_text()
    assert text == rewritten(text), f"stale: run python {pathlib.Path(__file__).relative_to(README.parent)}"


def test_every_move_is_drawn() -> None:
    drawn = diagram()
    for (start, event), end in TASK_TRANSITIONS.items():
        line = next(line for line in drawn.splitlines() if line.startswith(f"    {start} --> {end}:"))
        assert event.value in line


if __name__ == "__main__":
    README.write_text(rewritten(README.read_text()))
