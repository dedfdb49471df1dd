"""The demonstration's pipeline without a stack: the tasks' work done by hand must agree with the direct count."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from foliot_gateway.apis.dag_jobs import shapes
from foliot_gateway.cli import demo_app
from foliot_gateway.cli.demo_pipeline import DirectCount, Pipeline, choose_texts

AWKWARD = {
    "empty-lines.txt": b"\n\n  \n\nOne two\n",
    "latin.txt": "Größe, größer: naïve café\n".encode("latin-1"),
    "no-words.txt": b"1 2 3 --- 4\n",
    "one-line-no-end.txt": b"the the THE tHe don't",
    "starts-with-word.txt": b"word\x00word\nword",
}


@dataclass
class FakeContext:
    """What the functions ask of a context."""

    attempt: int = 1
    last_checkpoint: Any = None
    saved: list[Any] = field(default_factory=list)

    @property
    def logger(self) -> FakeContext:
        return self

    def info(self, message: str, *args: object) -> None:
        pass

    def checkpoint_sync(self, value: Any) -> None:
        self.saved.append(json.loads(msgspec.json.encode(value)))


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    texts = []
    for name, content in AWKWARD.items():
        text = tmp_path / name
        text.write_bytes(content)
        texts.append(text)
    pipeline = Pipeline([*choose_texts(1), *texts], tmp_path / "pipeline")
    pipeline.prepare()
    return pipeline


def do(task: dict[str, Any]) -> Any:
    """Do a task's work as a worker would."""
    if "command" in task:
        environment = {"PATH": os.environ["PATH"], **task["command"]["environment"]}
        subprocess.run(["/bin/sh", "-c", task["command"]["line"]], env=environment, check=True, capture_output=True)
        return None
    if "function" not in task:
        return None
    registered = demo_app.worker.functions[task["function"]["name"]]
    handlers: dict[str, tuple[Any, Any]] = {
        "demo.list": (demo_app.list_files, demo_app.ListInput),
        "demo.count": (demo_app.count_words, demo_app.CountInput),
        "demo.join": (demo_app.join_counts, demo_app.JoinInput),
        "demo.report": (demo_app.write_report, demo_app.ReportInput),
    }
    assert not registered.is_async
    handler, shape = handlers[registered.name]
    given = msgspec.convert(task["function"]["input"], shape)
    context = FakeContext()
    try:
        found = handler(context, given)
    except demo_app.DeliberateError:
        assert len(context.saved) == 1
        found = handler(FakeContext(attempt=2, last_checkpoint=context.saved[0]), given)
    return json.loads(msgspec.json.encode(found))


def test_the_tasks_and_the_direct_count_agree(pipeline: Pipeline) -> None:
    found = {task["id"]: do(task) for task in pipeline.job("http://127.0.0.1:1/")["tasks"] if task["id"] != "cleanup"}
    assert DirectCount.of(pipeline.texts).differences(found["report"]) == []
    assert found["count-01"]["resumed_after_line"] == pipeline.fails_after_line
    assert pipeline.report_path.read_text(encoding="utf-8").startswith(f"{found['report']['words']:,} words")


def test_a_difference_is_named(pipeline: Pipeline) -> None:
    found = {task["id"]: do(task) for task in pipeline.job("http://127.0.0.1:1/")["tasks"] if task["id"] != "cleanup"}
    summary = found["report"]
    wrong = {**summary, "words": summary["words"] + 1, "files": {**summary["files"], str(pipeline.texts[1]): 7}}
    differences = DirectCount.of(pipeline.texts).differences(wrong)
    assert len(differences) == 2
    assert str(pipeline.texts[1]) in differences[1]


def test_half_of_the_counts_are_commands_and_half_functions(pipeline: Pipeline) -> None:
    counting = [task for task in pipeline.job("http://127.0.0.1:1/")["tasks"] if task["id"].startswith("count-")]
    assert Counter("command" if "command" in task else "function" for task in counting) == {"command": 3, "function": 3}


def test_the_job_is_one_that_the_api_takes(pipeline: Pipeline) -> None:
    msgspec.json.decode(msgspec.json.encode(pipeline.job("http://127.0.0.1:1/api/v1/health")), type=shapes.NewJob)


def test_cleanup_comes_in_any_case_and_removes_the_counts(pipeline: Pipeline) -> None:
    cleanup = pipeline.job("http://127.0.0.1:1/")["tasks"][-1]
    assert (cleanup["id"], cleanup["triggerRule"]) == ("cleanup", "ALL_DONE")
    assert (pipeline.folder / "counts").exists()
    do(cleanup)
    assert not (pipeline.folder / "counts").exists()


def test_texts_are_chosen_by_size_and_are_different() -> None:
    texts = choose_texts(24)
    sizes = [text.stat().st_size for text in texts]
    assert sizes == sorted(sizes, reverse=True)
    assert len({text.read_bytes() for text in texts}) == len(texts)
    assert choose_texts(5) == texts[:5]
    assert texts
