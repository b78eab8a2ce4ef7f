"""Three-way reconciliation through a real hub: the channel's bill, what the channel told us, the ledger of the business system."""

from __future__ import annotations

import hashlib
import io
import json
import urllib.request
import zipfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from openpyxl import load_workbook

from tests.kernel.process import ROOT, HubProcess, Sink, wait_for
from tests.plugins.test_payments import TOKEN, Platform, alipay_settings, keep_secrets, wechat_settings

#: Columns of the trade bill of WeChat Pay with bill_type ALL.
COLUMNS = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,代金券金额,微信退款单号,"
    "商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注"
)
TOTALS = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
YESTERDAY = (datetime.now(ZoneInfo("Asia/Shanghai")).date() - timedelta(days=1)).isoformat()


def row(number: str, yuan: str, *, refund: str = "", at: str = "10:00:00") -> list[str]:
    """A row of the bill: a payment, or with ``refund`` (its number) a refund."""
    values = dict.fromkeys(COLUMNS.split(","), "")
    values |= {
        "交易时间": f"{YESTERDAY} {at}",
        "商户号": "1900000001",
        "微信订单号": f"42{number}",
        "商户订单号": number,
    }
    values |= {
        "交易状态": "REFUND" if refund else "SUCCESS",
        "商品名称": "门诊, 挂号",
        "货币种类": "CNY",
        "手续费": "0.00",
    }
    values |= {"订单金额": "0.00" if refund else yuan, "申请退款金额": yuan if refund else "0.00"}
    values |= {"商户退款单号": refund or "0", "退款状态": "SUCCESS" if refund else ""}
    return list(values.values())


def cents(yuan: str) -> int:
    whole, _, part = yuan.partition(".")
    return int(whole) * 100 + int(part)


def bill(*rows: list[str]) -> bytes:
    names = COLUMNS.split(",")
    paid, back = (sum(cents(r[names.index(name)]) for r in rows) for name in ("订单金额", "申请退款金额"))
    totals = [
        str(len(rows)),
        "0.00",
        "0.00",
        "0.00",
        "0.00",
        f"{paid // 100}.{paid % 100:02}",
        f"{back // 100}.{back % 100:02}",
    ]
    lines = [COLUMNS, *(",".join("`" + value for value in r) for r in rows), TOTALS, ",".join("`" + v for v in totals)]
    return ("\ufeff" + "\r\n".join(lines) + "\r\n").encode()


class Billing(Platform):
    """The platforms, with their bills. A bill lies behind a token, and is handed out unsigned."""

    def __init__(self) -> None:
        super().__init__()
        self.bill: bytes | None = None
        self.digest = ""
        self.not_ready = 0
        self.alipay_bill = b""
        handler = self._server.RequestHandlerClass
        plain = handler.answer  # type: ignore[attr-defined]
        platform = self

        def answer(self: Any, body: bytes) -> None:
            """Downloads have no JSON and no signature."""
            if not self.path.startswith(("/v3/billdownload/", "/alipay/bill")):
                plain(self, body)
                return
            platform.calls.append(f"{self.command} {self.path}")
            if self.path.startswith("/v3/"):
                kind, _, _ = self.headers.get("Authorization", "").partition(" ")
                good = kind == "WECHATPAY2-SHA256-RSA2048" and self.path.endswith("?token=Zx_-9~.1")
                out = platform.bill if good and platform.bill is not None else None
            else:
                out = platform.alipay_bill if self.path == "/alipay/bill?bizType=trade&fileId=%2F1.zip" else None
            self.send_response(200 if out is not None else 403)
            self.send_header("Content-Length", str(len(out or b"")))
            self.end_headers()
            self.wfile.write(out or b"")

        handler.answer = answer  # type: ignore[attr-defined]

    def _wechat(self, method: str, target: str, authorization: str, body: bytes) -> tuple[int, dict[str, Any] | None]:
        if not target.startswith("/v3/bill/tradebill"):
            return super()._wechat(method, target, authorization, body)
        if target != f"/v3/bill/tradebill?bill_date={YESTERDAY}&bill_type=ALL":
            return 400, {"code": "PARAM_ERROR", "message": target}
        if self.not_ready:
            self.not_ready -= 1
            return 400, {"code": "STATEMENT_CREATING", "message": "账单生成中"}
        if self.bill is None:
            return 400, {"code": "NO_STATEMENT_EXIST", "message": "账单文件不存在"}
        digest = self.digest or hashlib.sha1(self.bill).hexdigest()
        link = "https://api.mch.weixin.qq.com/v3/billdownload/file?token=Zx_-9~.1"
        return 200, {"hash_type": "SHA1", "hash_value": digest, "download_url": link}

    def _alipay(self, method: str, content: dict[str, Any]) -> dict[str, Any]:
        if method != "alipay.data.dataservice.bill.downloadurl.query":
            return super()._alipay(method, content)
        if content != {"bill_type": "trade", "bill_date": YESTERDAY}:
            return {"code": "40004", "msg": "Business Failed", "sub_code": "INVAILID_ARGUMENTS"}
        link = "http://dwbillcenter.alipay.com/downloadBillFile.resource?bizType=trade&fileId=%2F1.zip"
        return {"code": "10000", "msg": "Success", "bill_download_url": link}


def make_site(folder: Path, platform: Platform, alerts: str) -> Path:
    (folder / "config").mkdir(parents=True)
    (folder / "reports").mkdir()
    keep_secrets(folder)
    quick = {"retry": {"attempts": 50, "interval": "20ms"}, "breaker": {"failures": 1000}}
    not_used = ("jsapi", "native", "query", "close", "refund", "refund_query")
    book = {
        "port": 0,
        "token": "file:../token",
        "folder": str(folder / "reports"),
        "alert_url": alerts,
        "at": "0 0 1 1 *",
    }
    config = {
        "plugins": [str(ROOT / "plugins" / "payment")],
        "mappings": [str(ROOT / "mappings")],
        "schemas": [str(ROOT / "schemas")],
        "watch": False,
        "store": {"path": "../var", "min_free_disk": 0},
        "admin": {"port": 0},
        "systems": {
            "wechat": {
                "plugin": "wechat_pay",
                "settings": wechat_settings(platform.url),
                "interfaces": {**dict.fromkeys(not_used, "off"), "bill_request": quick, "bill_download": quick},
            },
            "alipay": {
                "plugin": "alipay",
                "settings": {**alipay_settings(platform.url), "bill_url": f"{platform.url}/alipay/bill"},
                "interfaces": {
                    **dict.fromkeys(("precreate", "query", "close", "refund", "refund_query"), "off"),
                    "bill_request": quick,
                    "bill_download": quick,
                },
            },
            "till": {
                "plugin": "reconciliation",
                "settings": {"book": "wechat_1900000001", **book},
                "interfaces": {"compare": quick, "entries": quick},
            },
            "till_alipay": {
                "plugin": "reconciliation",
                "settings": {"book": "alipay_2088", **book},
                "interfaces": {"compare": quick, "entries": quick, "ledger": "off"},
            },
        },
        "routes": {
            "day": {"from": "till/daily", "to": ["wechat/bill_request", "till/compare"]},
            "link": {"from": "wechat/bill_link", "types": "wechat.bill_link", "to": "wechat/bill_download"},
            "bill": {
                "from": "wechat",
                "types": ["wechat.bill", "wechat.bill_none"],
                "to": "till/entries",
                "mapping": "reconciliation/wechat_bill",
            },
            "told": {"from": "wechat/notify", "to": "till/entries", "mapping": "reconciliation/wechat_result"},
            "ledger": {"from": "till/ledger", "to": "till/entries", "mapping": "reconciliation/ledger"},
            "reports": {"from": "till/report", "to": ["till/workbook", "till/alert"]},
            "day_alipay": {"from": "till_alipay/daily", "to": ["alipay/bill_request", "till_alipay/compare"]},
            "link_alipay": {"from": "alipay/bill_link", "types": "alipay.bill_link", "to": "alipay/bill_download"},
            "bill_alipay": {
                "from": "alipay",
                "types": ["alipay.bill", "alipay.bill_none"],
                "to": "till_alipay/entries",
                "mapping": "reconciliation/alipay_bill",
            },
            "told_alipay": {
                "from": "alipay/notify",
                "to": "till_alipay/entries",
                "mapping": "reconciliation/alipay_result",
            },
            "reports_alipay": {"from": "till_alipay/report", "to": ["till_alipay/workbook", "till_alipay/alert"]},
        },
    }
    file = folder / "config" / "hub.yaml"
    file.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    return file


class Till:
    """What a cashier, a channel and the clock do."""

    def __init__(self, hub: HubProcess, platform: Billing, alerts: Sink, folder: Path) -> None:
        self.hub, self.platform, self.alerts, self.folder = hub, platform, alerts, folder

    def told(self, number: str, fen: int, *, refund: str = "", day: str = YESTERDAY, at: str = "10:00:01") -> None:
        """The platform notifies a payment or a refund."""
        resource: dict[str, Any] = {
            "out_trade_no": number,
            "transaction_id": f"42{number}",
            "success_time": f"{day}T{at}+08:00",
        }
        resource |= (
            {"out_refund_no": refund, "refund_status": "SUCCESS", "amount": {"total": fen, "refund": fen}}
            if refund
            else {"trade_state": "SUCCESS", "amount": {"total": fen, "currency": "CNY"}}
        )
        body, headers = self.platform.notification(f"EV-{number}{refund}", resource)
        if refund:
            tree = json.loads(body) | {"event_type": "REFUND.SUCCESS"}
            body, headers = self.platform.signed(tree)
        assert self.post("wechat/notify", "/wechat/notify", body, headers) == 204

    def ledger(self, request: str, *entries: dict[str, Any]) -> None:
        body = json.dumps({"requestId": request, "day": YESTERDAY, "entries": entries}).encode()
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        assert self.post("till/ledger", "/payment/v1/ledger", body, headers) in (200, 202)

    def post(self, place: str, path: str, body: bytes, headers: dict[str, str]) -> int:
        request = urllib.request.Request(f"http://127.0.0.1:{self.hub.port(place)}{path}", body, headers, method="POST")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)

    def end_of_day(self, place: str = "till/daily") -> None:
        assert self.hub.call("POST", f"/api/v1/interfaces/{place}/poll").status == 202

    def reports(self, system: str = "till") -> list[dict[str, Any]]:
        """All that are stored."""
        found = self.hub.call("GET", f"/api/v1/messages?source={system}/report&limit=50").json["messages"]
        return [json.loads(self.hub.call("GET", f"/api/v1/messages/{one['id']}/raw").body) for one in found]

    def report(self, system: str = "till", version: int = 1) -> dict[str, Any]:
        """The report, as it is stored, once it is there."""

        def find() -> dict[str, Any] | None:
            return next((one for one in self.reports(system) if one["version"] == version), None)

        return dict(wait_for(find, "the report"))


@pytest.fixture
def till(tmp_path: Path) -> Iterator[Till]:
    platform, alerts = Billing(), Sink()
    with HubProcess(make_site(tmp_path, platform, f"{alerts.url}/alerts")) as hub:
        yield Till(hub, platform, alerts, tmp_path)
    platform.close()
    alerts.close()


def entry(kind: str, number: str, fen: int, state: str) -> dict[str, Any]:
    return {"kind": kind, "number": number, "amountFen": fen, "state": state, "at": f"{YESTERDAY}T10:00:02+08:00"}


def test_three_sides_are_compared_and_what_differs_is_told(till: Till) -> None:
    till.platform.not_ready = 2  # the first two times the bill is still being made
    till.platform.bill = bill(
        row("GH1", "12.50"),
        row("GH2", "30.00"),
        row("GH1", "12.50", refund="TK1"),
        row("GH4", "0.07"),
    )
    till.told("GH1", 1250)
    till.told("GH2", 3000)
    till.told("GH1", 1250, refund="TK1")
    # GH4: the channel has the money, its notification never came. GH5: only the hospital believes it was paid.
    till.ledger(
        "T1",
        entry("payment", "GH1", 1250, "paid"),
        entry("payment", "GH2", 2900, "paid"),  # another amount
        entry("payment", "GH5", 100, "paid"),
        entry("payment", "GH6", 100, "closed"),  # nobody moved any money
        entry("refund", "TK1", 1250, "under_way"),
    )
    till.hub.settled()
    till.end_of_day()
    report = till.report()
    assert {name: report[name] for name in ("total", "matched", "abnormal", "amount", "difference", "unlisted")} == {
        "total": 5,
        "matched": 2,
        "abnormal": 3,
        "amount": 1250 + 3000 + 1250 + 7 + 100,
        "difference": 100 + 7 + 100,
        "unlisted": 0,
    }
    found = {one["key"]: (one["problems"], one["missing"], one["difference"]) for one in report["differences"]}
    assert found == {
        "GH2": (["amount"], [], 100),
        "GH4": (["missing"], ["platform", "hospital"], 7),
        "GH5": (["missing"], ["channel", "platform"], 100),
    }
    assert {name: (side["entries"], side["amount"]) for name, side in report["sides"].items()} == {
        "channel": (4, 1250 + 3000 + 1250 + 7),
        "platform": (3, 1250 + 3000 + 1250),
        "hospital": (4, 1250 + 2900 + 100 + 1250),
    }
    wait_for(lambda: till.alerts.bodies, "the alert")
    alert = till.alerts.bodies[0][1]
    assert (alert["abnormal"], alert["differenceFen"], alert["day"]) == (3, 207, YESTERDAY)
    file = till.folder / "reports" / f"wechat_1900000001-{YESTERDAY}-1.xlsx"
    wait_for(file.exists, "the workbook")
    sheet = load_workbook(file)["差异"]
    assert [r[1].value for r in sheet.iter_rows(min_row=2)] == ["GH2", "GH4", "GH5"]
    assert till.platform.wrong == []


def test_a_late_notification_makes_a_new_version_and_the_same_again_does_not(till: Till) -> None:
    till.platform.bill = bill(row("GH7", "5.00", at="23:59:59"))
    till.end_of_day()
    assert till.report()["abnormal"] == 1
    # It came after midnight, and says so: the day differs, the number meets.
    today = (datetime.fromisoformat(YESTERDAY) + timedelta(days=1)).date().isoformat()
    till.told("GH7", 500, day=today, at="00:00:03")
    till.hub.settled()
    till.end_of_day()
    second = till.report(version=2)
    assert (second["total"], second["abnormal"], second["leftOut"]) == (1, 0, ["hospital"])
    till.end_of_day()
    till.hub.settled()
    assert sorted(one["version"] for one in till.reports()) == [1, 2]


def test_a_day_without_payments_is_complete(till: Till) -> None:
    till.end_of_day()
    report = till.report()
    assert (report["total"], report["abnormal"]) == (0, 0)


def test_a_bill_with_another_digest_is_not_believed(till: Till) -> None:
    till.platform.bill = bill(row("GH8", "5.00"))
    till.platform.digest = "0" * 40
    till.end_of_day()

    def refused() -> Any:
        return till.hub.call("GET", "/api/v1/deliveries?state=dead").json["deliveries"]

    dead = wait_for(refused, "the dead letter")
    assert dead[0]["target"] == "wechat/bill_download"
    assert till.reports() == []


def test_alipay_has_its_bill_in_an_archive(till: Till) -> None:
    columns = (
        "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,订单金额（元）,商家实收（元）,支付宝红包（元）,"
        "集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注"
    )
    names = columns.split(",")

    def line(number: str, kind: str, yuan: str, request: str = "") -> str:
        values = dict.fromkeys(names, "") | {
            "商户订单号": number,
            "业务类型": kind,
            "订单金额（元）": yuan,
            "支付宝交易号": "2026",
        }
        values |= {"完成时间": f"{YESTERDAY} 10:00:00", "退款批次号/请求号": request, "商品名称": "药品, 处方"}
        return ",".join(value + "\t" for value in values.values())

    details = ["#支付宝业务明细查询", "#-----业务明细列表----", columns]
    details += [line("GH1", "交易", "12.50"), line("GH1", "退款", "-12.50", "TK1"), "#-----业务明细列表结束-----"]
    details += ["#交易合计：1笔，商家实收共12.50元", "#退款合计：1笔，商家实收退款共-12.50元"]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("2088_业务明细(汇总).csv", "#汇总")
        archive.writestr("2088_业务明细.csv", "\r\n".join(details).encode("gbk"))
    till.platform.alipay_bill = packed.getvalue()
    till.end_of_day("till_alipay/daily")
    report = till.report("till_alipay")
    found = {(one["kind"], one["key"]): one["missing"] for one in report["differences"]}
    assert found == {("payment", "GH1"): ["platform"], ("refund", "TK1"): ["platform"]}
    assert report["amount"] == 2500
