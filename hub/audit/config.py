"""The part ``audit:`` of ``hub.yaml``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from hub.audit.entries import CLASSES, AuditClass
from hub.i18n import t

__all__ = ["DAY", "LEAST_DAYS", "AuditConfig", "CheckpointConfig", "ExportConfig", "RetentionConfig"]

DAY = 86400.0

#: Days entries have to be kept: six months for what is tamper-proof (002:678, 002:2381), a year for what people and the system did (002:700).
LEAST_DAYS: dict[AuditClass, int] = {"access": 180, "config": 365, "operation": 365, "security": 365, "system": 365}


def _parse(value: Any) -> float:
    from hub.contract import parse_duration  # which has this part in it

    return parse_duration(value)


_Duration = Annotated[float, BeforeValidator(_parse)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CheckpointConfig(_Part):
    """When the heads of all chains are signed; also at every start and stop."""

    entries: int = Field(200, ge=1, le=100_000, description="after so many new entries")
    every: _Duration = Field(600.0, ge=1, description="at the latest so long after a new entry")


class ExportConfig(_Part):
    """A copy of the trail that is made at once, and elsewhere."""

    to: str = Field(
        pattern=r"^((udp|tcp|tls)://[^\s/:]+(:\d{1,5})?|(udp|tcp|tls)://\[[0-9a-fA-F:]+\](:\d{1,5})?|file:.+)$",
        description="udp://HOST:PORT, tcp://HOST:PORT or tls://HOST:PORT: syslog (RFC 5424; ports 514, 601, 6514); "
        "file:PATH: JSON lines, only ever appended to; relative to the file",
    )
    what: Literal["all", "checkpoints"] = "all"
    ca: str = Field("", description="tls: file with the certificates to trust; default: the system's")
    certificate: str = Field("", description="tls: file with the hub's own certificate")
    key: str = Field("", description="tls: file with the key of the hub's own certificate")


class RetentionConfig(_Part):
    """How long entries are kept, by class."""

    access: _Duration = Field(3 * 365 * DAY, description="who looked at what")
    config: _Duration = Field(3 * 365 * DAY, description="changes of the configuration")
    operation: _Duration = Field(3 * 365 * DAY, description="what people did to deliveries, messages, interfaces")
    security: _Duration = Field(3 * 365 * DAY, description="logins, refusals, people, callers, exports")
    system: _Duration = Field(3 * 365 * DAY, description="starts, stops, checkpoints")

    def of(self, kind: AuditClass) -> float:
        """Seconds."""
        return float(getattr(self, kind))


class AuditConfig(_Part):
    """The audit trail beyond its chains."""

    checkpoint: CheckpointConfig = CheckpointConfig()
    export: dict[str, ExportConfig] = Field(default_factory=dict, description="name -> where a copy goes")
    archive_after: _Duration = Field(90 * DAY, ge=DAY, description="older entries are moved to archive files")
    archive: str = Field("", description="folder of the archives; relative to the file; default: in the data folder")
    retention: RetentionConfig = RetentionConfig()
    allow_short: bool = Field(False, description="true: ``retention`` may be shorter than the law asks")

    @model_validator(mode="after")
    def _as_long_as_the_law_asks(self) -> AuditConfig:
        for kind in CLASSES:
            kept = self.retention.of(kind)
            if kept < LEAST_DAYS[kind] * DAY and not self.allow_short:
                least = LEAST_DAYS[kind]
                raise ValueError(
                    t(
                        f"retention.{kind} is {kept / DAY:g} days, at least {least} are required; allow_short: true permits it",
                        f"retention.{kind} 为 {kept / DAY:g} 天，至少须 {least} 天；allow_short: true 可放行",
                    )
                )
            if kept < self.archive_after:
                raise ValueError(
                    t(
                        f"retention.{kind} is shorter than archive_after: only archived entries are removed",
                        f"retention.{kind} 短于 archive_after：只有已归档的条目会被清除",
                    )
                )
        return self
