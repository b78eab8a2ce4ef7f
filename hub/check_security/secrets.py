"""Secrets that are too short or that everybody knows, and files with keys that others may read. No value is ever told."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from hub.api import Bound
from hub.check_security.finding import Clause, Findings, Severity
from hub.check_security.protections import chosen
from hub.deployment import InterfaceOrigin
from hub.i18n import t
from hub.secrets import Secret
from hub.yaml_source import KeyPath

__all__ = ["is_default", "look_at_secrets", "others_may"]

# fmt: off
_DEFAULTS = frozenset((
    "123456", "12345678", "123456789", "1234567890", "111111", "000000", "888888", "666666", "admin", "admin123",
    "administrator", "root", "toor", "password", "password1", "passw0rd", "p@ssw0rd", "p@ssword", "secret",
    "changeme", "change-me", "default", "guest", "test", "test123", "demo", "tongqu", "hospital", "abc123", "qwerty",
    "1qaz2wsx", "oracle", "postgres", "mysql", "redis", "rabbitmq", "sa", "system", "manager", "tiger", "orthanc",
    "minioadmin",
))
# fmt: on
_SHORTEST = 12  # characters
_SHORTEST_KEY = 16  # of a secret both sides sign with, once base64 or hex
_DEPTH = 6
#: Secret only so that they are not shown: names of applications, passwords of keys, public keys of the other side.
_NOT_KEYS = frozenset(("const", "password", "public", "others", "earlier"))
_NAMED_SECRET = re.compile(
    r"(^|_)(password|passwd|pwd|secret|token|api_?key|private_?key|app_?key)($|_)", re.IGNORECASE
)
#: Options that name a file with a private key.
_KEY_FILES = ("key", "key_file", "private_key", "identity")


def look_at_secrets(bound: Bound, origin: InterfaceOrigin, findings: Findings) -> None:
    """Of the adapter's options and of the security schemes."""
    part = "listen" if bound.contract.direction == "in" else "connect"
    look = _Look(bound, origin, findings)
    for secret in _secrets(bound.options, (part,), 0):
        look.at(secret, _SHORTEST)
    for number, scheme in enumerate(bound.protection.schemes if bound.protection is not None else ()):
        options = chosen(scheme)
        if isinstance(options, BaseModel):
            for secret in _secrets(options, ("security", number, scheme.name), 0):
                if secret.name not in _NOT_KEYS:
                    look.at(secret, _SHORTEST_KEY)
    for path, file in _key_files(bound.options, (part,), 0):
        if others_may(file, stat.S_IRWXG | stat.S_IRWXO):
            text = t("others than its owner can read this file with a private key", "私钥文件可被属主以外的用户读取")
            problem = origin.problem(text, path, remedy=f"chmod 600 {file}")
            findings.add("secret.file_rights", "high", problem, Clause.KEYS, bound.place)
    for name, value in bound.settings.items():
        if not isinstance(value, str) or isinstance(value, Secret) or not value or not _NAMED_SECRET.search(name):
            continue
        if not _looks_like_place(value):
            text = t(
                f"the setting {name} is no secret to the plugin, and its value stands in the configuration",
                f"插件未将设置 {name} 声明为密钥，其值直接写在配置中",
            )
            remedy = t(
                "declare it with type: secret, and write key:NAME or file:PATH",
                "请声明 type: secret，并写 key:名称 或 file:路径",
            )
            problem = origin.problem(text, (), remedy=remedy)
            findings.add("secret.in_config", "high", problem, Clause.CONFIDENTIALITY, bound.place)


def is_default(value: str, user: str = "") -> bool:
    """Everybody tries these first."""
    low = value.lower()
    return low in _DEFAULTS or (bool(user) and low == user.lower()) or len(set(value)) == 1


def others_may(path: Path, rights: int) -> bool:
    """Whether somebody else has one of these rights; False for what does not exist and where there are no such rights."""
    if os.name != "posix":
        return False
    try:
        return bool(path.stat().st_mode & rights)
    except (OSError, ValueError):
        return False


@dataclass(frozen=True, slots=True, repr=False)
class _Found:
    """One secret, and the name of the account it belongs to where there is one."""

    path: KeyPath
    name: str
    value: str
    user: str


class _Look:
    def __init__(self, bound: Bound, origin: InterfaceOrigin, findings: Findings) -> None:
        self._bound = bound
        self._origin = origin
        self._findings = findings

    def at(self, secret: _Found, shortest: int) -> None:
        value = secret.value
        if not value:
            return
        if self._written_down(secret.path):
            text = t("a secret stands in the configuration", "密钥直接写在配置中")
            remedy = t(
                "make it a setting of type secret, and write key:NAME or file:PATH",
                "请设为 secret 类型的设置，并写 key:名称 或 file:路径",
            )
            self._add("secret.in_config", "high", secret.path, text, remedy, Clause.KEYS)
        if "-----BEGIN" in value:
            return
        if is_default(value, secret.user):
            text = t("a password that is tried first", "口令过于常见")
            remedy = t("make a new one, e.g. with hub keys new", "请更换，例如用 hub keys new 生成")
            self._add("secret.default", "high", secret.path, text, remedy, Clause.IDENTITY)
        elif len(value) < shortest:
            text = t(
                f"{secret.name} is shorter than {shortest} characters: it can be guessed",
                f"{secret.name} 少于 {shortest} 个字符：可被猜中",
            )
            self._add(
                "secret.short", "medium", secret.path, text, t("make a longer one", "请使用更长的值"), Clause.IDENTITY
            )

    def _written_down(self, path: KeyPath) -> bool:
        """Whether the value itself stands there, rather than a reference to a setting."""
        written: Any = self._origin.merged
        for step in path:
            try:
                written = written[step]
            except (KeyError, IndexError, TypeError):
                return False
        return isinstance(written, str) and "${" not in written

    def _add(self, rule: str, severity: Severity, path: KeyPath, text: str, remedy: str, clause: str) -> None:
        problem = self._origin.problem(text, path, remedy=remedy)
        self._findings.add(rule, severity, problem, clause, self._bound.place)


def _secrets(value: Any, path: KeyPath, depth: int) -> Iterator[_Found]:
    """Everything secret in some options."""
    if depth > _DEPTH:
        return
    user = str(getattr(value, "user", "") or "")
    for name, inner in _members(value):
        where = (*path, name)
        if isinstance(inner, SecretStr):
            yield _Found(where, str(name), inner.get_secret_value(), user)
        elif isinstance(inner, Secret):
            yield _Found(where, str(name), inner.reveal(), user)
        elif isinstance(inner, BaseModel | Mapping | list):
            yield from _secrets(inner, where, depth + 1)


def _key_files(value: Any, path: KeyPath, depth: int) -> Iterator[tuple[KeyPath, Path]]:
    if depth > _DEPTH:
        return
    for name, inner in _members(value):
        if isinstance(inner, str) and not isinstance(inner, Secret) and inner:
            own = name in _KEY_FILES or (name == "certificate" and not getattr(value, "key", ""))
            if own and "-----" not in inner and Path(inner).is_file():
                yield (*path, name), Path(inner)
        elif isinstance(inner, BaseModel | Mapping | list):
            yield from _key_files(inner, (*path, name), depth + 1)


def _members(value: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield name, getattr(value, name)
    elif isinstance(value, Mapping):
        yield from ((str(name), inner) for name, inner in value.items())
    elif isinstance(value, list):
        yield from enumerate(value)


def _looks_like_place(value: str) -> bool:
    """An address or path of something, rather than the thing itself."""
    return "://" in value or value.startswith(("/", "./", "${"))
