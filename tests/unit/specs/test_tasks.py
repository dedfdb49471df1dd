"""TaskSpecs: every rule of the contract's comments, the defaults, and the memory of recent specs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from foliot.kit.errors import ErrorReason, FoliotError
from foliot.v1 import spec_pb2
from foliot.v1.spec_pb2 import BinaryWork, CommandWork, ConcurrencyLimit, FunctionWork, HttpWork, RetryPolicy, TaskSpec
from foliot_scheduler.core.model import ConcurrencyLimit as Limit
from foliot_scheduler.core.model import Kind, Outcome, Placement, TaskPlan
from foliot_scheduler.core.model import RetryPolicy as Policy
from foliot_scheduler.specs.rules import Violations
from foliot_scheduler.specs.tasks import TaskPlans

HOUR_US = 3_600_000_000
SHA256 = "0123456789abcdef" * 4


def full_spec() -> TaskSpec:
    """A spec with every field set, to values that the rules allow."""
    return TaskSpec(
        name="count words",
        description="of all files",
        tags=["demo", "words"],
        priority=9,
        queue="files",
        timeout=Duration(seconds=90),
        retry=RetryPolicy(
            max_attempts=3,
            initial_backoff=Duration(seconds=2),
            multiplier=3,
            max_backoff=Duration(seconds=30),
            jitter=0.5,
            retry_on=[spec_pb2.OUTCOME_FAILED, spec_pb2.OUTCOME_LOST],
        ),
        start_at=Timestamp(seconds=1_800_000_000, nanos=5_000),
        checkpoint_enabled=True,
        limits=[spec_pb2.ConcurrencyLimit(key="disk", max_running=2)],
        labels={"disk": "ssd", "arch": "arm64"},
        command=CommandWork(line="wc -w *", environment={"LANG": "C"}, working_directory="/tmp"),
    )


def accept(spec: TaskSpec) -> TaskPlan:
    violations = Violations()
    plan = TaskPlans().accept("task.spec", spec, violations)
    violations.raise_if_any()
    assert plan is not None
    return plan


def refused(spec: TaskSpec) -> FoliotError:
    with pytest.raises(FoliotError) as caught:
        accept(spec)
    assert caught.value.reason is ErrorReason.INVALID_FIELD
    return caught.value


def test_every_field_reaches_the_plan() -> None:
    plan = accept(full_spec())
    assert plan == TaskPlan(
        name="count words",
        placement=Placement("files", Kind.COMMAND, "", (("arch", "arm64"), ("disk", "ssd"))),
        priority=9,
        tags=("demo", "words"),
        limits=(Limit("disk", 2),),
        start_at=plan.start_at,
        timeout=plan.timeout,
        retry=Policy(3, plan.retry.initial_backoff, 3.0, plan.retry.max_backoff, 0.5, plan.retry.retry_on),
        spec=plan.spec,
    )
    assert plan.start_at == 1_800_000_000_000_005
    assert plan.timeout == 90_000_000
    assert (plan.retry.initial_backoff, plan.retry.max_backoff) == (2_000_000, 30_000_000)
    assert plan.retry.retry_on == {Outcome.FAILED, Outcome.LOST}
    assert TaskSpec.FromString(plan.spec) == full_spec()


def test_defaults_are_filled_in() -> None:
    plan = accept(TaskSpec(name="n"))
    assert plan.priority == 5
    assert plan.placement == Placement("default", Kind.MARKER, "", ())
    assert plan.timeout == HOUR_US
    assert plan.retry == Policy()
    assert plan.start_at is None
    stored = TaskSpec.FromString(plan.spec)
    assert (stored.priority, stored.queue, stored.timeout.seconds) == (5, "default", 3600)


def test_a_retry_policy_keeps_the_defaults_of_what_it_leaves_out() -> None:
    plan = accept(TaskSpec(name="n", retry=RetryPolicy(max_attempts=4)))
    assert plan.retry == Policy()._replace(max_attempts=4)


def test_no_jitter_is_not_the_default_jitter() -> None:
    assert accept(TaskSpec(name="n", retry=RetryPolicy(jitter=0.0))).retry.jitter == 0.0


def test_a_timeout_under_a_second_is_not_mixed_with_the_default() -> None:
    plan = accept(TaskSpec(name="n", timeout=Duration(nanos=500_000_000)))
    assert plan.timeout == 500_000
    assert TaskSpec.FromString(plan.spec).timeout == Duration(nanos=500_000_000)


def test_a_timeout_under_a_microsecond_is_not_zero() -> None:
    assert accept(TaskSpec(name="n", timeout=Duration(nanos=1))).timeout == 1


@pytest.mark.parametrize(
    ("spec", "kind", "function"),
    [
        (TaskSpec(name="n"), Kind.MARKER, ""),
        (TaskSpec(name="n", command=CommandWork(line="true")), Kind.COMMAND, ""),
        (TaskSpec(name="n", http=HttpWork(url="http://localhost")), Kind.HTTP, ""),
        (TaskSpec(name="n", binary=BinaryWork(url="https://h/f", sha256=SHA256)), Kind.BINARY, ""),
        (TaskSpec(name="n", function=FunctionWork(function="f")), Kind.FUNCTION, "f"),
    ],
)
def test_the_work_decides_the_placement(spec: TaskSpec, kind: Kind, function: str) -> None:
    placement = accept(spec).placement
    assert (placement.kind, placement.function) == (kind, function)


def test_a_spec_seen_before_gives_the_same_plan() -> None:
    plans, violations = TaskPlans(), Violations()
    first = plans.accept("task.spec", full_spec(), violations)
    assert plans.accept("task.spec", full_spec(), violations) is first


def test_specs_that_differ_get_plans_that_differ() -> None:
    plans, violations = TaskPlans(), Violations()
    for number in range(10_000):  # more than are remembered
        plan = plans.accept("task.spec", TaskSpec(name=f"n{number}"), violations)
        assert plan is not None
        assert plan.name == f"n{number}"
    assert not violations


def test_a_stored_spec_gives_back_the_plan() -> None:
    plan = accept(full_spec())
    plans = TaskPlans()
    assert plans.restore(plan.spec) == plan
    assert plans.restore(plan.spec) is plans.restore(bytes(bytearray(plan.spec)))


def test_a_spec_refused_once_is_refused_again() -> None:
    plans = TaskPlans()
    for _ in range(2):
        violations = Violations()
        assert plans.accept("tasks[{}].spec", TaskSpec(), violations, 7) is None
        with pytest.raises(FoliotError, match=r"tasks\[7\]\.spec\.name: is required"):
            violations.raise_if_any()


def many(count: int, text: str = "t") -> list[str]:
    return [f"{text}{number}" for number in range(count)]


def changed(change: Callable[[TaskSpec], object]) -> TaskSpec:
    spec = TaskSpec(name="n")
    change(spec)
    return spec


def command(**fields: object) -> TaskSpec:
    return TaskSpec(name="n", command=CommandWork(**{"line": "true", **fields}))  # type: ignore[arg-type] # by name


def http(**fields: object) -> TaskSpec:
    return TaskSpec(name="n", http=HttpWork(**{"url": "http://h/", **fields}))  # type: ignore[arg-type] # by name


def binary(**fields: object) -> TaskSpec:
    work = BinaryWork(**{"url": "http://h/", "sha256": SHA256, **fields})  # type: ignore[arg-type] # by name
    return TaskSpec(name="n", binary=work)


def retry(**fields: object) -> TaskSpec:
    return TaskSpec(name="n", retry=RetryPolicy(**fields))  # type: ignore[arg-type] # by name


DAY_S = 86_400

BROKEN: list[tuple[str, str, TaskSpec]] = [
    ("name", "required", TaskSpec()),
    ("name", "too_long", TaskSpec(name="n" * 256)),
    ("name", "too_long", TaskSpec(name="ö" * 128)),
    ("name", "no_nul", TaskSpec(name="a\0b")),
    ("description", "too_long", TaskSpec(name="n", description="d" * 4_097)),
    ("description", "no_nul", TaskSpec(name="n", description="\0")),
    ("tags", "too_many", TaskSpec(name="n", tags=many(51))),
    ("tags[1]", "required", TaskSpec(name="n", tags=["a", ""])),
    ("tags[0]", "too_long", TaskSpec(name="n", tags=["t" * 101])),
    ("tags[0]", "no_nul", TaskSpec(name="n", tags=["\0"])),
    ("priority", "out_of_range", TaskSpec(name="n", priority=11)),
    ("priority", "out_of_range", TaskSpec(name="n", priority=-1)),
    ("queue", "too_long", TaskSpec(name="n", queue="q" * 101)),
    ("queue", "no_nul", TaskSpec(name="n", queue="\0")),
    ("timeout", "out_of_range", TaskSpec(name="n", timeout=Duration())),
    ("timeout", "out_of_range", TaskSpec(name="n", timeout=Duration(seconds=-5))),
    ("timeout", "out_of_range", TaskSpec(name="n", timeout=Duration(nanos=-1))),
    ("timeout", "out_of_range", TaskSpec(name="n", timeout=Duration(seconds=30 * DAY_S, nanos=1))),
    ("timeout", "malformed", TaskSpec(name="n", timeout=Duration(seconds=1, nanos=-1))),
    ("timeout", "malformed", TaskSpec(name="n", timeout=Duration(nanos=1_000_000_000))),
    ("timeout", "malformed", TaskSpec(name="n", timeout=Duration(seconds=2**62))),
    ("start_at", "malformed", TaskSpec(name="n", start_at=Timestamp(seconds=253_402_300_800))),
    ("start_at", "malformed", TaskSpec(name="n", start_at=Timestamp(seconds=-62_135_596_801))),
    ("start_at", "malformed", TaskSpec(name="n", start_at=Timestamp(nanos=-1))),
    ("retry.max_attempts", "out_of_range", retry(max_attempts=101)),
    ("retry.max_attempts", "out_of_range", retry(max_attempts=-1)),
    ("retry.initial_backoff", "out_of_range", retry(initial_backoff=Duration(seconds=-1))),
    ("retry.initial_backoff", "out_of_range", retry(initial_backoff=Duration(seconds=DAY_S + 1))),
    ("retry.max_backoff", "out_of_range", retry(max_backoff=Duration(seconds=7 * DAY_S + 1))),
    ("retry.multiplier", "out_of_range", retry(multiplier=0.5)),
    ("retry.multiplier", "out_of_range", retry(multiplier=10.5)),
    ("retry.multiplier", "out_of_range", retry(multiplier=float("nan"))),
    ("retry.jitter", "out_of_range", retry(jitter=-0.1)),
    ("retry.jitter", "out_of_range", retry(jitter=1.1)),
    ("retry.jitter", "out_of_range", retry(jitter=float("nan"))),
    ("retry.retry_on[1]", "not_one_of", retry(retry_on=[spec_pb2.OUTCOME_FAILED, spec_pb2.OUTCOME_SUCCEEDED])),
    ("retry.retry_on[0]", "not_one_of", retry(retry_on=[spec_pb2.OUTCOME_CANCELLED])),
    ("retry.retry_on[0]", "not_one_of", retry(retry_on=[spec_pb2.OUTCOME_UNSPECIFIED])),
    ("retry.retry_on[0]", "not_one_of", retry(retry_on=[77])),
    ("limits", "too_many", TaskSpec(name="n", limits=[ConcurrencyLimit(key=k, max_running=1) for k in many(9)])),
    ("limits[0].key", "required", TaskSpec(name="n", limits=[ConcurrencyLimit(max_running=1)])),
    ("limits[0].key", "too_long", TaskSpec(name="n", limits=[ConcurrencyLimit(key="k" * 256, max_running=1)])),
    ("limits[0].max_running", "out_of_range", TaskSpec(name="n", limits=[ConcurrencyLimit(key="k")])),
    ("limits[1].key", "duplicate", TaskSpec(name="n", limits=[ConcurrencyLimit(key="k", max_running=1)] * 2)),
    ("labels", "too_many", TaskSpec(name="n", labels=dict.fromkeys(many(17), "v"))),
    ("labels['']", "required", TaskSpec(name="n", labels={"": "v"})),
    ("labels['a']", "too_long", TaskSpec(name="n", labels={"a": "v" * 256})),
    ("name", "blank", TaskSpec(name=" \t\u3000")),
    ("tags[0]", "blank", TaskSpec(name="n", tags=[" "])),
    ("command.line", "required", command(line="")),
    ("command.line", "blank", command(line="\n ")),
    ("command.line", "too_long", command(line="l" * (64 * 1024 + 1))),
    ("command.line", "no_nul", command(line="a\0b")),
    ("command.environment", "too_many", command(environment=dict.fromkeys(many(257), "v"))),
    ("command.environment", "too_long", command(environment={"A": "v" * 64 * 1024})),
    ("command.environment['A']", "no_nul", command(environment={"A": "\0"})),
    ("command.environment['A=B']", "malformed", command(environment={"A=B": "v"})),
    ("command.environment['']", "malformed", command(environment={"": "v"})),
    ("command.environment['A']", "no_stored_value", command(environment={"A": "******"})),
    ("command.working_directory", "no_nul", command(working_directory="\0")),
    ("command.working_directory", "too_long", command(working_directory="/" + "d" * 4_096)),
    ("http.url", "required", http(url="")),
    ("http.url", "too_long", http(url="http://h/" + "p" * 8 * 1024)),
    ("http.url", "malformed", http(url="ftp://host/")),
    ("http.url", "malformed", http(url="/relative")),
    ("http.url", "malformed", http(url="http://")),
    ("http.url", "malformed", http(url="http:///path")),
    ("http.url", "malformed", http(url="http://h/with space")),
    ("http.url", "malformed", http(url="http://h/line\nend")),
    ("http.url", "malformed", http(url="http://h:65536/")),
    ("http.url", "malformed", http(url="http://[::::]/")),
    ("http.url", "malformed", http(url="http://[127.0.0.1]/")),
    ("http.url", "malformed", http(url="http://h:port/")),
    ("http.method", "not_one_of", http(method="get")),
    ("http.method", "not_one_of", http(method="TRACE")),
    ("http.headers['Content-Length']", "reserved", http(headers={"Content-Length": "5"})),
    ("http.headers['transfer-encoding']", "reserved", http(headers={"transfer-encoding": "gzip"})),
    ("http.headers['X']", "malformed", http(headers={"X": "\u00e9"})),
    ("http.headers", "too_many", http(headers=dict.fromkeys(many(101), "v"))),
    ("http.headers", "too_long", http(headers={"a": "v" * 32 * 1024})),
    ("http.headers['a b']", "malformed", http(headers={"a b": "v"})),
    ("http.headers['a']", "malformed", http(headers={"a": "v\r\nx: y"})),
    ("http.headers['a']", "no_stored_value", http(headers={"a": "******"})),
    ("http.body", "too_long", http(body=b"b" * (1024 * 1024 + 1))),
    ("http.request_timeout", "out_of_range", http(request_timeout=Duration())),
    ("http.request_timeout", "out_of_range", http(request_timeout=Duration(seconds=-1))),
    ("http.bearer_secret", "malformed", http(bearer_secret="hunter2")),
    ("http.bearer_secret", "malformed", http(bearer_secret="secret://")),
    ("http.bearer_secret", "malformed", http(bearer_secret="secret://a b")),
    ("binary.url", "required", binary(url="")),
    ("binary.url", "malformed", binary(url="file:///etc/passwd")),
    ("binary.sha256", "required", binary(sha256="")),
    ("binary.sha256", "malformed", binary(sha256="12")),
    ("binary.sha256", "malformed", binary(sha256="g" * 64)),
    ("binary.arguments", "too_many", binary(arguments=many(1_001))),
    ("binary.arguments", "too_long", binary(arguments=["a" * (128 * 1024 + 1)])),
    ("binary.arguments[1]", "no_nul", binary(arguments=["a", "\0"])),
    ("binary.environment['A=']", "malformed", binary(environment={"A=": "v"})),
    ("function.function", "required", TaskSpec(name="n", function=FunctionWork())),
    ("function.function", "too_long", TaskSpec(name="n", function=FunctionWork(function="f" * 256))),
    ("function.input_json", "not_json", TaskSpec(name="n", function=FunctionWork(function="f", input_json="{"))),
    ("function.input_json", "not_json", TaskSpec(name="n", function=FunctionWork(function="f", input_json="NaN"))),
    (
        "function.input_json",
        "not_json",
        TaskSpec(name="n", function=FunctionWork(function="f", input_json="[" * 100_000)),
    ),
    (
        "function.input_json",
        "too_long",
        TaskSpec(name="n", function=FunctionWork(function="f", input_json='"' + "x" * 1024 * 1024 + '"')),
    ),
]


@pytest.mark.parametrize(
    ("field", "rule", "spec"), BROKEN, ids=[f"{number}-{field}-{rule}" for number, (field, rule, _) in enumerate(BROKEN)]
)
def test_a_broken_rule_names_its_field(field: str, rule: str, spec: TaskSpec) -> None:
    found = [(violation.field, violation.rule) for violation in refused(spec).fields]
    assert (f"task.spec.{field}", rule) in found


ALLOWED: list[TaskSpec] = [
    TaskSpec(name="n" * 255, tags=["t" * 100] * 50, queue="q" * 100, priority=10, description="d" * 4_096),
    TaskSpec(name="n", timeout=Duration(seconds=30 * DAY_S)),
    retry(max_attempts=100, multiplier=10, jitter=1, initial_backoff=Duration(seconds=DAY_S)),
    retry(initial_backoff=Duration(), max_backoff=Duration(seconds=7 * DAY_S)),
    command(line="l" * 64 * 1024, environment=dict.fromkeys(many(256), "v")),
    http(url="HTTPS://user:pass@[::1]:8443/p?q#f", method="PATCH", body=b"\0" * 1024 * 1024),
    http(url="http://127.0.0.1?x=1", bearer_secret="secret://invoice-token", headers={"X-Job": "secret://a/b"}),
    http(url="http://bücher.example/ä"),
    binary(sha256=SHA256.upper(), arguments=many(1_000)),
    TaskSpec(name="n", function=FunctionWork(function="f", input_json='{"deep": [null, 1.5, "\\u0000"]}')),
]


@pytest.mark.parametrize("spec", ALLOWED, ids=range(len(ALLOWED)))
def test_the_bounds_themselves_are_allowed(spec: TaskSpec) -> None:
    accept(spec)


def test_all_broken_rules_are_named_at_once() -> None:
    error = refused(TaskSpec(priority=11, timeout=Duration(seconds=-1), command=CommandWork()))
    assert [violation.field for violation in error.fields] == [
        "task.spec.name",
        "task.spec.priority",
        "task.spec.timeout",
        "task.spec.command.line",
    ]


def test_only_the_first_broken_rules_are_kept_and_the_rest_counted() -> None:
    error = refused(TaskSpec(tags=[""] * 1_000))
    assert len(error.fields) == 20
    assert "(and 1001 more)" in error.message


def test_a_secret_is_not_repeated_in_the_error() -> None:
    error = refused(http(bearer_secret="hunter2"))
    assert "hunter2" not in repr(error.fields) + error.message


def test_a_long_name_of_the_caller_is_cut_in_the_path() -> None:
    error = refused(command(environment={"N" * 10_000 + "=": "v"}))
    assert len(error.fields[0].field) < 200


def test_changing_one_field_changes_the_plan_only_there() -> None:
    before, after = accept(changed(lambda spec: None)), accept(changed(lambda spec: spec.tags.append("x")))
    assert after == before._replace(tags=("x",), spec=after.spec)
