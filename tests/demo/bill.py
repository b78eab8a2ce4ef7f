"""The trade bill of yesterday as WeChat Pay would hand it out: what was paid, what was given back."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

__all__ = ["BILL", "BILL_DIGEST", "YESTERDAY"]

YESTERDAY = (datetime.now(ZoneInfo("Asia/Shanghai")).date() - timedelta(days=1)).isoformat()
_COLUMNS = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,代金券金额,微信退款单号,"
    "商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注"
)
_TOTALS = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"


def _row(number: str, yuan: str) -> str:
    values = dict.fromkeys(_COLUMNS.split(","), "")
    values |= {
        "交易时间": f"{YESTERDAY} 15:00:00",
        "商户号": "1900000001",
        "微信订单号": f"42{number}",
        "商户订单号": number,
    }
    values |= {"交易状态": "SUCCESS", "商品名称": "门诊挂号费", "货币种类": "CNY", "手续费": "0.00", "订单金额": yuan}
    values |= {"申请退款金额": "0.00", "商户退款单号": "0"}
    return ",".join("`" + value for value in values.values())


def _bill() -> str:
    totals = ",".join("`" + value for value in ("2", "0.00", "0.00", "0.00", "0.00", "42.50", "0.00"))
    return "\r\n".join([_COLUMNS, _row("YQ0001", "12.50"), _row("YQ0002", "30.00"), _TOTALS, totals])


BILL = _bill()
BILL_DIGEST = hashlib.sha1(BILL.encode(), usedforsecurity=False).hexdigest()
