"""Options of the ASTM adapter: ``listen`` of an ``in`` interface, ``connect`` of an ``out`` interface."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from adapters.access import check_allow
from adapters.tcp.e1381_sending import Timers
from adapters.tls import ClientTls, ServerTls
from hub.contract import Duration, Size

__all__ = ["AstmConnect", "AstmListen", "Dial"]


class _Protocol(BaseModel):
    """What both directions say about the protocol. The times are those of E1381."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Literal["host", "analyser"] = Field(
        "host",
        description="which side of E1381 the hub is: when both sides begin to send at once the analyser goes first",
    )
    frames: Literal["record", "full"] = Field(
        "record",
        description="what is sent: record: each record ends a frame; full: frames are filled, only the last one ends with ETX",
    )
    frame_size: int = Field(
        240, ge=1, le=63_993, description="most characters of text in a frame that is sent; E1381: 240, LIS1-A: 63993"
    )
    reply_timer: Duration = Field(15.0, gt=0, description="longest wait for the answer to ENQ or to a frame")
    busy_timer: Duration = Field(10.0, gt=0, description="pause before ENQ is sent again when it was answered with NAK")
    contention_timer: Duration | None = Field(
        None,
        gt=0,
        description="pause before ENQ is sent again when both sides sent one; default: host 20 s, analyser 1 s",
    )

    def timers(self) -> Timers:
        contention = self.contention_timer
        return Timers(
            reply=self.reply_timer,
            busy=self.busy_timer,
            yielded=contention or Timers().yielded,
            insist=contention or Timers().insist,
        )

    def _alone(self, option: str) -> None:
        """The option that names another interface must be the only one."""
        if self.model_fields_set - {option}:
            raise ValueError(
                f"{option}: the connection, times and frames are those of that interface; no other option belongs here"
            )


class Dial(BaseModel):
    """An analyser that waits for the host to connect."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field(min_length=1, description="name or address of the analyser")
    port: int = Field(ge=1, le=65535)
    tls: ClientTls | None = None
    connect_timeout: Duration = Field(5.0, gt=0, description="longest time to connect, TLS included")
    retry: Duration = Field(10.0, gt=0, description="pause before the next try to connect")


class AstmListen(_Protocol):
    """``listen`` of an ASTM interface."""

    queries_of: str = Field(
        "",
        description="id of another ASTM interface of this system that has the connection: "
        "messages with a Q record that come over it belong to this interface; no other option belongs here then",
    )
    dial: Dial | None = Field(None, description="connect to the analyser and keep the connection, instead of listening")
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
    frame_timer: Duration = Field(30.0, gt=0, description="longest wait for the next frame or EOT")
    hold_timer: Duration = Field(
        10.0,
        gt=0,
        description="a message that is not stored after so long gets NAK, the next try waits for the same commit; "
        "must be shorter than the other side's reply timer",
    )
    message: Literal["records", "frame"] = Field(
        "records",
        description="where a message ends: records: at the record L (E1394); frame: at each ETX, for other contents",
    )
    max_size: Size = Field(4 << 20, ge=64, description="largest message, bytes; max_size of the interface goes before")
    max_connections: int = Field(64, ge=1, description="further ones are closed at once")
    idle_timeout: Duration = Field(0.0, ge=0, description="a silent connection is closed after so long; 0 = never")
    keepalive: bool = Field(True, description="TCP keep-alive, to notice peers that vanished")
    backlog: int = Field(64, ge=1, description="connections the system holds until they are accepted")

    @property
    def frame_timeout(self) -> float:
        return self.frame_timer

    def timers(self) -> Timers:
        return super().timers()._replace(frame=self.frame_timer, hold=self.hold_timer)

    @model_validator(mode="after")
    def _allow_fits_host(self) -> AstmListen:
        check_allow(self.host, self.allow)
        if self.queries_of:
            self._alone("queries_of")
        if self.dial is not None and (self.tls or self.port):
            raise ValueError("dial connects: port and tls of a listener do not belong to it")
        return self


class AstmConnect(_Protocol):
    """``connect`` of an ASTM interface."""

    line: str = Field(
        "",
        description="id of the ASTM interface of this system whose connection is used, where the analyser has only one; "
        "default: a connection of its own",
    )
    host: str = Field("", description="name or address of the target")
    port: int = Field(0, ge=0, le=65535)
    tls: ClientTls | None = None
    connect_timeout: Duration = Field(5.0, gt=0, description="longest time to connect, TLS included")
    keepalive: bool = Field(True, description="TCP keep-alive, to notice a target that vanished")

    @property
    def connections(self) -> int:
        return 1

    @model_validator(mode="after")
    def _one_way(self) -> AstmConnect:
        if bool(self.line) == bool(self.host and self.port):
            raise ValueError("give either line, or host and port")
        if self.line:
            self._alone("line")
        return self
