"""``hub simulate``: plays the other party of a plugin or of a system."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.cli.common import DEFAULT_CONFIG, AsJson, Config, console, emit, site
from hub.errors import HubError
from hub.i18n import t

if TYPE_CHECKING:
    from hub.mapping import MappingLibrary
    from hub.registry import LoadedPlugin, Registry
    from hub.simulator import Simulator
    from hub.simulator.control import Control
    from hub.simulator.deployed import Deployed
    from hub.simulator.keys import KeyBook

__all__ = ["SIMULATE_HELP", "simulate"]

SIMULATE_HELP = t(
    "Play the other party of a plugin from its contract: take calls of a hub as it would, refuse what it would refuse, answer, "
    "misbehave on demand, and send messages. Example: hub simulate wechat_pay --write /tmp/wechat",
    "依据契约模拟插件的对方系统：如对方一样接收、拒绝、应答枢纽的调用，按要求出错，并可发送消息。例：hub simulate wechat_pay --write /tmp/wechat",
)
#: Calls are shown so often, seconds.
_EVERY = 0.2
_SHOWN = 20


def simulate(
    plugin: Annotated[
        str, typer.Argument(help=t("id of the plugin; none with --system", "插件编号；用 --system 时省略"))
    ] = "",
    config: Config = DEFAULT_CONFIG,
    system: Annotated[
        str,
        typer.Option(help=t("a system of the configuration, with its own settings", "配置中的系统，使用其实际设置")),
    ] = "",
    interface: Annotated[
        list[str] | None, typer.Option(help=t("only this interface; may be repeated", "仅此接口，可重复"))
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help=t("NAME=VALUE of a setting", "设置的 名称=值"))
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(
            help=t("rsa:FILE or sm2:FILE, a private key of the other party", "rsa:文件 或 sm2:文件，对方的私钥")
        ),
    ] = None,
    host: Annotated[str, typer.Option(help=t("address to listen on", "监听地址"))] = "127.0.0.1",
    write: Annotated[
        Path | None,
        typer.Option(
            help=t("folder for a system that talks to it, with its secrets", "写出对接系统的配置及其密钥的文件夹")
        ),
    ] = None,
    misbehave: Annotated[
        list[str] | None,
        typer.Option(
            help=t(
                "INTERFACE=BEHAVIOUR[,TIMES[,SHARE]], * for every interface, e.g. '*=status:503,3', 'query=delay:2,all,0.1'",
                "接口=异常[,次数[,比例]]，* 表示全部接口，例如 '*=status:503,3'、'query=delay:2,all,0.1'",
            )
        ),
    ] = None,
    lenient: Annotated[
        bool, typer.Option("--lenient", help=t("each call by itself, without a memory", "逐次独立应答，不要求先后关系"))
    ] = False,
    drive: Annotated[
        str,
        typer.Option(
            help=t("send messages to this in interface of a hub, then end", "向枢纽的此 in 接口发送消息后结束")
        ),
    ] = "",
    to: Annotated[str, typer.Option(help=t("the hub's address, e.g. http://127.0.0.1:8080", "枢纽地址"))] = "",
    rate: Annotated[
        float, typer.Option(help=t("messages per second, 0: as fast as answered", "每秒条数，0 为不限"), min=0)
    ] = 1.0,
    count: Annotated[int, typer.Option(help=t("so many messages", "条数"), min=1)] = 10,
    as_is: Annotated[
        bool, typer.Option("--as-is", help=t("examples unchanged, numbers repeat", "示例原样发送，编号会重复"))
    ] = False,
    seed: Annotated[int, typer.Option(help=t("of what is left to chance", "随机种子"))] = 0,
    control: Annotated[int, typer.Option(help=t("port of the control address, 0: any", "控制端口，0 为任意"))] = 0,
    as_json: AsJson = False,
) -> None:
    from hub.simulator import Simulator
    from hub.simulator.control import Control
    from hub.simulator.handover import write_system
    from hub.simulator.keys import KeyBook

    if bool(plugin) == bool(system):
        raise HubError(
            t("name a plugin, or a system with --system", "请指定插件，或用 --system 指定系统"), code="simulate.what"
        )
    keys = KeyBook()
    for text in key or []:
        kind, _, file = text.partition(":")
        if kind not in ("rsa", "sm2") or not Path(file).is_file():
            raise HubError(t("--key is rsa:FILE or sm2:FILE", "--key 应为 rsa:文件 或 sm2:文件"), code="simulate.key")
        keys.learn(kind, Path(file).read_text(encoding="utf-8").strip())  # type: ignore[arg-type]  # checked above
    registry, mappings, schemas, chosen = _found(config, plugin, system, keys)

    async def play() -> int:
        simulator = await Simulator.start(
            chosen.plugin,
            registry,
            mappings,
            settings={**chosen.settings, **_pairs(settings or [], chosen.plugin)},
            interfaces=interface or [],
            seed=seed,
            overrides=chosen.overrides,
            schemas=schemas,
            host=host,
            keys=keys,
            lenient=lenient,
        )
        told = Control(simulator)
        try:
            _misbehaving(simulator, misbehave or [])
            if drive:
                return await _drive(simulator, drive, to, rate, count, not as_is, as_json)
            await told.start(control)
            if write is not None:
                write_system(chosen.plugin, simulator, write, system or chosen.plugin.contract.id)
            _tell(simulator, told, chosen.replaced, write, as_json)
            await _until_told(simulator, as_json)
            return 0
        finally:
            await told.stop()
            await simulator.stop()

    status = asyncio.run(play())
    if status:
        raise typer.Exit(status)


def _found(
    config: Path, plugin: str, system: str, keys: KeyBook
) -> tuple[Registry, MappingLibrary, list[Path], Deployed]:
    """What is played, and what it is read with."""
    from hub.deployment import load_deployment
    from hub.mapping import MappingLibrary
    from hub.registry import Registry
    from hub.simulator.deployed import Deployed, deployed
    from hub.validation import did_you_mean

    where = site(config)
    if system:
        deployment = load_deployment(where.file)
        return deployment.registry, deployment.mappings, deployment.schema_folders, deployed(deployment, system, keys)
    from hub.config import load_config

    loaded = load_config(where.file)
    registry = Registry.discover(loaded.plugin_folders)
    found = registry.plugins.get(plugin)
    if found is None:
        raise HubError(
            t(f"there is no plugin {plugin!r}", f"没有名为 {plugin!r} 的插件"),
            code="simulate.plugin",
            remedy=did_you_mean(plugin, registry.plugins),
        )
    folders = [folder for folder in loaded.mapping_folders if folder.is_dir()]
    return registry, MappingLibrary(folders, registry.functions), loaded.schema_folders, Deployed(found, {})


def _pairs(texts: list[str], plugin: LoadedPlugin) -> dict[str, Any]:
    """``NAME=VALUE`` with the type the setting has."""
    import yaml

    given: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        setting = plugin.contract.settings.get(name)
        if not sign or setting is None:
            raise HubError(
                t(f"--set {name}: there is no such setting", f"--set {name}：没有该设置"),
                code="simulate.setting",
                remedy=t("write NAME=VALUE with a setting of the plugin", "请写 名称=值，名称为插件的设置"),
            )
        plain = setting.type in ("string", "secret", "url", "host")
        given[name] = value if plain else yaml.safe_load(value)
    return given


def _misbehaving(simulator: Simulator, texts: list[str]) -> None:
    from hub.simulator import parse_behaviour

    for text in texts:
        name, _, rest = text.partition("=")
        behaviour, *more = rest.split(",")
        try:
            times = None if more[:1] == ["all"] else int(more[0]) if more else 1
            share = float(more[1]) if len(more) > 1 else 1.0
        except ValueError:
            raise HubError(
                t(
                    f"--misbehave {text}: times is a number or all, share 0 to 1",
                    f"--misbehave {text}：次数为数字或 all，比例为 0 至 1",
                ),
                code="simulate.behaviour",
            ) from None
        simulator.misbehave(name, parse_behaviour(behaviour), times=times, share=share)


async def _drive(
    simulator: Simulator, interface: str, to: str, rate: float, count: int, fresh: bool, as_json: bool
) -> int:
    """Status 1 where an answer is not what the contract promises."""
    good, problems, began = 0, [], time.monotonic()
    for number in range(count):
        if rate:
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        try:
            reply = await simulator.send(interface, to, fresh=fresh)
        except HubError as error:
            problems.append(f"{number + 1}: {error.text}")
            continue
        told = [str(problem) for problem in reply.problems] or ([] if reply.ok else [f"{reply.code} {reply.error}"])
        good += not told
        problems += [f"{number + 1}: {text}" for text in told]
    took = time.monotonic() - began
    if as_json:
        emit({"sent": count, "good": good, "seconds": round(took, 3), "problems": problems})
    else:
        console.print(
            t(
                f"{count} sent, {good} answered as agreed, {took:.1f} s",
                f"发送 {count} 条，{good} 条按约定应答，用时 {took:.1f} 秒",
            )
        )
        for text in problems[:_SHOWN]:
            console.print(f"  {text}", markup=False)
    return 0 if good == count else 1


def _tell(simulator: Simulator, control: Control, replaced: list[str], written: Path | None, as_json: bool) -> None:
    address = f"http://127.0.0.1:{control.port}"
    if as_json:
        emit(
            {
                "control": address,
                "token": control.token,
                "interfaces": simulator.interfaces,
                "sources": simulator.sources,
                "not_simulated": simulator.not_simulated,
                "problems": [problem.text for problem in simulator.problems],
                "replaced": replaced,
                "written": str(written) if written is not None else "",
            }
        )
        return
    for name, direction in simulator.interfaces.items():
        if direction == "out":
            told = t("answers the hub", "应答枢纽")
        else:
            told = t("is read by the hub", "由枢纽读取") if name in simulator.sources else t("can send", "可发送")
        console.print(f"{name}  {told}")
    for name, why in simulator.not_simulated.items():
        console.print(f"{name}  {t('not played', '未模拟')}: {why}", markup=False)
    for problem in simulator.problems:
        console.print(f"! {problem.text} -> {problem.remedy}", markup=False)
    if replaced:
        console.print(
            t(
                f"invented, the system has to use these: {', '.join(replaced)} (see --write)",
                f"由模拟器生成，系统须改用：{'、'.join(replaced)}（见 --write）",
            )
        )
    if written is not None:
        console.print(t(f"settings: {written}", f"设置：{written}"))
    console.print(
        t(f"control: {address}, token {control.token}", f"控制：{address}，令牌 {control.token}"), markup=False
    )


async def _until_told(simulator: Simulator, as_json: bool) -> None:
    """Show each call as it comes, until Ctrl-C or SIGTERM."""
    from hub.simulator.control import shown_call

    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    last = 0.0
    while not ended.is_set():
        for call in simulator.calls:
            if call.at <= last:
                continue
            last = call.at
            if as_json:
                emit(shown_call(call))
            else:
                console.print(
                    f"{call.interface} {call.number}: {call.verdict} {call.code} {call.problem}", markup=False
                )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_EVERY):
                await ended.wait()
