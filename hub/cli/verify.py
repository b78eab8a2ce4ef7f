"""``hub verify``: contract tests of plugins."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from hub.cli.common import DEFAULT_CONFIG, Config, console, emit, site
from hub.errors import HubError
from hub.i18n import t

if TYPE_CHECKING:
    from hub.verify import Report

__all__ = ["VERIFY_HELP", "verify"]

VERIFY_HELP = t(
    "Contract tests of plugins: every interface is called for real, through adapter, security, mapping and schema of a running hub, "
    "against the simulated other party and its faults. Status 1 when a check fails. Example: hub verify wechat_pay --html report.html",
    "插件契约测试：在运行中的枢纽上经适配器、安全、映射与校验真实调用每个接口，对端为模拟方及其故障。有检查失败时退出码为 1。"
    "例：hub verify wechat_pay --html report.html",
)

_MARKS = {"passed": ("✓", "green"), "failed": ("✗", "bold red"), "missing": ("–", "dim"), "skipped": ("○", "yellow")}


def verify(
    plugins: Annotated[
        list[str] | None, typer.Argument(help=t("ids of plugins; all when none is named", "插件编号，缺省为全部"))
    ] = None,
    config: Config = DEFAULT_CONFIG,
    jobs: Annotated[int, typer.Option(min=1, max=64, help=t("processes", "进程数"))] = 1,
    files_only: Annotated[
        bool, typer.Option("--files-only", help=t("only what files show; nothing is called", "仅检查文件，不发起调用"))
    ] = False,
    proofs: Annotated[
        bool,
        typer.Option(
            "--proofs", help=t("also run the tests named in verify.yaml", "同时运行 verify.yaml 中列出的测试")
        ),
    ] = False,
    benchmark: Annotated[
        bool, typer.Option("--benchmark", help=t("also measure each interface", "同时对每个接口做基准测量"))
    ] = False,
    record: Annotated[
        bool,
        typer.Option(
            "--record",
            help=t(
                "keep the results in docs/quality.json; levels come from it",
                "将结果记入 docs/quality.json，等级据此计算",
            ),
        ),
    ] = False,
    html: Annotated[Path | None, typer.Option("--html", help=t("write a report for people", "写出网页报告"))] = None,
    json: Annotated[
        str,
        typer.Option("--json", metavar="FILE", help=t("write it as JSON; -: print it", "写出 JSON，- 为输出到终端")),
    ] = "",
    junit: Annotated[Path | None, typer.Option("--junit", help=t("write it as JUnit XML", "写出 JUnit XML"))] = None,
    every: Annotated[bool, typer.Option("--all", help=t("list what passed as well", "同时列出通过项"))] = False,
) -> None:
    from hub.verify import Options
    from hub.verify import verify as run
    from hub.verify.exports import as_dict, as_json, as_junit
    from hub.verify.html import as_html
    from hub.verify.record import Record
    from hub.verify.site import open_site

    where = site(config).file
    report = run(
        where, plugins or [], jobs=jobs, options=Options(calls=not files_only, proofs=proofs, benchmark=benchmark)
    )
    if record:
        if files_only:
            raise HubError(
                t("nothing was called, there is nothing to record", "未发起调用，没有可记录的结果"),
                code="verify.record",
            )
        root = open_site(where).root
        Record.read(root).keep(report, all_plugins=not plugins)
    for file, content in ((html, as_html), (Path(json) if json not in ("", "-") else None, as_json), (junit, as_junit)):
        if file is not None:
            _write(file, content(report))
    if json == "-":
        emit(as_dict(report))
    else:
        _print(report, every=every)
    if not report.ok:
        sys.exit(1)


def _write(file: Path, content: bytes) -> None:
    try:
        file.write_bytes(content)
    except OSError as error:
        raise HubError(
            t(f"{file} can't be written: {error.strerror}", f"无法写入 {file}：{error.strerror}"), code="verify.write"
        ) from None


def _print(report: Report, *, every: bool) -> None:
    from hub.verify.catalogue import CHECKS
    from hub.verify.levels import level_of
    from hub.verify.model import Status

    present = [check for check in CHECKS if any(plugin.status(check.id) is not None for plugin in report)]
    if report.plugins:
        grid = Table(box=None, pad_edge=False)
        grid.add_column(t("plugin", "插件"), no_wrap=True)
        grid.add_column(t("level", "等级"), no_wrap=True)
        for number, _ in enumerate(present, 1):
            grid.add_column(str(number), justify="center", no_wrap=True)
        for plugin in report:
            marks = []
            for check in present:
                mark, style = _MARKS.get(str(plugin.status(check.id)), ("·", "dim"))
                marks.append(f"[{style}]{mark}[/]")
            grid.add_row(plugin.plugin, level_of(plugin) or "–", *marks)
        console.print(grid)
        words = "  ".join(f"{number} {check.title}" for number, check in enumerate(present, 1))
        console.print(words, markup=False, style="dim")
    for plugin in report:
        for result in plugin.results:
            if (
                every
                or result.status is Status.FAILED
                or (len(report.plugins) == 1 and result.status is not Status.PASSED)
            ):
                mark, style = _MARKS[str(result.status)]
                console.print(f"[{style}]{mark}[/]", end=" ")
                place = f" {result.place}" if result.place else ""
                console.print(
                    f"{plugin.plugin} {result.check}{place}: {result.why or t('passed', '通过')}", markup=False
                )
                if result.remedy and result.status is not Status.PASSED:
                    console.print(f"    -> {result.remedy}", markup=False)
    for name, why in report.not_loaded.items():
        console.print(f"✗ {name}: {t('could not be loaded', '未能加载')}: {why}", markup=False)
    counts = report.counts()
    console.print(
        t(
            f"{len(report.plugins)} plugins in {report.seconds:.1f} s: {counts[Status.PASSED]} passed, "
            f"{counts[Status.FAILED]} failed, {counts[Status.MISSING]} missing, {counts[Status.SKIPPED]} skipped",
            f"{len(report.plugins)} 个插件，用时 {report.seconds:.1f} 秒：通过 {counts[Status.PASSED]}，"
            f"失败 {counts[Status.FAILED]}，缺少 {counts[Status.MISSING]}，跳过 {counts[Status.SKIPPED]}",
        ),
        markup=False,
    )
