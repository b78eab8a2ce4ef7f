"""DICOMweb (PS3.18): STOW-RS in; STOW-RS, QIDO-RS and WADO-RS out."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel

from adapters.dicomweb.options import DicomWebConnect, DicomWebListen
from adapters.dicomweb.receiver import DicomWebReceiver
from adapters.dicomweb.sender import DicomWebSender
from adapters.http.server import ServerPool
from hub.api import Adapter, Bound, IntakePort, Receiver, Sender

__all__ = ["DicomWebAdapter"]


class DicomWebAdapter(Adapter):
    """Takes objects (:class:`DicomWebListen`); stores, searches and retrieves them (:class:`DicomWebConnect`)."""

    name: ClassVar[str] = "dicomweb"
    listen_options: ClassVar[type[BaseModel] | None] = DicomWebListen
    connect_options: ClassVar[type[BaseModel] | None] = DicomWebConnect

    def __init__(self, servers: ServerPool | None = None) -> None:
        self._servers = servers if servers is not None else ServerPool()

    def receiver(self, bound: Bound, intake: IntakePort) -> Receiver:
        return DicomWebReceiver(bound, intake, self._servers)

    def sender(self, bound: Bound) -> Sender:
        return DicomWebSender(bound)
