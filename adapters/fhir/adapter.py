"""The adapters ``fhir`` and ``fhir_poll``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.fhir.facade import Facades
from adapters.fhir.options import FhirConnect, FhirListen, FhirPoll
from adapters.fhir.poll import FhirPollReceiver
from adapters.fhir.receiver import FhirReceiver
from adapters.fhir.sender import FhirSender
from adapters.http.server import ServerPool
from hub.api import Adapter, Bound, IntakePort, Receiver, Sender

if TYPE_CHECKING:
    from hub.simulator.counterpart import Counterpart

__all__ = ["FhirAdapter", "FhirPollAdapter"]


class FhirAdapter(Adapter):
    """A FHIR server that is a facade of the hub, and a client of other servers.

    Interfaces with the same host, port and path are one server with one CapabilityStatement.
    """

    name = "fhir"
    listen_options = FhirListen
    connect_options = FhirConnect
    protects = ("out",)
    opaque = False

    def __init__(self, servers: ServerPool | None = None) -> None:
        self._facades = Facades(servers if servers is not None else ServerPool())

    def receiver(self, bound: Bound, intake: IntakePort) -> Receiver:
        return FhirReceiver(bound, intake, self._facades)

    def sender(self, bound: Bound) -> Sender:
        return FhirSender(bound)

    def counterpart(self) -> Counterpart:
        from adapters.fhir.counterpart import FhirCounterpart  # a hub that runs needs none

        return FhirCounterpart()


class FhirPollAdapter(Adapter):
    """Reads a FHIR server by search, again and again."""

    name = "fhir_poll"
    listen_options = FhirPoll
    reads_source = True
    opaque = False

    def receiver(self, bound: Bound, intake: IntakePort) -> Receiver:
        return FhirPollReceiver(bound, intake)
