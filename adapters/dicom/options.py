"""Options of the DICOM adapter: ``listen`` of an ``in`` interface, ``connect`` of an ``out`` interface."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from adapters.access import check_allow
from adapters.tls import ClientTls, ServerTls
from hub.contract import Duration, Size

__all__ = ["DicomConnect", "DicomListen", "Peer", "Receive"]


def _title(value: str) -> str:
    """PS3.5, 6.2: 16 characters of ASCII, no backslash; blanks at the ends don't count."""
    if not re.fullmatch(r"[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?", value):
        raise ValueError(f"{value!r} is not an AE title: 1 to 16 ASCII characters, no backslash")
    return value


def _uid(value: str) -> str:
    if not re.fullmatch(r"[0-9.]{1,64}", value):
        raise ValueError(f"{value!r} is not a UID")
    return value


Title = Annotated[str, AfterValidator(_title)]
Uid = Annotated[str, AfterValidator(_uid)]


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Peer(_Options):
    """Where an AE can be called."""

    host: str = Field(min_length=1)
    port: int = Field(ge=1, le=65535)


class DicomListen(_Options):
    """``listen`` of a DICOM interface: an AE that answers C-ECHO and the services named."""

    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 for every IPv4 address of the machine")
    port: int = Field(0, ge=0, le=65535, description="0 takes a free port, shown in the status")
    ae_title: Title = Field("TONGQU", description="our AE title")
    any_called: bool = Field(False, description="answer also to calls for another AE title")
    calling: list[Title] = Field(default_factory=list, description="AE titles that may call; default: every one")
    allow: list[str] = Field(
        default_factory=list,
        description="addresses and networks (CIDR) that may connect, * for everybody; "
        "default: this machine only, and only where host is a loopback address",
    )
    tls: ServerTls | None = None
    services: list[Literal["store", "mpps", "commitment", "results", "worklist", "find"]] = Field(
        ["store"],
        min_length=1,
        description="store: C-STORE; mpps: N-CREATE and N-SET of procedure steps; commitment: storage commitment; "
        "results: of storage commitments that the hub has asked this AE for; "
        "worklist and find: C-FIND, with style: request and codec: json",
    )
    sop_classes: list[Uid] = Field(
        default_factory=list, description="further storage SOP classes to accept, e.g. a vendor's private ones"
    )
    inline: Size = Field(
        256 << 10, ge=0, le=16 << 20, description="objects up to this size are the message; larger ones are files"
    )
    max_object: Size = Field(4 << 30, ge=1 << 10, description="largest object, bytes")
    keep: Duration = Field(180 * 86400.0, gt=0, description="how long the files of objects stay")
    index_after: Duration = Field(
        0.0, ge=0, description="a message with the contents of a study, once nothing more has come for so long; 0: none"
    )
    index_at_end: bool = Field(False, description="that message also when the association ends that brought the study")
    peers: dict[Title, Peer] = Field(
        default_factory=dict, description="commitment: where the AEs that ask are told the result"
    )
    charset: Literal["", "ISO_IR 192", "GB18030", "GBK", "ISO 2022 IR 58"] = Field(
        "", description="find: character set of answers; default: the one the query names, else ISO_IR 192"
    )
    max_answers: int = Field(5000, ge=1, description="find: most data sets in one answer")
    max_associations: int = Field(50, ge=1, le=1000, description="further ones are rejected, for the time being")
    max_pdu: Size = Field(128 << 10, ge=4 << 10, le=1 << 20, description="largest PDU we ask for, bytes")
    idle_timeout: Duration = Field(300.0, gt=0, description="a silent association is aborted after so long")
    pdu_timeout: Duration = Field(30.0, gt=0, description="longest time from the first to the last byte of a PDU")
    backlog: int = Field(128, ge=1, description="connections the system holds until they are accepted")

    @model_validator(mode="after")
    def _fits(self) -> DicomListen:
        check_allow(self.host, self.allow)
        queries = {"worklist", "find"} & set(self.services)
        if queries and len(queries) != len(set(self.services)):
            raise ValueError("worklist and find are answered by a target: they need an interface of their own")
        if "commitment" in self.services and "store" not in self.services:
            raise ValueError("commitment is given for what this interface stores: services: [store, commitment]")
        if (self.index_after or self.index_at_end) and "store" not in self.services:
            raise ValueError("index_after and index_at_end need the service store")
        return self


class Receive(_Options):
    """Where the objects of a C-MOVE come: a port of the sender's own, which the target knows by our ``destination``."""

    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 for every IPv4 address of the machine")
    port: int = Field(ge=0, le=65535, description="0 takes a free port, shown in the status")
    allow: list[str] = Field(
        default_factory=list,
        description="addresses and networks (CIDR) that may connect, * for everybody; "
        "default: this machine only, and only where host is a loopback address",
    )
    tls: ServerTls | None = None

    @model_validator(mode="after")
    def _fits(self) -> Receive:
        check_allow(self.host, self.allow)
        return self


class DicomConnect(_Options):
    """``connect`` of a DICOM interface."""

    host: str = Field(min_length=1, description="name or address of the target")
    port: int = Field(ge=1, le=65535)
    called: Title = Field(description="AE title of the target")
    calling: Title = Field("TONGQU", description="our AE title")
    tls: ClientTls | None = None
    service: Literal["store", "find", "worklist", "move", "get", "mpps", "commitment"] = Field(
        "store",
        description="what a call is: C-STORE of the body; C-FIND, C-MOVE, C-GET by the keys in the body; "
        "N-CREATE or N-SET of a procedure step; commitment: storage commitment of the objects that the body names",
    )
    model: Literal["study", "patient"] = Field("study", description="find, move, get: the information model")
    destination: Title | None = Field(None, description="move: AE title that gets the objects, e.g. ours")
    receive: Receive | None = Field(
        None, description="move: the objects come to us, into files; without it they go to another AE"
    )
    max_answers: int = Field(5000, ge=1, description="find: further answers are cancelled and the call fails")
    ask_again: Duration = Field(
        3600.0, gt=0, description="commitment: a result that has not come for so long is asked for anew"
    )
    connections: int = Field(2, ge=1, le=64, description="associations at once; each makes one call at a time")
    connect_timeout: Duration = Field(5.0, gt=0, description="longest time to connect, TLS included")
    associate_timeout: Duration = Field(10.0, gt=0, description="longest wait for an association to be accepted")
    idle_timeout: Duration = Field(30.0, gt=0, description="an unused association is released after so long")
    max_pdu: Size = Field(128 << 10, ge=4 << 10, le=1 << 20, description="largest PDU we ask for, bytes")
    max_object: Size = Field(4 << 30, ge=1 << 10, description="get, move with receive: largest object, bytes")
    keep: Duration = Field(
        180 * 86400.0,
        gt=0,
        description="get, move with receive: how long the files of objects stay; commitment: how long results are remembered",
    )

    @model_validator(mode="after")
    def _fits(self) -> DicomConnect:
        if (self.service == "move") != (self.destination is not None):
            raise ValueError("move, and only move, needs a destination")
        if self.receive is not None and self.service != "move":
            raise ValueError("receive is for the service move")
        return self
