"""Options of the DICOMweb adapter: ``listen`` of an ``in`` interface, ``connect`` of an ``out`` interface."""

from __future__ import annotations

from typing import ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from adapters.access import check_allow
from adapters.http.options import HttpListen, InboundAuth, OutboundAuth
from adapters.tls import ClientTls, ServerTls
from hub.contract import Duration, Size

__all__ = ["DicomWebConnect", "DicomWebListen"]


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class DicomWebListen(_Options):
    """``listen`` of a DICOMweb interface: STOW-RS at ``<path>/studies`` and ``<path>/studies/{study}``."""

    server: ClassVar[str] = "http"  # may share its port with other interfaces of this server

    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 for every IPv4 address of the machine")
    port: int = Field(0, ge=0, le=65535, description="0 takes a free port, shown in the status")
    path: str = Field("/dicom-web", pattern=r"^(/[\w.~-]+)*$", description="what comes before /studies")
    auth: InboundAuth = Field(description="required: an interface open to everybody has to say `auth: {type: none}`")
    allow: list[str] = Field(
        default_factory=list,
        description="addresses and networks (CIDR) that may call, * for everybody; "
        "default: this machine only, and only where host is a loopback address",
    )
    tls: ServerTls | None = None
    inline: Size = Field(
        256 << 10, ge=0, le=16 << 20, description="objects up to this size are the message; larger ones are files"
    )
    max_object: Size = Field(4 << 30, ge=1 << 10, description="largest object, bytes")
    max_parts: int = Field(10_000, ge=1, description="most objects in one call")
    keep: Duration = Field(180 * 86400.0, gt=0, description="how long the files of objects stay")
    part_timeout: Duration = Field(60.0, gt=0, description="longest silence while a call comes")
    max_connections: int = Field(10_000, ge=1, description="further ones are closed at once")

    @model_validator(mode="after")
    def _allow_fits_host(self) -> DicomWebListen:
        check_allow(self.host, self.allow)
        return self

    @property
    def http(self) -> HttpListen:
        """The server's part of it."""
        return HttpListen(
            host=self.host,
            port=self.port,
            path=f"{self.path}/studies",
            auth=self.auth,
            allow=self.allow,
            tls=self.tls,
            max_connections=self.max_connections,
        )


class DicomWebConnect(_Options):
    """``connect`` of a DICOMweb interface."""

    url: str = Field(description="http:// or https:// address of the service, before /studies")
    service: Literal["stow", "qido", "wado", "metadata"] = Field(
        "stow",
        description="stow: store the body; qido: search by the keys in the body; "
        "wado: retrieve what the UIDs in the body name, into files; metadata: of that, as JSON",
    )
    level: Literal["studies", "series", "instances"] = Field("studies", description="qido: what is searched for")
    auth: OutboundAuth | None = None
    tls: ClientTls = Field(default_factory=ClientTls)
    connections: int = Field(4, ge=1, le=256, description="connections kept open at most; one call each at a time")
    connect_timeout: Duration = Field(5.0, gt=0, description="longest time to connect, TLS included")
    idle_timeout: Duration = Field(30.0, gt=0, description="an unused connection is closed after so long")
    reply_limit: Size = Field(64 << 20, ge=1, description="largest answer of stow, qido and metadata, bytes")
    max_object: Size = Field(4 << 30, ge=1 << 10, description="wado: largest object, bytes")
    max_parts: int = Field(10_000, ge=1, description="wado: most objects in one answer")
    keep: Duration = Field(180 * 86400.0, gt=0, description="wado: how long the files stay")

    @field_validator("url")
    @classmethod
    def _url_is_plain(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("url starts with http:// or https:// and a host, and has no query")
        if "@" in parts.netloc:
            raise ValueError("credentials belong into auth")
        return url.rstrip("/")
