"""Bills of payment channels as bytes from outside: what is not whole is refused in words, whatever it is."""

from __future__ import annotations

import gzip
import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.api import HubError
from plugins.payment.alipay.bill import alipay_bill
from plugins.payment.wechat_pay.bill import wechat_bill

_WECHAT = (
    "\ufeff交易时间,商户号,微信订单号,商户订单号,交易状态,商品名称,订单金额,申请退款金额\r\n"
    "`2026-01-15 09:12:41,`1900000001,`42001,`GH1,`SUCCESS,`挂号费, 普通,`12.50,`0.00\r\n"
    "`2026-01-15 16:02:15,`1900000001,`42001,`GH1,`REFUND,`挂号费,`0.00,`12.50\r\n"
    "总交易单数,订单总金额,申请退款总金额\r\n`2,`12.50,`12.50\r\n"
)
_ALIPAY = (
    "#支付宝业务明细查询\r\n#-----业务明细列表----\r\n"
    "支付宝交易号,商户订单号,业务类型,完成时间,订单金额（元）,退款批次号/请求号\r\n"
    "20260115\t,GH1\t,交易\t,2026-01-15 09:12:41\t,12.50\t,\t\r\n"
    "20260115\t,GH1\t,退款\t,2026-01-15 16:02:15\t,-12.50\t,TK1\t\r\n"
    "#-----业务明细列表结束----\r\n#交易合计：1笔\r\n#退款合计：1笔\r\n"
)


def test_whole_bills_are_read() -> None:
    packed = gzip.compress(_WECHAT.encode())
    tree = wechat_bill(packed, hashlib.sha1(_WECHAT.encode()).hexdigest().upper())
    assert [row["交易状态"] for row in tree["rows"]] == ["SUCCESS", "REFUND"]
    assert tree["rows"][0]["商品名称"] == "挂号费, 普通"
    assert [row["业务类型"] for row in alipay_bill(_ALIPAY.encode("gbk"))["rows"]] == ["交易", "退款"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("`2,`12.50,`12.50", "`2,`12.50"),
        ("`2,`12.50,`12.50", "`3,`12.50,`12.50"),
        ("`2,`12.50,`12.50", "`2,`12.51,`12.50"),
        ("`12.50,`0.00", "`1.25E+1,`0.00"),
        ("商户订单号", "商户单号"),
        ("总交易单数", "总单数"),
    ],
)
def test_a_bill_of_wechat_that_is_not_whole_is_refused(old: str, new: str) -> None:
    assert old in _WECHAT
    with pytest.raises(HubError) as caught:
        wechat_bill(_WECHAT.replace(old, new, 1).encode())
    assert caught.value.code == "wechat.bill"
    with pytest.raises(HubError, match=r"digest|摘要"):
        wechat_bill(_WECHAT.encode(), "0" * 40)
    with pytest.raises(HubError, match="gzip"):
        wechat_bill(gzip.compress(_WECHAT.encode())[:-9])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("业务明细列表结束", "业务明细"),
        ("#交易合计：1笔", "#交易合计：2笔"),
        ("\t,TK1", ""),
        ("业务类型", "类型"),
        ("\t,交易\t", "\t,交 易\t"),
    ],
)
def test_a_bill_of_alipay_that_is_not_whole_is_refused(old: str, new: str) -> None:
    assert old in _ALIPAY
    with pytest.raises(HubError) as caught:
        alipay_bill(_ALIPAY.replace(old, new, 1).encode("gbk"))
    assert caught.value.code == "alipay.bill"


def test_a_total_of_thousands_of_digits_is_no_total() -> None:
    text = _ALIPAY.replace("#交易合计：1笔", f"#交易合计：{'9' * 5000}笔")
    with pytest.raises(HubError) as caught:
        alipay_bill(text.encode("gbk"))
    assert caught.value.code == "alipay.bill"


_LINES = st.lists(
    st.one_of(
        st.sampled_from((_WECHAT + _ALIPAY).splitlines(keepends=True)),
        st.text(alphabet="`,\t#0123456789.-E交易合计：笔\n", max_size=40),
    ),
    max_size=8,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(_LINES, st.binary(max_size=8))
def test_whatever_comes_is_read_or_refused(lines: list[str], more: bytes) -> None:
    text = "".join(lines)
    for read, data in (
        (wechat_bill, text.encode() + more),
        (wechat_bill, gzip.compress(text.encode()) + more),
        (wechat_bill, b"\x1f\x8b" + more),
        (alipay_bill, text.encode("gb18030") + more),
    ):
        try:
            tree: Any = read(data)
        except HubError:
            continue
        assert tree is None or {"rows"} < tree.keys()
