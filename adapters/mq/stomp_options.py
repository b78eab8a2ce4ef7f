"""Options of the adapter ``stomp``: ``listen`` of an ``in`` interface, ``connect`` of an ``out`` interface."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from adapters.mq.envelope import check_templates
from adapters.tls import ClientTls
from hub.contract import Duration, Size

__all__ = ["StompBroker", "StompConnect", "StompListen"]


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("no control characters")
    return text


Text = Annotated[str, AfterValidator(_printable)]
#: Headers of SEND that the adapter writes itself.
_OWN = frozenset(("destination", "receipt", "content-length", "content-type", "transaction", "persistent"))


class StompBroker(BaseModel):
    """The broker and the connection to it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    host: Text = Field(min_length=1, description="name or address of the broker")
    port: int = Field(61613, ge=1, le=65535)
    tls: ClientTls | None = None
    virtual_host: Text = Field("", description="default: host; RabbitMQ: the vhost, often /")
    user: Text = ""
    password: SecretStr = SecretStr("")
    client_id: Text = Field("", description="names the hub to the broker; ActiveMQ needs it for durable subscriptions")
    heartbeat: Duration = Field(
        10.0,
        ge=0.1,
        le=600,
        description="asked of the broker and promised to it; silent for twice as long, it counts as gone",
    )
    connect_timeout: Duration = Field(5.0, gt=0, description="longest time to connect, TLS and login included")

    @property
    def address(self) -> str:
        scheme = "stomp" if self.tls is None else "stomp+ssl"
        return f"{scheme}://{self.host}:{self.port}"

    def login_headers(self) -> dict[str, str]:
        found = {"host": self.virtual_host or self.host}
        if self.user:
            found |= {"login": self.user, "passcode": self.password.get_secret_value()}
        if self.client_id:
            found["client-id"] = self.client_id
        return found

    @model_validator(mode="after")
    def _secret_fits_a_header(self) -> StompBroker:
        if not self.password.get_secret_value().isprintable():
            raise ValueError("password: no control characters")
        return self


class StompListen(StompBroker):
    """``listen`` of a ``stomp`` interface: one connection, one subscription."""

    destination: Text = Field(min_length=1, description="e.g. /queue/adt or /topic/adt")
    selector: Text = Field("", description="SQL-92 condition on headers; messages that do not meet it stay")
    durable: Text = Field(
        "", description="name of a durable subscription to a topic: the broker keeps what comes while the hub is away"
    )
    headers: dict[Text, Text] = Field(default_factory=dict, description="further headers of SUBSCRIBE")
    prefetch: int = Field(64, ge=1, le=10_000, description="messages held that are not acknowledged yet")
    max_size: Size = Field(64 << 20, ge=1024, description="largest body, bytes; a larger one ends the connection")
    max_buffered: Size = Field(64 << 20, ge=1 << 20, description="bytes held beyond which nothing more is read")
    refused: Literal["nack", "park"] = Field(
        "nack",
        description="a message refused for its content: nack gives it to the broker's dead-letter rule "
        "(ActiveMQ: ActiveMQ.DLQ); park sends it to park_destination, with the reason in its headers",
    )
    park_destination: Text = ""

    @model_validator(mode="after")
    def _complete(self) -> StompListen:
        if self.refused == "park" and not self.park_destination:
            raise ValueError("refused: park needs park_destination")
        if self.durable and not self.client_id:
            raise ValueError("durable needs client_id")
        return self

    def subscription(self) -> dict[str, str]:
        found = {
            "id": self.durable or "1",
            "destination": self.destination,
            "ack": "client-individual",
            "activemq.prefetchSize": str(self.prefetch),
            "prefetch-count": str(self.prefetch),  # RabbitMQ
        }
        if self.selector:
            found["selector"] = self.selector
        if self.durable:
            found |= {"activemq.subscriptionName": self.durable, "durable": "true", "auto-delete": "false"}
            found["durable-subscriber-name"] = self.durable  # Artemis
        return found | self.headers


class StompConnect(StompBroker):
    """``connect`` of a ``stomp`` interface."""

    destination: str = Field(min_length=1, description="e.g. /queue/lis; may hold {name} templates")
    headers: dict[Text, str] = Field(default_factory=dict, description="values may hold {name} templates")
    content_type: Text = Field("", description="default: that of the codec")
    text: bool = Field(
        False,
        description="send without content-length, which ActiveMQ turns into a TextMessage of JMS; else a BytesMessage",
    )
    persistent: bool = Field(True, description="survives a restart of the broker")
    idempotency_header: Text = Field(
        "idempotency-key",
        description="header with the delivery's stable key; _AMQ_DUPL_ID makes Artemis drop repetitions; '' sends none",
    )
    pending: int = Field(256, ge=1, le=10_000, description="messages under way at once")

    @model_validator(mode="after")
    def _sound(self) -> StompConnect:
        check_templates(self.destination, *self.headers.values())
        for name in self.headers:
            if name.lower() in _OWN or name == self.idempotency_header:
                raise ValueError(f"header {name} is written by the adapter itself; remove it")
        return self
