"""Options of the adapter ``redis``: ``listen`` of an ``in`` interface, ``connect`` of an ``out`` interface."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from adapters.mq.envelope import check_templates
from adapters.tls import ClientTls
from hub.contract import Duration

__all__ = ["RedisConnect", "RedisListen", "RedisServer"]


class RedisServer(BaseModel):
    """The server and the connection to it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: str = Field(description="redis://host:6379/0 or rediss://; the number is the database")
    user: str = Field("", description="ACL user; default: the default user")
    password: SecretStr = SecretStr("")
    tls: ClientTls = Field(default_factory=ClientTls, description="rediss only")
    connect_timeout: Duration = Field(5.0, gt=0, description="longest time to connect, TLS and login included")
    answer_timeout: Duration = Field(5.0, gt=0, description="longest wait for the answer to a command")
    format: Literal["raw", "kombu"] = Field(
        "raw", description="lists: raw, an element is the message; kombu, the envelope that kombu and Celery write"
    )
    field: str = Field("body", min_length=1, description="streams: the field with the message; the others are headers")

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 6379

    @property
    def database(self) -> int:
        return int(urlsplit(self.url).path.strip("/") or 0)

    @property
    def secure(self) -> bool:
        return urlsplit(self.url).scheme == "rediss"

    @property
    def address(self) -> str:
        """Where it is, for people; without credentials."""
        return f"{'rediss' if self.secure else 'redis'}://{self.host}:{self.port}/{self.database}"

    @model_validator(mode="after")
    def _url_can_be_used(self) -> RedisServer:
        try:
            parts = urlsplit(self.url)
            known = parts.hostname, parts.port, int(parts.path.strip("/") or 0)
        except ValueError as error:
            raise ValueError(f"url: {error}") from None
        if parts.scheme not in ("redis", "rediss") or not known[0]:
            raise ValueError("url: write redis://host:6379/0 or rediss://…")
        if parts.username is not None or parts.password is not None:
            raise ValueError("url has no credentials; those belong into user and password")
        return self


class RedisListen(RedisServer):
    """``listen`` of a ``redis`` interface: one list, or one stream as a member of a consumer group."""

    list: str = Field("", description="key of a list")
    take: Literal["right", "left"] = Field("right", description="the end where the oldest element is; LPUSH: right")
    stream: str = Field("", description="key of a stream")
    group: str = Field("hub", min_length=1, description="consumer group of the stream")
    declare: bool = Field(True, description="make stream and group where they are missing, from the first entry on")
    member: str = Field(
        "", description="this hub among several that read the same key; must stay the same; default: system/interface"
    )
    claim_after: Duration = Field(
        300.0, gt=0, description="streams: what another member has held for so long is taken over"
    )
    batch: int = Field(100, ge=1, le=1000, description="messages read and committed at once")
    park: str = Field("", description="key of the list or stream for refused messages; default: <key>.refused")

    @property
    def key(self) -> str:
        return self.list or self.stream

    @model_validator(mode="after")
    def _one_source(self) -> RedisListen:
        if bool(self.list) == bool(self.stream):
            raise ValueError("give either list or stream")
        if self.stream and self.format == "kombu":
            raise ValueError("format: kombu is for lists")
        return self


class RedisConnect(RedisServer):
    """``connect`` of a ``redis`` interface."""

    list: str = Field("", description="key of a list; may hold {name} templates")
    push: Literal["left", "right"] = Field(
        "left", description="the end where new elements go; others take from the other"
    )
    stream: str = Field("", description="key of a stream; may hold {name} templates")
    headers: dict[str, str] = Field(
        default_factory=dict, description="streams and format kombu; values may hold {name} templates"
    )
    max_length: int | None = Field(None, ge=1, description="streams: older entries are cut off beyond about so many")
    connections: int = Field(8, ge=1, le=256, description="connections at most; one call each at a time")

    @model_validator(mode="after")
    def _one_target(self) -> RedisConnect:
        if bool(self.list) == bool(self.stream):
            raise ValueError("give either list or stream")
        if self.stream and self.format == "kombu":
            raise ValueError("format: kombu is for lists")
        if self.list and self.format == "raw" and self.headers:
            raise ValueError("headers: an element of a raw list has none")
        if self.field in self.headers or "idempotency_key" in self.headers:
            raise ValueError("headers: this name is written by the adapter itself")
        check_templates(self.key, *self.headers.values())
        return self

    @property
    def key(self) -> str:
        return self.list or self.stream
