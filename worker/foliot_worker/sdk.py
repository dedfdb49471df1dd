"""What a program writes to offer functions: the `Worker` that collects handlers and the `Context` they are given.

    from foliot_worker import Context, Worker

    worker = Worker()

    @worker.task("word_count")
    async def word_count(ctx: Context, input: dict[str, str]) -> int:
        return len(Path(input["path"]).read_text().split())

Run it with `foliot worker --app module:worker`.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import traceback
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar, get_type_hints

import msgspec

from foliot_worker.attempt import Attempt
from foliot_worker.checkpoints import CheckpointSaver
from foliot_worker.logs import AttemptLog, LogBuffer

FUNCTION_NAME_BYTES_MAX: Final = 255
"""The contract's limit of a function's name."""

_ARGUMENTS_MAX: Final = 2
_CHECKPOINT_TIMEOUT_S: Final = 30.0

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class NonRetryable(Exception):  # noqa: N818 -- what a handler says, not an error of ours
    """Raised by a handler to fail its task for good: no further attempt follows, whatever the retry policy says."""


class TaskLogger:
    """Writes log lines of a task; they are shown with it. Usable from any thread.

    Messages are formatted with `%` when arguments are given, as with the standard library's loggers.
    """

    __slots__ = ("_log", "_loop", "_thread")

    def __init__(self, log: AttemptLog, loop: asyncio.AbstractEventLoop, thread: int) -> None:
        self._log = log
        self._loop = loop
        self._thread = thread

    def debug(self, message: str, *args: object) -> None:
        """Write a line of level debug."""
        self._write("debug", message, args)

    def info(self, message: str, *args: object) -> None:
        """Write a line of level info."""
        self._write("info", message, args)

    def warning(self, message: str, *args: object) -> None:
        """Write a line of level warn."""
        self._write("warn", message, args)

    def error(self, message: str, *args: object) -> None:
        """Write a line of level error."""
        self._write("error", message, args)

    def exception(self, message: str, *args: object) -> None:
        """Write a line of level error and the traceback of the exception that is being handled."""
        self._write("error", message, args)
        self._write("error", traceback.format_exc().rstrip("\n"), ())

    def _write(self, level: str, message: str, args: tuple[object, ...]) -> None:
        text = message % args if args else message
        for line in text.splitlines() or [""]:
            if threading.get_ident() == self._thread:
                self._log.write(level, line)
            else:
                self._loop.call_soon_threadsafe(self._log.write, level, line)


@dataclass(frozen=True, slots=True)
class Services:
    """What contexts need of the worker."""

    logs: LogBuffer
    checkpoints: CheckpointSaver
    loop: asyncio.AbstractEventLoop
    thread: int
    """Identifier of the event loop's thread."""


class Context:
    """One attempt of a task, as its handler sees it."""

    # One is made for each call, so everything is read from the lease when it is asked for.
    __slots__ = ("_attempt", "_logger", "_services")

    def __init__(self, attempt: Attempt, services: Services) -> None:
        self._attempt = attempt
        self._services = services
        self._logger: TaskLogger | None = None

    @property
    def task_id(self) -> str:
        """The task's UUID."""
        return self._attempt.task_id

    @property
    def run_id(self) -> str:
        """The UUID of the run it belongs to; empty for a task on its own."""
        return self._attempt.run_id

    @property
    def key(self) -> str:
        """The task's id inside its job; empty for a task on its own."""
        return self._attempt.lease.key

    @property
    def project(self) -> str:
        """The project that owns it."""
        return self._attempt.lease.project

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self._attempt.number

    @property
    def traceparent(self) -> str:
        """The W3C trace context of whoever submitted the task; empty if none."""
        return self._attempt.lease.traceparent

    @property
    def input(self) -> Any:
        """The task's input as JSON values, read anew each time; None if it has none."""
        return decoded(self._attempt.plan.work.input_json)  # type: ignore[union-attr]  # a function's plan

    @property
    def last_checkpoint(self) -> Any:
        """The last progress that earlier attempts saved, as JSON values; None if there is none."""
        return decoded(self._attempt.lease.checkpoint_json)

    @property
    def cancelled(self) -> bool:
        """Whether the attempt was asked to stop: cancelled, timed out, or its lease is lost. For handlers in threads."""
        return self._attempt.stop_reason is not None

    @property
    def deadline(self) -> datetime:
        """When its timeout passes, in UTC."""
        timeout_us = round(self._attempt.plan.timeout_s * 1e6)
        return _EPOCH + timedelta(microseconds=self._attempt.started_at_us + timeout_us)

    @property
    def logger(self) -> TaskLogger:
        """Writes log lines of the task."""
        if self._logger is None:
            services = self._services
            self._logger = TaskLogger(services.logs.open(self._attempt), services.loop, services.thread)
        return self._logger

    async def checkpoint(self, value: object) -> None:
        """Save progress, anything that JSON can say up to 1 MiB; returns once it is durable.

        The next attempt finds it in `last_checkpoint`. Raises `CheckpointError` if it is too large or the attempt no longer
        holds the task, and TypeError for what JSON cannot say.
        """
        await self._services.checkpoints.save(self._attempt.token, encoded(value).decode())

    def checkpoint_sync(self, value: object) -> None:
        """Do the same from a handler in a thread; raises TimeoutError after 30 s. Not for the event loop's thread."""
        services = self._services
        if threading.get_ident() == services.thread:
            raise RuntimeError("checkpoint_sync would block the event loop: await checkpoint() instead")
        asyncio.run_coroutine_threadsafe(self.checkpoint(value), services.loop).result(_CHECKPOINT_TIMEOUT_S)


Handler = Callable[[Context], object] | Callable[[Context, Any], object]
"""What may be registered: `handler(ctx)` or `handler(ctx, input)`, async or not; the returned value is the task's output."""

H = TypeVar("H", bound=Handler)


@dataclass(frozen=True, slots=True)
class Registered:
    """A handler and what calling it takes."""

    name: str
    call: Callable[[Context], Any]
    """Takes the context, finds the input, calls the handler."""

    is_async: bool


class Worker:
    """The functions that a worker program offers, by name."""

    def __init__(self) -> None:
        self._registered: dict[str, Registered] = {}

    @property
    def functions(self) -> Mapping[str, Registered]:
        """What was registered, by name."""
        return self._registered

    def task(self, name: str) -> Callable[[H], H]:
        """Register the decorated function under a name, at most 255 bytes, unique in this worker.

        An async handler runs in the event loop and must not block it; another runs in a thread. If its second parameter has a
        type, the input is converted to it (msgspec's rules) and a task whose input does not fit fails for good.
        What it returns becomes the output, as JSON; nothing, if None. An exception fails the attempt, `NonRetryable` the task.

        Raises ValueError for a name that is empty, too long or taken, and TypeError for a function of another shape.
        """
        if not isinstance(name, str):
            raise TypeError('write @worker.task("name")')
        if not 1 <= len(name.encode()) <= FUNCTION_NAME_BYTES_MAX:
            raise ValueError(f"a function's name has 1 to {FUNCTION_NAME_BYTES_MAX} bytes")

        def register(handler: H) -> H:
            if name in self._registered:
                raise ValueError(f"function {name!r} is registered twice")
            self._registered[name] = Registered(name, _caller(name, handler), is_async=inspect.iscoroutinefunction(handler))
            return handler

        return register


def _caller(name: str, handler: Callable[..., object]) -> Callable[[Context], object]:
    parameters = list(inspect.signature(handler).parameters.values())
    positional = [one for one in parameters if one.kind in {one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD}]
    required = [one for one in parameters if one.default is one.empty and one.kind not in {one.VAR_POSITIONAL, one.VAR_KEYWORD}]
    if not positional or len(required) > _ARGUMENTS_MAX or any(one not in positional for one in required):
        raise TypeError(f"function {name!r} must take (ctx) or (ctx, input)")
    if len(positional) < _ARGUMENTS_MAX:
        return handler
    input_type = _input_type(name, handler, positional[1])

    def call_with_input(ctx: Context) -> object:
        given = ctx.input
        if input_type is not Any:
            try:
                given = msgspec.convert(given, input_type)
            except msgspec.ValidationError as error:
                raise NonRetryable(f"the input does not fit: {error}") from error
        return handler(ctx, given)

    return call_with_input


def _input_type(name: str, handler: Callable[..., object], parameter: inspect.Parameter) -> Any:
    """Answer the type that an input is converted to; Any if there is none. Raises TypeError if it cannot be found."""
    if parameter.annotation is inspect.Parameter.empty:
        return Any
    # Only this one annotation: the others may name what is there for the type checker alone.
    holder = types.SimpleNamespace(__annotations__={"input": parameter.annotation})
    try:
        found = get_type_hints(holder, globalns=getattr(inspect.unwrap(handler), "__globals__", {}))["input"]
    except NameError as error:
        message = f"function {name!r}: the type of {parameter.name} cannot be found at run time: {error}"
        raise TypeError(message) from error
    return Any if found is object else found


def decoded(json_text: str) -> Any:
    """Read JSON text; empty stands for null."""
    return msgspec.json.decode(json_text) if json_text else None


def encoded(value: object) -> bytes:
    """Write JSON. Raises TypeError for what JSON cannot say."""
    return msgspec.json.encode(value)
