"""DICOM over TCP (DIMSE), in and out: C-ECHO, C-STORE, C-FIND, C-MOVE, C-GET, worklists, procedure steps, storage commitment."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel

from adapters.dicom.options import DicomConnect, DicomListen
from adapters.dicom.receiver import DicomReceiver
from adapters.dicom.sender import DicomSender
from hub.api import Adapter, Bound, IntakePort, Receiver, Sender

if TYPE_CHECKING:
    from hub.simulator.counterpart import Counterpart

__all__ = ["DicomAdapter"]


class DicomAdapter(Adapter):
    """Listens as an AE (:class:`DicomListen`) and calls one (:class:`DicomConnect`)."""

    name: ClassVar[str] = "dicom"
    listen_options: ClassVar[type[BaseModel] | None] = DicomListen
    connect_options: ClassVar[type[BaseModel] | None] = DicomConnect
    opaque: ClassVar[bool] = False

    def receiver(self, bound: Bound, intake: IntakePort) -> Receiver:
        return DicomReceiver(bound, intake)

    def sender(self, bound: Bound) -> Sender:
        return DicomSender(bound)

    def counterpart(self) -> Counterpart:
        from adapters.dicom.counterpart import DicomCounterpart  # which a hub that does not simulate need not load

        return DicomCounterpart()
