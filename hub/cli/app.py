"""The ``hub`` program: its commands and what they share."""

from __future__ import annotations

import sys

import typer

from hub.cli import (
    act,
    audit,
    callbacks,
    callers,
    catalog,
    keys,
    look,
    mapping,
    new,
    personal,
    quality,
    quality_report,
    security,
    serve,
    store,
    tables,
    users,
)
from hub.errors import ConfigError, HubError
from hub.i18n import t

__all__ = ["app", "main"]

app = typer.Typer(
    name="hub",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help=t(
        "Tongqu: receive, store, route, map and deliver messages between systems. "
        "Start with `hub check`, then `hub run`; look with `hub messages`, mend with `hub dead`.",
        "通衢：在各系统之间接收、存储、路由、映射并投递消息。先 `hub check`，再 `hub run`；用 `hub messages` 查看，用 `hub dead` 处理死信。",
    ),
)

app.command("run", help=serve.RUN_HELP)(serve.run)
app.command("check", help=serve.CHECK_HELP)(serve.check)
app.command("bench", help=serve.BENCH_HELP)(serve.bench)
app.command("status", help=look.STATUS_HELP)(look.status)
app.command("plugins", help=look.PLUGINS_HELP)(look.plugins)
app.command("messages", help=look.MESSAGES_HELP)(look.messages)
app.command("show", help=look.SHOW_HELP)(look.show)
app.command("calls", help=look.CALLS_HELP)(look.calls)
app.command("callbacks", help=callbacks.CALLBACKS_HELP)(callbacks.callbacks)
app.command("verify-ledger", help=look.LEDGER_HELP)(look.verify_ledger)
app.command("send", help=act.SEND_HELP)(act.send)
app.command("poll", help=act.POLL_HELP)(act.poll)
app.command("probe", help=look.PROBE_HELP)(look.probe)
app.command("dead", help=act.DEAD_HELP)(act.dead)
app.command("replay", help=act.REPLAY_HELP)(act.replay)
app.command("reload", help=act.RELOAD_HELP)(act.reload)
app.command("export", help=personal.EXPORT_HELP)(personal.export)
app.command("anonymise", help=personal.ANONYMISE_HELP)(personal.anonymise)
app.command("audit", help=audit.AUDIT_HELP)(audit.audit)
app.command("sbom", help=security.SBOM_HELP)(security.sbom)
app.command("catalog", help=catalog.CATALOG_HELP)(catalog.catalog)
app.add_typer(new.app, name="new")
app.add_typer(mapping.app, name="mapping")
app.add_typer(callers.app, name="callers")
app.add_typer(keys.app, name="keys")
app.add_typer(store.app, name="store")
app.add_typer(tables.app, name="tables")
app.add_typer(users.app, name="users")
app.add_typer(users.approvals, name="approvals")
quality.app.command("report", help=quality_report.REPORT_HELP)(quality_report.report)
quality.app.command("rerun", help=quality_report.RERUN_HELP)(quality_report.rerun)
app.add_typer(quality.app, name="quality")


def main() -> None:
    """Entry point; an error a person can act on ends with one line and status 1, never with a traceback."""
    try:
        app()
    except ConfigError as error:
        for problem in error.problems:
            print(f"{problem.severity}: {problem}", file=sys.stderr)
        sys.exit(1)
    except HubError as error:
        print(f"hub: {error.text}" + (f"\n  -> {error.remedy}" if error.remedy else ""), file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(0)
