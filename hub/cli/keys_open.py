"""What the commands of ``hub keys`` share: the way to the key store, in whose name they act, what they are given."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from hub.cli.common import Site, site
from hub.errors import HubError
from hub.i18n import t
from hub.keys.opened import folder_of, master_source, usual_policy
from hub.keys.orders import Orders
from hub.keys.store import KeyStore
from hub.secrets import MAX_SECRET_BYTES

__all__ = ["Versioned", "Why", "actor", "name_version", "opened", "orders", "read_file"]

Versioned = Annotated[str, typer.Argument(help=t("NAME@VERSION", "名称@版本"))]
Why = Annotated[str, typer.Option("--reason", help=t("reason, for the journal", "理由，记入日志"))]


@contextmanager
def opened(where: Site) -> Iterator[KeyStore]:
    config, base = where.config.keys, where.file.parent
    with KeyStore(folder_of(config, base), master_source(config.master, base), usual=usual_policy(config)) as store:
        yield store


def actor() -> str:
    """Who does it, for the journal."""
    return (os.environ.get("TONGQU_ACTOR") or getpass.getuser())[:64]


@contextmanager
def orders(config: Path) -> Iterator[Orders]:
    from hub.cli.users import approver  # it needs what is here

    where = site(config)
    with opened(where) as store:
        yield Orders(store, actor=actor(), approve=approver(where))


def name_version(text: str) -> tuple[str, int]:
    """The name and number in ``NAME@VERSION``."""
    name, _, number = text.rpartition("@")
    if not name or not (number.isascii() and number.isdecimal() and len(number) < 10):
        raise HubError(t(f"{text}: write NAME@VERSION", f"{text}：请写成 名称@版本"))
    return name, int(number)


def read_file(file: Path) -> bytes:
    """A small file; from a terminal without showing what is typed."""
    try:
        if str(file) != "-":
            with file.open("rb") as stream:
                data = stream.read(MAX_SECRET_BYTES + 1)
        elif sys.stdin.isatty():
            data = getpass.getpass(t("the secret: ", "密钥内容：")).encode()
        else:
            data = sys.stdin.buffer.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise HubError(t(f"{file} can't be read: {error.strerror}", f"无法读取 {file}：{error.strerror}")) from None
    if len(data) > MAX_SECRET_BYTES:
        raise HubError(t(f"{file} is larger than 64 KB", f"{file} 超过 64 KB"))
    return data
