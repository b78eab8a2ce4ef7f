"""Whatever a gateway says, and in whatever order parts come: nothing breaks, nothing is lost, nothing is twice."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.cmpp.adapter import CmppAdapter
from adapters.cmpp.joining import Joiner
from adapters.cmpp.options import CmppConnect, CmppListen
from adapters.cmpp.pdu import Deliver, pack
from adapters.cmpp.receiver import CmppReceiver
from adapters.cmpp.session import Session
from adapters.cmpp.texts import Piece
from hub.api import Receipt
from tests.adapters.cmpp.support import Intake, bound

COMMANDS = [0x80000001, 0x80000004, 5, 8, 0x80000008, 2, 0x80000002, 1, 4, 6, 0x12345678]


class Pipe(asyncio.Transport):
    """The other end of a connection that only remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False
        self.written = 0

    def write(self, data: Any) -> None:
        self.written += len(data)

    def is_closing(self) -> bool:
        return self.closed

    def is_reading(self) -> bool:
        return not self.closed

    def abort(self) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed = True


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(COMMANDS), st.integers(0, 9), st.binary(max_size=120)), max_size=12),
    st.binary(max_size=30),
    st.integers(1, 200),
)
def test_a_gateway_may_say_anything(pdus: list[tuple[int, int, bytes]], rest: bytes, step: int) -> None:
    """It is answered, ignored, or left; the interface that takes DELIVERs sees nothing else."""

    async def run() -> None:
        intake = Intake()
        receiver = CmppAdapter().receiver(bound("up", "in", CmppListen(of="send")), intake)
        assert isinstance(receiver, CmppReceiver)
        options = CmppConnect(host="x", account="901234", password="x", src_id="1", verify_gateway=False)
        session = Session(options, 0x30)
        pipe = Pipe()
        session.connection_made(pipe)
        lost: list[Exception] = []
        session.on_lost = lambda one, error: lost.append(error)
        session.on_deliver = receiver._take
        login = asyncio.create_task(session.log_in())
        await asyncio.sleep(0)
        session.data_received(pack(0x80000001, 1, bytes(20) + b"\x30"))
        await login
        data = b"".join(pack(*pdu) for pdu in pdus) + rest
        for at in range(0, len(data), step):
            if not pipe.closed:
                session.data_received(data[at : at + step])
        assert session.open or pipe.closed
        session.connection_lost(None)
        assert len(lost) == 1

    asyncio.run(run())


@settings(max_examples=60, deadline=None)
@given(data=st.data(), total=st.integers(2, 5), busy=st.integers(0, 3))
def test_a_long_message_is_one_whatever_happens(data: st.DataObject, total: int, busy: int) -> None:
    """Parts in any order and repeatedly, a store that is busy now and then, a hub that is started anew."""
    order = data.draw(st.permutations([*range(1, total + 1), *range(1, total + 1)]))
    restarts = data.draw(st.sets(st.integers(0, len(order))))

    async def run() -> None:
        intake = Intake()
        intake.busy = busy
        options = CmppListen(of="send")
        place = bound("up", "in", options)

        async def hand_in(joiner: Joiner, number: int) -> Receipt:
            answer: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
            deliver = Deliver(number, "1", "", 0, 1, 8, "13900000001", False, b"")
            joiner.add(deliver, Piece(7, total, number, str(number).encode("utf-16-be")), answer.set_result)
            return await answer

        joiner = Joiner(place, cast(Any, intake), options)
        await joiner.start()
        for at, number in enumerate(order):
            if at in restarts:
                await joiner.stop()
                joiner = Joiner(place, cast(Any, intake), options)
                await joiner.start()
            while not (await hand_in(joiner, number)).accepted:
                """As a gateway does: unanswered, it sends it again."""
        await joiner.stop()
        (tree,) = [json.loads(raw) for raw in intake.taken]
        assert tree["text"] == "".join(str(number) for number in range(1, total + 1))
        assert tree["missing"] == []

    asyncio.run(run())
