"""``hub keys``: the sealed key store. Works beside a running hub and without one; whoever runs it needs the master key.

Orders go straight to the key store, which takes one writer at a time and keeps its own journal in the same transaction: keys never travel
over the admin API, and no order can be without its entry.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from hub.cli.common import DEFAULT_CONFIG, AsJson, Config, console, emit, site
from hub.cli.keys_export import export, master
from hub.cli.keys_look import (
    CERTIFICATES_HELP,
    CHECK_HELP,
    LIST_HELP,
    LOG_HELP,
    SHOW_HELP,
    certificates,
    check,
    list_,
    log,
    show,
)
from hub.cli.keys_open import Versioned, Why, actor, name_version, opened, orders, read_file
from hub.cli.keys_print import print_key, print_version
from hub.errors import HubError
from hub.i18n import t
from hub.keys import material
from hub.keys.model import Kind, Policy
from hub.keys.opened import folder_of, master_source
from hub.keys.orders import Orders
from hub.keys.store import KeyStore

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    help=t(
        "Keys: the sealed key store, rotation, certificates. Begin with `hub keys init`.",
        "密钥：密封的密钥库、轮换与证书。先执行 `hub keys init`。",
    ),
)
for name, command, text in (
    ("list", list_, LIST_HELP),
    ("show", show, SHOW_HELP),
    ("certificates", certificates, CERTIFICATES_HELP),
    ("check", check, CHECK_HELP),
    ("log", log, LOG_HELP),
):
    app.command(name, help=text)(command)
app.add_typer(export, name="export")
app.add_typer(master, name="master")

Name = Annotated[str, typer.Argument(help=t("name of the key", "密钥名称"))]
Pending = Annotated[
    bool,
    typer.Option("--pending", help=t("not in use until `hub keys activate`", "在 `hub keys activate` 之前不启用")),
]
Purpose = Annotated[
    str, typer.Option(help=t("what it is for: sign, encrypt, mac, login …", "用途：sign、encrypt、mac、login 等"))
]
Owner = Annotated[str, typer.Option("--system", help=t("the system it is for", "所属系统"))]
Validity = Annotated[int, typer.Option(help=t("valid for so many days, 30 to 365", "有效天数，30 至 365"))]
RotateAfter = Annotated[int, typer.Option(help=t("due for rotation after so many days", "多少天后应轮换"))]
Overlap = Annotated[int, typer.Option(help=t("replaced versions still open for so many days", "旧版本继续可解的天数"))]
Warn = Annotated[int, typer.Option(help=t("told so many days before it expires", "到期前多少天开始提醒"))]


def _policy(usual: Policy, validity: int, rotate_after: int, overlap: int, warn: int) -> Policy:
    """The usual policy, or an earlier one, with what was said on the command line."""
    given: dict[str, Any] = {}
    if validity:
        given["validity_days"] = validity
        given["rotate_days"] = min(usual.rotate_days, validity)
    if rotate_after:
        given["rotate_days"] = rotate_after
    if overlap >= 0:
        given["overlap_days"] = overlap
    if warn:
        given["warn_days"] = warn
    return replace(usual, **given)


# -- making --------------------------------------------------------------------------------------------------------------


@app.command(
    "init",
    help=t(
        "Make the key store, and the master key's file where `keys.master` names one that is not there yet. Keep a copy of the master key elsewhere.",
        "建立密钥库；`keys.master` 指定的主密钥文件不存在时一并生成。请另行妥善保存主密钥副本。",
    ),
)
def init(config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    where = site(config)
    keys = where.config.keys
    folder = folder_of(keys, where.file.parent)
    source = master_source(keys.master, where.file.parent)
    if source.file is not None and folder in source.file.resolve().parents:
        raise HubError(
            t("the master key must not lie in the folder of the key store", "主密钥不得放在密钥库目录内"),
            code="keys.master",
            remedy=t("choose another place for keys.master in hub.yaml", "请在 hub.yaml 中为 keys.master 另选位置"),
        )
    KeyStore.create(folder, source, cipher=keys.cipher, actor=actor())
    if as_json:
        return emit({"path": str(folder), "master": keys.master, "cipher": keys.cipher})
    console.print(t(f"made: {folder}, under {keys.master}", f"已建立：{folder}，主密钥 {keys.master}"), markup=False)


@app.command(
    "generate",
    help=t(
        "Make a key. Example: hub keys generate hub_sign --kind sm2 --purpose sign",
        "生成密钥。例：hub keys generate hub_sign --kind sm2 --purpose sign",
    ),
)
def generate(
    name: Name,
    kind: Annotated[Kind, typer.Option(help=t("what it is", "类型"))],
    purpose: Purpose,
    config: Config = DEFAULT_CONFIG,
    system: Owner = "",
    bits: Annotated[int, typer.Option(help=t("strength; default: the usual", "强度（位）；缺省为常用值"))] = 0,
    validity: Validity = 0,
    rotate_after: RotateAfter = 0,
    overlap: Overlap = -1,
    warn: Warn = 0,
    pending: Pending = False,
    as_json: AsJson = False,
) -> None:
    where = site(config)
    with opened(where) as store:
        policy = _policy(store.usual.fitting(kind, purpose), validity, rotate_after, overlap, warn)
        made = Orders(store, actor=actor()).generate(
            name, kind, purpose, owner=system, policy=policy, bits=bits, pending=pending
        )
    print_version(made, as_json)


@app.command(
    "import",
    help=t(
        "Take in a key from another party, from a file or, with -, from standard input; a known name gets a new version. "
        "Example: hub keys import ministry --kind certificate --purpose encrypt ministry.pem",
        "导入对方提供的密钥，来自文件，或用 - 取自标准输入；已有名称则增加新版本。例：hub keys import ministry --kind certificate --purpose encrypt ministry.pem",
    ),
)
def import_(
    name: Name,
    file: Annotated[
        Path, typer.Argument(help=t("file, or - for standard input", "文件；- 表示标准输入"), allow_dash=True)
    ],
    kind: Annotated[Kind | None, typer.Option(help=t("what it is; of a new name", "类型；新名称必填"))] = None,
    purpose: Annotated[str, typer.Option(help=t("what it is for; of a new name", "用途；新名称必填"))] = "",
    config: Config = DEFAULT_CONFIG,
    system: Owner = "",
    form: Annotated[
        str,
        typer.Option(
            help=t(
                "how an AES, SM4 or HMAC key is written: text, hex, base64",
                "AES、SM4、HMAC 密钥的写法：text、hex、base64",
            )
        ),
    ] = "text",
    password_file: Annotated[
        Path | None, typer.Option(help=t("file with the password of an encrypted private key", "加密私钥的口令文件"))
    ] = None,
    validity: Validity = 0,
    rotate_after: RotateAfter = 0,
    overlap: Overlap = -1,
    warn: Warn = 0,
    pending: Pending = False,
    as_json: AsJson = False,
) -> None:
    if form not in ("text", "hex", "base64"):
        raise HubError(t("--form: text, hex or base64", "--form：text、hex 或 base64"))
    with opened(site(config)) as store:
        known = store.content.keys.get(name)
        kind = kind or (known.kind if known else None)
        purpose = purpose or (known.purpose if known else "")
        if kind is None or not purpose:
            raise HubError(
                t(f"{name} is new: give --kind and --purpose", f"{name} 为新名称：请给出 --kind 与 --purpose")
            )
        password = read_file(password_file).rstrip(b"\r\n") if password_file else None
        found = material.read(kind, read_file(file), form=form, password=password)  # type: ignore[arg-type]
        policy = _policy(store.usual.fitting(kind, purpose), validity, rotate_after, overlap, warn)
        made = Orders(store, actor=actor()).import_(
            name, kind, purpose, found, owner=system, policy=policy, pending=pending
        )
    print_version(made, as_json)


# -- the life of versions ------------------------------------------------------------------------------------------------


@app.command(
    "rotate",
    help=t(
        "Make a new version of a key. The one before still opens for the days of overlap.",
        "为密钥生成新版本；旧版本在重叠期内仍可解密与验签。",
    ),
)
def rotate(
    name: Name, config: Config = DEFAULT_CONFIG, pending: Pending = False, reason: Why = "", as_json: AsJson = False
) -> None:
    with orders(config) as keys:
        print_version(keys.rotate(name, reason=reason, pending=pending), as_json)


@app.command("activate", help=t("Put a pending version in use.", "启用待启用的版本。"))
def activate(key: Versioned, config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    with orders(config) as keys:
        print_version(keys.activate(*name_version(key)), as_json)


@app.command(
    "retire",
    help=t(
        "Use a version for nothing new; it opens for --days more, 0: no longer, without: until it is revoked.",
        "版本不再用于新的操作；--days 天内仍可解密与验签，0 为立即停止，不给则直到吊销。",
    ),
)
def retire(
    key: Versioned,
    config: Config = DEFAULT_CONFIG,
    days: Annotated[int | None, typer.Option(min=0, max=3650, help=t("opens so much longer", "继续可解的天数"))] = None,
    reason: Why = "",
    as_json: AsJson = False,
) -> None:
    with orders(config) as keys:
        name, number = name_version(key)
        print_version(keys.retire(name, number, opens_days=days, reason=reason), as_json)


@app.command(
    "revoke", help=t("Stop every use of a version at once. Needs --reason.", "立即停止版本的一切使用。须给 --reason。")
)
def revoke(key: Versioned, config: Config = DEFAULT_CONFIG, reason: Why = "", as_json: AsJson = False) -> None:
    with orders(config) as keys:
        name, number = name_version(key)
        print_version(keys.revoke(name, number, reason=reason), as_json)


@app.command(
    "destroy",
    help=t(
        "Remove the secret of a version: what was sealed with it is lost for ever. Needs --reason and the key's name once more in --sure.",
        "销毁版本的密钥内容：用其加密的数据将永远无法解开。须给 --reason，并在 --sure 中重复密钥名称。",
    ),
)
def destroy(
    key: Versioned,
    config: Config = DEFAULT_CONFIG,
    reason: Why = "",
    sure: Annotated[str, typer.Option(help=t("NAME@VERSION once more", "再次写出 名称@版本"))] = "",
    as_json: AsJson = False,
) -> None:
    if sure != key:
        raise HubError(
            t(f"this can't be undone: add --sure {key}", f"此操作不可撤销：请加 --sure {key}"), code="keys.sure"
        )
    with orders(config) as keys:
        name, number = name_version(key)
        print_version(keys.destroy(name, number, reason=reason), as_json)


@app.command(
    "policy",
    help=t("Change the days of a key's policy, from the next version on.", "修改密钥策略的天数，自下一版本起生效。"),
)
def policy(
    name: Name,
    config: Config = DEFAULT_CONFIG,
    validity: Validity = 0,
    rotate_after: RotateAfter = 0,
    overlap: Overlap = -1,
    warn: Warn = 0,
    reason: Why = "",
    as_json: AsJson = False,
) -> None:
    with opened(site(config)) as store:
        wanted = _policy(store.content.key(name).policy, validity, rotate_after, overlap, warn)
        Orders(store, actor=actor()).set_policy(name, wanted, reason=reason)
        print_key(store.content, name, as_json)
