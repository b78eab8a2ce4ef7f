"""What the commands share: options, output, the way to the store and to the running hub."""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import orjson
import typer
from rich.console import Console
from rich.table import Table

from hub.admin.token import token_of
from hub.cli.audit_reads import recorded
from hub.config import load_config
from hub.contract import HubConfig
from hub.errors import ConfigError, HubError
from hub.folders import data_folder, salt_of
from hub.i18n import set_language, t
from hub.process_wide import use_crypto, use_privacy
from hub.store.base import StoreReader
from hub.store.merged import open_reader
from hub.store.sealing import store_sealer

__all__ = [
    "AsJson",
    "Clear",
    "Config",
    "Limit",
    "Site",
    "ask",
    "console",
    "emit",
    "read",
    "read_folders",
    "site",
    "table",
]

T = TypeVar("T")

Config = Annotated[
    Path,
    typer.Option("--config", "-c", envvar="TONGQU_CONFIG", help=t("the configuration file", "配置文件")),
]
AsJson = Annotated[bool, typer.Option("--json", help=t("print JSON for programs", "输出 JSON，供程序使用"))]
Clear = Annotated[bool, typer.Option("--clear", help=t("show personal data unmasked", "明文显示个人信息"))]
Limit = Annotated[int, typer.Option("--limit", "-n", help=t("at most so many", "最多条数"), min=1, max=1000)]

DEFAULT_CONFIG = Path("config/hub.yaml")

#: Away from a terminal nothing is cut to the width of one: ids and texts are there to be searched and copied.
console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 500)


class Site:
    """The deployment a command is about: its configuration and data folder."""

    def __init__(self, config_file: Path) -> None:
        self.file = config_file.resolve()
        loaded = load_config(self.file)
        if loaded.unusable:
            raise ConfigError(loaded.errors)
        self.config: HubConfig = loaded.hub
        if self.config.language:
            set_language(self.config.language)
        self.data = data_folder(self.file, self.config)
        use_crypto(self.config, self.file.parent)
        use_privacy(self.file, self.config)

    @property
    def salt(self) -> bytes:
        """The key of the hashes under which ID numbers are searched."""
        self.folders()  # a question must not make the folder it is about
        return salt_of(self.data)

    def folders(self) -> list[Path]:
        found = sorted(p for p in self.data.glob("worker-*") if p.is_dir())
        if not found:
            raise HubError(
                t(f"nothing is stored in {self.data} yet", f"{self.data} 中还没有任何数据"),
                remedy=t(
                    "start the hub with `hub run`, or name another --config",
                    "请用 `hub run` 启动枢纽，或用 --config 指明配置",
                ),
            )
        return found


def site(config: Path) -> Site:
    return Site(config)


def read(where: Site, question: Callable[[StoreReader], Awaitable[T]]) -> T:
    """Ask the store; works beside a running hub and without one."""

    folders = where.folders()
    return recorded(where.data, lambda: read_folders(where, folders, question))


def read_folders(where: Site, folders: Sequence[Path], question: Callable[[StoreReader], Awaitable[T]]) -> T:
    """The same for chosen worker folders."""

    async def go() -> T:
        reader = open_reader(folders, store_sealer(where.config, where.file.parent))
        try:
            return await question(reader)
        finally:
            await reader.close()

    return asyncio.run(go())


def _token(where: Site) -> str:
    """``TONGQU_TOKEN``, e.g. a personal API token, or else the hub's own."""
    given = os.environ.get("TONGQU_TOKEN", "")
    if not given and where.config.admin.token == "off":  # noqa: S105 - a word of the configuration
        raise HubError(
            t("the hub has no token of its own (admin.token: off)", "枢纽未启用自有令牌（admin.token: off）"),
            remedy=t("set TONGQU_TOKEN to a personal API token", "请将 TONGQU_TOKEN 设为个人 API 令牌"),
        )
    return given or token_of(where.config.admin, where.file, where.data)


def ask(
    where: Site, method: str, path: str, *, query: dict[str, Any] | None = None, body: Any = None, token: str = ""
) -> Any:
    """One call to the running hub's admin API; ``token``: that of a session instead of the hub's own."""
    admin = where.config.admin
    host = "127.0.0.1" if admin.host in ("0.0.0.0", "::") else admin.host  # noqa: S104 - compared, not bound
    url = os.environ.get("TONGQU_ADMIN_URL") or f"http://{host}:{admin.port}"
    if query:
        path += "?" + urllib.parse.urlencode({k: v for k, v in query.items() if v not in ("", None)})
    data = body if body is None or isinstance(body, bytes) else orjson.dumps(body)
    request = urllib.request.Request(url + path, data=data, method=method)  # noqa: S310 - http to our own hub
    request.add_header("Authorization", f"Bearer {token or _token(where)}")
    request.add_header("X-Actor", os.environ.get("TONGQU_ACTOR") or getpass.getuser())
    try:
        with urllib.request.urlopen(request, timeout=600) as response:  # noqa: S310
            return orjson.loads(response.read())
    except urllib.error.HTTPError as error:
        text = error.read()
        try:
            detail = orjson.loads(text)
        except orjson.JSONDecodeError:
            detail = {"detail": f"HTTP {error.code}"}
        raise HubError(str(detail.get("detail")), code=str(detail.get("code", ""))) from error
    except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
        raise HubError(
            t(f"no hub answers at {url}", f"{url} 处没有正在运行的枢纽"),
            remedy=t(
                "start it with `hub run`, or set TONGQU_ADMIN_URL", "请用 `hub run` 启动，或设置 TONGQU_ADMIN_URL"
            ),
        ) from error


def emit(data: Any) -> None:
    """JSON to standard output."""
    sys.stdout.buffer.write(orjson.dumps(data, option=orjson.OPT_INDENT_2) + b"\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "") -> None:
    """A table for people; control characters in data must not reach the terminal."""
    out = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        out.add_column(column, no_wrap=number == 0, overflow="fold")
    for row in rows:
        out.add_row(*(_printable(str(cell)) for cell in row))
    console.print(out)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "·" for c in text).replace("[", "\\[")
