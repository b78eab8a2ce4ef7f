"""DICOMweb (PS3.18): STOW-RS, QIDO-RS and WADO-RS, in and out."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel

from adapters.dicomweb.lookup import LookupReceiver
from adapters.dicomweb.options import DicomWebConnect, DicomWebListen
from adapters.dicomweb.sender import DicomWebSender
from adapters.dicomweb.stow import StowReceiver
from adapters.http.server import ServerPool
from hub.api import Adapter, Bound, IntakePort, Receiver, Sender

__all__ = ["DicomWebAdapter"]


class DicomWebAdapter(Adapter):
    """Serves (:class:`DicomWebListen`) and calls (:class:`DicomWebConnect`)."""

    name: ClassVar[str] = "dicomweb"
    listen_options: ClassVar[type[BaseModel] | None] = DicomWebListen
    connect_options: ClassVar[type[BaseModel] | None] = DicomWebConnect
    opaque: ClassVar[bool] = False

    def __init__(self, servers: ServerPool | None = None) -> None:
        self._servers = servers if servers is not None else ServerPool()

    def receiver(self, bound: Bound, intake: IntakePort) -> Receiver:
        stow = isinstance(bound.options, DicomWebListen) and "stow" in bound.options.services
        return (StowReceiver if stow else LookupReceiver)(bound, intake, self._servers)

    def sender(self, bound: Bound) -> Sender:
        return DicomWebSender(bound)
