from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from foliot.kit.clock import ManualClock
from foliot.v1.worker_pb2 import Lease
from foliot_worker.attempt import OUTPUT_BYTES_MAX, Attempt, cut_error
from foliot_worker.executors.outputs import Lines, Tail, cut_head
from foliot_worker.logs import LINE_BYTES_MAX, LogBuffer
from foliot_worker.plans import Plans
from tests.unit.worker.attempts import command, lease


def attempt() -> Attempt:
    one: Lease = lease(command("true"))
    return Attempt(one, Plans().plan(one.spec))


@given(st.lists(st.binary(min_size=1, max_size=200_000), max_size=12))
def test_a_tail_is_the_end_and_never_too_long(chunks: list[bytes]) -> None:
    tail = Tail()
    for chunk in chunks:
        tail.feed(chunk)
    whole, value = b"".join(chunks), tail.value()
    assert len(value) <= OUTPUT_BYTES_MAX
    if len(whole) <= OUTPUT_BYTES_MAX:
        assert value == whole


def test_a_cut_tail_says_how_much_is_missing() -> None:
    tail = Tail()
    for number in range(40):
        tail.feed(bytes([65 + number % 26]) * 60_000)
    kept, notice, empty = tail.value().rsplit(b"\n", 2)
    assert empty == b""
    dropped = 40 * 60_000 - len(kept)
    assert notice == f"[cut: the first {dropped} bytes are not kept]".encode()
    assert kept.endswith(b"N" * 60_000)


def test_a_head_is_the_beginning() -> None:
    assert cut_head(b"x" * OUTPUT_BYTES_MAX) == b"x" * OUTPUT_BYTES_MAX
    cut = cut_head(b"x" * (OUTPUT_BYTES_MAX + 1))
    assert len(cut) <= OUTPUT_BYTES_MAX
    assert cut.endswith(b"[cut: the rest is not kept]\n")


def test_lines_across_chunks() -> None:
    buffer = LogBuffer(ManualClock())
    lines = Lines(buffer.open(attempt()), "info")
    for chunk in (b"on", b"e\r\ntwo\n\nth", b"r", b"ee"):
        lines.feed(chunk)
    lines.end()
    lines.end()
    taken = buffer.take(count_max=100, bytes_max=10**6)
    assert [(line.number, line.message) for line in taken] == [(1, "one"), (2, "two"), (3, ""), (4, "three")]


def test_a_line_without_end_takes_no_memory_and_is_cut() -> None:
    buffer = LogBuffer(ManualClock())
    lines = Lines(buffer.open(attempt()), "info")
    for _ in range(5):
        lines.feed("é".encode() * LINE_BYTES_MAX)
    lines.feed(b"\nnext\n")
    messages = [line.message for line in buffer.take(count_max=100, bytes_max=10**9)]
    assert messages[-1] == "next"
    assert all(len(message.encode()) <= LINE_BYTES_MAX for message in messages)
    assert messages[0].endswith("é…")


def test_errors_are_cut_to_what_the_contract_takes() -> None:
    assert cut_error("short") == "short"
    assert cut_error("\ud800") == "?"
    cut = cut_error("é" * 8_192)
    assert len(cut.encode()) <= 8_192
    assert cut.endswith("é…")
