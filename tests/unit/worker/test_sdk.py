from __future__ import annotations

import pathlib
import subprocess
import sys
import textwrap
from typing import Any

import pytest

import foliot_worker
from foliot_worker import Context, Worker

ROOT = pathlib.Path(__file__).resolve().parents[3]


def test_public_names() -> None:
    assert sorted(foliot_worker.__all__) == ["CheckpointError", "Context", "NonRetryable", "Worker"]


def test_registers_by_name_and_returns_the_function() -> None:
    worker = Worker()

    @worker.task("one")
    async def one(ctx: Context) -> int:
        return 1

    @worker.task("two")
    def two(ctx: Context, given: int = 2) -> int:
        return given

    assert {name: entry.is_async for name, entry in worker.functions.items()} == {"one": True, "two": False}
    assert two.__name__ == "two"
    with pytest.raises(ValueError, match="twice"):
        worker.task("one")(two)


@pytest.mark.parametrize("name", ["", "x" * 256, "é" * 128])
def test_names_are_bounded(name: str) -> None:
    with pytest.raises(ValueError, match="1 to 255 bytes"):
        Worker().task(name)


def test_without_parentheses_says_how() -> None:
    with pytest.raises(TypeError, match=r"@worker\.task"):
        Worker().task(lambda ctx: None)  # type: ignore[arg-type]  # the mistake under test


@pytest.mark.parametrize(
    "handler", [lambda: None, lambda ctx, given, more: None, lambda ctx, *, needed: None], ids=["none", "three", "keyword"]
)
def test_other_shapes_are_refused(handler: Any) -> None:
    with pytest.raises(TypeError, match="must take"):
        Worker().task("wrong")(handler)


def test_a_type_that_cannot_be_found_is_refused_at_once() -> None:
    class Local:
        pass

    def handler(ctx: Context, given: Local) -> None: ...

    with pytest.raises(TypeError, match="type of given cannot be found"):
        Worker().task("local")(handler)


MISUSES = {
    "no parentheses": "@worker.task\nasync def handler(ctx: Context) -> None: ...",
    "name is no text": "@worker.task(1)\nasync def handler(ctx: Context) -> None: ...",
    "no parameter": '@worker.task("a")\nasync def handler() -> None: ...',
    "three parameters": '@worker.task("a")\nasync def handler(ctx: Context, a: int, b: int) -> None: ...',
    "context of another type": '@worker.task("a")\nasync def handler(ctx: int) -> None: ...',
    "keyword that nobody gives": '@worker.task("a")\nasync def handler(ctx: Context, *, a: int) -> None: ...',
    "unknown attribute": '@worker.task("a")\nasync def handler(ctx: Context) -> None:\n    ctx.nothing',
    "assignment to the context": '@worker.task("a")\nasync def handler(ctx: Context) -> None:\n    ctx.key = "x"',
}
USES = {
    "context only": '@worker.task("a")\nasync def handler(ctx: Context) -> None: ...',
    "with input": '@worker.task("a")\ndef handler(ctx: Context, given: dict[str, int]) -> int:\n    return len(given)',
    "keeps its type": '@worker.task("a")\ndef handler(ctx: Context, given: int) -> int:\n    return given\n'
    "check: Callable[[Context, int], int] = handler",
}


@pytest.mark.slow
def test_misuse_fails_type_checking_and_use_passes(tmp_path: pathlib.Path) -> None:
    snippets = {**MISUSES, **USES}
    head = "from collections.abc import Callable\nfrom foliot_worker import Context, Worker\nworker = Worker()\n"
    for index, body in enumerate(snippets.values()):
        (tmp_path / f"snippet_{index}.py").write_text(head + textwrap.dedent(body) + "\n")
    options = ["--strict", "--no-error-summary", "--hide-error-context", "--follow-imports=silent"]
    config = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(tmp_path / "cache")]
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", *options, *config, *sorted(str(path) for path in tmp_path.glob("*.py"))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    failed = {name for index, name in enumerate(snippets) if f"snippet_{index}.py:" in ran.stdout}
    assert failed == set(MISUSES), ran.stdout + ran.stderr
