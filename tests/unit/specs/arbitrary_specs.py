"""Hypothesis strategies for specs: any message that the wire can carry, mostly near the rules' bounds."""

from __future__ import annotations

from hypothesis import strategies as st

from foliot.v1.job_pb2 import JobSpec, JobTask, Schedule
from foliot.v1.spec_pb2 import (
    BinaryWork,
    CommandWork,
    ConcurrencyLimit,
    FunctionWork,
    HttpWork,
    RetryPolicy,
    TaskSpec,
)

INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)

# Protobuf strings hold any code point but surrogates.
texts = st.one_of(
    st.sampled_from(["", "a", "secret://x", "******", "http://h/", "{}", "null", "x" * 256, "\0", "a b", "ä" * 200]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
)
durations: st.SearchStrategy[dict[str, int]] = st.one_of(
    st.builds(dict, seconds=st.integers(-2, 4_000_000), nanos=st.sampled_from([0, 1, -1, 999_999_999])),
    st.builds(dict, seconds=INT64, nanos=INT32),
)
pairs = st.dictionaries(texts, texts, max_size=4)


def fields(**strategies: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    """Some of the fields, by name."""
    return st.fixed_dictionaries({}, optional=strategies)


retry_policies = fields(
    max_attempts=st.one_of(st.integers(-1, 101), INT32),
    initial_backoff=durations,
    multiplier=st.floats(),
    max_backoff=durations,
    jitter=st.floats(),
    retry_on=st.lists(st.one_of(st.integers(0, 7), INT32), max_size=3),
).map(lambda given: RetryPolicy(**given))  # type: ignore[arg-type] # by name

works: st.SearchStrategy[dict[str, object]] = st.one_of(
    st.just({}),
    fields(line=texts, environment=pairs, working_directory=texts).map(
        lambda given: {"command": CommandWork(**given)}  # type: ignore[arg-type] # by name
    ),
    fields(
        url=texts, method=texts, headers=pairs, body=st.binary(max_size=4), request_timeout=durations, bearer_secret=texts
    ).map(lambda given: {"http": HttpWork(**given)}),  # type: ignore[arg-type] # by name
    fields(url=texts, sha256=texts, arguments=st.lists(texts, max_size=3), environment=pairs).map(
        lambda given: {"binary": BinaryWork(**given)}  # type: ignore[arg-type] # by name
    ),
    fields(function=texts, input_json=texts).map(
        lambda given: {"function": FunctionWork(**given)}  # type: ignore[arg-type] # by name
    ),
)


@st.composite
def task_specs(draw: st.DrawFn) -> TaskSpec:
    """Any TaskSpec."""
    given = draw(
        fields(
            name=texts,
            description=texts,
            tags=st.lists(texts, max_size=4),
            priority=st.one_of(st.integers(-1, 11), INT32),
            queue=texts,
            timeout=durations,
            retry=retry_policies,
            start_at=durations,
            checkpoint_enabled=st.booleans(),
            limits=st.lists(
                fields(key=texts, max_running=INT32).map(lambda some: ConcurrencyLimit(**some)),  # type: ignore[arg-type]
                max_size=3,
            ),
            labels=pairs,
        )
    )
    return TaskSpec(**given, **draw(works))  # type: ignore[arg-type] # by name


keys = st.one_of(st.sampled_from(["a", "b", "c", "d"]), texts)
schedules = fields(
    cron=st.one_of(texts, st.sampled_from(["* * * * *", "@daily", "@every 5s", "0 0 30 2 *", "*/0 * * * *", "@every 1"])),
    timezone=st.one_of(texts, st.sampled_from(["UTC", "Europe/Berlin", "../x", "America"])),
    max_jitter=durations,
    misfire_policy=st.one_of(st.integers(0, 4), INT32),
    concurrency_policy=st.one_of(st.integers(0, 5), INT32),
).map(lambda given: Schedule(**given))  # type: ignore[arg-type] # by name


@st.composite
def job_specs(draw: st.DrawFn) -> JobSpec:
    """Any JobSpec."""
    tasks = st.builds(
        JobTask,
        key=keys,
        dependencies=st.lists(keys, max_size=3),
        trigger_rule=st.one_of(st.integers(0, 7), INT32),
        spec=task_specs(),
    )
    given = draw(
        fields(
            name=texts,
            description=texts,
            schedule=schedules,
            tasks=st.lists(tasks, max_size=4),
            retry=retry_policies,
            metadata_json=texts,
            tags=st.lists(texts, max_size=4),
            surface=texts,
            max_active_runs=INT32,
        )
    )
    return JobSpec(**given)  # type: ignore[arg-type] # by name
