"""Typed models of ``plugin.yaml`` (the contract) and of the configuration (``config/``).

These models are the reference of what may be written; the descriptions of the fields are their documentation. Loading,
line numbers and cross-checks are in :mod:`hub.config` and :mod:`hub.check`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from hub.audit.config import AuditConfig
from hub.crypto.config import CryptoConfig
from hub.keys.config import KeysConfig
from hub.people.config import (
    ApprovalsConfig,
    LoginConfig,
    PasswordsConfig,
    PortalConfig,
    RoleConfig,
    SecondFactorConfig,
    SessionsConfig,
)
from hub.windows import Window, known_zone

__all__ = [
    "AbuseConfig",
    "AccessConfig",
    "AdminConfig",
    "Answers",
    "Breaker",
    "Callback",
    "CollectRule",
    "DeliveryConfig",
    "Duration",
    "ErrorRule",
    "Fragment",
    "HoursRule",
    "HubConfig",
    "IntakeConfig",
    "Interface",
    "ItemsRule",
    "LogConfig",
    "Parameter",
    "Plugin",
    "Profile",
    "ReplyRule",
    "ResultsRule",
    "RetryPolicy",
    "RouteConfig",
    "Setting",
    "SimulateRule",
    "SimulatedCallback",
    "SimulatedCheck",
    "SimulatedState",
    "Size",
    "StoreConfig",
    "SystemConfig",
    "ValidateRule",
    "ValidationConfig",
    "parse_duration",
    "parse_size",
]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZES = {"": 1, "B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}


def parse_duration(value: Any) -> float:
    """``500ms``, ``5s``, ``30m``, ``24h``, ``90d`` or a plain number of seconds; returns seconds."""
    if isinstance(value, bool):
        raise ValueError("a duration is a number with a unit, e.g. 5s, 30m, 24h, 90d")
    if isinstance(value, int | float):
        return float(value)
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*", str(value))
    if not found:
        raise ValueError(f"{value!r} is not a duration; write e.g. 500ms, 5s, 30m, 24h, 90d")
    return float(found[1]) * _UNITS[found[2]]


def parse_size(value: Any) -> int:
    """``64KB``, ``50MB``, ``2GB`` or a plain number of bytes; returns bytes."""
    if isinstance(value, bool):
        raise ValueError("a size is a number with a unit, e.g. 64KB, 50MB, 2GB")
    if isinstance(value, int):
        return value
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(B|KB|MB|GB|)\s*", str(value).upper())
    if not found:
        raise ValueError(f"{value!r} is not a size; write e.g. 64KB, 50MB, 2GB")
    return int(float(found[1]) * _SIZES[found[2]])


Duration = Annotated[float, BeforeValidator(parse_duration)]
Size = Annotated[int, BeforeValidator(parse_size)]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Names = Annotated[list[str], BeforeValidator(_as_list)]


class Model(BaseModel):
    """Unknown keys are errors: a typing mistake must not become a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Setting(Model):
    """One value a system must or may give to its plugin."""

    type: Literal["string", "integer", "number", "boolean", "url", "host", "port", "duration", "secret", "list"] = (
        "string"
    )
    required: bool = False
    default: Any = None
    choices: list[Any] = Field(default_factory=list, description="the only values allowed")
    description: str = Field("", description="what it is for, in Chinese or English")


class RetryPolicy(Model):
    """When a delivery that failed for a passing reason is tried again; by default at most 3 times, 5 s apart."""

    attempts: int = Field(3, ge=0, description="retries after the first try")
    interval: Duration = Field(5.0, description="pause before a retry")
    backoff: Literal["fixed", "exponential"] = "fixed"
    max_interval: Duration = Field(300.0, description="longest pause of exponential back-off")
    jitter: float = Field(0.0, ge=0, le=1, description="share of the pause that is drawn by chance")
    give_up_after: Duration = Field(
        7 * 86400.0,
        description="a target that can't be reached at all does not use up tries; after so long the delivery is dead",
    )
    once: bool = Field(
        False,
        description="money moves: what may have been carried out is not sent again, also when the hub was stopped in between: "
        "it is dead (delivery.interrupted). With attempts: 0",
    )

    @model_validator(mode="after")
    def _no_other_try(self) -> RetryPolicy:
        if self.once and self.attempts:
            raise ValueError("once: what is sent once has no further attempts; say attempts: 0")
        return self


class Breaker(Model):
    """Stop calling a target that keeps failing, try one call now and then, go on when it answers."""

    failures: int = Field(
        5, ge=1, description="failures in a row that open the breaker; an unreachable target opens it at once"
    )
    open_for: Duration = Field(5.0, description="first pause; doubles up to max_open_for while the target stays away")
    max_open_for: Duration = 60.0


class ErrorRule(Model):
    """How one reply code is to be understood."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    kind: Literal["permanent", "transient", "delivered"] = Field("permanent", alias="class")
    text: str = ""


class ItemsRule(Model):
    """How the reply to a call that carried several messages says what became of each."""

    mapping: str = Field(
        "", description="from the reply to a plain tree that is read instead; for XML, HL7 and the like"
    )
    each: str = Field(min_length=1, description="expression on the reply: the list of results")
    index: str = Field("", description="expression on a result: the place of its message within the call")
    first: int = Field(0, ge=0, le=1, description="what ``index`` says of the first message")
    key: str = Field(
        "",
        description="expression on a result: which message it is about, by the value of ``of``; "
        "default, without ``index``: results stand in the order of the messages",
    )
    of: str = Field("", description="expression on what was made of a message; default: its idempotency key")
    success: str = Field(
        "", description="expression on a result; absent: those listed are refused, unless by ``errors``"
    )
    code: str = Field("", description="expression on a result, looked up in ``errors``")
    message: str = Field("", description="expression on a result: the error text")
    unlisted: Literal["retry", "delivered"] = Field("retry", description="what becomes of messages without a result")


class CollectRule(Model):
    """Several messages in one call: so many, so many bytes, or what came within so long."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    messages: int = Field(100, ge=1, le=10_000, description="most messages of one call")
    within: Duration = Field(1.0, ge=0, le=3600, description="longest a message waits for others")
    size: Size = Field(
        0, ge=0, alias="bytes", description="most bytes of all messages of one call together; 0 = no limit"
    )
    by: str = Field("", description="expression on the source message; only those with the same value go together")
    form: str = Field(
        "", alias="as", description="how the codec puts them together, e.g. transaction; default: its first way"
    )
    mapping: str = Field("", description="from {items: [...]} to what is sent; default: the codec puts them together")
    refused: Literal["dead", "halves"] = Field(
        "dead", description="a call that is refused as a whole: all are dead letters, or each half is sent on its own"
    )
    items: ItemsRule | None = Field(None, description="absent: the reply is for all of them alike")


def _as_next(value: Any) -> Any:
    return {"next": value} if isinstance(value, str) else value


class ResultsRule(Model):
    """What a target replies becomes messages, as if an interface of the same system had received them."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    to: str = Field(min_length=1, description="an ``in`` interface of the same system")
    each: str = Field("", description="expression on the reply: a list, each entry a message; default: the whole reply")
    mapping: str = Field("", description="from the reply to the message; one that splits makes several")
    first: dict[str, str | int] = Field(default_factory=dict, description="variables of the first call")
    next: Annotated[dict[str, str], BeforeValidator(_as_next)] = Field(
        default_factory=dict,
        description="variable -> expression on the reply, for the call of the next page; one without a value: there is none",
    )
    more: str = Field("", description="expression on the reply; where it does not hold there is no further page")
    pages: int = Field(100, ge=1, le=10_000, description="more pages are an error")
    size: Size = Field(16 << 20, ge=1, alias="bytes", description="more bytes of all pages together are an error")


class ReplyRule(Model):
    """How to read the answer of a target."""

    codec: str = Field("", description="codec of the reply body; default: that of the request")
    format: dict[str, Any] = Field(default_factory=dict, description="options of ``codec``")
    code: str = Field("", description="expression for the business code, looked up in ``errors``")
    message: str = Field("", description="expression for the error text")


class Callback(Model):
    """The target answers later, by a call or a message of its own that carries a number both sides know."""

    key: str = Field(min_length=1, description="expression for that number")
    of: Literal["reply", "sent", "message"] = Field(
        "reply",
        description="what ``key`` reads: the target's reply, the body that was sent to it, or the source message",
    )
    within: Duration = Field(86400.0, ge=0, description="after so long without an answer it is overdue; 0 = never")
    caller_gets: Literal["reply", "callback"] = Field(
        "reply", description="what a caller in request style waits for: the target's reply, or its later answer"
    )


class Answers(Model):
    """What comes in here answers what an ``out`` interface with ``callback`` has sent."""

    key: str = Field(min_length=1, description="expression for the number in the answer")
    to: Names = Field(
        default_factory=list,
        description="interface of the same system, or system/interface; default: each of the same system with ``callback``",
    )
    unknown: Literal["accept", "refuse"] = Field(
        "accept", description="an answer to nothing known is taken as a message like any other, or refused"
    )
    wait: Duration = Field(
        30.0,
        ge=0,
        description="an answer that came before its number is known is routed so much later at most; "
        "only where a route or mapping asks for ``$request``",
    )


class HoursRule(Model):
    """When an ``out`` interface may be used; what comes at other times waits in the store."""

    open: Names = Field(
        min_length=1, description="windows, e.g. 08:00-20:00 or MON-FRI 08:00-20:00; one of them must hold"
    )
    zone: str = Field("Asia/Shanghai", description="time zone of the windows")
    unless: str = Field("", description="expression on the source message; where it holds it is sent at any time")

    @field_validator("open")
    @classmethod
    def _sound_windows(cls, texts: list[str]) -> list[str]:
        for text in texts:
            if "${" not in text:  # a setting, put in and checked for each system
                Window(text)
        return texts

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        return name if "${" in name else known_zone(name)


class ValidateRule(Model):
    """How messages are checked: what an interface receives before or after it is acknowledged, what it sends before the call.

    Written as one word it is the mode, with the format's own check.
    """

    mode: Literal["strict", "warn", "off"] = Field(
        "warn",
        description="strict: an error refuses the message, or keeps it from being sent; warn: it is marked and goes on",
    )
    schemas: Names = Field(
        default_factory=list, alias="schema", description="files below the schema folders: .json, .xsd, .sch"
    )
    standard: bool | None = Field(
        None,
        description="the format's own check: HL7 v2 conformance, FHIR resources, DICOM essentials; "
        "default: where neither ``schema`` nor ``quality`` is given",
    )
    quality: Names = Field(default_factory=list, description="names of rule sets")
    min_score: float | None = Field(
        None, ge=0, le=100, description="strict: below this score of the rule sets it is refused"
    )


def _as_rule(value: Any) -> Any:
    return {"mode": value} if isinstance(value, str) else value


class SimulatedState(Model):
    """What the simulated party remembers: records found again by a key, each with a status."""

    record: str = Field("", description="kind of the records; interfaces that name the same kind share them")
    key: str = Field(min_length=1, description="expression on the request: which record it is about")
    creates: bool = Field(False, description="the call makes the record; others need one that is there")
    status: Names = Field(default_factory=list, description="statuses in which the call is taken; none: in any")
    becomes: str = Field("", description="expression for the status afterwards")
    keep: dict[str, str] = Field(
        default_factory=dict, description="what the record holds -> expression; read as ``$record.name``"
    )
    repeat: Literal["answer", "refuse"] = Field(
        "answer", description="the same request again is answered as before, or refused with the code ``exists``"
    )
    exists: str = Field("", description="code where another request has made the record; none: it is replaced")
    missing: str = Field("", description="code where there is no such record; none: the call is taken all the same")
    wrong_status: dict[str, str] = Field(
        default_factory=dict, description="status -> code where the call is not taken in it; * for all others"
    )


class SimulatedCheck(Model):
    """One thing for which the simulated party refuses a call."""

    when: str = Field(min_length=1, description="expression on the request; where it holds the call is refused")
    code: str = Field(min_length=1)


class SimulatedCallback(Model):
    """What the simulated party tells later, by a call to the hub."""

    to: str = Field(min_length=1, description="an ``in`` interface of the same plugin")
    after: Duration = Field(0.5, ge=0)
    body: Any = Field(description="as ``answer``")
    when: str = Field("", description="expression on the request; absent: always")
    becomes: str = Field("", description="expression for the status of the record from then on")


class SimulateRule(Model):
    """How the other party is played: docs/simulator.md. What is left out follows from the contract.

    Expressions read the request as it was before it was signed and encrypted, and ``$record``, ``$count``, ``$id``, ``$query``,
    ``$path``, ``$headers``, ``$form``, ``$accepts``; those of refusals ``$code`` and ``$text`` as well.
    """

    when: str = Field("", description="expression: which calls to an address several interfaces share are for this one")
    checks: list[SimulatedCheck] = Field(default_factory=list, description="what is refused besides, first to last")
    answer: Any = Field(
        None,
        description="good reply: name of a mapping, file of the plugin, tree whose texts are expressions, or a text of "
        "several lines or one that begins with ``<`` or ``MSH`` with ``{expression}`` places; default: what ``success`` asks for",
    )
    status: int = Field(0, ge=0, le=599, description="HTTP status of the good reply; default: 200")
    refusal: Any = Field(None, description="reply of every refusal, as ``answer``; default: what ``reply`` reads")
    refusals: dict[str, Any] = Field(default_factory=dict, description="code -> its own reply, as ``answer``")
    codes: dict[str, str] = Field(
        default_factory=dict,
        description="why a call is refused -> code: security.signature_wrong, security.*, http.auth*, validate.failed, json.*, *",
    )
    statuses: dict[str, int] = Field(
        default_factory=dict, description="code -> HTTP status of the refusal; * for all others"
    )
    state: SimulatedState | None = None
    callback: SimulatedCallback | None = None
    vary: dict[str, str] = Field(
        default_factory=dict,
        description="in: what differs from message to message, by path (a.b[0].c) or HL7 field (PID-3.1) -> expression; "
        "$name: a parameter of a SOAP call beside the message",
    )


class Interface(Model):
    """One thing a plugin can receive (``in``) or send (``out``)."""

    name: str = ""
    catalog: Names = Field(
        default_factory=list, description="ids of the interfaces of the catalogue it is; default: one with its own id"
    )
    direction: Literal["in", "out"]
    style: Literal["event", "request"] = Field(
        "event", description="event: acknowledged once stored; request: the caller waits for the target's mapped reply"
    )
    adapter: str
    listen: dict[str, Any] = Field(default_factory=dict, description="adapter options of an ``in`` interface")
    connect: dict[str, Any] = Field(default_factory=dict, description="adapter options of an ``out`` interface")
    codec: str
    encoding: str = Field("", description="character set, where the bytes don't declare one")
    format: dict[str, Any] = Field(default_factory=dict, description="options of the codec, e.g. delimiter or layout")
    security: list[Any] = Field(
        default_factory=list,
        description="how calls are signed and encrypted: names of schemes, or a name with its options; "
        "applied in this order to what leaves, in reverse to what comes",
    )
    validation: Annotated[ValidateRule | None, BeforeValidator(_as_rule)] = Field(
        None, alias="validate", description="check messages: strict, warn, off, or the keys below; absent: off"
    )

    # in
    type: str = Field("", description="expression for the message type; default: the codec's")
    control_id: str = Field("", description="expression for the sender's message number; default: the codec's")
    keys: dict[str, str] = Field(default_factory=dict, description="business key -> expression; indexed for search")
    duplicate_window: Duration | None = None
    max_size: Size | None = None
    reply_mapping: str = Field("", description="request style: mapping from the target's reply to the caller's answer")
    error_mapping: str = Field(
        "",
        description="request style: mapping from the body of a target's refusal to the body of the caller's; "
        "default: the protocol's own form",
    )
    answers: Answers | None = Field(None, description="what comes in are answers to something sent earlier")

    # out
    accepts: Names = Field(default_factory=lambda: ["*"], description="message types; * matches any run of characters")
    mapping: str = Field("", description="default mapping; a route may name another; none: the bytes as received")
    order_by: str | None = Field(
        None,
        description="expression on the source message for the ordering key; absent: everything in arrival order; "
        "'' : no order",
    )
    idempotency: str = Field("", description="expression on the source message; default: the delivery's own id")
    success: str = Field("", description="expression on the reply; default: the adapter's own rule")
    reply: ReplyRule = ReplyRule()
    errors: dict[str, ErrorRule] = Field(default_factory=dict, description="reply code -> rule")
    callback: Callback | None = Field(None, description="the target answers later, by a message of its own")
    collect: CollectRule | None = Field(None, description="several messages in one call")
    results: ResultsRule | None = Field(None, description="what the target replies becomes messages")
    timeout: Duration = 10.0
    retry: RetryPolicy | None = None
    breaker: Breaker = Breaker()
    concurrency: int = Field(8, ge=1, le=1024, description="calls under way at once; ordering keys never overlap")
    rate: float = Field(0, ge=0, description="calls per second, 0 = no limit")
    hours: HoursRule | None = Field(None, description="when messages may be sent; absent: at any time")
    examples: Names = Field(
        default_factory=list, description="files, relative to the folder of the file that names them"
    )
    simulate: SimulateRule = Field(SimulateRule(), description="how ``hub simulate`` plays the other party")


class Fragment(Model):
    """What plugins and profiles may say to be put together from parts: docs/profiles.md."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    extends: Names = Field(default_factory=list, description="profiles it takes over; a later one wins over an earlier")
    values: dict[str, Any] = Field(default_factory=dict, alias="with", description="values of the profiles' parameters")
    defaults: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="keys of an interface -> value, for all interfaces (``any``) or those of a direction, style or adapter, "
        "e.g. ``out`` or ``http in``",
    )
    tables: dict[str, list[dict[str, Any]]] = Field(
        default_factory=dict, description="rows from which ``each`` makes interfaces and settings"
    )


class Parameter(Model):
    """What a plugin says to a profile; ``${{name}}`` stands for it."""

    required: bool = False
    default: Any = None
    choices: list[Any] = Field(default_factory=list, description="the only values allowed")
    description: str = Field("", description="what it is for, in Chinese or English")


class Profile(Fragment):
    """``profile.yaml``: a part of a contract which many plugins share."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    name: str
    version: str = "1.0.0"
    assumed: bool = Field(
        False, description="true where no public specification exists and this part of the contract is ours"
    )
    sources: list[str] = Field(default_factory=list, description="where the facts come from")
    parameters: dict[str, Parameter] = Field(default_factory=dict)
    settings: dict[str, dict[str, Any] | None] = Field(default_factory=dict, description="as in plugin.yaml")
    interfaces: dict[str, dict[str, Any] | Literal["off"] | None] = Field(
        default_factory=dict, description="as in plugin.yaml, each complete or a part; ``off`` removes one of a parent"
    )


class Plugin(Fragment):
    """``plugin.yaml``: how to talk to one kind of external system."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    name: str
    version: str = "1.0.0"
    catalog: str = Field("", description="id in the catalogue of external systems")
    assumed: bool = Field(False, description="true where no public specification exists and the contract is ours")
    sources: list[str] = Field(default_factory=list, description="where the facts come from")
    settings: dict[str, Setting] = Field(default_factory=dict)
    interfaces: dict[str, Interface] = Field(min_length=1)


class SystemConfig(Model):
    """One external party as deployed."""

    plugin: str
    name: str = ""
    enabled: bool = True
    settings: dict[str, Any] = Field(default_factory=dict)
    interfaces: dict[str, dict[str, Any] | Literal["off"]] = Field(
        default_factory=dict, description="per interface: keys that replace those of the contract, or ``off``"
    )
    worker: int | None = Field(None, ge=0, description="process of ``hub run --workers`` that owns this system")
    institution: str = Field("", description="whose system it is; scopes of users go by it")
    region: str = Field("", description="where it is, best as the code of the division, e.g. 330106; scopes go by it")


class RouteConfig(Model):
    """A rule: messages like this go to that system's interface."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    source: Names = Field(alias="from", description="system/interface, or system; * matches any run of characters")
    types: Names = Field(default_factory=lambda: ["*"])
    when: str = Field("", description="expression on the message; absent: always")
    to: Names = Field(min_length=1, description="system/interface, one delivery each")
    mapping: str | None = Field(None, description="replaces the mapping of the target's contract; '' sends as received")
    enabled: bool = True
    description: str = ""


class StoreConfig(Model):
    path: str = "../var/data"
    segment_messages: int = Field(1_000_000, ge=1000, description="messages per file")
    retention: Duration = Field(180 * 86400.0, description="messages are pruned after so long; 0 = never")
    queue: int = Field(20_000, ge=100, description="operations waiting for a commit before intake is refused")
    queue_bytes: Size = 256 << 20
    min_free_disk: Size = 256 << 20
    text_index: bool = True
    text_index_messages: int = Field(2_000_000, description="newest messages kept in the free-text index")
    keep_bodies: bool = Field(True, description="keep what was sent and answered with each attempt")
    claim_above: Size = Field(1 << 20, ge=4096, description="larger bodies are kept as files of their own")
    encryption: Literal["off", "aes-256-gcm", "sm4-gcm"] = Field(
        "off", description="what is stored is sealed with this, by the key ``store`` of the key store"
    )


class IntakeConfig(Model):
    max_size: Size = Field(64 << 20, description="largest message accepted, bytes")
    duplicate_window: Duration = 86400.0
    request_timeout: Duration = Field(60.0, description="longest wait of a caller in request style")


class DeliveryConfig(Model):
    retry: RetryPolicy = RetryPolicy()
    window: int = Field(2000, ge=10, description="deliveries per target held in memory; the rest waits in the store")
    window_bytes: Size = Field(32 << 20, description="bytes of messages all targets together hold in memory")


class ValidationConfig(Model):
    """Checks that take long (HL7 v2 conformance, FHIR) run in processes of their own; see ``validate`` of an interface."""

    processes: int = Field(1, ge=1, le=64, description="processes for checks that take long, of each worker")
    timeout: Duration = Field(10.0, gt=0, description="longest check of one message; beyond it counts as not checked")
    queue: int = Field(
        1000,
        ge=1,
        description="messages that may wait for a check; beyond, strict interfaces say not now, others skip it",
    )


class AbuseConfig(Model):
    """Refused calls count against the caller, or against the address while it is not known who calls."""

    refused: int = Field(20, ge=0, le=100_000, description="so many refused calls ``within`` are too many; 0: never")
    within: Duration = Field(60.0, gt=0, le=86_400)
    restrict: Duration = Field(600.0, ge=1, le=366 * 86_400, description="nothing more is taken for so long")


class AccessConfig(Model):
    """Who may call interfaces with ``auth: {type: caller}``; the callers themselves are kept by ``hub callers``."""

    audience: str = Field(
        "",
        description="what JWTs of callers must be for (``aud``) unless their credential says otherwise, "
        "and who issues the hub's own tokens; default: ``name``",
    )
    abuse: AbuseConfig = AbuseConfig()


class AdminConfig(Model):
    host: str = "127.0.0.1"
    port: int = Field(8700, ge=0, le=65535)
    token: str = Field(
        "",
        description="env:NAME or file:PATH; off: only people and their tokens; default: a token made at first start in the data folder",
    )
    url: str = Field("", description="address people use, e.g. https://hub.example; https makes cookies secure")
    proxies: list[str] = Field(
        default_factory=list, description="networks of reverse proxies whose X-Forwarded-For is believed"
    )


class LogConfig(Model):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class SecurityConfig(Model):
    """What the whole hub uses to protect and to prove."""

    crypto: CryptoConfig = Field(CryptoConfig(), description="who does national cryptography: docs/cryptography.md")
    roles: dict[str, RoleConfig] = Field(
        default_factory=dict, description="own roles, or other rights for the hub's: docs/users.md"
    )
    passwords: PasswordsConfig = PasswordsConfig()
    login: LoginConfig = LoginConfig()
    second_factor: SecondFactorConfig = SecondFactorConfig()
    sessions: SessionsConfig = SessionsConfig()
    approvals: ApprovalsConfig = ApprovalsConfig()
    portal: PortalConfig = Field(PortalConfig(), description="login through a portal: oidc or cas")


class HubConfig(Model):
    """``config/hub.yaml``. Paths are relative to the file."""

    name: str = "tongqu"
    language: Literal["zh", "en", ""] = Field("", description="language of texts; default: the environment's")
    plugins: list[str] = Field(default_factory=lambda: ["../plugins"], description="folders searched for plugin.yaml")
    mappings: list[str] = Field(default_factory=lambda: ["../mappings"])
    schemas: list[str] = Field(
        default_factory=lambda: ["../schemas"], description="folders of the files ``validate`` of an interface names"
    )
    flows: list[str] = Field(default_factory=lambda: ["../flows"], description="folders of flows: docs/flows.md")
    include: list[str] = Field(default_factory=lambda: ["systems/*.yaml", "routes/*.yaml"])
    watch: bool = Field(
        True, description="saved changes of these files take effect within a second; false: on `hub reload` only"
    )
    systems: dict[str, SystemConfig] = Field(default_factory=dict)
    routes: dict[str, RouteConfig] = Field(default_factory=dict)
    store: StoreConfig = StoreConfig()
    intake: IntakeConfig = IntakeConfig()
    delivery: DeliveryConfig = DeliveryConfig()
    validation: ValidationConfig = ValidationConfig()
    keys: KeysConfig = KeysConfig()
    security: SecurityConfig = SecurityConfig()
    access: AccessConfig = AccessConfig()
    audit: AuditConfig = AuditConfig()
    admin: AdminConfig = AdminConfig()
    log: LogConfig = LogConfig()
