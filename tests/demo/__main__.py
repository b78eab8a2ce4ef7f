"""``make demo``: a morning and an afternoon at the hub, told and checked. Status 0 only when everything happened as told."""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.cells import set_cell_size
from rich.console import Console

from hub.config import load_config
from hub.errors import HubError
from hub.i18n import t
from tests.demo.afternoon import Afternoon
from tests.demo.checks import Checks
from tests.demo.hub import DemoError, Hub
from tests.demo.parties import Parties, make_secrets
from tests.demo.peers import Peers
from tests.demo.place import AFTERNOON, REPOSITORY, SECRETS, Place, apart, secret, usual
from tests.demo.story import Morning


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description=t("The demo.", "演示。"))
    parser.add_argument(
        "--keep",
        action="store_true",
        help=t("leave the hub and the simulators running afterwards", "结束后保持枢纽与模拟系统运行"),
    )
    parser.add_argument(
        "--apart",
        type=Path,
        metavar="FOLDER",
        help=t("run in this folder, on free ports", "在此目录、用空闲端口运行"),
    )
    parser.add_argument(
        "--prepare",
        action="store_true",
        help=t(
            "only make the keys and tokens that config/demo and config/afternoon name",
            "仅生成 config/demo 与 config/afternoon 所引用的密钥与令牌文件",
        ),
    )
    parser.add_argument(
        "--part",
        choices=["morning", "afternoon"],
        help=t("only this part", "仅此部分"),
    )
    options = parser.parse_args()
    if options.prepare:
        for name in SECRETS:
            secret(usual().folder, name)
        asyncio.run(make_secrets(AFTERNOON))
        return 0
    # Wide enough for the tables where the output is no terminal.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    try:
        return asyncio.run(_run(console, options.apart, options.part, keep=options.keep))
    except (DemoError, HubError, OSError) as error:
        console.print(str(error), style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        return 130


async def _run(console: Console, folder: Path | None, part: str | None, *, keep: bool) -> int:
    started = time.monotonic()
    told_to_stop = asyncio.Event()
    checks = Checks(console)
    if part == "afternoon":
        await _afternoon(console, folder, checks)
        return _verdict(console, checks, started)
    place, peers = await _settle(console, folder)
    hub = Hub(place)
    try:
        place.forget()
        console.print(t("[bold]Tongqu[/bold] – a morning at the hub", "[bold]通衢[/bold]：枢纽的一个上午"))
        morning = Morning(place, hub, peers, checks, console)
        checked, _ = await asyncio.gather(hub.cli_json("check"), hub.start())
        checks.expect(
            t("`hub check` finds nothing wrong with the configuration", "`hub check` 确认配置无误"),
            [],
            [problem["text"] for problem in checked["problems"]],
        )
        checks.say(t(f"the hub runs at {hub.address}", f"枢纽运行于 {hub.address}"))
        await morning.tell()
        if keep:
            if part is None:
                await _afternoon(console, folder, checks)
            _verdict(console, checks, started)
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
            await _stay(console, hub, peers, told_to_stop)
            return 1 if checks.missed else 0
        checks.expect(t("the hub stops cleanly when told to", "枢纽按要求正常停止"), 0, await hub.stop())
    finally:
        await hub.stop()
        await peers.stop()
    if part is None:
        await _afternoon(console, folder, checks)
    return _verdict(console, checks, started)


async def _afternoon(console: Console, folder: Path | None, checks: Checks) -> None:
    """With a hub of its own, always on free ports."""
    with _own_folder(folder / "afternoon" if folder is not None else AFTERNOON) as where:
        parties = Parties(where)
        hub = Hub(parties.place)
        console.print(t("\n[bold]Tongqu[/bold] – the afternoon", "\n[bold]通衢[/bold]：下午"))
        try:
            parties.place.forget()
            await parties.start()
            await Afternoon(parties, hub, checks).tell()
            checks.expect(t("the hub stops cleanly when told to", "枢纽按要求正常停止"), 0, await hub.stop())
        finally:
            await hub.stop()
            await parties.stop()


@contextmanager
def _own_folder(wanted: Path) -> Iterator[Path]:
    """The folder, made where it is not there; another one beside it while another demo has it."""
    folder = _created(wanted.resolve())
    with (folder / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            folder = Path(tempfile.mkdtemp(prefix="afternoon-", dir=folder.parent))
        yield folder


async def _settle(console: Console, folder: Path | None) -> tuple[Place, Peers]:
    """Where to run, and the parties there, listening. Goes apart by itself where the usual ports are taken."""
    if folder is None:
        place = usual()
        busy = _busy_port(place)
        if not busy:
            peers = _peers(place.folder)
            await peers.start(place.ports)
            secret(place.folder, "operator.token")
            return place, peers
        folder = Path(tempfile.mkdtemp(prefix="demo-", dir=_created(place.folder.parent)))
        console.print(
            t(
                f"port {busy} is in use (another demo?): running apart, in {folder}",
                f"端口 {busy} 被占用（另一个演示？）：改在 {folder} 中独立运行",
            ),
            markup=False,
        )
    folder = _created(folder.resolve())
    peers = _peers(folder)
    ports = await peers.start({})
    secret(folder, "operator.token")
    return apart(folder, ports), peers


def _created(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _peers(folder: Path) -> Peers:
    names = {"province": "province.token", "ministry": "ministry.token", "sms": "sms.key"}
    return Peers({peer: secret(folder, name) for peer, name in names.items()})


def _busy_port(place: Place) -> int:
    """A port of the usual configuration that somebody else has; 0 when all are free."""
    config = load_config(place.config).hub
    inbound = [system.settings["port"] for system in config.systems.values() if "port" in system.settings]
    for port in (config.admin.port, *inbound, *place.ports.values()):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return int(port)
    return 0


def _verdict(console: Console, checks: Checks, started: float) -> int:
    """Tell how it went; the exit status."""
    took = time.monotonic() - started
    if checks.missed:
        console.print(
            t(
                f"\n[red bold]{len(checks.missed)} of {checks.met + len(checks.missed)} checks failed[/red bold] ({took:.1f} s):",
                f"\n[red bold]{checks.met + len(checks.missed)} 项检查中有 {len(checks.missed)} 项不符[/red bold]（{took:.1f} 秒）：",
            )
        )
        for text in checks.missed:
            console.print(f"  {text}", markup=False)
        return 1
    console.print(
        t(
            f"\n[green bold]Everything happened as told[/green bold]: {checks.met} checks, {took:.1f} s",
            f"\n[green bold]一切如所述[/green bold]：{checks.met} 项检查，{took:.1f} 秒",
        )
    )
    return 0


async def _stay(console: Console, hub: Hub, peers: Peers, told_to_stop: asyncio.Event) -> None:
    """Leave everything running until told to stop, and say where to look."""
    place = hub.place

    def relative(path: Path) -> str:
        return os.path.relpath(path, REPOSITORY)

    token = relative(place.data / "admin.token")
    rows = [
        (t("admin API", "管理接口"), hub.address),
        (t("its token", "令牌文件"), token),
        (t("configuration", "配置"), relative(place.config)),
        (t("log", "日志"), relative(place.log)),
        *((t(f"simulator {p.name}", f"模拟系统 {p.name}"), f"http://127.0.0.1:{p.port}") for p in peers.all),
    ]
    example = relative(REPOSITORY / "plugins" / "hospital" / "his_hl7v2" / "examples" / "adt_a04.hl7")
    commands = [
        hub.shown("status"),
        hub.shown("messages", "--since", "-1h", "--limit", "5"),
        hub.shown("messages", "--key", "patient_id=P000004"),
        hub.shown("calls", "--failed"),
        hub.shown("send", "his/adt", example),
        hub.shown("verify-ledger"),
        f'curl -H "Authorization: Bearer $(cat {token})" {hub.address}/metrics',
    ]
    lines = [
        "",
        t("The hub and the simulators stay; Ctrl-C ends them.", "枢纽与模拟系统保持运行，按 Ctrl-C 结束。"),
        *(f"  {set_cell_size(name, 20)} {value}" for name, value in rows),
        t("Try, from the repository:", "可在仓库目录中试用："),
        *(f"  {command}" for command in commands),
    ]
    console.print("\n".join(lines), markup=False, soft_wrap=True)
    await told_to_stop.wait()


if __name__ == "__main__":
    sys.exit(main())
