"""``hub audit``: list, verify, export and archive the trail. Looking and verifying need no running hub."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from hub.admin.audit import audit_query
from hub.audit.signing import Verifier
from hub.audit.sources import Source, sources
from hub.audit.tables import FORMATS, Format, written
from hub.audit.trail import Trail
from hub.audit.verifying import Verified, verify_trail
from hub.audit.view import AuditQuery, find, newest
from hub.cli.common import DEFAULT_CONFIG, AsJson, Config, Site, ask, console, emit, site
from hub.cli.keys_open import actor
from hub.errors import HubError
from hub.i18n import t

__all__ = ["AUDIT_HELP", "audit"]

AUDIT_HELP = t(
    "The audit trail: list (default), verify, export, archive. "
    "hub audit --actor li --since -1d | hub audit verify --against copy.jsonl | hub audit export --format xlsx --out audit.xlsx",
    "审计记录：list（默认）、verify 校验、export 导出、archive 归档。"
    "例：hub audit --actor li --since -1d | hub audit verify --against copy.jsonl | hub audit export --format xlsx --out audit.xlsx",
)
_WORDS = ("list", "verify", "export", "archive")


def audit(
    what: Annotated[
        str, typer.Argument(help=t("list, verify, export or archive", "list、verify、export 或 archive"))
    ] = "list",
    config: Config = DEFAULT_CONFIG,
    verify: Annotated[
        bool, typer.Option("--verify", help=t("list: check the chains as well", "list：同时校验"))
    ] = False,
    by: Annotated[
        str, typer.Option("--actor", help=t("by whom; * matches any characters", "操作人；* 匹配任意字符"))
    ] = "",
    action: Annotated[str, typer.Option(help=t("what was done, e.g. delivery.*", "操作，例如 delivery.*"))] = "",
    subject: Annotated[str, typer.Option(help=t("to what", "对象"))] = "",
    address: Annotated[str, typer.Option(help=t("from where", "来源地址"))] = "",
    kind: Annotated[
        str,
        typer.Option("--class", help=t("access, config, operation, security, system", "类别，取值同左")),
    ] = "",
    result: Annotated[str, typer.Option(help=t("done, refused, failed", "结果：done、refused、failed"))] = "",
    chain: Annotated[
        str, typer.Option(help=t("hub, worker-00, keys, access", "链：hub、worker-00、keys、access"))
    ] = "",
    since: Annotated[str, typer.Option(help=t("from: 2026-11-21T08:30, or -15m", "起始时间"))] = "",
    until: Annotated[str, typer.Option(help=t("until", "截止时间"))] = "",
    last: Annotated[int, typer.Option(help=t("list: only the newest so many", "list：仅最新若干条"), min=0)] = 0,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            help=t("verify: copies kept elsewhere, JSON lines or syslog", "verify：别处留存的副本，JSON 行或 syslog"),
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    form: Annotated[
        str, typer.Option("--format", help=t("export: csv, xlsx or json", "export：csv、xlsx 或 json"))
    ] = "csv",
    out: Annotated[
        Path | None, typer.Option(help=t("export: to this file, not yet there", "export：写入此文件（须不存在）"))
    ] = None,
    older_than: Annotated[
        float | None,
        typer.Option(help=t("archive: older than so many days", "archive：早于此天数"), min=0),
    ] = None,
    why: Annotated[str, typer.Option(help=t("reason, for the audit trail", "理由，记入审计"))] = "",
    as_json: AsJson = False,
) -> None:
    where = site(config)
    query = audit_query(
        {
            "actor": by,
            "action": action,
            "subject": subject,
            "address": address,
            "class": kind,
            "result": result,
            "chain": chain,
            "since": since,
            "until": until,
        }
    )
    if what == "list":
        _list(where, query, last, verify, as_json)
    elif what == "verify":
        _tell(_verified(where, against or []), as_json)
    elif what == "export":
        given = {"actor": by, "action": action, "subject": subject, "address": address, "class": kind, "result": result}
        _export(where, query, given | {"chain": chain, "since": since, "until": until}, form, out, why)
    elif what == "archive":
        _archive(where, older_than, why, as_json)
    else:
        raise HubError(t(f"{what!r} is none of {', '.join(_WORDS)}", f"{what!r} 不在 {', '.join(_WORDS)} 之中"))


def _chains(where: Site) -> list[Source]:
    where.folders()  # says so where nothing is stored yet
    return sources(where.config, where.file.parent, where.data)


def _rows(where: Site, query: AuditQuery, last: int) -> Iterator[dict[str, Any]]:
    if last:
        yield from newest(_chains(where), query, last)
    else:
        yield from (row for _, row in find(_chains(where), query))


def _list(where: Site, query: AuditQuery, last: int, verify: bool, as_json: bool) -> None:
    rows = _rows(where, query, last)
    if as_json:
        entries = list(rows)
        done = _verified(where, []) if verify else Verified()
        emit({"entries": entries, "problems": done.problems})
    else:
        for row in rows:
            text = json.dumps(row["entry"], ensure_ascii=False, sort_keys=True)
            console.print(f"{row['chain']} {row['seq']} {_printable(text)}", markup=False)
        done = _verified(where, []) if verify else Verified()
        if verify:
            _say(done)
    if done.problems:
        sys.exit(1)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "·" for c in text)


def _verified(where: Site, against: list[Path]) -> Verified:
    return verify_trail(_chains(where), Verifier.of(where.config, where.file.parent), against)


def _tell(done: Verified, as_json: bool) -> None:
    if as_json:
        emit(done.as_dict())
    else:
        _say(done)
    if done.problems:
        sys.exit(1)


def _say(done: Verified) -> None:
    for problem in done.problems:
        console.print(f"! {_printable(problem)}", markup=False)
    for note in done.notes:
        console.print(f"? {note}", markup=False)
    count, chains = sum(done.entries.values()), sum(1 for number in done.entries.values() if number)
    console.print(
        t(
            f"{count} entries in {chains} chains, {done.archives} archives, {done.checkpoints} checkpoints ({done.signed} signed)"
            + (f", compared with {done.witnesses} lines" if done.witnesses else ""),
            f"{chains} 条链共 {count} 条记录，{done.archives} 个归档，{done.checkpoints} 个检查点（{done.signed} 个已签名）"
            + (f"，与 {done.witnesses} 行副本比对" if done.witnesses else ""),
        )
        + (t(": the chain is whole", "：链完整") if not done.problems else t(": NOT whole", "：不完整")),
        markup=False,
    )


def _export(where: Site, query: AuditQuery, given: dict[str, str], form: str, out: Path | None, why: str) -> None:
    chosen: Format | None = next((f for f in FORMATS if f == form), None)
    if chosen is None:
        raise HubError(t(f"--format: one of {', '.join(FORMATS)}", f"--format：{'、'.join(FORMATS)} 之一"))
    chains = _chains(where)
    told = {name: value for name, value in given.items() if value}
    Trail(where.data).record(actor(), "audit.export", "", {"format": chosen, "query": told}, why)
    parts = written((row for _, row in find(chains, query)), chosen)
    if out is None:
        for part in parts:
            sys.stdout.buffer.write(part)
        return
    try:
        with out.open("xb") as file:
            for part in parts:
                file.write(part)
    except OSError as error:
        raise HubError(t(f"{out} can't be written: {error.strerror}", f"无法写入 {out}：{error.strerror}")) from error


def _archive(where: Site, older_than: float | None, why: str, as_json: bool) -> None:
    order: dict[str, Any] = {"reason": why}
    if older_than is not None:
        order["older_than_days"] = older_than
    answer = ask(where, "POST", "/api/v1/audit/archive", body=order)
    if as_json:
        return emit(answer)
    for row in answer["archived"]:
        console.print(
            t(
                f"{row['chain']}: {row['rows']} entries in {len(row['files'])} new archives, archived up to {row['last']}",
                f"{row['chain']}：{row['rows']} 条写入 {len(row['files'])} 个新归档，已归档至 {row['last']}",
            ),
            markup=False,
        )
