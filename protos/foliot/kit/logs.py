"""Logs: one line for each event, a constant text plus fields.

The event is `<component>.<what_happened>` ("journal.commit_failed") and never holds a value: values are fields, so that
lines can be counted and searched. A time, a level, the process's component and the current trace are added. What the
libraries log through the standard library comes out in the same form, from WARNING on.

Secrets do not get out: fields whose name says that they hold one are masked, as are passwords inside URLs.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Final, TextIO, cast

import structlog
from opentelemetry import trace
from structlog.typing import Processor

MASK: Final = "******"
"""Stands for a secret; the API masks environment values with the same text."""

# A name holds a secret if one of its words is listed; `page_token` and `token_count` are harmless and come out masked
# too, which is the better mistake.
_SECRET_WORD = re.compile(
    r"(?:^|[_\-.])(?:password|passwd|passphrase|secrets?|tokens?|credentials?|authorization|cookies?"
    r"|api[_\-]?keys?|private[_\-]?keys?|environ(?:ment)?|env)(?:$|[_\-.])",
    re.IGNORECASE,
)
_URL_PASSWORD = re.compile(r"(?P<before>[a-z][a-z0-9+.\-]*://[^\s/:@]*:)[^\s/@]+(?=@)", re.IGNORECASE)

# Deeper values are not worth a log line; the bound keeps a structure that holds itself from hanging the redaction.
_DEPTH_MAX: Final = 6

Logger = structlog.typing.FilteringBoundLogger


def configure_logging(
    component: str,
    *,
    stream: TextIO | None = None,
    json: bool,
    level: int = logging.INFO,
) -> None:
    """Send all logs of the process to `stream` (standard error if none is given).

    `component` names the process ("scheduler"). `json` chooses one JSON object a line over text for people. `level` is
    the lowest level of ours that comes out. Calling it again replaces what was set before.
    """
    target = sys.stderr if stream is None else stream
    render: Processor = (
        structlog.processors.JSONRenderer(default=str)
        if json
        else structlog.dev.ConsoleRenderer(
            colors=target.isatty(),
            sort_keys=False,
            # Shows the text that format_exc_info made, in which URLs have been stripped of passwords.
            exception_formatter=structlog.dev.plain_traceback,
        )
    )
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _adder_of("component", component),
        _add_trace,
        structlog.processors.format_exc_info,
        redact,
    ]
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=target),
        # Module-level loggers are made before this is called, and tests call it again.
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_add_record_source, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    for old in [one for one in root.handlers if isinstance(one.formatter, structlog.stdlib.ProcessorFormatter)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(max(level, logging.WARNING))


def get_logger(name: str) -> Logger:
    """Answer the logger of a module; `name` (its `__name__`) goes out as the field `source`.

    Call it as `log.warning("journal.commit_failed", rows=12)`.
    """
    return cast("Logger", structlog.get_logger(source=name))


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask secrets in an event's fields: the structlog processor that every line passes."""
    for key, value in event.items():
        event[key] = redact_value(key, value)
    return event


def redact_value(key: str, value: Any, depth: int = 0) -> Any:
    """Answer the value, masked if `key` names a secret; mappings and lists are searched, URLs lose their password."""
    if isinstance(value, bool) or value is None:
        return value
    if _SECRET_WORD.search(key):
        return MASK
    if isinstance(value, str):
        return _URL_PASSWORD.sub(rf"\g<before>{MASK}", value) if "://" in value else value
    if depth >= _DEPTH_MAX:
        return value if isinstance(value, int | float) else "…"
    if isinstance(value, dict):
        return {name: redact_value(str(name), inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [redact_value("", inner, depth + 1) for inner in value]
    return value


def _adder_of(field: str, value: str) -> Processor:
    def add(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event[field] = value
        return event

    return add


def _add_record_source(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    record = event["_record"]
    event["source"] = record.name
    return event


def _add_trace(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = f"{context.trace_id:032x}"
        event["span_id"] = f"{context.span_id:016x}"
    return event
