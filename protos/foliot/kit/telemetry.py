"""Traces: how one request is followed from HTTP through gRPC and a lease into a command's environment.

What passes between processes is the W3C `traceparent` text: in gRPC metadata, in a task's spec, in `TRACEPARENT`. Ids
are made and passed on always; spans are recorded and exported only where `OTEL_EXPORTER_OTLP_ENDPOINT` is set. The
other `OTEL_…` variables (sampler, headers, resource attributes) mean what OpenTelemetry says they mean.

Metrics are declared with the classes of `foliot.kit.metrics`, which are given here too.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterable, Mapping
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from foliot.kit.metrics import Counter, Gauge, Histogram, render_prometheus

__all__ = [
    "TRACEPARENT",
    "Counter",
    "Gauge",
    "Histogram",
    "configure_tracing",
    "current_traceparent",
    "extract",
    "extract_metadata",
    "get_tracer",
    "inject_metadata",
    "render_prometheus",
    "shutdown_tracing",
]

TRACEPARENT: Final = "traceparent"
"""Name of the header and of the gRPC metadata entry (W3C Trace Context, section 3.2)."""

_propagator = TraceContextTextMapPropagator()
_providers: list[TracerProvider] = []


def configure_tracing(component: str, *, environ: Mapping[str, str] = os.environ) -> None:
    """Set up tracing for the process; `component` ("scheduler") names its service `foliot-scheduler`.

    Only the first call in a process counts, as OpenTelemetry allows one provider.
    """
    if _providers:
        return
    resource = Resource.create({SERVICE_NAME: f"foliot-{component}", SERVICE_VERSION: importlib.metadata.version("foliot")})
    if environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        # The exporter takes a quarter of a second to import, which only those who use it should wait for.
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

        provider = TracerProvider(resource=resource)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    else:
        # Still makes ids, for logs and commands, but records nothing unless the caller's own trace is sampled.
        provider = TracerProvider(resource=resource, sampler=ParentBased(ALWAYS_OFF))
    _providers.append(provider)
    trace.set_tracer_provider(provider)


def shutdown_tracing() -> None:
    """Export what is left. Blocks for as long as the exporter takes: call it at the very end, or in a thread."""
    for provider in _providers:
        provider.shutdown()


def get_tracer(name: str) -> Tracer:
    """Answer the tracer of a module: `with tracer.start_as_current_span("dag_jobs.trigger", context=…):`."""
    return trace.get_tracer(name)


def current_traceparent() -> str:
    """Answer the W3C traceparent of the current span; empty outside of every span."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def extract(traceparent: str) -> Context:
    """Answer the context to start a span in, from a W3C traceparent; an empty one if it is malformed or empty."""
    return _propagator.extract({TRACEPARENT: traceparent}, context=Context())


def inject_metadata() -> tuple[tuple[str, str], ...]:
    """Answer the gRPC metadata entries that pass the current span on; none outside of every span."""
    traceparent = current_traceparent()
    return ((TRACEPARENT, traceparent),) if traceparent else ()


def extract_metadata(metadata: Iterable[tuple[str, str | bytes]] | None) -> Context:
    """Answer the context to start a span in, from a served call's metadata."""
    for key, value in metadata or ():
        if key == TRACEPARENT and isinstance(value, str):
            return extract(value)
    return Context()
