"""The hub as it is deployed: the store, the admin API, the rights of files and folders, the key store, certificates."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from contextlib import closing
from pathlib import Path

from hub.audit.security import weaknesses
from hub.check_security.finding import Clause, Findings
from hub.check_security.listeners import is_loopback
from hub.check_security.secrets import is_default, others_may
from hub.deployment import Deployment
from hub.errors import HubError, Problem
from hub.i18n import t
from hub.keys.expiry import Notice, certificate_files, expiring, file_notices
from hub.keys.opened import folder_of, key_store, key_store_exists
from hub.secrets import resolve
from hub.yaml_source import Place

__all__ = ["look_at_files", "look_at_keys", "look_at_site"]

_HALF_A_YEAR_S = 180 * 86400.0
_SHORTEST_TOKEN = 24
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_WRITES = stat.S_IWGRP | stat.S_IWOTH
_MOST_FILES = 20_000


def look_at_site(deployment: Deployment, place: Place, findings: Findings) -> None:
    """``hub.yaml`` itself."""
    config = deployment.config
    if config.store.encryption == "off":
        text = t("what is stored is not encrypted", "存储内容未加密")
        remedy = t(
            "hub keys init, then store: {encryption: sm4-gcm}; or an encrypted disk",
            "执行 hub keys init 后设 store: {encryption: sm4-gcm}；或使用加密磁盘",
        )
        problem = place.problem(text, ("store", "encryption"), remedy=remedy)
        findings.add("store.plain", "medium", problem, Clause.CONFIDENTIALITY)
    if 0 < config.store.retention < _HALF_A_YEAR_S:
        days = config.store.retention / 86400
        text = t(f"messages and call log are kept for {days:.0f} days only", f"消息与调用日志仅保留 {days:.0f} 天")
        remedy = t(
            "logs have to be kept for six months at least: 180d, or archive them",
            "日志须至少留存六个月：请设 180d，或另行归档",
        )
        findings.add(
            "store.short_retention", "medium", place.problem(text, ("store", "retention"), remedy=remedy), Clause.AUDIT
        )
    if config.log.level == "debug":
        text = t("the log tells more than is needed to run", "日志级别为 debug，记录了超出运行所需的内容")
        findings.add(
            "log.debug",
            "low",
            place.problem(text, ("log", "level"), remedy=t("level: info", "level: info")),
            Clause.AUDIT,
        )
    _look_at_admin(deployment, place, findings)
    _look_at_audit(deployment, place, findings)
    for name, route in deployment.routes.items():
        if "*" in route.source and "*" in route.types and not route.when:
            where = deployment.declared.get(f"routes.{name}")
            text = t("this route takes everything of every system", "此路由接收所有系统的全部消息")
            remedy = t("name the sources, types or a condition", "请限定来源、类型或条件")
            problem = (
                where.problem(text, ("from",), remedy=remedy)
                if where is not None
                else Problem(text, key=name, remedy=remedy)
            )
            findings.add("route.everything", "medium", problem, Clause.ACCESS)


def _look_at_admin(deployment: Deployment, place: Place, findings: Findings) -> None:
    admin = deployment.config.admin
    if not is_loopback(admin.host) and getattr(admin, "tls", None) is None:
        text = t(
            f"the admin API listens on {admin.host} without TLS: its credentials can be read on the way",
            f"管理接口在 {admin.host} 上监听而未启用 TLS：其凭据可在途中被读取",
        )
        remedy = t(
            "leave it on 127.0.0.1 and put a reverse proxy with TLS in front",
            "请仅监听 127.0.0.1，并在前端部署启用 TLS 的反向代理",
        )
        findings.add("admin.no_tls", "high", place.problem(text, ("admin", "host"), remedy=remedy), Clause.TRANSPORT)
    if admin.token == "off":  # noqa: S105 - a word of the configuration
        return
    people = _people(deployment.data / "access.db")
    if people or not is_loopback(admin.host):
        text = t(
            "whoever has the hub's own token may do everything, in anybody's name",
            "持有枢纽自身令牌者可以任何人的名义做任何操作",
        )
        remedy = t(
            "hub users add …, then admin: {token: off}; programs take personal API tokens",
            "执行 hub users add … 后设 admin: {token: off}；程序使用个人 API 令牌",
        )
        problem = place.problem(text, ("admin", "token"), remedy=remedy)
        findings.add("admin.shared_token", "medium" if people else "high", problem, Clause.ACCESS)
    if not admin.token:
        return
    try:
        token = resolve(admin.token, place.document.path.parent).reveal()
    except HubError:
        return  # told by the check of the configuration
    if is_default(token) or len(token) < _SHORTEST_TOKEN:
        text = t(
            f"the admin token is shorter than {_SHORTEST_TOKEN} characters or known to everybody",
            f"管理令牌少于 {_SHORTEST_TOKEN} 个字符，或过于常见",
        )
        remedy = t("remove it: the hub then makes a good one at its next start", "请删除该项：枢纽下次启动时会自行生成")
        findings.add(
            "admin.weak_token", "high", place.problem(text, ("admin", "token"), remedy=remedy), Clause.IDENTITY
        )


def _people(file: Path) -> int:
    """How many people have an account. Read without leaving anything behind."""
    if not file.exists():
        return 0
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=2)) as database:
            return int(database.execute("SELECT count(*) FROM person").fetchone()[0])
    except sqlite3.Error:
        return 0


def _look_at_audit(deployment: Deployment, place: Place, findings: Findings) -> None:
    for weak in weaknesses(deployment.config, place.document.path.parent):
        problem = place.problem(weak.text, weak.key, remedy=weak.remedy)
        findings.add(weak.rule, weak.severity, problem, Clause.AUDIT)


def look_at_files(deployment: Deployment, config_file: Path, findings: Findings) -> None:
    """Who may read what is stored, and who may change what the hub runs."""
    data = deployment.data
    if others_may(data, _OTHERS):
        text = t("others than the hub's user may enter the data folder", "属主以外的用户可进入数据目录")
        findings.add_file("data.rights", "high", data, text, f"chmod 700 {data}", Clause.CONFIDENTIALITY)
    for folder, file in _code_and_configuration(deployment, config_file):
        if others_may(file, _WRITES):
            text = t("others than its owner may change what the hub runs", "属主以外的用户可修改枢纽运行的内容")
            findings.add_file("files.writable", "high", file, text, f"chmod go-w {file}", Clause.INTRUSION)
        elif others_may(folder, _WRITES) and not folder.stat().st_mode & stat.S_ISVTX:
            text = t(
                "others may put files into this folder, and the hub runs them",
                "属主以外的用户可向此目录放入枢纽会运行的文件",
            )
            findings.add_file("files.writable", "high", folder, text, f"chmod go-w {folder}", Clause.INTRUSION)
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        text = t("this was run as root; run the hub as a user of its own", "当前以 root 运行；请以专用用户运行枢纽")
        remedy = t("make a user tongqu, and let the service run as it", "请创建用户 tongqu 并以其运行服务")
        findings.add("process.root", "medium", Problem(text, str(config_file), remedy=remedy), Clause.ACCESS)


def _code_and_configuration(deployment: Deployment, config_file: Path) -> list[tuple[Path, Path]]:
    """(folder, file) of everything that decides what the hub does."""
    found: dict[Path, Path] = {config_file.resolve(): config_file.resolve().parent}
    for place in deployment.declared.values():
        file = Path(place.document.path).resolve()
        found[file] = file.parent
    for plugin in deployment.registry.plugins.values():
        profiles = (profile.file for profile in plugin.profiles)
        for file in (plugin.folder / "plugin.yaml", plugin.folder / "plugin.py", *profiles):
            if file.is_file():
                found[file.resolve()] = file.resolve().parent
    return [(folder, file) for file, folder in list(found.items())[:_MOST_FILES]]


def look_at_keys(deployment: Deployment, base: Path, findings: Findings) -> None:
    """Key store, expiry of keys and certificates."""
    config = deployment.config.keys
    now = time.time()
    bounds = [*deployment.inbound.values(), *deployment.outbound.values()]
    notices: list[Notice] = file_notices(certificate_files(bounds), now, config.warn_days)
    if not key_store_exists(config, base):
        text = t(
            "there is no key store: keys stand in files and variables, without rotation or journal, and nothing signs the audit trail",
            "未建立密钥库：密钥存于文件和变量，无轮换与日志，审计记录亦无签名",
        )
        remedy = t("hub keys init, and write key:NAME for secrets", "执行 hub keys init，密钥处写 key:名称")
        findings.add("keys.none", "medium", Problem(text, str(base / config.path), remedy=remedy), Clause.KEYS)
    else:
        folder = folder_of(config, base)
        if others_may(folder, _OTHERS):
            text = t(
                "others than the hub's user may enter the folder of the key store", "属主以外的用户可进入密钥库目录"
            )
            findings.add_file("keys.rights", "high", folder, text, f"chmod 700 {folder}", Clause.KEYS)
        kind, _, name = config.master.partition(":")
        if kind == "file" and (base / name).resolve().is_relative_to(folder.resolve()):
            text = t("the master key lies in the folder it protects", "主密钥存放在其所保护的目录中")
            remedy = t("keep it on another disk, in a variable or in a device", "请存放于其他磁盘、环境变量或密码设备")
            findings.add_file("keys.master_beside", "high", folder, text, remedy, Clause.KEYS)
        try:
            notices += expiring(key_store(config, base).content, now)
        except HubError as error:
            text = t(f"the key store can't be opened here: {error.text}", f"此处无法打开密钥库：{error.text}")
            findings.add("keys.closed", "low", Problem(text, str(folder), remedy=error.remedy), Clause.KEYS)
    for notice in notices:
        where = notice.name if not notice.version else str(base / config.path)
        problem = Problem(notice.text, where, key=" ".join(notice.places), remedy=notice.remedy)
        findings.add(f"keys.{notice.what}", "high" if notice.urgent else "medium", problem, Clause.KEYS)
