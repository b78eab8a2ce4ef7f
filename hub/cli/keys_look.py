"""Commands of ``hub keys`` that only look: ``list``, ``show``, ``certificates``, ``check``, ``log``."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Annotated, Any

import orjson
import typer

from hub.admin.present import when_text
from hub.cli.common import DEFAULT_CONFIG, AsJson, Config, Site, console, emit, site, table
from hub.cli.keys_open import opened
from hub.cli.keys_print import certificate_json, print_key, print_keys
from hub.i18n import t
from hub.keys.expiry import certificate_files, expiring, file_notices
from hub.keys.model import Kind, State
from hub.keys.opened import key_store_exists
from hub.keys.store import KeyStore

__all__ = ["certificates", "check", "list_", "log", "show"]

LIST_HELP = t("The keys, their active versions, and until when they are valid.", "密钥、启用中的版本及有效期。")
SHOW_HELP = t("A key with its policy and versions; never its secret.", "密钥的策略与各版本；不显示密钥内容。")
CERTIFICATES_HELP = t(
    "The certificates in the key store and in the files TLS options name, with their expiry.",
    "密钥库中以及 TLS 选项所指文件中的证书及到期时间。",
)
CHECK_HELP = t(
    "What is due: rotations, versions and certificates that expire; status 1 when something is.",
    "待办事项：应轮换的密钥、将到期的版本与证书；有待办时退出码为 1。",
)
LOG_HELP = t(
    "The journal: what was done to keys, and how often they were used; --verify checks that no entry was altered, removed or reordered.",
    "日志：对密钥的操作及使用次数；--verify 检查有无改动、删除或调序。",
)
_PAGE = 1000


def list_(config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    with opened(site(config)) as store:
        print_keys(store.content, store.clock(), as_json)


def show(
    name: Annotated[str, typer.Argument(help=t("name of the key", "密钥名称"))],
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    with opened(site(config)) as store:
        print_key(store.content, name, as_json)


def _files(where: Site) -> dict[str, tuple[str, ...]]:
    """The files with certificates that the configuration names."""
    from hub.deployment import load_deployment

    deployment = load_deployment(where.file)
    return certificate_files([*deployment.inbound.values(), *deployment.outbound.values()])


def certificates(config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    where = site(config)
    rows: list[dict[str, Any]] = []
    if key_store_exists(where.config.keys, where.file.parent):
        with opened(where) as store:
            content = store.content
        for name, key in content.keys.items():
            rows.extend(
                {"name": f"{name}@{version.number}", "places": key.owner, **certificate_json(version.public)}
                for version in content.versions[name].values()
                if key.kind is Kind.CERTIFICATE and version.state in (State.PENDING, State.ACTIVE, State.RETIRING)
            )
    for path, places in _files(where).items():
        try:
            with open(path, "rb") as file:
                facts = certificate_json(file.read())
        except (OSError, ValueError):
            facts = {"subject": t("can't be read", "无法读取"), "not_after": ""}
        rows.append({"name": path, "places": " ".join(places), **facts})
    if as_json:
        return emit({"certificates": rows})
    table(
        [t("certificate", "证书"), t("subject", "主体"), t("valid until", "有效期至"), t("used by", "使用者")],
        [[row["name"], row["subject"], row["not_after"], row["places"]] for row in rows],
    )


def check(config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    where = site(config)
    now = time.time()
    notices = file_notices(_files(where), now, where.config.keys.warn_days)
    if key_store_exists(where.config.keys, where.file.parent):
        with opened(where) as store:
            notices += expiring(store.content, now)
    if as_json:
        emit({"due": [notice.as_dict() for notice in notices]})
    elif notices:
        table(
            [t("due", "待办"), t("days", "天数"), t("remedy", "办法"), t("used by", "使用者")],
            [[n.text, n.days, n.remedy, " ".join((n.owner, *n.places)).strip()] for n in notices],
        )
    else:
        console.print(t("nothing is due", "无待办事项"))
    if notices:
        sys.exit(1)


def log(
    name: Annotated[str, typer.Argument(help=t("only of this key", "仅此密钥"))] = "",
    config: Config = DEFAULT_CONFIG,
    verify: Annotated[bool, typer.Option(help=t("check the journal", "校验日志"))] = False,
    uses: Annotated[bool, typer.Option(help=t("with the records of use", "包含使用记录"))] = False,
    as_json: AsJson = False,
) -> None:
    with opened(site(config)) as store:
        problems = store.verify_journal() if verify else []
        rows = [row for row in _entries(store) if _concerns(row, name, uses)]
    if as_json:
        emit({"entries": rows, **({"problems": problems} if verify else {})})
    else:
        table(
            [
                "#",
                t("at", "时间"),
                t("who", "操作人"),
                t("action", "操作"),
                t("key", "密钥"),
                t("detail", "详情"),
                t("reason", "理由"),
            ],
            [
                [
                    row["seq"],
                    row["at"][:19],
                    row["actor"],
                    row["action"],
                    row["subject"],
                    orjson.dumps(row["detail"]).decode(),
                    row["reason"],
                ]
                for row in rows
            ],
        )
        for problem in problems:
            console.print(problem, style="red", markup=False)
        if verify and not problems:
            console.print(t("the journal is as it was written", "日志完整，未被改动"))
    if problems:
        sys.exit(1)


def _entries(store: KeyStore) -> Iterator[dict[str, Any]]:
    after = 0
    while rows := store.journal(after, _PAGE):
        for row in rows:
            yield {"seq": row["seq"], **orjson.loads(row["entry"]), "at": when_text(row["at"])}
        after = rows[-1]["seq"]


def _concerns(row: dict[str, Any], name: str, uses: bool) -> bool:
    if row["action"] == "keys.use":
        return uses and (not name or any(use["key"] == name for use in row["detail"]["uses"]))
    return not name or row["subject"] == name
