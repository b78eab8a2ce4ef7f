"""``hub store status | encrypt``: the files of the store, and what of it is still plain."""

from __future__ import annotations

from typing import Any

import typer

from hub.cli.common import DEFAULT_CONFIG, AsJson, Config, console, emit, read_folders, site, table
from hub.errors import HubError
from hub.i18n import t
from hub.store.base import StoreReader
from hub.store.encrypting import encrypt_folder
from hub.store.sealing import store_sealer

__all__ = ["HELP", "app"]

HELP = t(
    "The store's files: how much is stored, what of it is encrypted; encrypt what is not.",
    "存储文件：存储量、加密情况；加密尚未加密的内容。",
)

app = typer.Typer(no_args_is_help=True, help=HELP)


@app.command(
    "status",
    help=t(
        "Messages, bytes and segments of each worker, and how many messages are in segments not encrypted as a whole.",
        "各工作进程的消息数、字节数、分段数，以及尚未完全加密的分段中的消息数。",
    ),
)
def status(config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    where = site(config)
    rows: list[dict[str, Any]] = []
    for folder in where.folders():

        async def question(reader: StoreReader) -> dict[str, int]:
            return await reader.size()

        rows.append({"worker": folder.name, **read_folders(where, [folder], question)})
    encryption = where.config.store.encryption
    if as_json:
        return emit({"encryption": encryption, "workers": rows})
    console.print(f"store.encryption: {encryption}", markup=False)
    titles = ("worker", "messages", "bytes", "segments", "unsealed")
    table(titles, [[row[title] for title in titles] for row in rows])


@app.command(
    "encrypt",
    help=t(
        "Encrypt what was stored before store.encryption was switched on. The hub must be stopped; can be broken off and begun again.",
        "加密在开启 store.encryption 之前存储的内容。须先停止枢纽；可随时中断并重新执行。",
    ),
)
def encrypt(config: Config = DEFAULT_CONFIG) -> None:
    where = site(config)
    store = where.config.store
    if store.encryption == "off":
        raise HubError(
            t("store.encryption is off", "store.encryption 为 off"),
            code="store.encryption",
            remedy=t(
                "set store.encryption in hub.yaml and make the key store: hub keys init",
                "请在 hub.yaml 中设置 store.encryption，并建立密钥库：hub keys init",
            ),
        )
    sealer = store_sealer(where.config, where.file.parent)
    count = 0
    for folder in where.folders():
        worker = folder.name

        def tell(name: str, worker: str = worker) -> None:
            console.print(f"{worker} {name}", markup=False)

        count += encrypt_folder(folder, sealer, store.claim_above, tell)
    console.print(t(f"{count} segments encrypted", f"已加密 {count} 个分段"), markup=False)
