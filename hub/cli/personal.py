"""``hub export``: stored messages as test data, with pseudonyms in the place of people; ``hub anonymise`` does it to files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hub.admin.present import message_query
from hub.cli.common import DEFAULT_CONFIG, Config, console, read, site
from hub.errors import HubError
from hub.i18n import t
from hub.ids import id_text
from hub.message import Message
from hub.privacy import Pseudonyms, rewrite_message
from hub.privacy import site as privacy
from hub.store.base import MessageQuery, StoreReader

__all__ = ["ANONYMISE_HELP", "EXPORT_HELP", "anonymise", "export"]

EXPORT_HELP = t(
    "Write stored messages as test data: names, numbers, phones, addresses and dates are replaced, the same value always by the same. "
    "Example: hub export --source his/adt --since -1d --to testdata",
    "将已存消息导出为测试数据：姓名、号码、电话、地址、日期均被替换，同值同替。例：hub export --source his/adt --since -1d --to testdata",
)
ANONYMISE_HELP = t(
    "The same for files. Example: hub anonymise --codec hl7v2 a01.hl7 --to testdata",
    "对文件做同样的替换。例：hub anonymise --codec hl7v2 a01.hl7 --to testdata",
)
_ENDINGS = {"hl7v2": "hl7", "json": "json", "fhir": "json", "jsonl": "jsonl", "csv": "csv", "astm": "astm"}
_PAGE = 200

_To = Annotated[Path, typer.Option("--to", help=t("folder for the files", "输出目录"))]


def export(
    to: _To,
    config: Config = DEFAULT_CONFIG,
    since: Annotated[str, typer.Option(help=t("from: 2026-11-21T08:30, or -15m", "起始时间"))] = "",
    until: Annotated[str, typer.Option(help=t("until", "截止时间"))] = "",
    source: Annotated[str, typer.Option(help=t("received by this interface", "接收接口"))] = "",
    message_type: Annotated[str, typer.Option("--type", help=t("message type, ADT^A*", "消息类型"))] = "",
    most: Annotated[int, typer.Option(help=t("at most so many messages", "最多消息数"), min=1)] = 1000,
) -> None:
    where = site(config)
    pseudonyms = privacy.pseudonyms()
    params = {"since": since, "until": until, "source": source, "type": message_type}
    query = message_query({k: v for k, v in params.items() if v}, where.salt)
    query.limit = min(_PAGE, most)
    written, refused = read(where, lambda reader: _export(reader, query, most, to, pseudonyms))
    _told(written, refused, to)


async def _export(
    reader: StoreReader, query: MessageQuery, most: int, to: Path, pseudonyms: Pseudonyms
) -> tuple[int, list[str]]:
    refused: list[str] = []
    written = 0
    while written + len(refused) < most:
        page = await reader.search(query)
        for row in page.rows[: most - written - len(refused)]:
            message = await reader.message(row.id)
            if message is None:
                continue
            try:
                _write(to, id_text(message.id), message, pseudonyms)
                written += 1
            except HubError as error:
                refused.append(f"{id_text(message.id)}: {error.text}")
        if not page.more or not page.rows:
            break
        query.before = page.rows[-1].id
    return written, refused


def _write(to: Path, name: str, message: Message, pseudonyms: Pseudonyms) -> None:
    policy = privacy.policy()
    data = rewrite_message(policy, message.codec, message.raw, policy.view("test"), pseudonyms)
    _save(to, f"{name}.{_ENDINGS.get(message.codec, 'xml' if data.lstrip()[:1] == b'<' else 'txt')}", data)


def _save(to: Path, name: str, data: bytes) -> None:
    try:
        to.mkdir(parents=True, exist_ok=True)
        (to / name).write_bytes(data)
    except OSError as error:
        raise HubError(t(f"{to} can't be written: {error.strerror}", f"无法写入 {to}：{error.strerror}")) from error


def _told(written: int, refused: list[str], to: Path) -> None:
    for line in refused:
        console.print(f"! {line}", markup=False)
    console.print(
        t(
            f"{written} written to {to}, {len(refused)} left out",
            f"已写入 {to} {written} 条，略去 {len(refused)} 条",
        ),
        markup=False,
    )


def anonymise(
    files: Annotated[list[Path], typer.Argument(help=t("files with one message each", "每个文件一条消息"))],
    codec: Annotated[str, typer.Option(help=t("what they are: hl7v2, fhir, json, xml, cda, csv …", "编码格式"))],
    to: _To,
    config: Config = DEFAULT_CONFIG,
) -> None:
    site(config)
    pseudonyms, policy = privacy.pseudonyms(), privacy.policy()
    refused, written = [], 0
    for file in files:
        try:
            data = rewrite_message(policy, codec, file.read_bytes(), policy.view("test"), pseudonyms)
            _save(to, file.name, data)
            written += 1
        except OSError as error:
            refused.append(f"{file}: {error.strerror}")
        except HubError as error:
            refused.append(f"{file}: {error.text}")
    _told(written, refused, to)
    if refused:
        raise typer.Exit(1)
