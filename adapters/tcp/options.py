"""Options of the TCP adapter: ``listen`` of an ``in`` interface, ``connect`` of an ``out`` interface."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from adapters.access import check_allow
from adapters.tcp.answers import Answers
from adapters.tcp.framing import framing_for
from adapters.tcp.framing_options import ByteText, FramingOptions, UntilClose
from adapters.tls import ClientTls, ServerTls
from hub.api import HubError
from hub.contract import Duration, Size

__all__ = ["Heartbeat", "TcpConnect", "TcpListen"]


class Heartbeat(BaseModel):
    """A frame that is no message but says that the other side is alive."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    content: ByteText = Field(description="what the frame holds, exactly; empty: a frame without content")
    answer: ByteText | None = Field(None, description="what is sent back, in a frame; default: nothing")


class TcpListen(BaseModel):
    """``listen`` of a TCP interface."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 for every IPv4 address of the machine")
    port: int = Field(0, ge=0, le=65535, description="0 takes a free port, shown in the status")
    tls: ServerTls | None = None
    allow: list[str] = Field(
        default_factory=list,
        description="addresses and networks (CIDR) that may connect, * for everybody; "
        "default: this machine only, and only where host is a loopback address",
    )
    caller: bool = Field(
        False, description="only callers of `hub callers`, known by the address in their own allow list"
    )
    framing: FramingOptions
    answers: Answers = Field(
        Answers(),
        description="what the sender is told; request style: the target's mapped reply goes before `accepted`",
    )
    heartbeats: list[Heartbeat] = Field(default_factory=list, max_length=16)
    max_size: Size = Field(16 << 20, ge=1, description="largest message, bytes; max_size of the interface goes before")
    max_connections: int = Field(1_000, ge=1, description="further ones are closed at once")
    max_in_flight: int = Field(
        64, ge=1, description="messages of one connection waiting for their commit; beyond, reading pauses"
    )
    max_buffered: Size = Field(
        256 << 20, ge=1 << 20, description="bytes of unfinished large frames that all connections together may hold"
    )
    idle_timeout: Duration = Field(3600.0, ge=0, description="a silent connection is closed after so long; 0 = never")
    frame_timeout: Duration = Field(60.0, gt=0, description="longest time from the first to the last byte of a frame")
    keepalive: bool = Field(True, description="TCP keep-alive, to notice peers that vanished")
    backlog: int = Field(1024, ge=1, description="connections the system holds until they are accepted")

    @model_validator(mode="after")
    def _allow_fits_host(self) -> TcpListen:
        check_allow(self.host, self.allow)
        return self

    @model_validator(mode="after")
    def _answers_fit_frames(self) -> TcpListen:
        if isinstance(self.framing, UntilClose) and self.tls is not None:
            raise ValueError("until_close: TLS can't close one half of a connection, the sender could not be answered")
        framing = framing_for(self.framing)
        given = self.answers
        fixed = [given.accepted, given.duplicate, given.refused, given.later] if given.framed else []
        try:
            for content in [*fixed, *(beat.answer for beat in self.heartbeats)]:
                if content and b"{" not in content:
                    framing.wrap(content)
        except HubError as error:
            raise ValueError(f"an answer can't be framed: {error.text}") from None
        return self


class TcpConnect(BaseModel):
    """``connect`` of a TCP interface."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field(min_length=1, description="name or address of the target")
    port: int = Field(ge=1, le=65535)
    tls: ClientTls | None = None
    framing: FramingOptions
    reply: Literal["frame", "none"] = Field(
        "frame",
        description="frame: wait for an answer, `success` of the contract judges it; "
        "none: delivered once written, so a target that fails afterwards loses it",
    )
    reply_framing: FramingOptions | None = Field(None, description="framing of answers; default: as framing")
    heartbeats: list[Heartbeat] = Field(default_factory=list, max_length=16)
    connections: int = Field(
        1, ge=1, le=256, description="connections; each has one message under way, so 1 keeps the order"
    )
    per_call: bool = Field(False, description="a new connection for each message; default: connections are kept open")
    half_close: bool = Field(
        False, description="say by closing our half that nothing more comes; needs per_call, and not possible with tls"
    )
    max_reply: Size = Field(1 << 20, ge=1, description="largest answer, bytes")
    connect_timeout: Duration = Field(5.0, gt=0, description="longest time to connect, TLS included")
    keepalive: bool = Field(True, description="TCP keep-alive, to notice a target that vanished")

    @model_validator(mode="after")
    def _fits_together(self) -> TcpConnect:
        replies = self.reply_framing or self.framing
        whole = isinstance(self.framing, UntilClose) or (self.reply == "frame" and isinstance(replies, UntilClose))
        if (whole or self.half_close) and not self.per_call:
            raise ValueError("until_close and half_close end the connection: set per_call: true")
        if isinstance(self.framing, UntilClose) and self.reply == "frame" and not self.half_close:
            raise ValueError(
                "until_close: the target knows the end of a message, and answers, only with half_close: true"
            )
        if self.half_close and self.tls is not None:
            raise ValueError("half_close: TLS can't close one half of a connection")
        if self.per_call and self.heartbeats:
            raise ValueError("heartbeats are for connections that are kept open")
        return self
