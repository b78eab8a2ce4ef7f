"""Options of the adapter ``amqp1``: ``listen`` of an ``in`` interface, ``connect`` of an ``out`` interface."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from adapters.mq.envelope import check_templates
from adapters.tls import ClientTls
from hub.contract import Duration, Size

__all__ = ["Amqp1Broker", "Amqp1Connect", "Amqp1Listen"]


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("no control characters")
    return text


Text = Annotated[str, AfterValidator(_printable)]


class Amqp1Broker(BaseModel):
    """The broker and the connection to it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    host: Text = Field(min_length=1, description="name or address of the broker")
    port: int = Field(0, ge=0, le=65535, description="default: 5671 with tls, else 5672")
    tls: ClientTls | None = Field(None, description="TLS from the first byte (amqps)")
    virtual_host: Text = Field("", description="hostname of the open frame; default: host; RabbitMQ: vhost:NAME")
    user: Text = Field("", description="SASL PLAIN with password; without a user SASL ANONYMOUS")
    password: SecretStr = SecretStr("")
    external: bool = Field(False, description="SASL EXTERNAL: the certificate of tls says who the hub is")
    container_id: Text = Field("", max_length=256, description="names the hub to the broker; default: one of its own")
    heartbeat: Duration = Field(
        10.0, ge=0.1, le=600, description="a broker that is silent for twice as long counts as gone"
    )
    connect_timeout: Duration = Field(5.0, gt=0, description="longest time to connect, TLS and login included")

    @property
    def address(self) -> str:
        scheme, port = ("amqp", 5672) if self.tls is None else ("amqps", 5671)
        return f"{scheme}://{self.host}:{self.port or port}"

    @property
    def tcp_port(self) -> int:
        return self.port or (5672 if self.tls is None else 5671)

    @model_validator(mode="after")
    def _login(self) -> Amqp1Broker:
        if self.external and (self.tls is None or not self.tls.certificate):
            raise ValueError("external needs tls with a certificate")
        if self.external and self.password.get_secret_value():
            raise ValueError("external and password are two ways to log in: give one")
        if "\0" in self.password.get_secret_value():
            raise ValueError("password: no NUL character")
        return self


class Amqp1Listen(Amqp1Broker):
    """``listen`` of an ``amqp1`` interface: one connection, one link."""

    source: Text = Field(
        min_length=1,
        description="node to read, as the broker writes it: adt, queue://adt (ActiveMQ), /amq/queue/adt (RabbitMQ 3), "
        "/queues/adt (RabbitMQ 4)",
    )
    prefetch: int = Field(64, ge=1, le=10_000, description="link credit: messages held that are not settled yet")
    max_size: Size = Field(64 << 20, ge=1024, description="largest message, bytes; a larger one is refused")
    max_buffered: Size = Field(64 << 20, ge=1 << 20, description="bytes held beyond which no credit is given")
    refused: Literal["reject", "park"] = Field(
        "reject",
        description="a message refused for its content: reject gives it to the broker's dead-letter rule "
        "(RabbitMQ drops it where there is none); park sends it to park_target, with the reason in its properties",
    )
    park_target: Text = ""

    @model_validator(mode="after")
    def _complete(self) -> Amqp1Listen:
        if self.refused == "park" and not self.park_target:
            raise ValueError("refused: park needs park_target")
        return self


class Amqp1Connect(Amqp1Broker):
    """``connect`` of an ``amqp1`` interface."""

    target: str = Field(min_length=1, description="node to send to, as the broker writes it; may hold {name} templates")
    properties: dict[Text, str] = Field(
        default_factory=dict, description="application properties; values may hold {name} templates"
    )
    subject: str = Field("", description="may hold {name} templates")
    content_type: Text = Field("", description="default: that of the codec")
    text: bool = Field(
        False, description="send the body as a string (amqp-value), a TextMessage of JMS; else as data, a BytesMessage"
    )
    durable: bool = Field(True, description="survives a restart of the broker")
    pending: int = Field(256, ge=1, le=10_000, description="messages under way at once")

    @model_validator(mode="after")
    def _sound(self) -> Amqp1Connect:
        check_templates(self.target, self.subject, *self.properties.values())
        return self
