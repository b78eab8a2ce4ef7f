"""The other end of DICOM for simulators: the AE that ``out`` interfaces call, and modalities that call ``in`` interfaces of a hub."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, cast

from adapters.dicom.counterpart_entity import Entity
from adapters.dicom.counterpart_faults import Door
from adapters.dicom.counterpart_rules import Archive
from adapters.dicom.counterpart_send import Sending, chosen
from adapters.dicom.network import local_entity
from adapters.dicom.options import DicomConnect
from hub.api import Bound, HubError
from hub.i18n import t
from hub.simulator.behaviour import Behaviour
from hub.simulator.calls import SimulatedReply
from hub.simulator.counterpart import Counterpart, Listening
from hub.simulator.party import Party
from hub.simulator.replies import Replies
from hub.simulator.side import Side
from hub.simulator.texts import Writer

__all__ = ["DicomCounterpart"]

_MAX_PDU, _BACKLOG = 128 << 10, 32
#: Seconds: until an association is asked for, of a PDU, of silence.
_ASSOCIATE_S, _PDU_S, _IDLE_S = 30.0, 30.0, 300.0
_MOST_ASSOCIATIONS = 50
#: Of modalities: each call waits for its answer in one.
_THREADS = ThreadPoolExecutor(8, thread_name_prefix="simulated-modality")


class DicomCounterpart(Counterpart):
    """See the module. C-MOVE and C-GET are not played, nor what is behind TLS."""

    keeps: ClassVar[bool] = True

    def replies(self, bound: Bound, writer: Writer, expired: str) -> Replies:
        options = cast(DicomConnect, bound.options)
        if options.service in ("move", "get"):
            raise HubError(
                t(f"the service {options.service} is not played", f"不模拟服务 {options.service}"),
                code="simulate.service",
            )
        if options.tls is not None:
            raise HubError(
                t("targets over TLS are played without a certificate: not yet", "尚不能模拟使用 TLS 的 DICOM 目标"),
                code="simulate.tls",
            )
        # The status of DIMSE is the answer; of the contract come the data sets of a query, where it gives them.
        return Replies(bound, writer, expired, answered=False)

    def listening(self, sides: Sequence[Side], party: Party) -> Listening:
        return _Playing(sides, party)

    async def send(
        self, side: Side, to: str, options: Mapping[str, Any], body: bytes, behaviour: Behaviour | None
    ) -> SimulatedReply:
        side.sent += 1
        sending = Sending(side.bound, *chosen(side.bound, to, body, behaviour), number=side.sent)
        try:
            reply = await asyncio.get_running_loop().run_in_executor(_THREADS, sending.make)
        except asyncio.CancelledError:
            sending.cancel()
            raise
        return SimulatedReply(reply.ok, reply.body, 0, reply.code, reply.error, sent=body)


class _Playing(Listening):
    """All ``out`` interfaces of one plugin over DICOM: those with one host and port share a listener."""

    def __init__(self, sides: Sequence[Side], party: Party) -> None:
        self._party = party
        self._ports: dict[tuple[str, int], list[Side]] = {}
        self._doors: list[Door] = []
        self._ended = threading.Event()
        for side in sides:
            options = cast(DicomConnect, side.bound.options)
            if side.bound.codec.name == "json":
                # What travels are attributes, in whatever form of JSON the hub was given them.
                side.declared, side.validators = None, ()
            self._ports.setdefault((options.host, options.port), []).append(side)

    async def start(self) -> None:
        archive = Archive(lenient=self._party.lenient)
        loop = asyncio.get_running_loop()
        for (host, port), sides in self._ports.items():
            entity = Entity(sides, self._party, archive, loop, self._ended)
            title = cast(DicomConnect, sides[0].bound.options).called
            own = local_entity(title, max_pdu=_MAX_PDU, acse=_ASSOCIATE_S, dimse=_PDU_S, network=_IDLE_S)
            own.maximum_associations = _MOST_ASSOCIATIONS
            try:
                door = Door(
                    own,
                    (host, port),
                    entity.contexts,
                    entity,
                    tls=None,
                    permits=lambda address: True,
                    on_bad_tls=lambda address, error: None,
                    handshake=_ASSOCIATE_S,
                    pdu_seconds=_PDU_S,
                    backlog=_BACKLOG,
                )
            except OSError as error:
                await self.stop()
                raise HubError(
                    t(f"can't listen on {host}:{port}: {error.strerror}", f"无法监听 {host}:{port}：{error.strerror}"),
                    code="simulate.listen",
                    remedy=t("choose a free port of this machine", "请选择本机空闲端口"),
                ) from error
            door.judge = entity.judge
            door.start()
            self._doors.append(door)

    async def stop(self) -> None:
        self._ended.set()
        doors, self._doors = self._doors, []
        await asyncio.gather(*(asyncio.to_thread(door.close, 0.0) for door in doors))
