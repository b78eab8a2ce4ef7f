"""Options of the adapter ``kafka``: ``listen`` of an ``in`` interface, ``connect`` of an ``out`` interface."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from adapters.mq.envelope import check_templates
from adapters.tls import ClientTls
from hub.contract import Duration, Size

__all__ = ["KafkaBrokers", "KafkaConnect", "KafkaListen"]


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("no control characters")
    return text


def _broker(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isdecimal() and 0 < int(port) < 65536) or not text.isprintable() or "," in text:
        raise ValueError("a broker is written host:port")
    return text


Text = Annotated[str, AfterValidator(_printable)]


class KafkaBrokers(BaseModel):
    """The cluster and the connections to it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    brokers: list[Annotated[str, AfterValidator(_broker)]] = Field(
        min_length=1, description="some of the cluster's brokers, host:port; they name the others"
    )
    tls: ClientTls | None = None
    user: Text = ""
    password: SecretStr = SecretStr("")
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512",
        description="SASL mechanism, where there is a user; PLAIN shows the password unless tls is given",
    )
    client_id: Text = Field("tongqu", min_length=1, description="names the hub in the brokers' logs and quotas")
    connect_timeout: Duration = Field(5.0, ge=1, le=60, description="longest wait for an answer about the cluster")
    answer_timeout: Duration = Field(
        10.0, ge=1, le=300, description="a broker that leaves a request unanswered for so long counts as gone"
    )

    @property
    def address(self) -> str:
        return f"kafka://{','.join(self.brokers)}"

    @model_validator(mode="after")
    def _possible(self) -> KafkaBrokers:
        if self.password.get_secret_value() and not self.user:
            raise ValueError("a password needs its user")
        if self.tls is not None and (self.tls.server_name or self.tls.min_version != "1.2"):
            raise ValueError("tls.server_name and tls.min_version are not offered here: the name is the broker's host")
        return self

    def configuration(self) -> dict[str, Any]:
        """For librdkafka; with the password: never log."""
        timeout = int(self.answer_timeout * 1000)
        found: dict[str, Any] = {
            "bootstrap.servers": ",".join(self.brokers),
            "client.id": self.client_id,
            "security.protocol": ("SASL_" if self.user else "") + ("PLAINTEXT" if self.tls is None else "SSL"),
            "allow.auto.create.topics": False,  # a typing mistake must not become a topic
            "socket.connection.setup.timeout.ms": max(int(self.connect_timeout * 1000), 1000),
            "socket.timeout.ms": timeout,
            "socket.keepalive.enable": True,
            "reconnect.backoff.ms": 100,
            "reconnect.backoff.max.ms": 2000,
            "topic.metadata.refresh.interval.ms": 10_000,
            "topic.metadata.propagation.max.ms": 1000,
            "log_level": 0,  # it would write to the terminal; errors are told by callback
        }
        if self.user:
            found["sasl.mechanism"] = self.mechanism
            found["sasl.username"] = self.user
            found["sasl.password"] = self.password.get_secret_value()
        if (tls := self.tls) is not None:
            found["enable.ssl.certificate.verification"] = tls.verify
            found["ssl.endpoint.identification.algorithm"] = "https" if tls.verify else "none"
            if tls.ca:
                found["ssl.ca.location"] = tls.ca
            if tls.certificate:
                found["ssl.certificate.location"] = tls.certificate
                found["ssl.key.location"] = tls.key or tls.certificate
            if tls.key_password:
                found["ssl.key.password"] = tls.key_password
        return found


class KafkaListen(KafkaBrokers):
    """``listen`` of a ``kafka`` interface."""

    topics: list[Text] = Field(min_length=1, description="topics to read, by their exact names")
    group: Text = Field(
        min_length=1, max_length=200, description="consumer group; another name reads from the beginning"
    )
    start: Literal["earliest", "latest"] = Field(
        "earliest", description="where a partition begins of which neither the hub nor the group knows an offset"
    )
    page: int = Field(500, ge=1, le=10_000, description="most messages of one partition in one commit")
    max_size: Size = Field(64 << 20, ge=1024, le=1 << 30, description="largest message, bytes; a larger one is refused")
    max_buffered: Size = Field(64 << 20, ge=1 << 20, le=1 << 30, description="bytes held beyond which nothing is read")
    session_timeout: Duration = Field(
        45.0, ge=6, le=1800, description="a hub silent for so long gives its partitions up to the others of the group"
    )
    idempotency_header: Text = Field(
        "idempotency-key", description="header by which a repetition is recognised; else topic, partition and offset"
    )
    dead_letter: Text = Field(
        "",
        description="topic for messages refused for their content, with the reason in headers; '': the call log only",
    )

    @model_validator(mode="after")
    def _sound(self) -> KafkaListen:
        if self.dead_letter in self.topics:
            raise ValueError("dead_letter is one of the topics that are read")
        if any(topic.startswith("^") for topic in self.topics):
            raise ValueError("a topic that begins with ^ would be a pattern: give exact names")
        return self

    def consumer_configuration(self) -> dict[str, Any]:
        largest = min(self.max_size + (1 << 20), 1 << 30)
        return self.configuration() | {
            "group.id": self.group,
            "auto.offset.reset": self.start,
            "enable.auto.commit": True,  # commits what was stored, and only that is stored which the hub has on disk
            "enable.auto.offset.store": False,
            "auto.commit.interval.ms": 1000,
            "session.timeout.ms": int(self.session_timeout * 1000),
            "fetch.max.bytes": largest,
            "receive.message.max.bytes": largest + (1 << 20),
            "queued.max.messages.kbytes": max(self.max_buffered >> 10, 1),
        }


class KafkaConnect(KafkaBrokers):
    """``connect`` of a ``kafka`` interface."""

    topic: str = Field(min_length=1, description="may hold {name} templates; it must exist")
    key: str = Field(
        "", description="record key, may hold {name} templates: equal keys keep their order in one partition; '': none"
    )
    headers: dict[Text, str] = Field(default_factory=dict, description="values may hold {name} templates")
    content_type: Text = Field("", description="header content-type; default: that of the codec")
    idempotency_header: Text = Field(
        "idempotency-key", description="header with the delivery's stable key; '' sends none"
    )
    pending: int = Field(256, ge=1, le=10_000, description="messages under way at once")

    @model_validator(mode="after")
    def _sound(self) -> KafkaConnect:
        check_templates(self.topic, self.key, *self.headers.values())
        for name in self.headers:
            if name in ("content-type", self.idempotency_header):
                raise ValueError(f"header {name} is written by the adapter itself; remove it")
        return self
