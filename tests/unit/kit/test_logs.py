"""Logs: their form, the trace in them, and what they must not show."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from foliot.kit.logs import MASK, configure_logging, get_logger, redact_value
from foliot.kit.telemetry import configure_tracing, get_tracer

log = get_logger("foliot.test")


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    structlog.reset_defaults()
    root.setLevel(level)
    for handler in [one for one in root.handlers if one not in handlers]:
        root.removeHandler(handler)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_has_event_component_source_level_time_and_fields() -> None:
    stream = io.StringIO()
    configure_logging("scheduler", stream=stream, json=True)
    log.info("journal.commit_failed", rows=12)
    log.debug("journal.too_much_detail")
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "journal.commit_failed",
        "component": "scheduler",
        "source": "foliot.test",
        "level": "info",
        "rows": 12,
    }


def test_lines_carry_the_current_trace() -> None:
    configure_tracing("test", environ={})
    stream = io.StringIO()
    configure_logging("scheduler", stream=stream, json=True)
    with get_tracer("test").start_as_current_span("x") as span:
        log.info("a.b")
    assert lines(stream)[0]["trace_id"] == f"{span.get_span_context().trace_id:032x}"


@pytest.mark.parametrize("as_json", [True, False])
def test_libraries_come_out_in_the_same_form_from_warning_on(as_json: bool) -> None:
    stream = io.StringIO()
    configure_logging("scheduler", stream=stream, json=as_json)
    logging.getLogger("asyncpg").warning("lost %s", "postgres://u:hunter2@db/x")
    logging.getLogger("asyncpg").info("chatter")
    shown = stream.getvalue()
    assert "asyncpg" in shown
    assert f"lost postgres://u:{MASK}@db/x" in shown
    assert "chatter" not in shown


@pytest.mark.parametrize("as_json", [True, False])
def test_tracebacks_are_shown_without_passwords(as_json: bool) -> None:
    stream = io.StringIO()
    configure_logging("scheduler", stream=stream, json=as_json)
    try:
        raise OSError("cannot reach redis://:hunter2@cache")
    except OSError:
        log.exception("events.redis_lost")
    shown = stream.getvalue()
    assert "OSError: cannot reach redis://:******@cache" in shown
    assert "hunter2" not in shown


def test_configuring_again_replaces_what_was_set() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure_logging("scheduler", stream=first, json=True)
    configure_logging("worker", stream=second, json=True, level=logging.DEBUG)
    log.debug("a.b")
    logging.getLogger("grpc").error("once")
    assert first.getvalue() == ""
    assert [line["component"] for line in lines(second)] == ["worker", "worker"]


@pytest.mark.parametrize(
    "key",
    ["password", "db_password", "API-Key", "apikey", "authorization", "secret", "client_secret", "token", "env", "Set-Cookie"],
)
def test_fields_that_name_a_secret_are_masked(key: str) -> None:
    assert redact_value(key, "hunter2") == MASK
    assert redact_value("outer", [{key: {"inner": "hunter2"}}]) == [{key: MASK}]


@pytest.mark.parametrize(
    ("key", "value"),
    [("passenger", "x"), ("tokenizer", "x"), ("rows", 3), ("url", "http://h/p@q"), ("secret", None), ("has_token", True)],
)
def test_other_fields_are_left_alone(key: str, value: object) -> None:
    assert redact_value(key, value) == value


def test_a_structure_that_holds_itself_ends() -> None:
    loop: list[object] = [1]
    loop.append(loop)
    assert redact_value("x", loop)[0] == 1
