"""TCP without a protocol above it: messages in frames that options describe; and ASTM E1381, the protocol of analysers."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel

from adapters.tcp.astm_options import AstmConnect, AstmListen
from adapters.tcp.astm_receiver import AstmQueries, AstmReceiver, Registry
from adapters.tcp.astm_sender import AstmLineSender, AstmSender
from adapters.tcp.options import TcpConnect, TcpListen
from adapters.tcp.receiver import TcpReceiver
from adapters.tcp.sender import TcpSender
from hub.api import Adapter, Bound, IntakePort, Receiver, Sender

__all__ = ["AstmAdapter", "TcpAdapter"]


class TcpAdapter(Adapter):
    """Listens for frames (:class:`TcpListen`) and sends them (:class:`TcpConnect`)."""

    name: ClassVar[str] = "tcp"
    listen_options: ClassVar[type[BaseModel] | None] = TcpListen
    connect_options: ClassVar[type[BaseModel] | None] = TcpConnect

    def receiver(self, bound: Bound, intake: IntakePort) -> Receiver:
        return TcpReceiver(bound, intake)

    def sender(self, bound: Bound) -> Sender:
        return TcpSender(bound)


class AstmAdapter(Adapter):
    """Talks E1381 with analysers: takes their messages (:class:`AstmListen`), sends to them (:class:`AstmConnect`)."""

    name: ClassVar[str] = "astm"
    listen_options: ClassVar[type[BaseModel] | None] = AstmListen
    connect_options: ClassVar[type[BaseModel] | None] = AstmConnect
    opaque: ClassVar[bool] = False

    def __init__(self) -> None:
        self._registry = Registry()

    def receiver(self, bound: Bound, intake: IntakePort) -> Receiver:
        options = bound.options
        if not isinstance(options, AstmListen):
            raise TypeError("bound.options must be AstmListen")
        kind = AstmQueries if options.queries_of else AstmReceiver
        return kind(bound, intake, options, self._registry)

    def sender(self, bound: Bound) -> Sender:
        options = bound.options
        if not isinstance(options, AstmConnect):
            raise TypeError("bound.options must be AstmConnect")
        return AstmLineSender(bound, options, self._registry) if options.line else AstmSender(options)
