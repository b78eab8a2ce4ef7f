"""The ``hub`` program: its commands and what they share."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from hub.errors import ConfigError, HubError
from hub.i18n import t

__all__ = ["COMMANDS", "GROUPS", "app", "main"]

#: Name of a command -> its function in a module of this package, and its help there.
COMMANDS = {
    "run": ("serve.run", "RUN_HELP"),
    "check": ("serve.check", "CHECK_HELP"),
    "bench": ("serve.bench", "BENCH_HELP"),
    "status": ("look.status", "STATUS_HELP"),
    "plugins": ("look.plugins", "PLUGINS_HELP"),
    "messages": ("look.messages", "MESSAGES_HELP"),
    "show": ("look.show", "SHOW_HELP"),
    "calls": ("look.calls", "CALLS_HELP"),
    "callbacks": ("callbacks.callbacks", "CALLBACKS_HELP"),
    "verify-ledger": ("look.verify_ledger", "LEDGER_HELP"),
    "send": ("act.send", "SEND_HELP"),
    "poll": ("act.poll", "POLL_HELP"),
    "probe": ("look.probe", "PROBE_HELP"),
    "dead": ("act.dead", "DEAD_HELP"),
    "replay": ("act.replay", "REPLAY_HELP"),
    "reload": ("act.reload", "RELOAD_HELP"),
    "export": ("personal.export", "EXPORT_HELP"),
    "anonymise": ("personal.anonymise", "ANONYMISE_HELP"),
    "audit": ("audit.audit", "AUDIT_HELP"),
    "sbom": ("security.sbom", "SBOM_HELP"),
    "catalog": ("catalog.catalog", "CATALOG_HELP"),
    "docs": ("docs.docs", "DOCS_HELP"),
    "simulate": ("simulate.simulate", "SIMULATE_HELP"),
    "verify": ("verify.verify", "VERIFY_HELP"),
}
#: Name of a group of commands -> the group in a module of this package.
GROUPS = {
    "new": "new.app",
    "mapping": "mapping.app",
    "callers": "callers.app",
    "keys": "keys.app",
    "store": "store.app",
    "tables": "tables.app",
    "users": "users.app",
    "approvals": "users.approvals",
    "quality": "quality.app",
    "flows": "flows.app",
}


def _load(name: str) -> Any:
    """A command with what it needs of the hub; most need little of it, and a start is to be quick."""
    place, help_name = COMMANDS.get(name) or (GROUPS[name], "")
    module_name, _, attribute = place.partition(".")
    module = import_module(f"hub.cli.{module_name}")
    found = getattr(module, attribute)
    if help_name:
        single = typer.Typer(add_completion=False)
        single.command(name, help=getattr(module, help_name))(found)
        return get_command(single)
    group = get_group(found)
    group.name = name
    return group


class _Commands(TyperGroup):
    """The commands, each loaded when it is called or its help is asked for."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        names: dict[str, Any] = dict.fromkeys(self.list_commands(None))  # to suggest from; loaded by get_command
        self.commands = names

    def list_commands(self, ctx: Any) -> list[str]:
        return [*COMMANDS, *GROUPS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return _load(cmd_name) if cmd_name in self.commands else None


app = typer.Typer(
    name="hub",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help=t(
        "Tongqu: receive, store, route, map and deliver messages between systems. "
        "Start with `hub check`, then `hub run`; look with `hub messages`, mend with `hub dead`.",
        "通衢：在各系统之间接收、存储、路由、映射并投递消息。先 `hub check`，再 `hub run`；用 `hub messages` 查看，用 `hub dead` 处理死信。",
    ),
)


@app.callback()
def _hub() -> None:
    """Without a function of its own: it makes a program with commands out of what has none registered."""


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
