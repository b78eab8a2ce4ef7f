"""The adapter ``soap``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import BaseModel

from adapters.http.server import ServerPool
from adapters.soap.options import SoapConnect, SoapListen
from adapters.soap.receiver import SoapReceiver
from adapters.soap.sender import SoapSender
from adapters.soap.wsdl import WsdlFiles, generated
from hub.api import Adapter, Bound, IntakePort, Receiver, Sender

if TYPE_CHECKING:
    from hub.simulator.counterpart import Counterpart

__all__ = ["SoapAdapter"]


class SoapAdapter(Adapter):
    """SOAP over HTTP. Its receivers share one server for each host and port, also with other adapters on the same pool."""

    name = "soap"
    listen_options = SoapListen
    connect_options = SoapConnect
    protects = ("in", "out")

    def __init__(self, servers: ServerPool | None = None) -> None:
        self._servers = servers if servers is not None else ServerPool()

    def receiver(self, bound: Bound, intake: IntakePort) -> Receiver:
        return SoapReceiver(bound, intake, self._servers)

    def sender(self, bound: Bound) -> Sender:
        return SoapSender(bound)

    def counterpart(self) -> Counterpart:
        from adapters.soap.counterpart import SoapCounterpart  # a hub that runs needs none

        return SoapCounterpart()

    def descriptions(self, options: BaseModel, address: str = "") -> Mapping[str, bytes]:
        """The WSDL, byte for byte as ``?wsdl`` answers it at this address."""
        if not isinstance(options, SoapListen):
            return {}
        scheme = "https" if options.tls is not None else "http"
        address = options.address or address or f"{scheme}://{options.host}:{options.port}{options.path}"
        served = WsdlFiles(options.wsdl).served("", address) if options.wsdl else generated(options, address)
        return {"wsdl": served} if served is not None else {}
