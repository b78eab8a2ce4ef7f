"""Rights, roles as sets of rights, and scopes: what a user may do, and with whose data (002:698, 004:9766-9774)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from hub.i18n import t

__all__ = [
    "APPROVABLE",
    "EVERYTHING",
    "RIGHTS",
    "ROLES",
    "TOKEN_ACTOR",
    "Labelled",
    "Principal",
    "Scope",
    "rights_of",
    "role_names",
]

TOKEN_ACTOR = "token"  # noqa: S105 - the name of the hub's own service account
#: Right -> what it allows, in English and Chinese. Every operation of the admin API names one of them.
RIGHTS: dict[str, tuple[str, str]] = {
    "self": ("what concerns oneself: session, password, second factor, tokens", "本人事项：会话、口令、双因子、令牌"),
    "status.read": ("status, plugins, connections", "运行状态、插件、连接"),
    "metrics.read": ("figures for monitoring", "监控指标"),
    "messages.read": ("messages, deliveries and calls, masked", "消息、投递与调用（脱敏）"),
    "personal.read": ("personal data unmasked, bytes as received", "未脱敏的个人信息与原始报文"),
    "deliveries.act": ("resend, forward, hold, ignore deliveries", "重发、转发、暂存、忽略投递"),
    "deliveries.delete": ("delete deliveries", "删除投递"),
    "replay.run": ("replay messages", "重放消息"),
    "messages.send": ("hand in messages, have sources read", "代为提交消息、触发读取"),
    "probe.run": ("test connections", "测试连接"),
    "config.reload": ("have the configuration read anew", "重新加载配置"),
    "flows.read": ("flows: instances, steps, history (masked)", "流程：实例、步骤、历史（脱敏）"),
    "flows.act": ("retry, leave out and cancel in flows", "流程的重试、跳过与取消"),
    "flows.complete": ("decide manual steps of flows, with the role each asks for", "按步骤所需角色办理流程的人工步骤"),
    "quality.read": ("what validation found", "校验结果"),
    "quality.run": ("check stored messages again", "重新校验"),
    "audit.read": ("audit trail, ledger, login log", "审计记录、账目、登录日志"),
    "audit.manage": ("move audit entries into archives", "归档审计记录"),
    "users.read": ("users and roles", "查看用户与角色"),
    "users.manage": ("make and change users", "管理用户"),
    "approvals.decide": ("approve or reject what others ask for", "审批他人的申请"),
    "callers.read": ("callers and their limits", "查看调用方"),
    "callers.manage": ("make and change callers", "管理调用方"),
}

#: The hub's own roles: integration engineer 集成工程师, monitor 运维监控, tester 测试, auditor 审计员, administrator 管理员.
ROLES: dict[str, frozenset[str]] = {
    "integration_engineer": frozenset(
        {
            "self",
            "status.read",
            "metrics.read",
            "messages.read",
            "deliveries.act",
            "deliveries.delete",
            "replay.run",
            "messages.send",
            "probe.run",
            "config.reload",
            "flows.read",
            "flows.act",
            "quality.read",
            "quality.run",
            "callers.read",
        }
    ),
    "monitor": frozenset(
        {"self", "status.read", "metrics.read", "messages.read", "probe.run", "quality.read", "flows.read"}
    ),
    "tester": frozenset(
        {"self", "status.read", "messages.read", "messages.send", "probe.run", "quality.read", "quality.run"}
    ),
    "auditor": frozenset({"self", "status.read", "audit.read", "users.read", "callers.read", "quality.read"}),
    "administrator": frozenset(RIGHTS),
}
_NAMES = {
    "integration_engineer": ("integration engineer", "集成工程师"),
    "monitor": ("monitor", "运维监控"),
    "tester": ("tester", "测试人员"),
    "auditor": ("auditor", "审计员"),
    "administrator": ("administrator", "管理员"),
}

#: What ``security.approvals.actions`` may name.
APPROVABLE = (
    "deliveries.delete",  # by a query, or more than one at once
    "users.rights",  # roles, scopes, states, passwords of others
    "keys.export",
    "keys.destroy",
    "keys.master",
)


class RoleLike(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def rights(self) -> list[str]: ...


def rights_of(roles: Iterable[str], own: Mapping[str, RoleLike]) -> frozenset[str]:
    """The rights of somebody with these roles; ``own`` are those of the configuration. A role that is gone gives none."""
    found: set[str] = set()
    for role in roles:
        if role in own:
            found |= {"self", *own[role].rights}
        else:
            found |= ROLES.get(role, frozenset())
    return frozenset(found)


def role_names(own: Mapping[str, RoleLike]) -> dict[str, str]:
    """Every role with the name people know it by."""
    return {**{role: t(*names) for role, names in _NAMES.items()}, **{role: c.name or role for role, c in own.items()}}


class Labelled(Protocol):
    """A system as far as scopes are concerned."""

    @property
    def institution(self) -> str: ...

    @property
    def region(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose data: systems by pattern (``east_*``), by institution, by region. ``everything``: no bounds at all; otherwise what none names is out."""

    systems: tuple[str, ...] = ()
    institutions: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    everything: bool = False

    @classmethod
    def read(cls, given: object) -> Scope:
        """From JSON: ``{"everything": true}`` or lists. Raises ValueError."""
        if not isinstance(given, Mapping) or not given.keys() <= {"systems", "institutions", "regions", "everything"}:
            raise ValueError("scope")
        lists: dict[str, tuple[str, ...]] = {}
        for key in ("systems", "institutions", "regions"):
            value = given.get(key, [])
            if not isinstance(value, list) or len(value) > 1000:
                raise ValueError(key)
            if not all(isinstance(each, str) and 0 < len(each) <= 200 for each in value):
                raise ValueError(key)
            lists[key] = tuple(value)
        everything = given.get("everything", False)
        if not isinstance(everything, bool) or (everything and any(lists.values())):
            raise ValueError("everything")
        return cls(**lists, everything=everything)

    def as_dict(self) -> dict[str, object]:
        if self.everything:
            return {"everything": True}
        return {"systems": [*self.systems], "institutions": [*self.institutions], "regions": [*self.regions]}

    def within(self, systems: Mapping[str, Labelled]) -> frozenset[str] | None:
        """The systems in this scope; None: all, whatever there is."""
        if self.everything:
            return None
        return frozenset(name for name, system in systems.items() if self._has(name, system))

    def _has(self, name: str, system: Labelled) -> bool:
        if any(re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name) for pattern in self.systems):
            return True
        if system.institution and system.institution in self.institutions:
            return True
        return bool(system.region) and any(_region_has(region, system.region) for region in self.regions)

    def covers(self, other: Scope) -> bool:
        """Is the other no wider than this, as far as it can be told from how they are written?"""
        if self.everything:
            return True
        return not other.everything and all(
            set(getattr(other, part)) <= set(getattr(self, part)) for part in ("systems", "institutions", "regions")
        )


def _region_has(region: str, label: str) -> bool:
    """Codes of administrative divisions (GB/T 2260) contain those that begin with them: 3301 has 330106; zeros at the end say nothing."""
    if region == label:
        return True
    if not (region.isascii() and region.isdecimal() and label.isascii() and label.isdecimal()):
        return False
    width = 2 if region[2:].strip("0") == "" else 4 if region[4:].strip("0") == "" else len(region)
    return len(region) >= 2 and label.startswith(region[:width])


EVERYTHING = Scope(everything=True)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a call, and what they may do. ``kind``: user, token (the hub's own), api (a personal token)."""

    name: str
    kind: str
    rights: frozenset[str]
    scope: Scope
    session: str = ""  # id of the session or personal token
    verified_at: float = 0.0  # when they last proved who they are in two ways; Unix seconds
    address: str = ""
    roles: frozenset[str] = frozenset()

    def may(self, right: str) -> bool:
        return right in self.rights
