"""The trade bill of WeChat Pay (bill_type ALL, SUCCESS or REFUND): UTF-8 lines, every value behind a back-tick, totals at the end.

Layout: 微信支付 APIv3 文档「申请交易账单」. A bill that is not whole, or whose totals disagree with its rows, is refused: a reconciliation
must not begin from half of the truth.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from typing import Any

from hub.api import HubError
from hub.i18n import t

__all__ = ["wechat_bill"]

_LIMIT = 256 << 20
_COLUMNS = ("交易时间", "商户号", "微信订单号", "商户订单号", "交易状态", "订单金额")
_COUNT, _AMOUNT, _REFUNDS = "总交易单数", "订单总金额", "申请退款总金额"
_YUAN = re.compile(r"-?\d{1,13}(?:\.\d{1,2})?")


def wechat_bill(value: Any, sha1: Any = None) -> Any:
    """The bytes of a downloaded bill as ``{rows: [{column: text}], totals: {column: text}}``; with ``sha1`` they must have this digest."""
    if value in (None, ""):
        return None
    if not isinstance(value, bytes):
        raise _wrong(t("not bytes", "不是二进制内容"))
    data = _unpacked(value) if value[:2] == b"\x1f\x8b" else value
    # The digest is of the bill as it is before it was compressed.
    if sha1 and hashlib.sha1(data, usedforsecurity=False).hexdigest() != str(sha1).lower():
        raise _wrong(
            t("its digest is not the one that was announced: download it again", "摘要与告知的不符，请重新下载")
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _wrong(t(f"not UTF-8 at byte {error.start}", f"第 {error.start} 字节不是 UTF-8")) from None
    lines = [line for line in text.replace("\r\n", "\n").split("\n") if line]
    if len(lines) < 3:
        raise _wrong(t("no totals: it is cut off", "没有合计行，文件不完整"))
    header, totals_header = lines[0].split(","), lines[-2].split(",")
    missing = [name for name in _COLUMNS if name not in header]
    if missing or _COUNT not in totals_header:
        told = ", ".join(missing) or _COUNT
        raise _wrong(t(f"columns are missing: {told}", f"缺少列：{told}"))
    rows = [_row(header, line, number) for number, line in enumerate(lines[1:-2], 2)]
    totals = _row(totals_header, lines[-1], len(lines))
    _agree(rows, totals)
    return {"rows": rows, "totals": totals}


def _unpacked(value: bytes) -> bytes:
    inflate = zlib.decompressobj(31)
    try:
        data = inflate.decompress(value, _LIMIT)
    except zlib.error:
        raise _wrong(t("damaged gzip", "gzip 已损坏")) from None
    if inflate.unconsumed_tail:
        raise _wrong(t(f"more than {_LIMIT} bytes", f"超过 {_LIMIT} 字节"))
    if not inflate.eof:
        raise _wrong(t("gzip is cut off", "gzip 不完整"))
    return data


def _row(header: list[str], line: str, number: int) -> dict[str, str]:
    """Values are parted by ``,` ``: names of goods may hold commas."""
    values = line[1:].split(",`")
    if not line.startswith("`") or len(values) != len(header):
        text = t(f"{len(values)} values, {len(header)} columns", f"{len(values)} 个值，{len(header)} 列")
        raise _wrong(t(f"line {number}: {text}", f"第 {number} 行：{text}"))
    return dict(zip(header, (value.strip() for value in values), strict=True))


def _agree(rows: list[dict[str, str]], totals: dict[str, str]) -> None:
    if totals[_COUNT] != str(len(rows)):
        raise _wrong(
            t(f"it says {totals[_COUNT]} rows and has {len(rows)}", f"合计 {totals[_COUNT]} 笔，实有 {len(rows)} 笔")
        )
    for column, total in (("订单金额", _AMOUNT), ("申请退款金额", _REFUNDS)):
        if total in totals and rows and column in rows[0]:
            summed = sum(_fen(row[column], column) for row in rows)
            if summed != _fen(totals[total], total):
                raise _wrong(t(f"{total} disagrees with the rows", f"{total}与明细不符"))


def _fen(text: str, column: str) -> int:
    """Exact: 4.00123E+27, as spreadsheets write it, is refused."""
    if not _YUAN.fullmatch(text):
        raise _wrong(t(f"{column} is no amount", f"{column}不是金额"))
    whole, _, part = text.lstrip("-").partition(".")
    fen = int(whole) * 100 + int(part.ljust(2, "0"))
    return -fen if text.startswith("-") else fen


def _wrong(text: str) -> HubError:
    return HubError(
        t(f"this is no trade bill of WeChat Pay: {text}", f"不是有效的微信支付交易账单：{text}"), code="wechat.bill"
    )
