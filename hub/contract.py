"""Typed models of ``plugin.yaml`` (the contract) and of the configuration (``config/``).

These models are the reference of what may be written; the descriptions of the fields are their documentation. Loading,
line numbers and cross-checks are in :mod:`hub.config` and :mod:`hub.check`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

__all__ = [
    "AdminConfig",
    "Breaker",
    "DeliveryConfig",
    "Duration",
    "ErrorRule",
    "HubConfig",
    "IntakeConfig",
    "Interface",
    "LogConfig",
    "Plugin",
    "ReplyRule",
    "RetryPolicy",
    "RouteConfig",
    "Setting",
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


class ReplyRule(Model):
    """How to read the answer of a target."""

    codec: str = Field("", description="codec of the reply body; default: that of the request")
    format: dict[str, Any] = Field(default_factory=dict, description="options of ``codec``")
    code: str = Field("", description="expression for the business code, looked up in ``errors``")
    message: str = Field("", description="expression for the error text")


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


class Interface(Model):
    """One thing a plugin can receive (``in``) or send (``out``)."""

    name: str = ""
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
    timeout: Duration = 10.0
    retry: RetryPolicy | None = None
    breaker: Breaker = Breaker()
    concurrency: int = Field(8, ge=1, le=1024, description="calls under way at once; ordering keys never overlap")
    rate: float = Field(0, ge=0, description="calls per second, 0 = no limit")
    examples: Names = Field(default_factory=list, description="files, relative to the plugin's folder")


class Plugin(Model):
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


class AdminConfig(Model):
    host: str = "127.0.0.1"
    port: int = Field(8700, ge=0, le=65535)
    token: str = Field("", description="env:NAME or file:PATH; default: a token made at first start in the data folder")


class LogConfig(Model):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class HubConfig(Model):
    """``config/hub.yaml``. Paths are relative to the file."""

    name: str = "tongqu"
    language: Literal["zh", "en", ""] = Field("", description="language of texts; default: the environment's")
    plugins: list[str] = Field(default_factory=lambda: ["../plugins"], description="folders searched for plugin.yaml")
    mappings: list[str] = Field(default_factory=lambda: ["../mappings"])
    schemas: list[str] = Field(
        default_factory=lambda: ["../schemas"], description="folders of the files ``validate`` of an interface names"
    )
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
    admin: AdminConfig = AdminConfig()
    log: LogConfig = LogConfig()
