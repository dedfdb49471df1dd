from __future__ import annotations

import pytest

from foliot_worker.checkpoints import CHECKPOINT_BYTES_MAX, CheckpointError, CheckpointSaver, UnconfirmedCheckpoints


def test_sent_in_order_until_confirmed() -> None:
    kept = UnconfirmedCheckpoints()
    assert [kept.add(7, '"a"'), kept.add(8, '"b"'), kept.add(7, '"c"')] == [1, 2, 3]
    assert [message.checkpoint_json for message in iter(kept.next_message, None)] == ['"a"', '"b"', '"c"']
    assert kept.confirm(7, 1)
    assert not kept.confirm(7, 1)
    assert not kept.confirm(9, 1)
    kept.send_again()
    assert [message.checkpoint_json for message in iter(kept.next_message, None)] == ['"b"', '"c"']
    assert kept.drop(7, "gone") == [(7, 3, "gone")]
    assert kept.drop(7, "gone") == []
    assert bool(kept)
    kept.confirm(8, 2)
    assert not kept


def test_what_was_dropped_is_not_sent() -> None:
    kept = UnconfirmedCheckpoints()
    kept.add(7, "1")
    kept.drop(7, "gone")
    assert kept.next_message() is None


async def test_waiters_are_woken() -> None:
    saver = CheckpointSaver(lambda token, _: token or None)
    durable, refused, forgotten = saver.save(1, "1"), saver.save(2, "2"), saver.save(3, "3")
    forgotten.cancel()
    saver.settle([(1, 1, ""), (2, 2, "stale"), (3, 3, ""), (4, 4, "")])
    await durable
    with pytest.raises(CheckpointError, match="stale"):
        await refused


async def test_refused_here() -> None:
    saver = CheckpointSaver(lambda *_: None)
    with pytest.raises(CheckpointError, match="no longer holds"):
        await saver.save(1, "1")
    with pytest.raises(CheckpointError, match="at most"):
        await saver.save(1, "é" * (CHECKPOINT_BYTES_MAX // 2 + 1))
