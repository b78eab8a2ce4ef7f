"""The plugin 医保 as delivered: every transaction, its messages to a strict platform, what becomes of errors, timeouts, ended sessions."""

from __future__ import annotations

import base64
import contextlib
import csv
import http.client
import io
import json
import re
import threading
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hub.yaml_source import load
from tests.kernel.process import ROOT, HubProcess, Sink, wait_for
from tests.plugins.insurance_simulator import Insurance, Profile
from tests.plugins.insurance_site import Desk, call_of, make_site

OUTPATIENT = ("1101", "2201", "2203A", "2204", "2206A", "2207A")


@pytest.fixture(scope="module")
def platform() -> Iterator[Insurance]:
    platform = Insurance()
    yield platform
    platform.close()


@pytest.fixture(scope="module")
def office() -> Iterator[Sink]:
    office = Sink()
    yield office
    office.close()


@pytest.fixture(scope="module")
def hub(platform: Insurance, office: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    folder = tmp_path_factory.mktemp("insurance")
    with HubProcess(make_site(folder, platform.url, office=office.url, settlement={"timeout": "2s"})) as hub:
        yield hub


@pytest.fixture(scope="module")
def desk(hub: HubProcess) -> Desk:
    return Desk(hub)


def outpatient(desk: Desk, name: str, until: str = "2207A") -> dict[str, Any]:
    """A visit from registration to ``until``; returns the numbers of the visit and the last answer."""
    visit: dict[str, Any] = {}
    for infno in OUTPATIENT[1:]:
        status, answer = desk.ask(call_of(infno, f"{name}-{infno}", **visit))
        assert (status, answer["infcode"]) == (200, 0), answer
        if infno == "2201":
            visit["mdtrt_id"] = answer["output"]["data"]["mdtrt_id"]
        if infno == until:
            break
    return {**visit, "answer": answer}


def newest(hub: HubProcess, target: str) -> dict[str, Any]:
    """The last delivery to a target."""
    path = f"/api/v1/deliveries?limit=1&target={urllib.parse.quote(target, safe='')}"
    found: list[dict[str, Any]] = hub.call("GET", path).json["deliveries"]
    return found[0]


# -- the good day ----------------------------------------------------------------------------------------------------------


def test_a_visit_from_registration_to_settlement_and_back(platform: Insurance, hub: HubProcess, desk: Desk) -> None:
    before = len(platform.calls)
    assert desk.ask(call_of("1101", "day-1101"))[1]["output"]["baseinfo"]["psn_name"] == "林样例"
    visit = outpatient(desk, "day")
    settled = visit["answer"]["output"]["setlinfo"]
    assert (settled["medfee_sumamt"], settled["fund_pay_sumamt"], settled["psn_cash_pay"]) == (51.6, 36.12, 15.48)
    asked = {"setl_id": settled["setl_id"], "mdtrt_id": visit["mdtrt_id"]}
    status, answer = desk.ask(call_of("2208A", "day-2208A", **asked))
    assert (status, answer["output"]["setlinfo"]["medfee_sumamt"]) == (200, -51.6)
    assert platform.wrong == []
    made = platform.calls[before:]
    assert [call["infno"] for call in made if call["infno"] != "9001"] == [*OUTPATIENT, "2208A"]
    assert len({call["msgid"] for call in made}) == len(made)
    assert len({call["sign_no"] for call in made if call["infno"] != "9001"}) == 1


def test_nobody_signs_in_twice_a_day(platform: Insurance, desk: Desk) -> None:
    desk.ask(call_of("1101", "once-1"))
    before = len(platform.of("9001"))
    answers = desk.together([call_of("1101", f"once-{number}") for number in range(2, 12)])
    assert [status for status, _ in answers] == [200] * 10
    assert len(platform.of("9001")) == before


def test_each_operator_signs_in_for_himself(platform: Insurance, desk: Desk) -> None:
    call = {**call_of("1101", "other-1"), "opter": "C099", "opter_name": "收费员壬"}
    assert desk.ask(call)[0] == 200
    assert desk.ask({**call, "requestId": "other-2"})[0] == 200
    assert [one["opter"] for one in platform.of("9001")].count("C099") == 1


def test_who_signs_out_is_signed_in_again_by_the_next_call(platform: Insurance, desk: Desk) -> None:
    call = {**call_of("1101", "leaves-1"), "opter": "C077", "opter_name": "收费员辛"}
    assert desk.ask(call)[0] == 200
    mine = platform.of("1101")[-1]["sign_no"]
    status, answer = desk.ask({"infno": "9002", "requestId": "leaves-9002", "opter": "C077", "opter_name": "收费员辛"})
    assert (status, answer["infcode"]) == (200, 0), answer
    assert platform.of("9002")[-1]["input"] == {"signOut": {"sign_no": mine, "opter_no": "C077"}}
    assert mine not in platform.sessions
    assert desk.ask({**call, "requestId": "leaves-2"})[0] == 200
    assert platform.of("1101")[-1]["sign_no"] in platform.sessions - {mine}
    assert [one["opter"] for one in platform.of("9001")].count("C077") == 2
    assert platform.wrong == []


def test_reconciliation_says_whether_the_totals_agree(platform: Insurance, desk: Desk) -> None:
    total = sum(made["medfee_sumamt"] for made in platform.settled.values())
    _, even = desk.ask(call_of("3201", "even", medfee_sumamt=f"{total:.2f}"))
    _, odd = desk.ask(call_of("3201", "odd", medfee_sumamt=f"{total + 1:.2f}"))
    assert [answer["output"]["stmtinfo"]["stmt_rslt"] for answer in (even, odd)] == ["0", "1"]


def test_the_result_of_a_reconciliation_becomes_a_list_of_differences(
    platform: Insurance, office: Sink, hub: HubProcess, desk: Desk
) -> None:
    rows = [
        "J1\tM1\tP1\t51.60\t36.12\t0.00\t0\tMSG1\t0\tnull",
        'J2\tM2\tP2\t20.00\t14.00\t0.00\t0\tMSG2\t1\t金额, "不符"',
        "null\tnull\tP3\t9.50\t9.50\t0.00\t1\tMSG3\t1\tnull",
    ]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("3202.txt", "\r\n".join(rows) + "\r\n")
    platform.files["F0000000001"] = packed.getvalue()
    assert desk.ask(call_of("9102"))[0] == 202
    ((_, told),) = wait_for(lambda: list(office.bodies), "the list of differences")
    assert told["rows"] == 3
    assert told["differences"] == [
        {"setl_id": "J2", "mdtrt_id": "M2", "psn_no": "P2", "medfee_sumamt": "20.00", "fund_pay_sumamt": "14.00", "acct_pay": "0.00",
         "refund": False, "msgid": "MSG2", "memo": '金额, "不符"'},
        {"psn_no": "P3", "medfee_sumamt": "9.50", "fund_pay_sumamt": "9.50", "acct_pay": "0.00", "refund": True, "msgid": "MSG3"},
    ]  # fmt: skip


def test_a_refused_download_is_no_file(office: Sink, hub: HubProcess, desk: Desk) -> None:
    before = len(office.bodies)
    assert desk.ask(call_of("9102", "no-file", file_qury_no="F404"))[0] == 202
    hub.settled()
    dead = newest(hub, "insurance/file_download")
    assert (dead["state"], dead["reason"]) == ("dead", "文件不存在")
    assert len(office.bodies) == before


# -- errors ----------------------------------------------------------------------------------------------------------------


def test_a_refusal_reaches_the_caller_in_the_platform_s_words_and_is_dead(hub: HubProcess, desk: Desk) -> None:
    status, answer = desk.ask(call_of("1101", "refused", psn_name="查无此人"))
    assert (status, answer["infcode"], answer["err_msg"]) == (422, -1, "未查询到人员信息")
    dead = newest(hub, "insurance/query")
    assert (dead["state"], dead["reason"], dead["attempts"]) == ("dead", "未查询到人员信息", 1)


def test_what_is_tried_again_has_the_same_msgid(platform: Insurance, desk: Desk) -> None:
    visit = outpatient(desk, "again", until="2203A")
    platform.script["2204"] = ["busy", "502", "garbage"]
    before = len(platform.of("2204"))
    status, answer = desk.ask(call_of("2204", "again-2204", mdtrt_id=visit["mdtrt_id"]))
    assert (status, answer["infcode"]) == (200, 0)
    made = platform.of("2204")[before:]
    assert len(made) == 4
    assert len({call["msgid"] for call in made}) == 1
    assert platform.wrong == []


def test_a_reply_without_infcode_is_no_success(platform: Insurance, desk: Desk) -> None:
    platform.script["1101"] = ["silent"]
    before = len(platform.of("1101"))
    assert desk.ask(call_of("1101", "silent"))[0] == 200
    assert len(platform.of("1101")) == before + 2


def test_an_ended_session_is_followed_by_one_new_sign_in(platform: Insurance, desk: Desk) -> None:
    assert desk.ask(call_of("1101", "ended-0"))[0] == 200
    platform.expire()
    before = len(platform.of("9001"))
    status, answer = desk.ask(call_of("1101", "ended-1"))
    assert (status, answer["infcode"]) == (200, 0)
    assert len(platform.of("9001")) == before + 1
    assert desk.ask(call_of("1101", "ended-2"))[0] == 200
    assert len(platform.of("9001")) == before + 1
    assert platform.wrong == []


def test_a_settlement_without_answer_is_not_sent_again_and_can_be_reversed(
    platform: Insurance, hub: HubProcess, desk: Desk
) -> None:
    visit = outpatient(desk, "lost", until="2206A")
    platform.script["2207A"] = ["lost"]
    before, settled = len(platform.of("2207A")), len(platform.settled)
    status, _ = desk.ask(call_of("2207A", "lost-2207A", mdtrt_id=visit["mdtrt_id"]))
    assert status == 504
    (made,) = platform.of("2207A")[before:]
    assert len(platform.settled) == settled + 1  # it was carried out all the same
    dead = newest(hub, "insurance/settlement")
    assert (dead["state"], dead["attempts"]) == ("dead", 1)
    status, answer = desk.ask({"infno": "2601", "requestId": "lost-2601", "of": "lost-2207A", "input": {}})
    assert (status, answer["infcode"]) == (200, 0), answer
    assert platform.reversed == [made["msgid"]]
    assert platform.of("2601")[-1]["input"]["data"]["oinfno"] == "2207A"
    assert len(platform.settled) == settled
    assert platform.wrong == []


def test_what_the_platform_would_refuse_is_not_sent(platform: Insurance, desk: Desk) -> None:
    desk.ask(call_of("1101", "complete"))  # signs in
    before = len(platform.calls)
    call = call_of("2204", "incomplete")
    del call["input"]["feedetail"][1]["pric"]
    call["input"]["feedetail"][0]["det_item_fee_sumamt"] = "36.605"
    assert desk.ask(call)[0] == 500
    wrong = call_of("2207A", "wrong", acct_used_flag="7")
    assert desk.ask(wrong)[0] == 500
    assert len(platform.calls) == before


def test_a_transaction_nobody_knows_is_refused_at_once(desk: Desk) -> None:
    assert desk.ask({"infno": "2999", "requestId": "unknown", "input": {}})[0] == 422


def test_calls_made_at_once_have_msgids_of_their_own(platform: Insurance, desk: Desk) -> None:
    before = len(platform.calls)
    answers = desk.together([call_of("1101", f"many-{number}") for number in range(40)])
    sent = [call["msgid"] for call in platform.calls[before:]]
    assert len(set(sent)) == len(sent)
    assert [status for status, _ in answers] == [200] * 40
    assert platform.wrong == []


def test_no_personal_data_is_in_the_log(hub: HubProcess, desk: Desk) -> None:
    desk.ask(call_of("1101", "logged", psn_name="查无此人"))
    log = (hub.config.parent / "run.log").read_text(encoding="utf-8")
    assert not re.search(r"359999198305020017|林样例|35000000000000000001", log)


def test_after_a_crash_the_call_goes_out_again_under_the_same_msgid(tmp_path: Path) -> None:
    platform = Insurance()
    site = make_site(tmp_path, platform.url)
    try:
        with HubProcess(site) as hub:
            desk = Desk(hub)
            visit = outpatient(desk, "crash", until="2203A")
            platform.script["2204"] = ["lost"]
            caller = threading.Thread(
                target=asked_in_vain, args=(desk, call_of("2204", "crash-2204", mdtrt_id=visit["mdtrt_id"]))
            )
            caller.start()
            wait_for(lambda: platform.of("2204"), "the fees are under way")
            hub.kill()
            caller.join()
        with HubProcess(site) as hub:
            wait_for(lambda: len(platform.of("2204")) == 2, "the fees come again")
            hub.settled()
            assert newest(hub, "insurance/upload")["state"] == "delivered"
        assert len({call["msgid"] for call in platform.of("2204")}) == 1
        assert platform.wrong == []
    finally:
        platform.close()


def test_a_settlement_the_hub_was_killed_in_is_not_sent_again_and_can_be_reversed(tmp_path: Path) -> None:
    platform = Insurance()
    site = make_site(tmp_path, platform.url)
    try:
        with HubProcess(site) as hub:
            desk = Desk(hub)
            visit = outpatient(desk, "killed", until="2206A")
            platform.script["2207A"] = ["lost"]
            caller = threading.Thread(
                target=asked_in_vain, args=(desk, call_of("2207A", "killed-2207A", mdtrt_id=visit["mdtrt_id"]))
            )
            caller.start()
            wait_for(lambda: platform.settled, "the settlement is carried out, its answer under way")
            hub.kill()
            caller.join()
        with HubProcess(site) as hub:
            hub.settled()
            dead = newest(hub, "insurance/settlement")
            assert (dead["state"], dead["attempts"]) == ("dead", 1)
            (made,) = platform.of("2207A")
            desk = Desk(hub)
            status, answer = desk.ask({"infno": "2601", "requestId": "killed-2601", "of": "killed-2207A", "input": {}})
            assert (status, answer["infcode"]) == (200, 0), answer
            assert platform.reversed == [made["msgid"]]
            assert platform.settled == {}
            # Whoever works on the dead letter may decide that it is to be sent all the same: under the number it had.
            again = hub.call(
                "POST", "/api/v1/deliveries/resend", {"ids": [dead["id"]], "step": "map", "reason": "5203 没有该笔结算"}
            )
            assert again.status in (200, 202), again.body
            wait_for(lambda: len(platform.of("2207A")) == 2, "sent by hand")
            hub.settled()
            assert newest(hub, "insurance/settlement")["state"] == "delivered"
            assert len({call["msgid"] for call in platform.of("2207A")}) == 1
        assert platform.wrong == []
    finally:
        platform.close()


def test_a_reversal_is_tried_until_it_is_answered_and_undoes_once(
    platform: Insurance, hub: HubProcess, desk: Desk
) -> None:
    visit = outpatient(desk, "stubborn", until="2206A")
    platform.script["2207A"] = ["lost"]
    assert desk.ask(call_of("2207A", "stubborn-2207A", mdtrt_id=visit["mdtrt_id"]))[0] == 504
    before, reversed_before = len(platform.of("2601")), len(platform.reversed)
    platform.script["2601"] = ["502", "garbage", "busy"]
    call = {"infno": "2601", "requestId": "stubborn-2601", "of": "stubborn-2207A", "input": {}}
    assert desk.ask(call)[0] == 200
    made = platform.of("2601")[before:]
    assert len(made) == 4
    assert len({one["msgid"] for one in made}) == 1
    assert len(platform.reversed) == reversed_before + 1
    # Asked again, the hub answers without another call.
    assert desk.ask(call)[0] == 200
    assert len(platform.of("2601")) == before + 4
    assert platform.wrong == []


def test_a_reversal_that_fails_for_good_is_a_dead_letter(platform: Insurance, hub: HubProcess, desk: Desk) -> None:
    visit = outpatient(desk, "hopeless", until="2206A")
    platform.script["2207A"] = ["lost"]
    assert desk.ask(call_of("2207A", "hopeless-2207A", mdtrt_id=visit["mdtrt_id"]))[0] == 504
    platform.script["2601"] = ["busy"] * 4  # as often as the site tries
    assert desk.ask({"infno": "2601", "requestId": "hopeless-2601", "of": "hopeless-2207A", "input": {}})[0] == 502
    dead = newest(hub, "insurance/reversal")
    assert (dead["state"], dead["reason"], dead["attempts"]) == ("dead", "系统繁忙，请稍后再试", 4)
    resent = hub.call("POST", "/api/v1/deliveries/resend", {"ids": [dead["id"]], "step": "map", "reason": "平台已恢复"})
    assert resent.status in (200, 202), resent.body
    hub.settled()
    assert newest(hub, "insurance/reversal")["state"] == "delivered"
    assert platform.reversed[-1] == platform.of("2207A")[-1]["msgid"]


def asked_in_vain(desk: Desk, call: dict[str, Any]) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):
        desk.ask(call)


# -- provinces -------------------------------------------------------------------------------------------------------------


def test_headers_and_the_signature_of_the_body(tmp_path: Path) -> None:
    private = 0x3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8  # of GB/T 32918.5, annex A
    public = "0409F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13"
    profile = Profile(paasid="demo_paas", token="a-token", upper=True, public=public)
    platform = Insurance(profile)
    for name, text in (("tif", "a-token"), ("sm2", f"{private:064x}")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    security = [
        {
            "signature": {
                "algorithm": "sm2",
                "private": "${private_key}",
                "form": "raw",
                "fields": {"drop": ["input"]},
                "at": {"field": "cainfo"},
                "encoding": "base64",
            }
        },
        {"x_tif": {"paasid": "demo_paas", "token": "${token}", "case": "upper"}},
    ]
    site = make_site(
        tmp_path / "site",
        platform.url,
        settings={"signtype": "SM2", "token": "file:../../tif", "private_key": "file:../../sm2"},
        every={"security": security},
    )
    try:
        with HubProcess(site) as hub:
            desk = Desk(hub)
            status, answer = desk.ask(call_of("1101", "signed"))
            assert (status, answer["infcode"]) == (200, 0), (answer, platform.wrong)
            assert [call["infno"] for call in platform.calls] == ["9001", "1101"]
            profile.token = "another"  # the platform no longer accepts what we send
            assert desk.ask(call_of("1101", "signed-2"))[0] == 422
    finally:
        platform.close()


def test_replies_that_come_encrypted(tmp_path: Path) -> None:
    key = "0123456789abcdeffedcba9876543210"
    platform = Insurance(Profile(cipher=key))
    (tmp_path / "sm4").write_text(key)
    (tmp_path / "sm4").chmod(0o600)
    reply = {"what": "output", "required": False}
    opening = {"encryption": {"algorithm": "sm4-ecb", "key": "${cipher_key}", "requests": False, "reply": reply}}
    settings = {"cipher_key": "file:../../sm4"}
    site = make_site(
        tmp_path / "site",
        platform.url,
        settings=settings,
        every={"security": [opening]},
        file_download={"security": []},
    )
    try:
        with HubProcess(site) as hub:
            desk = Desk(hub)
            status, answer = desk.ask(call_of("1101", "encrypted"))
            assert (status, answer["output"]["baseinfo"]["psn_name"]) == (200, "林样例"), platform.wrong
            assert desk.ask(call_of("1101", "refused", psn_name="查无此人"))[1]["err_msg"] == "未查询到人员信息"
    finally:
        platform.close()


# -- the contract ----------------------------------------------------------------------------------------------------------


def transactions() -> dict[str, str]:
    table = (ROOT / "mappings" / "tables" / "medical_insurance_infno.csv").read_text(encoding="utf-8")
    rows = [line.split(",") for line in table.splitlines() if line and not line.startswith(("#", "from"))]
    return {row[0]: row[1] for row in rows}


def test_every_transaction_belongs_to_one_interface() -> None:
    plugin = load(ROOT / "plugins" / "insurance" / "medical_insurance" / "plugin.yaml").data
    accepted = [
        infno
        for name, interface in plugin["interfaces"].items()
        if interface["direction"] == "out" and name != "file_upload_form"  # 9101 in its other form
        for infno in interface["accepts"]
    ]
    known = [infno for infno in accepted if infno[0].isdigit()]
    assert len(known) == len(set(known))
    told = {
        interface["type"].strip("'") for interface in plugin["interfaces"].values() if interface["direction"] == "in"
    }
    # 移动支付 has an envelope of its own, and a plugin; 4261 to 4263 are Hunan's and have none at all.
    elsewhere = {infno for infno in transactions() if infno[0] == "6"} | {"4261", "4262", "4263"}
    assert set(transactions()) - elsewhere == set(known) | (told & set(transactions()))


def test_every_transaction_whose_form_is_known_is_checked_by_the_envelope() -> None:
    schemas = ROOT / "schemas" / "medical_insurance"
    rules = json.loads((schemas / "request.json").read_text("utf-8"))["allOf"]
    checked = [rule["if"]["properties"]["infno"]["const"] for rule in rules]
    assert len(checked) == len(set(checked))
    # What comes from the platform, and the transactions of mobile payment, have envelopes of their own.
    sent = {infno for infno in transactions() if infno[0] != "6" and infno not in ("7108", "7109")}
    assert {infno for infno in sent if (schemas / f"{infno}.json").exists()} <= set(checked)
    assert {infno for infno in sent if infno[:2] in ("22", "23", "24", "32", "35")} <= set(checked)


# -- trace codes of medicines ----------------------------------------------------------------------------------------------


def sale(number: str, codes: list[str], trdn_flag: str = "0") -> dict[str, Any]:
    """A call 3505A of one medicine with these trace codes."""
    example = json.loads((ROOT / "plugins/insurance/medical_insurance/examples/3505A.json").read_text("utf-8"))
    (row,) = example["input"]["selinfoDetail"]
    row |= {
        "trdn_flag": trdn_flag,
        "sel_retn_cnt": str(len(codes)),
        "drugtracinfo": [{"drug_trac_codg": one} for one in codes],
    }
    return {"infno": "3505A", "requestId": number, "input": {"selinfoDetail": [row]}}


def test_a_pack_is_sold_once_and_parts_of_it_more_often(platform: Insurance, hub: HubProcess, desk: Desk) -> None:
    whole = ["81000000000000000001", "81000000000000000002"]
    status, answer = desk.ask(sale("sale-whole", whole))
    assert (status, answer["output"]["selinfoDetail"][0]["retRslt"]) == (200, "1")
    assert platform.sold[-1] == whole
    before = len(platform.of("3505A"))
    assert desk.ask(sale("sale-twice", [whole[0], whole[0]]))[0] == 500
    assert desk.ask(sale("sale-blank", ["8100000 0000000003"]))[0] == 500
    assert desk.ask(sale("sale-long", ["8" * 31]))[0] == 500
    assert len(platform.of("3505A")) == before
    assert desk.ask(sale("sale-parts", [whole[0], whole[0]], trdn_flag="1"))[0] == 200
    assert platform.wrong == []


# -- clearing, stock, files as forms, notices ------------------------------------------------------------------------------

CLEARING = {
    "clr_type": "11",
    "clr_way": "1",
    "setlym": "202611",
    "psntime": 2,
    "medfee_sumamt": "63.60",
    "med_sumfee": "63.60",
    "fund_appy_sum": "44.52",
    "cash_payamt": "19.08",
    "acct_pay": "0.00",
    "begndate": "2026-11-01",
    "enddate": "2026-11-30",
}


def test_clearing_is_applied_for_and_taken_back(platform: Insurance, desk: Desk) -> None:
    status, answer = desk.ask({"infno": "3203", "requestId": "clear-1", "input": {"data": CLEARING}})
    assert (status, answer["output"]["result"]["clr_appy_evt_id"]) == (200, platform.applied[-1])
    undo = {"infno": "3204", "requestId": "clear-2", "input": {"data": answer["output"]["result"]}}
    assert desk.ask(undo)[0] == 200
    assert platform.applied == []
    before = len(platform.of("3203"))
    for missing in ("setlym", "psntime", "fund_appy_sum", "enddate"):
        data = {name: value for name, value in CLEARING.items() if name != missing}
        assert desk.ask({"infno": "3203", "requestId": f"clear-{missing}", "input": {"data": data}})[0] == 500
    assert len(platform.of("3203")) == before
    assert platform.wrong == []


def test_a_stock_count_with_its_trace_codes(platform: Insurance, desk: Desk) -> None:
    row = {
        "med_list_codg": "XJ01CRA040A001010102654",
        "fixmedins_hilist_id": "YP0001",
        "fixmedins_hilist_name": "某某片",
        "rx_flag": "1",
        "invdate": "2026-11-28",
        "inv_cnt": "120.00",
        "fixmedins_bchno": "RK202611010001",
        "manu_date": "2026-06-01",
        "expy_end": "2028-05-31",
        "drugtracinfo": [{"drug_trac_codg": "8" * 31}],  # up to 100 here, 30 in a sale
    }
    assert desk.ask({"infno": "3501", "requestId": "stock-1", "input": {"invinfo": row}})[0] == 200
    before = len(platform.of("3501"))
    wrong = {**row, "drugtracinfo": [{"drug_trac_codg": "8100 0001"}]}
    assert desk.ask({"infno": "3501", "requestId": "stock-2", "input": {"invinfo": wrong}})[0] == 500
    del row["invdate"]
    assert desk.ask({"infno": "3501", "requestId": "stock-3", "input": {"invinfo": row}})[0] == 500
    assert len(platform.of("3501")) == before
    assert platform.wrong == []


def test_a_file_is_uploaded_as_a_form_and_notices_of_prescriptions_are_taken_once(tmp_path: Path) -> None:
    platform = Insurance()
    site = make_site(tmp_path, platform.url, settings={"insuplc_admdvs": "359998"})
    tree = yaml.safe_load(site.read_text("utf-8"))
    route = tree["routes"]["insurance"]
    route["to"] = [one.replace("file_upload", "file_upload_form") for one in route["to"]]
    tree["routes"]["notices"] = {"from": "insurance/prescription_reviewed", "to": "office/list"}
    office = Sink()
    tree["systems"]["office"]["settings"]["url"] = office.url
    site.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("1.txt", "J1\tM1\tP1\t51.60\t36.12\t0.00\t0\n")
    content = base64.b64encode(packed.getvalue()).decode()
    upload = {"in": content, "filename": "3202_医院.zip", "fixmedins_code": "H35999900001"}
    try:
        with HubProcess(site) as hub:
            desk = Desk(hub)
            status, answer = desk.ask({"infno": "9101", "requestId": "form", "input": {"fsUploadIn": upload}})
            assert status == 200, (answer, platform.wrong)
            assert platform.files[answer["output"]["file_qury_no"]] == packed.getvalue()
            assert platform.of("9101")[0]["insuplc_admdvs"] == "359998"
            told = (ROOT / "plugins/insurance/medical_insurance/examples/7108.json").read_bytes()
            url = f"http://127.0.0.1:{hub.port('insurance/prescription_reviewed')}/rxChkInfoCallback"
            for _ in range(2):
                request = urllib.request.Request(url, data=told, headers={"Content-Type": "application/json"})
                with urllib.request.urlopen(request, timeout=30) as response:
                    assert json.loads(response.read())["output"]["data"]["success"] is True
            hub.settled()
            assert [json.loads(told)] == [body for _, body in office.bodies]
        assert platform.wrong == []
    finally:
        office.close()
        platform.close()


def test_the_table_of_transactions_says_what_is_there() -> None:
    lines = (ROOT / "plugins/insurance/medical_insurance/transactions.csv").read_text("utf-8").splitlines()
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    assert {row["infno"]: row["name"] for row in rows} == transactions()
    plugins = {
        name: load(ROOT / "plugins" / "insurance" / name / "plugin.yaml").data["interfaces"]
        for name in ("medical_insurance", "mobile_insurance_payment")
    }
    for row in rows:
        infno = row["infno"]
        if row["interface"] != "-":
            plugin, _, interface = row["interface"].partition("/")
            found = plugins[plugin][interface]
            assert infno in found["accepts"] if found["direction"] == "out" else f"'{infno}'" == found["type"], infno
        schemas = ROOT / "schemas" / "medical_insurance"
        if row["schema"] == "-":
            assert not (schemas / f"{infno}.json").exists(), infno
        else:
            assert (schemas / row["schema"]).is_file(), infno
        for mapping in row["mappings"].split() if row["mappings"] != "-" else ():
            steps = load(ROOT / "mappings" / f"{mapping}.yaml").data["steps"]
            assert any(infno in (ROOT / "mappings" / f"{step}.yaml").read_text("utf-8") for step in steps), infno
