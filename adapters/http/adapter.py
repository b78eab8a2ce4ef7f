"""The adapters ``http`` and ``http_poll``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.http.options import HttpConnect, HttpListen
from adapters.http.poll import HttpPollReceiver
from adapters.http.poll_options import HttpPoll
from adapters.http.receiver import HttpReceiver
from adapters.http.sender import HttpSender
from adapters.http.server import ServerPool
from hub.api import Adapter, Bound, IntakePort, Receiver, Sender

if TYPE_CHECKING:
    from hub.simulator.counterpart import Counterpart

__all__ = ["HttpAdapter", "HttpPollAdapter"]


class HttpAdapter(Adapter):
    """HTTP/1.1, plain or over TLS. Its receivers share one server for each host and port."""

    name = "http"
    listen_options = HttpListen
    connect_options = HttpConnect
    protects = ("in", "out")

    def __init__(self, servers: ServerPool | None = None) -> None:
        self._servers = servers if servers is not None else ServerPool()

    def receiver(self, bound: Bound, intake: IntakePort) -> Receiver:
        return HttpReceiver(bound, intake, self._servers)

    def sender(self, bound: Bound) -> Sender:
        return HttpSender(bound)

    def counterpart(self) -> Counterpart:
        from adapters.http.counterpart import HttpCounterpart  # a hub that runs needs none

        return HttpCounterpart()


class HttpPollAdapter(Adapter):
    """Reads REST sources that don't call by themselves."""

    name = "http_poll"
    listen_options = HttpPoll
    reads_source = True
    protects = ("in",)

    def receiver(self, bound: Bound, intake: IntakePort) -> Receiver:
        return HttpPollReceiver(bound, intake)

    def counterpart(self) -> Counterpart:
        from adapters.http.counterpart import HttpCounterpart  # a hub that runs needs none

        return HttpCounterpart()
