from __future__ import annotations

import sys
from pathlib import Path

import pytest

from foliot.kit.settings import SettingsError
from foliot_worker.app import load_functions


@pytest.fixture(autouse=True)
def in_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "offered_functions.py").write_text(
        "from foliot_worker import Worker\nworker = Worker()\nother = 1\n@worker.task('f')\nasync def f(ctx):\n    return None\n"
    )
    (tmp_path / "needs_missing.py").write_text("import missing_dependency\n")
    return tmp_path


def test_finds_the_worker_in_the_current_directory() -> None:
    assert list(load_functions("offered_functions:worker").functions) == ["f"]


@pytest.mark.parametrize(
    ("app", "message"),
    [
        ("offered_functions", "must be MODULE:WORKER"),
        (":worker", "must be MODULE:WORKER"),
        ("no_such_module:worker", "there is no module no_such_module"),
        ("offered_functions:other", "is not a foliot_worker.Worker"),
        ("offered_functions:missing", "is not a foliot_worker.Worker"),
    ],
)
def test_mistakes_name_the_option(app: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        load_functions(app)
    assert caught.value.option == "--app"


def test_a_module_s_own_failure_comes_out() -> None:
    with pytest.raises(ModuleNotFoundError, match="missing_dependency"):
        load_functions("needs_missing:worker")
