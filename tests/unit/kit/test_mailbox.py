"""The mailbox: order, bounds, closing, one reader."""

import asyncio

import pytest

from foliot.kit.mailbox import Mailbox, MailboxClosed, MailboxFull


async def test_drain_takes_everything_in_order() -> None:
    mailbox: Mailbox[int] = Mailbox(10)
    for item in range(5):
        mailbox.put(item)
    assert len(mailbox) == 5
    assert await mailbox.drain() == [0, 1, 2, 3, 4]
    assert len(mailbox) == 0


async def test_drain_waits_for_the_first_message_and_takes_what_came_with_it() -> None:
    mailbox: Mailbox[str] = Mailbox(10)
    reader = asyncio.create_task(mailbox.drain())
    await asyncio.wait([reader], timeout=0)
    assert not reader.done()
    mailbox.put("a")
    mailbox.put("b")
    assert await reader == ["a", "b"]


async def test_a_full_mailbox_refuses_until_it_is_drained() -> None:
    mailbox: Mailbox[int] = Mailbox(2)
    mailbox.put(1)
    mailbox.put(2)
    with pytest.raises(MailboxFull):
        mailbox.put(3)
    assert await mailbox.drain() == [1, 2]
    mailbox.put(4)
    assert mailbox.drain_nowait() == [4]
    assert mailbox.drain_nowait() == []


async def test_closing_gives_out_the_rest_and_then_ends() -> None:
    mailbox: Mailbox[int] = Mailbox(2)
    mailbox.put(1)
    mailbox.close()
    mailbox.close()
    assert mailbox.closed
    with pytest.raises(MailboxClosed):
        mailbox.put(2)
    assert await mailbox.drain() == [1]
    with pytest.raises(MailboxClosed):
        await mailbox.drain()


async def test_closing_wakes_the_reader() -> None:
    mailbox: Mailbox[int] = Mailbox(2)
    reader = asyncio.create_task(mailbox.drain())
    await asyncio.wait([reader], timeout=0)
    mailbox.close()
    with pytest.raises(MailboxClosed):
        await reader


async def test_a_cancelled_reader_loses_nothing() -> None:
    mailbox: Mailbox[int] = Mailbox(2)
    reader = asyncio.create_task(mailbox.drain())
    await asyncio.wait([reader], timeout=0)
    mailbox.put(1)  # wakes the reader, which is cancelled before it runs
    reader.cancel()
    await asyncio.wait([reader])
    assert reader.cancelled()
    assert await mailbox.drain() == [1]


async def test_a_second_reader_is_a_bug() -> None:
    mailbox: Mailbox[int] = Mailbox(2)
    reader = asyncio.create_task(mailbox.drain())
    await asyncio.wait([reader], timeout=0)
    with pytest.raises(RuntimeError, match="one reader"):
        await mailbox.drain()
    mailbox.put(1)
    assert await reader == [1]


def test_a_mailbox_has_room() -> None:
    assert Mailbox[int](1).capacity == 1
    with pytest.raises(ValueError, match="room"):
        Mailbox[int](0)
