"""What has to be done about keys, and by when: rotations that are due, versions and certificates that expire.

Certificates are those in the key store and those in the files that TLS options of the configuration name.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from hub.api import Bound
from hub.i18n import t
from hub.keys.model import DAY, Content, Key, Kind, State, Version

__all__ = ["Notice", "certificate_files", "expiring", "file_notices"]

#: Options of adapters that name a file with certificates; they are in a model of their own, by whatever name.
_OPTIONS = ("certificate", "client_ca", "ca")
_DEPTH = 6
_LARGEST = 4 << 20
_PENDING_DAYS = 14

What = Literal["expired", "expires", "rotate", "pending", "unreadable"]


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to be done. ``name`` is a key, or the path of a file; ``places`` are the interfaces that use the file."""

    what: What
    name: str
    version: int  # 0: a file
    at: int  # Unix seconds: when it expires or is due
    days: int  # whole days from now on; negative: so many whole days ago
    owner: str = ""
    certificate: bool = False
    places: tuple[str, ...] = ()

    @property
    def urgent(self) -> bool:
        """True where something does not work any more, or won't within a week."""
        return self.what in ("expired", "unreadable") or (self.what == "expires" and self.days < 7)

    @property
    def text(self) -> str:
        whose = t("certificate", "证书") if self.certificate else t("key", "密钥")
        name = f"{self.name}@{self.version}" if self.version else self.name
        head = f"{whose} {name}"
        if self.what == "expired":
            return t(f"{head} expired {-self.days} days ago", f"{head} 已过期 {-self.days} 天")
        if self.what == "expires":
            return t(f"{head} expires in {self.days} days", f"{head} 将于 {self.days} 天后过期")
        if self.what == "rotate":
            return t(f"{head} is due for rotation", f"{head} 应轮换")
        if self.what == "pending":
            return t(f"{head} has been pending for long", f"{head} 待启用时间过长")
        return t(f"{head} can't be read", f"{head} 无法读取")

    @property
    def remedy(self) -> str:
        if not self.version:
            return t("put a new certificate there", "请在该处更换证书")
        if self.what == "pending":
            return f"hub keys activate {self.name}@{self.version}"
        if self.certificate:
            return t(
                f"get the new one and: hub keys import {self.name}", f"请取得新证书并执行：hub keys import {self.name}"
            )
        agreed = t(f", agreed with {self.owner}", f"，并与 {self.owner} 约定") if self.owner else ""
        return f"hub keys rotate {self.name}{agreed}"

    def as_dict(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("what", "name", "version", "at", "days", "owner", "certificate")}
        return {**own, "places": list(self.places), "urgent": self.urgent, "text": self.text, "remedy": self.remedy}


def _days(at: int, now: float) -> int:
    return math.trunc((at - now) / DAY)


def expiring(content: Content, now: float) -> list[Notice]:
    """What is due for keys of the store, the most pressing first."""
    found: list[Notice] = []
    for name, key in content.keys.items():
        for version in content.versions[name].values():
            notice = _of_version(key, version, now)
            if notice is not None:
                found.append(notice)
    return sorted(found, key=lambda n: (n.at, n.name, n.version))


def _of_version(key: Key, version: Version, now: float) -> Notice | None:
    certificate = key.kind is Kind.CERTIFICATE

    def notice(what: What, at: int) -> Notice:
        return Notice(what, key.name, version.number, at, _days(at, now), key.owner, certificate)

    if version.state is State.PENDING and now >= version.created_at + _PENDING_DAYS * DAY:
        return notice("pending", version.created_at + _PENDING_DAYS * DAY)
    if version.state is not State.ACTIVE:
        return None
    if version.expires_at and now >= version.expires_at:
        return notice("expired", version.expires_at)
    if version.expires_at and now >= version.expires_at - key.policy.warn_days * DAY:
        return notice("expires", version.expires_at)
    due = version.active_from + key.policy.rotate_days * DAY
    return notice("rotate", due) if key.policy.rotation != "manual" and now >= due else None


def certificate_files(bounds: Iterable[Bound]) -> dict[str, tuple[str, ...]]:
    """The files with certificates that options of interfaces name, and the places that do."""
    found: dict[str, set[str]] = {}
    for bound in bounds:
        for path in _named(bound.options, 0):
            found.setdefault(os.path.abspath(path), set()).add(bound.place)
    return {path: tuple(sorted(places)) for path, places in sorted(found.items())}


def _named(options: BaseModel, depth: int) -> Iterator[str]:
    for name in type(options).model_fields:
        value = getattr(options, name)
        if depth and name in _OPTIONS and isinstance(value, str) and value:
            yield value
        elif isinstance(value, BaseModel) and depth < _DEPTH:
            yield from _named(value, depth + 1)


def file_notices(files: dict[str, tuple[str, ...]], now: float, warn_days: int) -> list[Notice]:
    """What is due for certificates in files; of a file with several the one that expires first counts."""
    if not files:
        return []
    from hub.keys.material import certificates  # most hubs have none, and it takes 4 MB

    found: list[Notice] = []
    for path, places in files.items():
        try:
            with open(path, "rb") as stream:
                chain = certificates(stream.read(_LARGEST))
            at = min(int(certificate.not_valid_after_utc.timestamp()) for certificate in chain)
        except (OSError, ValueError):
            found.append(Notice("unreadable", path, 0, int(now), 0, certificate=True, places=places))
            continue
        if now >= at - warn_days * DAY:
            what: What = "expired" if now >= at else "expires"
            found.append(Notice(what, path, 0, at, _days(at, now), certificate=True, places=places))
    return found
