"""Keys and versions as people and programs see them; secrets are nowhere in here."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from hub.cli.common import console, emit, table
from hub.i18n import t
from hub.keys.material import certificates
from hub.keys.model import Content, Key, Kind, State, Version

__all__ = ["certificate_json", "print_key", "print_keys", "print_version", "when"]


def when(at: int) -> str:
    """Local time, to the minute; nothing for 0."""
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M") if at else ""


def state_text(state: State) -> str:
    return {
        State.PENDING: t("pending", "待启用"),
        State.ACTIVE: t("active", "启用"),
        State.RETIRING: t("retiring", "退役中"),
        State.REVOKED: t("revoked", "已吊销"),
        State.DESTROYED: t("destroyed", "已销毁"),
    }[state]


def version_json(version: Version) -> dict[str, Any]:
    return {
        "name": version.name,
        "version": version.number,
        "state": version.state,
        "fingerprint": version.fingerprint,
        **{name: when(getattr(version, name)) for name in ("created_at", "active_from", "expires_at", "opens_until")},
    }


def key_json(key: Key) -> dict[str, Any]:
    own = {"name": key.name, "kind": key.kind, "purpose": key.purpose, "system": key.owner}
    return {**own, "created_at": when(key.created_at), "policy": key.policy.as_dict()}


def certificate_json(pem: bytes) -> dict[str, Any]:
    """The facts of the first certificate."""
    certificate = certificates(pem)[0]
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "serial": f"{certificate.serial_number:x}",
        "not_before": when(int(certificate.not_valid_before_utc.timestamp())),
        "not_after": when(int(certificate.not_valid_after_utc.timestamp())),
    }


def print_version(version: Version, as_json: bool) -> None:
    """What has become of a version."""
    if as_json:
        return emit(version_json(version))
    text = f"{version.name}@{version.number}: {state_text(version.state)}"
    if version.expires_at:
        text += t(", valid until ", "，有效期至 ") + when(version.expires_at)
    if version.fingerprint:
        text += t(", fingerprint ", "，指纹 ") + version.fingerprint
    console.print(text, markup=False)


def print_keys(content: Content, now: float, as_json: bool) -> None:
    rows = []
    for name, key in content.keys.items():
        active = content.active(name)
        opening = sum(1 for v in content.versions[name].values() if content.may_open(v, now) and v is not active)
        rows.append((key, active, opening))
    if as_json:
        found = [{**key_json(key), "active": active and version_json(active)} for key, active, _ in rows]
        return emit({"keys": found})
    table(
        [
            t("key", "密钥"),
            t("kind", "类型"),
            t("purpose", "用途"),
            t("system", "系统"),
            t("active version", "启用版本"),
            t("since", "启用时间"),
            t("valid until", "有效期至"),
            t("older ones that open", "可解的旧版本"),
        ],
        [
            [
                key.name,
                key.kind,
                key.purpose,
                key.owner,
                active.number if active else t("none", "无"),
                when(active.active_from) if active else "",
                when(active.expires_at) if active else "",
                opening or "",
            ]
            for key, active, opening in rows
        ],
    )


def print_key(content: Content, name: str, as_json: bool) -> None:
    key = content.key(name)
    versions = sorted(content.versions[name].values(), key=lambda v: v.number, reverse=True)
    facts = {v.number: certificate_json(v.public) for v in versions if key.kind is Kind.CERTIFICATE}
    if as_json:
        rows = [{**version_json(v), **({"certificate": facts[v.number]} if facts else {})} for v in versions]
        return emit({**key_json(key), "versions": rows})
    for label, value in (("kind", key.kind), ("purpose", key.purpose), ("system", key.owner)):
        console.print(f"{label}: {value}", markup=False)
    for label, value in key.policy.as_dict().items():
        console.print(f"{label}: {t('no end', '不限') if value is None else value}", markup=False)
    table(
        [
            t("version", "版本"),
            t("state", "状态"),
            t("since", "启用时间"),
            t("valid until", "有效期至"),
            t("opens until", "可解至"),
            t("fingerprint", "指纹"),
            t("certificate", "证书"),
        ],
        [
            [
                v.number,
                state_text(v.state),
                when(v.active_from),
                when(v.expires_at),
                when(v.opens_until),
                v.fingerprint,
                facts[v.number]["subject"] if facts else "",
            ]
            for v in versions
        ],
    )
