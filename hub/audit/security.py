"""What ``hub check --security`` says of the audit trail."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hub.contract import HubConfig
from hub.i18n import t
from hub.keys.opened import key_store_exists

__all__ = ["Weakness", "weaknesses"]


@dataclass(frozen=True, slots=True)
class Weakness:
    """``key``: the path in ``hub.yaml``."""

    rule: str
    severity: Literal["high", "medium", "low"]
    text: str
    key: tuple[str, ...]
    remedy: str


def weaknesses(config: HubConfig, base: Path) -> list[Weakness]:
    """What makes the trail prove less than it could; ``base`` is the folder of ``hub.yaml``."""
    audit = config.audit
    found = []
    if not key_store_exists(config.keys, base):
        found.append(
            Weakness(
                "audit.unsigned",
                "medium",
                t(
                    "the checkpoints of the audit trail are not signed: there is no key store",
                    "没有密钥库，审计检查点未签名",
                ),
                ("keys", "path"),
                t("hub keys init", "hub keys init"),
            )
        )
    if not audit.export:
        found.append(
            Weakness(
                "audit.no_copy",
                "medium",
                t(
                    "the audit trail is nowhere else: one that is put back as a whole can't be recognised",
                    "审计记录没有异地副本：整体回退无法识别",
                ),
                ("audit", "export"),
                t(
                    "audit: {export: {collector: {to: 'tls://HOST:6514'}}}",
                    "audit: {export: {collector: {to: 'tls://主机:6514'}}}",
                ),
            )
        )
    for name, copy in audit.export.items():
        if copy.to.startswith(("udp:", "tcp:")):
            found.append(
                Weakness(
                    "audit.plain_copy",
                    "low",
                    t("copies of the audit trail travel unencrypted", "审计副本以明文传输"),
                    ("audit", "export", name, "to"),
                    t("tls://HOST:6514", "tls://主机:6514"),
                )
            )
    if audit.allow_short:
        found.append(
            Weakness(
                "audit.short_retention",
                "high",
                t("audit entries may be kept for less than the law asks", "审计记录的留存可能短于法定期限"),
                ("audit", "allow_short"),
                t("remove allow_short", "删除 allow_short"),
            )
        )
    return found
