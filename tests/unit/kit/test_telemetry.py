"""Traces: how a span passes from one process to the next."""

import subprocess
import sys

import pytest
from opentelemetry import trace

from foliot.kit.telemetry import (
    configure_tracing,
    current_traceparent,
    extract,
    extract_metadata,
    get_tracer,
    inject_metadata,
)

SENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(autouse=True)
def tracing() -> None:
    configure_tracing("test", environ={})


def test_outside_of_a_span_nothing_is_passed_on() -> None:
    assert current_traceparent() == ""
    assert inject_metadata() == ()


def test_a_span_goes_on_in_the_next_process() -> None:
    with get_tracer("test").start_as_current_span("first", context=extract(SENT)):
        (entry,) = inject_metadata()
        passed_on = current_traceparent()
    assert entry == ("traceparent", passed_on)
    assert passed_on[:36] == SENT[:36]
    assert passed_on[36:52] != SENT[36:52]
    assert passed_on[-2:] == "01"
    context = trace.get_current_span(extract_metadata([("other", "x"), entry])).get_span_context()
    assert f"{context.span_id:016x}" == passed_on[36:52]


def test_spans_have_ids_even_where_nothing_is_exported() -> None:
    with get_tracer("test").start_as_current_span("root") as span:
        flags = int(current_traceparent()[-2:], 16)
        assert flags & 1 == 0  # not sampled
        assert not span.is_recording()


@pytest.mark.parametrize("sent", ["", "garbage", "00-0-0-01", SENT.replace("0af7", "zzzz")])
def test_a_malformed_parent_is_left_out(sent: str) -> None:
    assert not trace.get_current_span(extract(sent)).get_span_context().is_valid
    assert not trace.get_current_span(extract_metadata([("traceparent", sent)])).get_span_context().is_valid


def test_binary_or_absent_metadata_is_left_out() -> None:
    assert not extract_metadata(None)
    assert not extract_metadata([("traceparent", b"x")])


def test_an_endpoint_turns_recording_on() -> None:
    # In a process of its own: OpenTelemetry takes one provider for each.
    program = (
        "import os\n"
        "from foliot.kit.telemetry import *\n"
        "configure_tracing('test', environ={'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://127.0.0.1:1'})\n"
        "configure_tracing('again', environ={})\n"
        "with get_tracer('t').start_as_current_span('x') as span:\n"
        "    print(span.is_recording(), span.resource.attributes['service.name'], flush=True)\n"
        "os._exit(0)  # nobody listens at the endpoint, so the exporter's farewell would only cost time\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True foliot-test\n"
