"""The details of a bill of Alipay (bill_type trade): a GBK table, notes in lines that begin with ``#``, every cell ending with a tab.

Layout: 支付宝开放平台文档「查询对账单下载地址」and bills as merchants publish them. A bill that is not whole is refused.
"""

from __future__ import annotations

import re
from typing import Any

from hub.api import HubError
from hub.i18n import t

__all__ = ["alipay_bill"]

_COLUMNS = ("支付宝交易号", "商户订单号", "业务类型", "完成时间", "订单金额（元）", "退款批次号/请求号")
_END = "业务明细列表结束"
_TOTALS = (("交易", re.compile(r"#交易合计：([0-9]+)笔")), ("退款", re.compile(r"#退款合计：([0-9]+)笔")))


def alipay_bill(value: Any) -> Any:
    """The bytes of the file with the details as ``{rows: [{column: text}], notes: [text]}``."""
    if value in (None, ""):
        return None
    if not isinstance(value, bytes):
        raise _wrong(t("not bytes", "不是二进制内容"))
    try:
        text = value.decode("gb18030")
    except UnicodeDecodeError as error:
        raise _wrong(t(f"not GBK at byte {error.start}", f"第 {error.start} 字节不是 GBK")) from None
    lines = [line for line in text.replace("\r\n", "\n").split("\n") if line.strip()]
    notes = [line.strip() for line in lines if line.startswith("#")]
    table = [(number, line) for number, line in enumerate(lines, 1) if not line.startswith("#")]
    if not any(_END in note for note in notes):
        raise _wrong(t("its end is missing: it is cut off", "没有结束标记，文件不完整"))
    if not table:
        raise _wrong(t("it has no header", "没有表头"))
    header = [name.strip() for name in table[0][1].split(",")]
    missing = [name for name in _COLUMNS if name not in header]
    if missing:
        told = ", ".join(missing)
        raise _wrong(t(f"columns are missing: {told}", f"缺少列：{told}"))
    rows = [_row(header, line, number) for number, line in table[1:]]
    _agree(rows, notes)
    return {"rows": rows, "notes": notes}


def _row(header: list[str], line: str, number: int) -> dict[str, str]:
    """Cells end with a tab, so that a comma within the name of goods parts nothing."""
    values = line.split("\t,") if "\t," in line else line.split(",")
    if len(values) != len(header):
        text = t(f"{len(values)} values, {len(header)} columns", f"{len(values)} 个值，{len(header)} 列")
        raise _wrong(t(f"line {number}: {text}", f"第 {number} 行：{text}"))
    return dict(zip(header, (value.strip() for value in values), strict=True))


def _agree(rows: list[dict[str, str]], notes: list[str]) -> None:
    for kind, pattern in _TOTALS:
        said = next((found[1] for note in notes if (found := pattern.match(note))), None)
        there = sum(row["业务类型"] == kind for row in rows)
        # As text: a number of thousands of digits is refused by int() in words of its own.
        if said is not None and (said.lstrip("0") or "0") != str(there):
            said = said[:12]
            raise _wrong(t(f"it says {said} rows of {kind} and has {there}", f"{kind}合计 {said} 笔，实有 {there} 笔"))


def _wrong(text: str) -> HubError:
    return HubError(t(f"this is no bill of Alipay: {text}", f"不是有效的支付宝账单：{text}"), code="alipay.bill")
