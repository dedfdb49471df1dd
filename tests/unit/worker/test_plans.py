from __future__ import annotations

import pytest

from foliot.v1 import spec_pb2
from foliot_worker import plans
from foliot_worker.plans import Kind, PlanError, Plans
from tests.unit.worker.attempts import command, function, lease


def test_reads_kind_work_and_timeout() -> None:
    read = Plans().plan(lease(command("true"), timeout_s=1.5).spec)
    assert (read.kind, read.timeout_s, read.name) == (Kind.COMMAND, 1.5, "command")
    assert isinstance(read.work, spec_pb2.CommandWork)
    assert read.work.line == "true"
    assert Plans().plan(lease(function("f")).spec).timeout_s == 3_600


def test_every_kind_of_the_contract_is_known() -> None:
    assert {kind.value for kind in Kind} == {field.name for field in spec_pb2.TaskSpec.DESCRIPTOR.oneofs[0].fields}


def test_the_same_bytes_are_read_once_and_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "_PLANS_MAX", 3)
    known = Plans()
    specs = [lease(function(str(number))).spec for number in range(5)]
    for spec in specs:
        assert known.plan(spec) is known.plan(spec)
    assert len(known._plans) <= 3
    large = lease(function("f", "x" * 10_000)).spec
    assert known.plan(large) is not known.plan(large)


@pytest.mark.parametrize("spec", [b"\xff", b"", spec_pb2.TaskSpec(name="marker").SerializeToString()])
def test_what_cannot_be_run(spec: bytes) -> None:
    with pytest.raises(PlanError):
        Plans().plan(spec)
