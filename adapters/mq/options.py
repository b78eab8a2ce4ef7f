"""Options of the adapter ``mq``: ``listen`` of an ``in`` interface, ``connect`` of an ``out`` interface."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from adapters.mq.envelope import check_templates
from adapters.tls import ClientTls
from hub.contract import Duration, Size

__all__ = ["AMQP", "Binding", "Broker", "Exchange", "MqConnect", "MqListen", "Queue"]

AMQP = ("amqp", "amqps")
#: Transports of kombu in which the broker itself keeps a message until it is acknowledged.
_KEEPS = ("sqs", "azureservicebus", "pgmq")
#: And those which take it out before, or keep it in this process only: a kill loses it.
_LOSES = {
    "redis": "the adapter redis reads the same lists without loss",
    "rediss": "the adapter redis reads the same lists without loss",
    "sentinel": "the adapter redis reads the same lists without loss",
    "kafka": "the adapter kafka reads topics without loss",
    "confluentkafka": "the adapter kafka reads topics without loss",
    "gcpubsub": "it acknowledges some messages when it reads them",
    "sqlalchemy": "use the database adapter",
    "filesystem": "use the file adapter",
}


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _short(name: str) -> str:
    """A name that fits the short strings of AMQP 0-9-1."""
    if len(name.encode()) > 255 or not name.isprintable():
        raise ValueError("a name has at most 255 bytes and no control characters")
    return name


Name = Annotated[str, AfterValidator(_short)]


class Exchange(_Options):
    """An exchange and whether the hub makes it."""

    name: Name = Field(description="'' is the default exchange, which leads to the queue the routing key names")
    type: Literal["direct", "topic", "fanout", "headers"] = "direct"
    declare: bool = Field(False, description="make it where it is missing; false: it must be there")
    arguments: dict[str, Any] = Field(default_factory=dict, description="e.g. alternate-exchange")

    @model_validator(mode="after")
    def _default_exchange_is_there(self) -> Exchange:
        if not self.name and self.declare:
            raise ValueError("the default exchange can't be declared")
        return self


class Binding(_Options):
    exchange: Name = Field(min_length=1)
    routing_key: Name = ""
    arguments: dict[str, Any] = Field(default_factory=dict, description="of a headers exchange")


class Queue(_Options):
    """A queue and whether the hub makes it."""

    name: Name = Field(min_length=1)
    declare: bool = Field(False, description="make it where it is missing, with what follows; false: it must be there")
    type: Literal["quorum", "classic"] = Field("quorum", description="quorum survives the loss of a node")
    bindings: list[Binding] = Field(default_factory=list)
    message_ttl: Duration | None = Field(
        None, gt=0, description="messages older than this are dead-lettered or dropped"
    )
    max_length: int | None = Field(None, ge=1, description="messages it holds; more are refused to their publishers")
    dead_letter_exchange: Name | None = Field(None, description="where rejected and expired messages go; '' allowed")
    dead_letter_routing_key: Name | None = Field(None, description="default: the one each message came with")
    single_active: bool = Field(
        False, description="one consumer at a time, the others stand by: keeps the order with several hubs"
    )
    arguments: dict[str, Any] = Field(default_factory=dict, description="further x-arguments")

    @model_validator(mode="after")
    def _only_when_made(self) -> Queue:
        made = self.model_fields_set - {"name", "declare"}
        if made and not self.declare:
            raise ValueError(f"{', '.join(sorted(made))}: only with declare: true")
        return self

    def all_arguments(self) -> dict[str, Any]:
        """Its x-arguments as RabbitMQ names them."""
        found: dict[str, Any] = {"x-queue-type": self.type}
        if self.message_ttl is not None:
            found["x-message-ttl"] = int(self.message_ttl * 1000)
        if self.max_length is not None:
            found |= {"x-max-length": self.max_length, "x-overflow": "reject-publish"}
        if self.dead_letter_exchange is not None:
            found["x-dead-letter-exchange"] = self.dead_letter_exchange
        if self.dead_letter_routing_key is not None:
            found["x-dead-letter-routing-key"] = self.dead_letter_routing_key
        if self.single_active:
            found["x-single-active-consumer"] = True
        return found | self.arguments


class Broker(_Options):
    """The broker and the connection to it."""

    url: str = Field(
        description="amqp://host:5672/vhost or amqps://; also sqs, azureservicebus and pgmq as kombu writes "
        "them, with their libraries installed; memory:// stays in the process, for trying out"
    )
    user: str = Field("", description="user name or access key; AMQP: default guest, with its usual password")
    password: SecretStr = SecretStr("")
    tls: ClientTls = Field(default_factory=ClientTls, description="amqps only")
    heartbeat: Duration = Field(
        10.0,
        ge=1,
        le=600,
        description="AMQP: a broker silent for twice as long counts as gone; the smaller wish counts",
    )
    connect_timeout: Duration = Field(5.0, gt=0, description="longest time to connect, TLS and login included")
    answer_timeout: Duration = Field(10.0, gt=0, description="longest wait for the answer to a declaration")
    transport_options: dict[str, Any] = Field(
        default_factory=dict, description="kombu's options of the transports other than AMQP"
    )
    exchanges: list[Exchange] = Field(default_factory=list, description="further exchanges to declare or to expect")

    @property
    def scheme(self) -> str:
        return urlsplit(self.url).scheme.lower()

    @property
    def is_amqp(self) -> bool:
        return self.scheme in AMQP

    @property
    def address(self) -> str:
        """Where it is, for people; without credentials."""
        parts = urlsplit(self.url)
        return f"{self.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    @property
    def virtual_host(self) -> str:
        return unquote(urlsplit(self.url).path[1:]) or "/"

    @model_validator(mode="after")
    def _url_can_be_used(self) -> Broker:
        try:
            parts = urlsplit(self.url)
            host, _, secret = parts.hostname, parts.port, parts.password
        except ValueError as error:
            raise ValueError(f"url: {error}") from None
        if secret is not None or parts.username is not None:
            raise ValueError("url has no credentials; those belong into user and password")
        scheme = self.scheme
        if scheme in _LOSES:
            raise ValueError(f"url: {scheme} loses unacknowledged messages when a process is killed; {_LOSES[scheme]}")
        if scheme not in (*AMQP, *_KEEPS, "memory"):
            raise ValueError(f"url: {scheme}:// can't be used; amqp, amqps, {', '.join(_KEEPS)} or memory")
        if scheme in AMQP and not host:
            raise ValueError("url: a host is missing; write e.g. amqp://mq.example:5672/vhost")
        if scheme in AMQP and self.transport_options:
            raise ValueError("transport_options: not for AMQP, which has options of its own")
        return self


class MqListen(Broker):
    """``listen`` of an ``mq`` interface: one connection, one queue."""

    queue: Queue
    prefetch: int = Field(64, ge=1, le=10_000, description="messages held that are not acknowledged yet")
    max_buffered: Size = Field(64 << 20, ge=1 << 20, description="bytes of them beyond which nothing more is read")
    refused: Literal["park", "dead_letter"] = Field(
        "park",
        description="a message refused for its content: park puts it into park_queue, with the reason in its headers; "
        "dead_letter rejects it, and the queue must have a dead-letter exchange, or the broker drops it",
    )
    park_queue: Name = Field("", description="default: <queue>.refused; made where it is missing (durable, classic)")
    consumer_tag: Name = Field("", description="how the broker's screens call this consumer; default: system/interface")

    @model_validator(mode="after")
    def _refused_go_somewhere(self) -> MqListen:
        if self.refused == "dead_letter" and self.queue.declare and self.queue.dead_letter_exchange is None:
            raise ValueError("refused: dead_letter needs queue.dead_letter_exchange, or the broker drops them")
        if self.refused == "dead_letter" and not self.is_amqp:
            raise ValueError("refused: dead_letter is for AMQP only")
        return self


class MqConnect(Broker):
    """``connect`` of an ``mq`` interface."""

    exchange: Exchange = Field(
        default_factory=lambda: Exchange(name=""), description="where to publish; default: the default exchange"
    )
    routing_key: str = Field(
        "", description="may hold {name} templates; with the default exchange the name of the queue"
    )
    queues: list[Queue] = Field(default_factory=list, description="queues to declare or to expect")
    headers: dict[Name, str] = Field(default_factory=dict, description="values may hold {name} templates")
    content_type: Name = Field("", description="default: that of the codec")
    content_encoding: Name = Field("", description="e.g. utf-8 or gzip; the bytes stay as they are")
    message_type: str = Field("{type}", description="the property type; may hold {name} templates; '' sends none")
    priority: int | None = Field(None, ge=0, le=255)
    expiration: Duration | None = Field(None, gt=0, description="the broker drops it after so long in a queue")
    persistent: bool = Field(True, description="survives a restart of the broker, in durable queues")
    mandatory: bool = Field(
        True, description="AMQP: a message that no queue takes is an error; false: the broker drops it in silence"
    )
    reply: bool = Field(
        False, description="AMQP: wait for the answer (reply_to and correlation_id), which becomes the reply"
    )
    pending: int = Field(1024, ge=1, le=100_000, description="messages under way at once")

    @model_validator(mode="after")
    def _templates_are_sound(self) -> MqConnect:
        check_templates(self.routing_key, self.message_type, *self.headers.values())
        if self.reply and not self.is_amqp:
            raise ValueError("reply: for AMQP only")
        if not self.exchange.name and not self.routing_key:
            raise ValueError("routing_key: the default exchange needs the name of a queue")
        return self
