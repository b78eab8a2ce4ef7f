"""The way to the writer's thread: in order, nothing lost, a turn of the loop as a whole."""

from __future__ import annotations

import asyncio
import threading
from queue import Empty

import pytest

from hub.store.inbox import Inbox


def drain(inbox: Inbox) -> list[int]:
    found = []
    while True:
        try:
            found.append(inbox.get(False)[0])
        except Empty:
            return found


async def test_nothing_is_handed_over_before_the_turn_of_the_loop_is_over() -> None:
    inbox = Inbox()
    inbox.put((1,))
    inbox.put((2,))
    with pytest.raises(Empty):
        inbox.get(False)
    await asyncio.sleep(0)
    inbox.put((3,))  # belongs to the next turn
    assert drain(inbox) == [1, 2]
    await asyncio.sleep(0)
    assert drain(inbox) == [3]


async def test_get_waits_as_long_as_it_is_told() -> None:
    inbox = Inbox()
    with pytest.raises(Empty):
        await asyncio.to_thread(inbox.get, True, 0.01)
    waiting = asyncio.create_task(asyncio.to_thread(inbox.get, True, 30.0))
    await asyncio.sleep(0)
    inbox.put((7,))
    assert await waiting == (7,)


async def test_everything_arrives_once_and_in_order_while_the_other_thread_reads() -> None:
    inbox = Inbox()
    found: list[int] = []

    def read() -> None:
        while (operation := inbox.get())[0] >= 0:
            found.append(operation[0])

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(5_000):
        inbox.put((number,))
        if number % 7 == 0:
            await asyncio.sleep(0)
    inbox.put((-1,))
    await asyncio.to_thread(reader.join)
    assert found == list(range(5_000))
