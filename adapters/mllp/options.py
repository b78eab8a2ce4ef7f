"""Options of the MLLP adapter: ``listen`` of an ``in`` interface, ``connect`` of an ``out`` interface."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from adapters.access import check_allow
from adapters.tls import ClientTls, ServerTls
from hub.contract import Duration, Size

__all__ = ["MllpConnect", "MllpListen"]


class MllpListen(BaseModel):
    """``listen`` of an MLLP interface."""

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
    ack: Literal["auto", "original", "enhanced", "none"] = Field(
        "auto",
        description="auto: as MSH-15 and MSH-16 of each message ask; original: always AA, AE or AR; "
        "enhanced: always CA, CE or CR; none: never answer",
    )
    max_size: Size = Field(64 << 20, ge=64, description="largest frame, bytes; max_size of the interface goes before")
    max_connections: int = Field(10_000, ge=1, description="further ones are closed at once")
    max_in_flight: int = Field(
        64, ge=1, description="messages of one connection waiting for their commit; beyond, reading pauses"
    )
    max_batch: int = Field(10_000, ge=1, description="messages in one batch frame")
    max_buffered: Size = Field(
        256 << 20, ge=1 << 20, description="bytes of unfinished large frames that all connections together may hold"
    )
    idle_timeout: Duration = Field(3600.0, ge=0, description="a silent connection is closed after so long; 0 = never")
    frame_timeout: Duration = Field(60.0, gt=0, description="longest time from the first to the last byte of a frame")
    keepalive: bool = Field(True, description="TCP keep-alive, to notice peers that vanished")
    backlog: int = Field(1024, ge=1, description="connections the system holds until they are accepted")

    @model_validator(mode="after")
    def _allow_fits_host(self) -> MllpListen:
        check_allow(self.host, self.allow)
        return self


class MllpConnect(BaseModel):
    """``connect`` of an MLLP interface."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field(min_length=1, description="name or address of the target")
    port: int = Field(ge=1, le=65535)
    tls: ClientTls | None = None
    connections: int = Field(
        1, ge=1, le=256, description="connections kept open; each has one message under way, so 1 keeps the order"
    )
    connect_timeout: Duration = Field(5.0, gt=0, description="longest time to connect, TLS included")
    wait_for: Literal["auto", "accept", "application"] = Field(
        "auto",
        description="which acknowledgement means delivered: accept (CA), application (AA), or auto: "
        "accept where MSH-15 of the message asks for one, else application",
    )
    keepalive: bool = Field(True, description="TCP keep-alive, to notice a target that vanished")
