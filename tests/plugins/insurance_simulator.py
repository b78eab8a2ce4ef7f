"""The medical insurance platform as its specification describes it, played by hand: it shares no code with what it checks.

Strict where a real platform is: method, media type, every field of the envelope, the number of the message, times, x-tif headers, the body's
SM2 signature, sign-in, the fields of the transactions below, their order, and the sums of money. It keeps state: sessions, visits, fees,
settlements, and what it answered to each msgid.
"""

from __future__ import annotations

import base64
import email.parser
import email.policy
import hashlib
import io
import json
import re
import threading
import time
import uuid
import zipfile
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.plugins.sm2_check import verify

__all__ = ["Insurance", "Profile"]

CHINA = timezone(timedelta(hours=8))
HOSPITAL = "H35999900001"
_DIGITS18 = re.compile(r"\d{18}", re.ASCII)
_MOMENT = "%Y-%m-%d %H:%M:%S"
_HEADER = {
    "infno": 6, "msgid": 30, "mdtrtarea_admvs": 6, "recer_sys_code": 10, "infver": 6, "opter_type": 3, "opter": 30, "opter_name": 50,
    "inf_time": 19, "fixmedins_code": 30, "fixmedins_name": 200,
}  # fmt: skip
_OPTIONAL = {"insuplc_admdvs", "dev_no", "dev_safe_info", "cainfo", "signtype", "sign_no"}
#: Node and fields the specification marks as required, of the transactions the tests make.
_REQUIRED: dict[str, dict[str, str]] = {
    "9001": {"signIn": "opter_no mac ip"},
    "9002": {"signOut": "sign_no opter_no"},
    "1101": {"data": "mdtrt_cert_type mdtrt_cert_no psn_cert_type certno psn_name"},
    "2201": {
        "data": "psn_no insutype begntime mdtrt_cert_type mdtrt_cert_no psn_cert_type certno psn_type psn_name ipt_otp_no "
        "dept_code dept_name caty"
    },
    "2203A": {
        "mdtrtinfo": "mdtrt_id psn_no med_type begntime",
        "diseinfo[]": "diag_type diag_srt_no diag_code diag_name diag_dept dise_dor_no dise_dor_name diag_time vali_flag",
    },
    "2204": {
        "feedetail[]": "feedetl_sn mdtrt_id psn_no chrg_bchno rx_circ_flag fee_ocur_time med_list_codg medins_list_codg "
        "det_item_fee_sumamt cnt pric bilg_dept_codg bilg_dept_name bilg_dr_codg bilg_dr_name hosp_appr_flag"
    },
    "2206A": {
        "data": "psn_no mdtrt_cert_type mdtrt_cert_no med_type medfee_sumamt psn_setlway mdtrt_id chrg_bchno acct_used_flag insutype"
    },
    "2207A": {
        "data": "psn_no mdtrt_cert_type mdtrt_cert_no med_type medfee_sumamt psn_setlway mdtrt_id chrg_bchno insutype "
        "acct_used_flag fulamt_ownpay_amt overlmt_selfpay preselfpay_amt inscp_scp_amt"
    },
    "2208A": {"data": "setl_id mdtrt_id psn_no"},
    "2205": {"data": "mdtrt_id chrg_bchno psn_no"},
    "2601": {"data": "psn_no omsgid oinfno"},
    "5203": {"data": "psn_no setl_id mdtrt_id"},
    "3201": {
        "data": "insutype clr_type setl_optins stmt_begndate stmt_enddate medfee_sumamt fund_pay_sumamt acct_pay "
        "fixmedins_setl_cnt fixmedins_refd_setl_flag"
    },
    "3505A": {
        "selinfoDetail[]": "med_list_codg fixmedins_hilist_id fixmedins_hilist_name fixmedins_bchno prsc_dr_name phar_name phar_prac_cert_no "
        "mdtrt_sn manu_lotnum manu_date rx_flag trdn_flag rtal_docno sel_retn_cnt sel_retn_time sel_retn_opter_name drugtracinfo"
    },
    "3202": {
        "data": "setl_optins file_qury_no stmt_begndate stmt_enddate medfee_sumamt fund_pay_sumamt cash_payamt "
        "fixmedins_setl_cnt clr_type fixmedins_refd_setl_flag"
    },
    "3203": {
        "data": "clr_type setlym psntime medfee_sumamt med_sumfee fund_appy_sum cash_payamt acct_pay begndate enddate"
    },
    "3204": {"data": "clr_appy_evt_id"},
    "3501": {
        "invinfo": "med_list_codg fixmedins_hilist_id fixmedins_hilist_name rx_flag invdate inv_cnt fixmedins_bchno manu_date expy_end"
    },
    "9101": {"fsUploadIn": "in filename fixmedins_code"},
    "9102": {"fsDownloadIn": "file_qury_no filename fixmedins_code"},
}
_MONEY = re.compile(r"\d{1,14}(\.\d{1,2})?", re.ASCII)


def _parts(kind: str, raw: bytes) -> dict[str, tuple[str, bytes]]:
    """name -> (file name, content) of a form, read by the standard library's parser of mail."""
    head = f"MIME-Version: 1.0\r\nContent-Type: {kind}\r\n\r\n".encode()
    form = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + raw)
    found = {}
    for part in form.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        found[str(name)] = (part.get_filename() or "", content)
    return found


class Profile:
    """What a province wants beside the envelope."""

    def __init__(
        self,
        *,
        paasid: str = "",
        token: str = "",
        upper: bool = False,
        public: str = "",
        sign_in: bool = True,
        cipher: str = "",
        window: float = 300,
    ) -> None:
        self.paasid, self.token, self.upper, self.public = paasid, token, upper, public
        self.sign_in, self.window, self.cipher = sign_in, window, cipher


class Refusal(Exception):
    """A business error: infcode -1."""


class Insurance:
    """``script`` says what becomes of the next calls of a transaction: busy, garbage, hang, lost (carried out, no answer), 502, silent."""

    def __init__(self, profile: Profile | None = None) -> None:
        self.profile = profile or Profile()
        self.calls: list[dict[str, Any]] = []  # envelopes that were well-formed
        self.paths: list[str] = []
        self.wrong: list[str] = []  # what a correct client never sends
        self.script: dict[str, list[str]] = {}
        self.sessions: set[str] = set()
        self.visits: dict[str, dict[str, Any]] = {}
        self.settled: dict[str, dict[str, Any]] = {}
        self.ledger: list[dict[str, Any]] = []  # what 3201 and 3202 go by: settlements, and what undid them with a sign
        self.settles_on = ""  # day of settlements, where it is not today
        self.reversed: list[str] = []
        self.applied: list[str] = []  # applications for clearing
        self.sold: list[list[str]] = []  # trace codes of each sale
        self.files: dict[str, bytes] = {}
        self._answered: dict[str, tuple[str, bytes]] = {}
        self._nonces: set[str] = set()
        self._lock = threading.Lock()
        self._let_go = threading.Event()
        insurance = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                insurance._serve(self)

            def log_message(self, *arguments: Any) -> None:
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *arguments: Any) -> None:
                """A caller that gave up."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/fsi/callService"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._let_go.set()
        self._server.shutdown()
        self._server.server_close()

    def of(self, infno: str) -> list[dict[str, Any]]:
        return [call for call in list(self.calls) if call["infno"] == infno]

    def expire(self) -> None:
        """Every session ends."""
        with self._lock:
            self.sessions.clear()

    # -- a call ----------------------------------------------------------------------------------------------------------

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        raw = handler.rfile.read(int(handler.headers["Content-Length"]))
        with self._lock:
            self.paths.append(handler.path)
            try:
                call = self._envelope(handler, raw)
            except Refusal as why:
                self.wrong.append(str(why))
                self._answer(handler, 200, self._reply(-1, str(why), {}))
                return
            self.calls.append(call)
            what = (self.script.get(call["infno"]) or [""]).pop(0)
            known = self._answered.get(call["msgid"])
            said = hashlib.sha256(json.dumps([call["infno"], call["input"]], sort_keys=True).encode()).hexdigest()
            if known is not None and known[0] != said:
                self.wrong.append(f"msgid {call['msgid']} used for two transactions")
            if what == "busy":
                body = self._reply(-1, "系统繁忙，请稍后再试", {})
            elif known is not None:
                body = known[1]
            else:
                try:
                    output = self._carry_out(call)
                    body = output if isinstance(output, bytes) else self._reply(0, "", self._sealed(output))
                    self._answered[call["msgid"]] = (said, body)
                except Refusal as why:
                    body = self._reply(-1, str(why), {})
        if what in ("hang", "lost"):
            self._let_go.wait(30)
            handler.close_connection = True
            return
        if what == "garbage":
            body = b"<html>gateway</html>"
        if what == "silent":
            body = b'{"message": "ok"}'
        self._answer(handler, 502 if what == "502" else 200, b"bad gateway" if what == "502" else body)

    @staticmethod
    def _answer(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json;charset=UTF-8")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    @staticmethod
    def _reply(code: int, text: str, output: Any) -> bytes:
        stamp = datetime.now(CHINA).strftime("%Y%m%d%H%M%S%f")[:17]
        reply = {
            "infcode": code, "inf_refmsgid": f"359999{stamp[:14]}{time.monotonic_ns() % 10**10:010d}", "refmsg_time": stamp,
            "respond_time": stamp, "err_msg": text, "output": output,
        }  # fmt: skip
        return json.dumps(reply, ensure_ascii=False).encode()

    def _sealed(self, output: Any) -> Any:
        """Base64 of SM4, where the province encrypts its replies."""
        if not self.profile.cipher:
            return output
        padder = padding.PKCS7(128).padder()
        plain = padder.update(json.dumps(output, ensure_ascii=False).encode()) + padder.finalize()
        cipher = Cipher(algorithms.SM4(bytes.fromhex(self.profile.cipher)), modes.ECB()).encryptor()
        return base64.b64encode(cipher.update(plain) + cipher.finalize()).decode()

    # -- the envelope ----------------------------------------------------------------------------------------------------

    def _envelope(self, handler: BaseHTTPRequestHandler, raw: bytes) -> dict[str, Any]:
        kind = handler.headers.get("Content-Type", "")
        parts = _parts(kind, raw) if kind.startswith("multipart/form-data") else {}
        if not parts and not kind.lower().startswith("application/json"):
            raise Refusal("Content-Type is not application/json")
        try:
            call = json.loads((parts["jsonStr"][1] if parts else raw).decode("utf-8"))
        except ValueError:
            raise Refusal("not JSON in UTF-8") from None
        if parts:
            # Annex A.1: the transaction in jsonStr, the bytes in file.
            name, content = parts["file"]
            given = call["input"]["fsUploadIn"]
            if call["infno"] != "9101" or given["in"] or given["filename"] != name:
                raise Refusal("jsonStr")
            given["in"] = base64.b64encode(content).decode()
        if set(call) != {*_HEADER, *_OPTIONAL, "input"}:
            raise Refusal(f"envelope: {sorted(set(call) ^ {*_HEADER, *_OPTIONAL, 'input'})}")
        for name, most in _HEADER.items():
            if not isinstance(call[name], str) or not 0 < len(call[name]) <= most:
                raise Refusal(f"{name} is missing or too long")
        for name in _OPTIONAL:
            if not isinstance(call[name], str):
                raise Refusal(f"{name} is no text")
        if call["fixmedins_code"] != HOSPITAL or not call["msgid"].startswith(HOSPITAL):
            raise Refusal("fixmedins_code, msgid: another institution")
        if not _DIGITS18.fullmatch(call["msgid"][12:]):
            raise Refusal("msgid: 12 characters, yyyyMMddHHmmss, 4 digits")
        told = datetime.strptime(call["msgid"][12:26], "%Y%m%d%H%M%S").replace(tzinfo=CHINA)
        now = datetime.now(CHINA)
        if abs(now - told) > timedelta(hours=1):
            raise Refusal("msgid: time")
        if abs(now - datetime.strptime(call["inf_time"], _MOMENT).replace(tzinfo=CHINA)) > timedelta(minutes=5):
            raise Refusal("inf_time")
        if not isinstance(call["input"], dict):
            raise Refusal("input is no object")
        self._check_headers(handler)
        self._check_signature(call)
        return dict(call)

    def _check_headers(self, handler: BaseHTTPRequestHandler) -> None:
        profile, get = self.profile, handler.headers.get
        if not profile.paasid:
            return
        stamp, nonce = get("x-tif-timestamp", ""), get("x-tif-nonce", "")
        text = f"{stamp}{profile.token}{nonce}{stamp}"
        wanted = hashlib.sha256(text.encode()).hexdigest()
        if get("x-tif-paasid") != profile.paasid or get("x-tif-signature") != (
            wanted.upper() if profile.upper else wanted
        ):
            raise Refusal("x-tif-signature")
        if not stamp.isdecimal() or abs(time.time() - int(stamp)) > profile.window:
            raise Refusal("x-tif-timestamp: seconds")
        if not nonce or nonce in self._nonces:
            raise Refusal("x-tif-nonce")
        self._nonces.add(nonce)

    def _check_signature(self, call: dict[str, Any]) -> None:
        if not self.profile.public:
            return
        if call["signtype"] != "SM2":
            raise Refusal("signtype")
        rest = sorted((name, value) for name, value in call.items() if name not in ("cainfo", "input") and value != "")
        text = "&".join(f"{name}={value}" for name, value in rest)
        if not verify(bytes.fromhex(self.profile.public), text.encode(), base64.b64decode(call["cainfo"])):
            raise Refusal("cainfo")

    # -- the transactions ------------------------------------------------------------------------------------------------

    def _carry_out(self, call: dict[str, Any]) -> Any:
        infno, given = call["infno"], call["input"]
        if infno != "9001" and self.profile.sign_in and call["sign_no"] not in self.sessions:
            raise Refusal("签到编号已失效，请重新签到" if call["sign_no"] else "未签到")
        required = _REQUIRED.get(infno)
        if required is None:
            raise Refusal(f"交易 {infno} 不存在")
        for node, names in required.items():
            content = given.get(node.removesuffix("[]"))
            rows = content if node.endswith("[]") else [content]
            if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
                raise self._mistake(f"{infno}: {node}")
            for row in rows:
                for name in names.split():
                    if row.get(name) in (None, ""):
                        raise self._mistake(f"{infno}: {node}.{name} 不能为空")
        return getattr(self, f"_do_{infno.lower()}")(given)

    def _mistake(self, text: str) -> Refusal:
        self.wrong.append(text)
        return Refusal(text)

    def _money(self, value: Any) -> Decimal:
        text = value if isinstance(value, str) else json.dumps(value)
        if not _MONEY.fullmatch(text):
            raise self._mistake(f"amount {text}")
        return Decimal(text)

    def _visit(self, data: dict[str, Any]) -> dict[str, Any]:
        visit = self.visits.get(data["mdtrt_id"])
        if visit is None or visit["psn_no"] != data["psn_no"]:
            raise Refusal("就诊信息不存在")
        return visit

    def _do_9001(self, given: dict[str, Any]) -> Any:
        number = uuid.uuid4().hex  # 32 characters, as in the example of annex B.1
        self.sessions.add(number)
        return {"signinoutb": {"sign_time": datetime.now(CHINA).strftime(_MOMENT), "sign_no": number}}

    def _do_9002(self, given: dict[str, Any]) -> Any:
        self.sessions.discard(given["signOut"]["sign_no"])
        return {"sign_time": {"sign_time": datetime.now(CHINA).strftime(_MOMENT)}}

    def _do_1101(self, given: dict[str, Any]) -> Any:
        data = given["data"]
        if data["psn_name"] == "查无此人":
            raise Refusal("未查询到人员信息")
        base = {"psn_no": "35000000000000000001", "psn_cert_type": "01", "certno": data["certno"], "psn_name": data["psn_name"], "gend": "1",
                "brdy": "1983-05-02", "age": 43.5}  # fmt: skip
        insured = {
            "balc": 1234.5,
            "insutype": "310",
            "psn_type": "11",
            "psn_insu_stas": "1",
            "cvlserv_flag": "0",
            "insuplc_admdvs": "359999",
        }
        return {"baseinfo": base, "insuinfo": [insured], "idetinfo": []}

    def _do_2201(self, given: dict[str, Any]) -> Any:
        data = given["data"]
        number = f"M{len(self.visits) + 1:08d}"
        self.visits[number] = {"psn_no": data["psn_no"], "diagnosed": False, "fees": {}}
        return {"data": {"mdtrt_id": number, "psn_no": data["psn_no"], "ipt_otp_no": data["ipt_otp_no"]}}

    def _do_2203a(self, given: dict[str, Any]) -> Any:
        self._visit(given["mdtrtinfo"])["diagnosed"] = True
        return {}

    def _do_2204(self, given: dict[str, Any]) -> Any:
        result = []
        for row in given["feedetail"]:
            visit = self._visit(row)
            if not visit["diagnosed"]:
                raise Refusal("请先上传就诊信息")
            amount, count, price = (self._money(row[name]) for name in ("det_item_fee_sumamt", "cnt", "pric"))
            if (count * price).quantize(Decimal("0.01")) != amount:
                raise self._mistake(f"{row['feedetl_sn']}: cnt * pric is not det_item_fee_sumamt")
            visit["fees"].setdefault(row["chrg_bchno"], {})[row["feedetl_sn"]] = amount
            result.append(
                {
                    "feedetl_sn": row["feedetl_sn"],
                    "det_item_fee_sumamt": float(amount),
                    "chrgitm_lv": "01",
                    "lmt_used_flag": "0",
                }
            )
        return {"result": result}

    def _settlement(self, data: dict[str, Any]) -> dict[str, Any]:
        visit = self._visit(data)
        total = sum(visit["fees"].get(data["chrg_bchno"], {}).values(), Decimal(0))
        if not total or self._money(data["medfee_sumamt"]) != total:
            raise Refusal(f"医疗费总额与明细合计 {total} 不符")
        fund = (total * Decimal("0.7")).quantize(Decimal("0.01"))
        return {
            "mdtrt_id": data["mdtrt_id"], "psn_no": data["psn_no"], "medfee_sumamt": float(total), "fund_pay_sumamt": float(fund),
            "hifp_pay": float(fund), "psn_part_amt": float(total - fund), "acct_pay": 0.0, "psn_cash_pay": float(total - fund),
            "fulamt_ownpay_amt": 0.0, "overlmt_selfpay": 0.0, "preselfpay_amt": 0.0, "inscp_scp_amt": float(total), "balc": 1234.5,
            "setl_time": f"{self.settles_on} 10:00:00" if self.settles_on else datetime.now(CHINA).strftime(_MOMENT),
            "insutype": data["insutype"], "hosp_part_amt": 0.0, "clr_type": "11", "clr_optins": "359999",
        }  # fmt: skip

    def _do_2206a(self, given: dict[str, Any]) -> Any:
        return {"setlinfo": self._settlement(given["data"]), "setldetail": []}

    def _do_2207a(self, given: dict[str, Any]) -> Any:
        data = given["data"]
        made = self._settlement(data)
        if any(
            one["mdtrt_id"] == data["mdtrt_id"] and one["chrg_bchno"] == data["chrg_bchno"]
            for one in self.settled.values()
        ):
            raise Refusal("该收费批次已结算")
        number = f"J{len(self.settled) + 1:08d}"
        self.settled[number] = {**made, "chrg_bchno": data["chrg_bchno"], "msgid": self.calls[-1]["msgid"]}
        self._enter(number, made, 1)
        return {
            "setlinfo": {**made, "setl_id": number},
            "setldetail": [{"fund_pay_type": "310100", "fund_payamt": made["hifp_pay"]}],
        }

    def _do_2208a(self, given: dict[str, Any]) -> Any:
        made = self.settled.pop(given["data"]["setl_id"], None)
        if made is None:
            raise Refusal("结算信息不存在")
        self._enter(given["data"]["setl_id"], made, -1)
        return {"setlinfo": {**made, "setl_id": given["data"]["setl_id"], "medfee_sumamt": -made["medfee_sumamt"]}}

    def _enter(self, number: str, made: dict[str, Any], sign: int) -> None:
        row = {name: sign * Decimal(str(made[name])) for name in ("medfee_sumamt", "fund_pay_sumamt", "acct_pay")}
        known = {
            "setl_id": number,
            "mdtrt_id": made["mdtrt_id"],
            "psn_no": made["psn_no"],
            "clr_type": made["clr_type"],
        }
        self.ledger.append({**row, **known, "refund": sign < 0, "msgid": self.calls[-1]["msgid"]})

    def _do_2205(self, given: dict[str, Any]) -> Any:
        fees = self._visit(given["data"])["fees"]
        if fees.pop(given["data"]["chrg_bchno"], None) is None:
            raise Refusal("费用明细不存在")
        return {}

    def _do_2601(self, given: dict[str, Any]) -> Any:
        data = given["data"]
        self.reversed.append(data["omsgid"])
        self.ledger = [row for row in self.ledger if row["msgid"] != data["omsgid"]]
        for number, made in list(self.settled.items()):
            if made["msgid"] == data["omsgid"]:
                del self.settled[number]
        return {}

    def _do_5203(self, given: dict[str, Any]) -> Any:
        made = self.settled.get(given["data"]["setl_id"])
        if made is None:
            raise Refusal("结算信息不存在")
        return {"setlinfo": made, "setldetail": []}

    def _do_3201(self, given: dict[str, Any]) -> Any:
        total = sum((Decimal(str(made["medfee_sumamt"])) for made in self.settled.values()), Decimal(0))
        even = self._money(given["data"]["medfee_sumamt"]) == total
        return {
            "stmtinfo": {
                "setl_optins": given["data"]["setl_optins"],
                "stmt_rslt": "0" if even else "1",
                "stmt_rslt_dscr": "",
            }
        }

    def _do_3505a(self, given: dict[str, Any]) -> Any:
        told = []
        for row in given["selinfoDetail"]:
            codes = [one["drug_trac_codg"] for one in row["drugtracinfo"]]
            if any(not code or len(code) > 30 for code in codes):
                raise self._mistake("3505A: drug_trac_codg")
            if row["trdn_flag"] != "1" and len(set(codes)) < len(codes):
                raise self._mistake("3505A: a pack is sold once")
            self.sold.append(codes)
            told.append(
                {"fixmedins_bchno": row["fixmedins_bchno"], "retRslt": "1", "medins_prod_sel_no": f"X{len(self.sold)}"}
            )
        return {"selinfoDetail": told}

    def _do_3203(self, given: dict[str, Any]) -> Any:
        """What is cleared adds up: what insurance recognises is what it is asked for and what persons paid."""
        data = given["data"]
        asked, cash, account = (self._money(data[name]) for name in ("fund_appy_sum", "cash_payamt", "acct_pay"))
        if self._money(data["med_sumfee"]) != asked + cash + account:
            raise Refusal("医保认可费用总额与各项之和不符")
        number = f"CLR{len(self.applied) + 1:08d}"
        self.applied.append(number)
        return {"result": {"clr_appy_evt_id": number}}

    def _do_3204(self, given: dict[str, Any]) -> Any:
        if given["data"]["clr_appy_evt_id"] not in self.applied:
            raise Refusal("清算申请不存在")
        self.applied.remove(given["data"]["clr_appy_evt_id"])
        return {}

    def _do_3501(self, given: dict[str, Any]) -> Any:
        return {}

    def _do_9101(self, given: dict[str, Any]) -> Any:
        number = f"U{len(self.files) + 1:08d}"
        self.files[number] = base64.b64decode(given["fsUploadIn"]["in"], validate=True)
        return {"file_qury_no": number, "filename": given["fsUploadIn"]["filename"], "fixmedins_code": HOSPITAL}

    def _do_3202(self, given: dict[str, Any]) -> Any:
        """Compares the file of the hospital with the ledger, row by row; both files are one text in a zip archive, their columns in the order
        of tables 150 and 151."""
        data = given["data"]
        with zipfile.ZipFile(io.BytesIO(self.files[data["file_qury_no"]])) as archive:
            lines = archive.read(archive.namelist()[0]).decode("utf-8").split("\n")
        rows = [line.split("\t") for line in lines if line]
        if any(len(row) != 7 or "" in row for row in rows):
            raise self._mistake("3202: columns of the file")
        if len(rows) != int(data["fixmedins_setl_cnt"]) or sum(Decimal(row[3]) for row in rows) != Decimal(
            data["medfee_sumamt"]
        ):
            raise self._mistake("3202: the file is not what the totals say")
        ours = {(row["setl_id"], row["refund"]): row for row in self.ledger if row["clr_type"] == data["clr_type"]}
        told = []
        for row in rows:
            found = ours.pop((row[0], row[6] == "1"), None)
            even = found is not None and all(
                Decimal(text) == found[name]
                for text, name in zip(row[3:6], ("medfee_sumamt", "fund_pay_sumamt", "acct_pay"), strict=True)
            )
            told.append(
                [
                    *(row[2], row[1], row[0]),
                    found["msgid"] if found else "null",
                    "0" if even else "1",
                    row[6],
                    "null" if even else "金额不符" if found else "中心无此记录",
                    *row[3:6],
                ]
            )
        for known in ours.values():
            amounts = [f"{known[name]:.2f}" for name in ("medfee_sumamt", "fund_pay_sumamt", "acct_pay")]
            told.append(
                [
                    known["psn_no"],
                    "null",
                    "null",
                    known["msgid"],
                    "1",
                    "1" if known["refund"] else "0",
                    "医院无此记录",
                    *amounts,
                ]
            )
        number = f"R{len(self.files) + 1:08d}"
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr(f"{number}.txt", "".join("\t".join(row) + "\r\n" for row in told))
        self.files[number] = packed.getvalue()
        return {"fileinfo": {"file_qury_no": number, "filename": f"{number}.zip", "dld_endtime": "2099-01-01 00:00:00"}}

    def _do_9102(self, given: dict[str, Any]) -> Any:
        found = self.files.get(given["fsDownloadIn"]["file_qury_no"])
        if found is None:
            raise Refusal("文件不存在")
        return found
