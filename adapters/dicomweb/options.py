"""Options of the DICOMweb adapter: ``listen`` of an ``in`` interface, ``connect`` of an ``out`` interface."""

from __future__ import annotations

from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from adapters.http.client_options import OutboundAuth
from adapters.http.option_types import Options
from adapters.http.server_options import ServerOptions
from adapters.tls import ClientTls
from hub.contract import Duration, Size

__all__ = ["DicomWebConnect", "DicomWebListen"]


class DicomWebListen(ServerOptions):
    """``listen`` of a DICOMweb interface: the resources of PS3.18 below ``<path>/studies``, ``<path>/series`` and ``<path>/instances``."""

    path: str = Field("/dicom-web", pattern=r"^(/[\w.~-]+)*$", description="what comes before /studies")
    services: list[Literal["stow", "qido", "wado"]] = Field(
        ["stow"],
        min_length=1,
        description="stow: objects become messages; qido and wado: searches and retrievals go to a target, "
        "with style: request and codec: json",
    )
    inline: Size = Field(
        256 << 10, ge=0, le=16 << 20, description="objects up to this size are the message; larger ones are files"
    )
    max_object: Size = Field(4 << 30, ge=1 << 10, description="largest object, bytes")
    max_parts: int = Field(10_000, ge=1, description="most objects in one call")
    keep: Duration = Field(180 * 86400.0, gt=0, description="how long the files of objects stay")
    part_timeout: Duration = Field(
        60.0, gt=0, description="longest silence while a call comes, and while a caller does not take what it asked for"
    )
    max_answers: int = Field(
        5000, ge=1, description="qido: most results in one answer, whatever limit the caller names"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if "stow" in self.services and len(set(self.services)) > 1:
            raise ValueError("qido and wado are answered by a target: they need an interface of their own")
        return self


class DicomWebConnect(Options):
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
