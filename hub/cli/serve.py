"""``hub run``, ``hub check``, ``hub bench``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from hub.cli.common import DEFAULT_CONFIG, AsJson, Config, console, emit, site
from hub.errors import HubError
from hub.i18n import t
from hub.ids import MAX_WORKERS
from hub.logs import setup

RUN_HELP = t(
    "Run the hub until told to stop (Ctrl-C or SIGTERM). Without --workers everything is in one process.",
    "运行枢纽，直到收到停止信号（Ctrl-C 或 SIGTERM）。不带 --workers 时单进程运行。",
)
CHECK_HELP = t(
    "Check configuration, plugins, mappings and routes before anything runs; status 1 when there is an error.",
    "运行之前检查配置、插件、映射与路由；有错误时退出码为 1。",
)
BENCH_HELP = t("Measure this machine and the hub on it; one table.", "测量本机及其上的枢纽，输出一张表。")


def run(
    config: Config = DEFAULT_CONFIG,
    workers: Annotated[
        int,
        typer.Option(
            min=1, max=MAX_WORKERS, help=t("processes; systems are shared out among them", "进程数，各系统分配到各进程")
        ),
    ] = 1,
) -> None:
    from hub.process_loop import hold_collector, start_loop
    from hub.run import run_single, run_supervisor

    where = site(config)
    setup(where.config.log)
    hold_collector()

    def say(address: str) -> None:
        console.print(t(f"Tongqu is running; admin API at {address}", f"通衢已运行，管理接口：{address}"))
        console.print(
            t(f"token in {where.data / 'admin.token'}", f"令牌在 {where.data / 'admin.token'}")
            if not where.config.admin.token
            else ""
        )

    if workers > 1:
        sys.exit(start_loop(lambda: run_supervisor(where.file, workers, say)))
    sys.exit(start_loop(lambda: run_single(where.file, lambda node, address: say(address))))


def check(
    config: Config = DEFAULT_CONFIG,
    security: Annotated[
        bool,
        typer.Option(
            "--security",
            help=t(
                "look for what works but is not safe: TLS, authentication, algorithms, rights, keys; status 1 for a high one",
                "检查能运行但不安全之处：TLS、认证、算法、权限、密钥；有高级别发现时退出码为 1",
            ),
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    if security:
        from hub.cli.security import check_security

        return check_security(config.resolve(), as_json)
    from hub.check import check as run_check
    from hub.process_loop import hold_collector

    hold_collector()
    report = run_check(config.resolve())
    errors = [p for p in report.problems if p.severity == "error"]
    if as_json:
        emit(
            {
                "ok": not errors,
                "problems": [p.as_dict() for p in report.problems],
                "plugins": report.plugins,
                "systems": report.systems,
                "routes": report.routes,
                "mappings": report.mappings,
            }
        )
    else:
        for problem in report.problems:
            console.print(f"{problem.severity}: {problem}", markup=False)
        console.print(
            t(
                f"{report.plugins} plugins, {report.systems} systems, {report.routes} routes, {report.mappings} mappings: "
                f"{len(errors)} errors, {len(report.problems) - len(errors)} warnings ({report.seconds:.2f} s)",
                f"{report.plugins} 个插件、{report.systems} 个系统、{report.routes} 条路由、{report.mappings} 个映射："
                f"{len(errors)} 个错误，{len(report.problems) - len(errors)} 个警告（{report.seconds:.2f} 秒）",
            )
        )
    if errors:
        sys.exit(1)


def bench(
    only: Annotated[str, typer.Option(help=t("only figures whose name contains this", "只测名称含此文字的项"))] = "",
    as_json: AsJson = False,
) -> None:
    root = Path(__file__).resolve().parents[2]
    if not (root / "benchmarks" / "__main__.py").is_file():
        raise HubError(
            t(
                "the benchmarks are part of the source checkout, not of the installed package",
                "基准测试随源码提供，不在安装包内",
            ),
            remedy=t("run it from a checkout", "请在源码目录中运行"),
        )
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        *(["--only", only] if only else []),
        *(["--json"] if as_json else []),
    ]
    sys.exit(subprocess.call(command, cwd=root))  # noqa: S603 - our own module
