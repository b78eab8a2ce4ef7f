"""``hub check --security`` and ``hub sbom``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from hub.cli.common import console, emit, table
from hub.i18n import t

__all__ = ["SBOM_HELP", "check_security", "sbom"]

SBOM_HELP = t(
    "The software bill of materials: every installed package the hub depends on, as CycloneDX JSON. No network is used.",
    "软件物料清单：枢纽所依赖的全部已安装软件包，CycloneDX JSON 格式，不访问网络。",
)


def check_security(config: Path, as_json: bool) -> None:
    """One table; status 1 where something is of high severity or could not be looked at."""
    from hub.check_security import examine

    report = examine(config)
    if as_json:
        emit(report.as_dict())
    else:
        words = {"high": t("high", "高"), "medium": t("medium", "中"), "low": t("low", "低")}
        table(
            [
                t("severity", "级别"),
                t("rule", "规则"),
                t("where", "位置"),
                t("interface", "接口"),
                t("finding", "发现"),
                t("remedy", "办法"),
                t("clause", "条款"),
            ],
            [
                [
                    words[f.severity],
                    f.rule,
                    f.where + (f" {f.key}" if f.key else ""),
                    f.place,
                    f.text,
                    f.remedy,
                    f.clause,
                ]
                for f in report.findings
            ],
        )
        if report.unread:
            console.print(
                t(
                    f"{report.unread} errors: what they concern was not looked at; see hub check",
                    f"{report.unread} 个错误，相关部分未检查；请见 hub check",
                ),
                markup=False,
            )
        console.print(
            t(
                f"{report.systems} systems, {report.interfaces} interfaces: {report.count('high')} high, "
                f"{report.count('medium')} medium, {report.count('low')} low",
                f"{report.systems} 个系统、{report.interfaces} 个接口：高 {report.count('high')}，"
                f"中 {report.count('medium')}，低 {report.count('low')}",
            )
        )
    if not report.ok:
        sys.exit(1)


def sbom(
    output: Annotated[
        str, typer.Option("--output", "-o", help=t("file to write; default: the terminal", "输出文件；默认输出到终端"))
    ] = "",
) -> None:
    from hub.sbom import bill_of_materials, written

    text = written(bill_of_materials())
    if output:
        Path(output).write_bytes(text)
    else:
        sys.stdout.buffer.write(text)
