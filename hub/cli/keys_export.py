"""``hub keys export`` and ``hub keys master``: what leaves the key store, and what it is under."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from hub.cli.common import DEFAULT_CONFIG, AsJson, Config, console, emit, site
from hub.cli.keys_open import Versioned, Why, actor, name_version, opened, orders, read_file
from hub.cli.users import approver
from hub.errors import HubError
from hub.i18n import t
from hub.keys.opened import master_source
from hub.keys.orders import Orders

__all__ = ["export", "master"]

export = typer.Typer(no_args_is_help=True, help=t("Give a key to another party.", "向另一方提供密钥。"))
master = typer.Typer(no_args_is_help=True, help=t("The master key.", "主密钥。"))

To = Annotated[
    Path | None, typer.Option("--to", help=t("a new file; default: standard output", "新文件；缺省为标准输出"))
]


@export.command(
    "public",
    help=t("The public key or certificate, PEM. NAME, or NAME@VERSION.", "公钥或证书，PEM。名称，或 名称@版本。"),
)
def export_public(
    key: Annotated[str, typer.Argument(help=t("NAME or NAME@VERSION", "名称 或 名称@版本"))],
    config: Config = DEFAULT_CONFIG,
    to: To = None,
) -> None:
    name, number = name_version(key) if "@" in key else (key, 0)
    with orders(config) as keys:
        _write(keys.export_public(name, number), to, 0o644)


@export.command(
    "private",
    help=t(
        "The secret of a version, sealed to the RSA certificate of its recipient (CMS); needs --reason. Opened with: openssl cms -decrypt -inform PEM",
        "版本的密钥内容，以接收方 RSA 证书加密（CMS）；须给 --reason。对方以 openssl cms -decrypt -inform PEM 解开。",
    ),
)
def export_private(
    key: Versioned,
    recipient: Annotated[Path, typer.Option(help=t("the recipient's certificate", "接收方证书"))],
    config: Config = DEFAULT_CONFIG,
    reason: Why = "",
    to: To = None,
) -> None:
    with orders(config) as keys:
        name, number = name_version(key)
        _write(keys.export_private(name, number, read_file(recipient), reason=reason), to, 0o600)


def _write(data: bytes, to: Path | None, mode: int) -> None:
    if to is None:
        sys.stdout.buffer.write(data)
        return
    try:
        with open(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
    except OSError as error:
        raise HubError(t(f"{to} can't be written: {error.strerror}", f"无法写入 {to}：{error.strerror}")) from None


@master.command(
    "rotate",
    help=t(
        "A new master key; everything is sealed anew in one transaction, with the cipher of keys.cipher. A master key in a file is replaced there; "
        "otherwise --to names the new one.",
        "更换主密钥；按 keys.cipher 的算法在一个事务内重新密封全部密钥。主密钥在文件中时就地替换，否则用 --to 指明新主密钥。",
    ),
)
def master_rotate(
    config: Config = DEFAULT_CONFIG,
    to: Annotated[str, typer.Option("--to", help="env:NAME, file:PATH")] = "",
    reason: Why = "",
    as_json: AsJson = False,
) -> None:
    where = site(config)
    following = master_source(to, where.file.parent) if to else None
    with opened(where) as store:
        count = Orders(store, actor=actor(), approve=approver(where)).rotate_master(
            where.config.keys.cipher, to=following, reason=reason
        )
    if as_json:
        return emit({"sealed": count, "master": to or where.config.keys.master})
    console.print(t(f"sealed anew: {count}", f"已重新密封：{count}"), markup=False)
    if to:
        console.print(
            t(
                f"now write keys.master: {to} in hub.yaml, and restart the hub",
                f"请在 hub.yaml 中写 keys.master: {to}，并重启枢纽",
            ),
            markup=False,
        )
