"""Options of the FHIR adapters: ``listen`` and ``connect`` of ``fhir``, ``listen`` of ``fhir_poll``."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from adapters.fhir.call import BUNDLES, EVENT, OF_SYSTEM, REQUEST
from adapters.fhir.subscriptions.options import SubscriptionOptions
from adapters.http.client_options import ClientOptions, OutboundAuth, Probe
from adapters.http.option_types import HeaderName, Options, PlainUrl
from adapters.http.proxy import Proxy
from adapters.http.server_options import CallOptions, ServerPath
from adapters.http.token_options import LoginAuth, OAuth2Auth
from adapters.schedule import Schedule
from adapters.template import Template
from adapters.tls import ClientTls
from hub.contract import Duration, Size

__all__ = ["FhirConnect", "FhirListen", "FhirPoll", "Interaction", "slots"]

Interaction = Literal[
    "create",
    "update",
    "patch",
    "delete",
    "read",
    "search",
    "history",
    "transaction",
    "batch",
    "message",
    "collection",
    "validate",
    "import",
    "notify",
    "subscribe",
]


def _type(value: str) -> str:
    if not re.fullmatch(r"[A-Z][A-Za-z]{1,63}", value, re.ASCII):
        raise ValueError(f"{value!r} is not a type of resource; write e.g. Patient")
    return value


def _base(url: str) -> str:
    if "?" in url:
        raise ValueError("the address of a server has no query")
    return url.rstrip("/")


def slots(offers: Collection[str], resources: Collection[str]) -> frozenset[tuple[str, str]]:
    """(kind of call, type of resource) of what an interface takes: only one interface of a base can have it. ``*``: any type."""
    posted = (BUNDLES | {"notify"}) & set(offers)
    found = {("bundle", "")} if posted else set()
    found |= {(name, "") for name in ("import", "message", "subscribe") if name in offers}
    found |= {(name, kind) for name in set(offers) - OF_SYSTEM for kind in resources or ("*",)}
    return frozenset(found)


ResourceType = Annotated[str, AfterValidator(_type)]
BaseUrl = Annotated[PlainUrl, AfterValidator(_base)]


class FhirListen(CallOptions):
    """``listen`` of a FHIR interface. Interfaces with the same host, port and path are one FHIR server."""

    path: ServerPath = Field(
        "/fhir", description="the base: resources are at /fhir/Patient, the CapabilityStatement at /fhir/metadata"
    )
    interactions: list[Interaction] = Field(
        default_factory=list,
        description="what is taken; default in event style: create, update, transaction, message, validate; "
        "in request style: read, search. Interfaces that share a base name theirs. notify: a POST without a body to the "
        "base, as subscriptions send it; subscribe: Subscription resources of others, which the hub serves itself",
    )
    resources: list[ResourceType] = Field(default_factory=list, description="types taken, e.g. Patient; default: any")
    search: dict[str, Literal["number", "date", "string", "token", "reference", "composite", "quantity", "uri"]] = (
        Field(
            default_factory=dict,
            description="search parameters and their types, for the CapabilityStatement; others are passed on as well, but "
            "refused where the caller says Prefer: handling=strict",
        )
    )
    prefer: Literal["minimal", "representation", "OperationOutcome"] = Field(
        "minimal", description="body of the answer to a stored resource, where the caller has no preference"
    )
    page_size: int = Field(
        50, ge=1, le=1000, description="entries of one page of a search, where the caller sets no _count"
    )
    public_url: str = Field("", description="the base as callers know it, behind a proxy; default: by the header Host")
    subscriptions: SubscriptionOptions | None = Field(None, description="subscribe: who may be told of what")
    import_page: int = Field(200, ge=1, le=5000, description="import: lines that are stored with one commit")

    @field_validator("path")
    @classmethod
    def _plain_path(cls, path: str) -> str:
        if "{" in path or (path != "/" and path.endswith("/")):
            raise ValueError("path is the base: without {name} parts, and without a slash at its end")
        return path

    @field_validator("public_url")
    @classmethod
    def _whole_url(cls, url: str) -> str:
        if url and not re.fullmatch(r"https?://[^\s?#\"<>]+", url):
            raise ValueError("public_url is a whole address, e.g. https://hub.example.cn/fhir")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _says_who_is_told(self) -> Self:
        if ("subscribe" in self.interactions) != (self.subscriptions is not None):
            raise ValueError("the interaction subscribe goes with subscriptions: {endpoints: [https://app.example.cn]}")
        return self

    @property
    def methods(self) -> list[str]:
        """What is only one interface's of a base: as methods are of a path."""
        offers = self.interactions or (*EVENT, *REQUEST)
        return [" ".join(slot) for slot in sorted(slots(offers, self.resources))]


class FhirConnect(ClientOptions):
    """``connect`` of a FHIR interface: ``url`` is the base of the server, the rest of the address comes from the body and what is said here."""

    url: BaseUrl = Field(
        description="http:// or https:// address of the server's base, e.g. https://fhir.example.cn/r4"
    )
    probe: Probe | None = Field(
        Probe(path="metadata"), description="default: the server's CapabilityStatement is asked for"
    )
    interaction: Literal[
        "auto", "create", "update", "patch", "message", "validate", "read", "history", "search", "delete"
    ] = Field(
        "auto",
        description="auto: a Bundle.message goes to $process-message, other bundles to the base, what the facade made of a "
        "search, read, history, delete or patch becomes that, a resource with an id is updated, one without is created",
    )
    if_none_exist: str = Field(
        "", description="create: search that must find nothing, e.g. identifier={key}; may hold {name} templates"
    )
    criteria: str = Field(
        "",
        description="update, patch, delete: by this search instead of by the id, e.g. identifier={key}; may hold {name} templates",
    )
    if_match: str = Field(
        "",
        description='update, patch, delete: the version that must be current, e.g. W/"{version}"; without a value it is not sent',
    )
    prefer: Literal["", "minimal", "representation", "OperationOutcome"] = Field(
        "", description="what the server should answer with; default: nothing is said"
    )
    profile: str = Field("", description="validate: canonical address of the profile")

    @field_validator("if_none_exist", "criteria", "if_match")
    @classmethod
    def _sound(cls, text: str) -> str:
        Template(text)
        if not text.isprintable():
            raise ValueError("blanks and visible characters only")
        return text

    @model_validator(mode="after")
    def _fixed_base(self) -> Self:
        if Template(self.url).names:
            raise ValueError("url is the base of the server and has no {name} templates")
        return self


class FhirPoll(Options):
    """``listen`` of an interface that reads a FHIR server by search."""

    url: BaseUrl = Field(description="http:// or https:// address of the server's base")
    resource: ResourceType = Field(description="type that is searched, e.g. Observation")
    query: dict[str, str] = Field(
        default_factory=dict,
        description="search parameters, e.g. {status: final}; _lastUpdated and _sort are written by the adapter",
    )
    export: str = Field(
        "",
        pattern=r"^((Patient|Group/[A-Za-z0-9.-]{1,64})/)?\$export$|^$",
        description="read by bulk export instead of by search: $export, Patient/$export or Group/ID/$export; resource is its _type",
    )
    since: str = Field(
        "",
        description="the first run takes what changed at or after this time, e.g. 2026-01-01T00:00:00+08:00; default: everything",
    )
    overlap: Duration = Field(
        60.0,
        ge=0,
        description="each run looks back so far behind the newest it has seen: servers list what was committed late",
    )
    page_size: int = Field(200, ge=1, le=5000, description="_count of the search, and resources stored with one commit")
    headers: dict[HeaderName, str] = Field(default_factory=dict)
    auth: Annotated[OutboundAuth | OAuth2Auth | LoginAuth, Field(discriminator="type")] | None = None
    proxy: Proxy | None = None
    tls: ClientTls = Field(default_factory=ClientTls)
    connect_timeout: Duration = Field(5.0, gt=0, description="longest time to connect, TLS included")
    timeout: Duration = Field(30.0, gt=0, description="longest time for one page")
    reply_limit: Size = Field(32 << 20, ge=1, description="largest page, bytes, after decompression")
    schedule: Schedule = Schedule()

    @field_validator("query")
    @classmethod
    def _own_parameters(cls, query: dict[str, str]) -> dict[str, str]:
        for name in query:
            if name in ("_lastUpdated", "_sort", "_count", "_format", "_since", "_type", "_outputFormat"):
                raise ValueError(f"query: {name} is written by the adapter itself")
        return query

    @field_validator("since")
    @classmethod
    def _instant(cls, text: str) -> str:
        if text and not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", text, re.ASCII):
            raise ValueError("since is a time with its zone, e.g. 2026-01-01T00:00:00+08:00")
        return text
