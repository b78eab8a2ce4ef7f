"""省政务中台 and a department's system around a real hub: both are played by programs that share no code with it."""

from __future__ import annotations

import copy
import hashlib
import json
import secrets
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kernel.process import ROOT, HubProcess, wait_for
from tests.plugins.government_parties import APP, Department, MiddlePlatform, Server
from tests.ports import free_port

GOVERNMENT = ROOT / "plugins" / "government"
TOKEN = "token-of-the-hub-for-them"
QUICK = {"retry": {"attempts": 3, "interval": "50ms"}, "breaker": {"open_for": "50ms", "max_open_for": "200ms"}}
#: What the department reports, and where the platform takes it.
OUT = {
    "case_gather": "government.case",
    "case_accept": "government.accept",
    "case_correction": "government.correction",
    "case_step": "government.step",
    "case_done": "government.done",
    "materials_push": "government.materials",
    "archive_notice": "government.archive",
}


def example(name: str, plugin: str = "government_approval") -> dict[str, Any]:
    tree: dict[str, Any] = json.loads((GOVERNMENT / plugin / "examples" / f"{name}.json").read_bytes())
    return tree


@dataclass
class Site:
    platform: MiddlePlatform
    department: Department
    hub: HubProcess
    middle: str  # where the hub is called by the platform
    desk: str  # where it is called by the department
    numbers: int = 0

    def number(self) -> str:
        self.numbers += 1
        return f"359999000000GC{self.numbers:014}"

    def post(self, path: str, tree: Any, token: str = TOKEN) -> tuple[int, dict[str, Any]]:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        request = urllib.request.Request(f"{self.desk}/{path}", json.dumps(tree).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def tell(self, name: str, case: str, version: int = 1, **changes: Any) -> str:
        """The department reports; returns the number of the message."""
        tree = example(name)
        tree["messageId"] = f"T{secrets.token_hex(8)}"
        tree["case"].update(number=case, version=version)
        for path, value in changes.items():
            part, _, last = path.rpartition("__")
            at = tree
            for step in filter(None, part.split("__")):
                at = at[step]
            if value is None:
                del at[last]
            else:
                at[last] = value
        path = {"case": "cases", "materials": "materials"}.get(name, "progress")
        status, answer = self.post(path, tree)
        assert status == 202, answer
        return str(answer["message_id"])

    def file(self, case: str, name: str = "case_receive", **changes: Any) -> dict[str, Any]:
        """The platform files a case, or a corrected one."""
        return self.platform.call(
            f"{self.middle}/hd1/{'bjjs' if name == 'case_receive' else 'bjbzwc'}", self.filed(case, name, **changes)
        )

    def filed(self, case: str, name: str = "case_receive", **changes: Any) -> dict[str, Any]:
        return {**example(name, "government_middle_platform")["data"], "projid": case, **changes}

    def versions(self, case: str, count: int) -> dict[int, dict[str, Any]]:
        wait_for(lambda: len(self.department.versions.get(case, {})) >= count, "the department has the case")
        return self.department.versions[case]

    def deliveries(self, message: str) -> list[dict[str, Any]]:
        found = self.hub.call("GET", "/api/v1/deliveries?limit=200").json["deliveries"]
        return [each for each in found if each["message_id"] == message]

    def ended(self, message: str) -> dict[str, Any]:
        def end() -> dict[str, Any] | None:
            mine = self.deliveries(message)
            return mine[0] if mine and mine[0]["state"] in ("delivered", "dead") else None

        return dict(wait_for(end, "the delivery ends"))

    def messages(self, case: str) -> list[dict[str, Any]]:
        found = self.hub.call("GET", f"/api/v1/messages?key.case={case}&limit=100").json["messages"]
        return list(reversed(found))


def secret(folder: Path, name: str, text: str) -> str:
    file = folder / "secrets" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    file.chmod(0o600)
    return f"file:{file}"


def configured(folder: Path, platform: MiddlePlatform, department: Department, middle: int, desk: int) -> Path:
    keys = {
        "app_id": APP,
        "private_key": secret(folder, "private", f"{platform.hub_private:064x}"),
        "platform_key": secret(folder, "platform", platform.public.hex()),
        "data_key": secret(folder, "data", platform.key.hex()),
        "base_url": platform.url,
    }
    unnamed = [f"hd1_{n}" for n in range(10, 16)] + [f"hd2_{n}" for n in range(1, 10)]
    sending = [*OUT, "case_list", "case_query", "material_query", *(f"{each}_send" for each in unnamed)]
    routes = {name: {"from": "approval", "types": [kind], "to": f"middle/{name}"} for name, kind in OUT.items()}
    for kind, name in (("cases", "case_list"), ("case", "case_query"), ("materials", "material_query")):
        routes[name] = {"from": "approval/query", "types": [f"government.query.{kind}"], "to": f"middle/{name}"}
    for name in ("hd1_10", "hd2_1"):
        routes[name] = {
            "from": "approval/exchange",
            "types": [f"government.exchange.{name}"],
            "to": f"middle/{name}_send",
        }
    routes |= {
        "sms": {"from": "approval/sms", "to": "sms/send"},
        "filed": {"from": "middle/case_receive", "to": "approval/application"},
        "corrected": {"from": "middle/case_corrected", "to": "approval/corrected"},
        "attached": {"from": "middle/materials_receive", "to": "approval/received_materials"},
        "asked": {"from": "middle/case_list_asked", "to": "approval/case_list"},
        "unnamed": {"from": "middle", "types": ["middle.hd1_*", "middle.hd2_*"], "to": "approval/received_exchange"},
    }
    # What is not needed is left out: a hub compiles everything it finds.
    for part in ("mappings/government", "schemas/government"):
        shutil.copytree(ROOT / part, folder / part)
    for part, pattern in (
        ("mappings/tables", "government_*.csv"),
        ("schemas/canonical", "government_*.json"),
        ("schemas/canonical", "common.json"),
    ):
        (folder / part).mkdir(exist_ok=True)
        for source in (ROOT / part).glob(pattern):
            shutil.copy(source, folder / part)
    tree = {
        "plugins": [str(GOVERNMENT)],
        "mappings": ["../mappings"],
        "schemas": ["../schemas"],
        "watch": False,
        "store": {"path": "../var", "min_free_disk": 0},
        "admin": {"port": 0},
        "systems": {
            "middle": {
                "plugin": "government_middle_platform",
                "settings": {**keys, "port": middle},
                "interfaces": dict.fromkeys(sending, QUICK) | {"archive_notice": QUICK | {"timeout": "2s"}},
            },
            "sms": {"plugin": "middle_platform_sms", "settings": keys, "interfaces": {"send": QUICK}},
            "approval": {
                "plugin": "government_approval",
                "settings": {
                    "port": desk,
                    "token": secret(folder, "token", TOKEN),
                    "base_url": department.url,
                    "system_token": secret(folder, "system", "token-of-the-department"),
                    "timeout": "2s",
                },
                "interfaces": dict.fromkeys(
                    ("application", "corrected", "received_materials", "received_exchange"), QUICK
                )
                | {"case_list": QUICK},
            },
        },
        "routes": routes,
    }
    file = folder / "config" / "hub.yaml"
    file.parent.mkdir()
    file.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    platform, department = MiddlePlatform(), Department()
    middle, desk = free_port(), free_port()
    file = configured(tmp_path_factory.mktemp("government"), platform, department, middle, desk)
    try:
        with HubProcess(file) as hub:
            yield Site(
                platform,
                department,
                hub,
                f"http://127.0.0.1:{middle}/middle",
                f"http://127.0.0.1:{desk}/government/v1",
            )
            assert platform.wrong == [], "nothing the hub sent was signed or encrypted wrongly"
    finally:
        platform.close()
        department.close()


# -- the whole course -------------------------------------------------------------------------------------------------


def test_a_case_goes_from_filing_over_a_correction_to_its_licence_and_the_archive(site: Site) -> None:
    case = site.number()
    assert site.file(case)["code"] == 0
    first = copy.deepcopy(site.versions(case, 1)[1])
    assert first["applicant"]["idNumber"] == "9135999900000TE5TQ"
    assert first["oneThing"]["number"] == "YJS20261128000001"
    assert [each["code"] for each in first["materials"]] == ["M01", "M02", "M03"]

    for name, version in (("accept", 1), ("correction", 1)):
        assert site.ended(site.tell(name, case, version))["state"] == "delivered"
    assert site.file(case, "case_corrected")["code"] == 0
    versions = site.versions(case, 2)
    assert versions[1] == first  # the old version stays as it was
    second = versions[2]
    assert (second["case"]["version"], second["case"]["corrects"]) == (2, 1)
    assert second["correction"] == {"number": "BZ20261128000001", "asked": ["M03"]}

    for name in ("accept", "step", "done", "archive"):
        assert site.ended(site.tell(name, case, 2))["state"] == "delivered"
    paths = [path for path, _ in site.platform.taken(case)]
    assert paths == ["/hd1/bjsl", "/hd1/bjbz", "/hd1/bjsl", "/hd1/bjspgc", "/hd1/bjbj", "/archive/notice"]
    done = site.platform.taken(case)[4][1]
    assert (done["doneresult"], done["dataver"]) == (0, 2)
    assert done["certificates"][0]["certificateno"] == "样卫公证字〔2026〕第000001号"
    # Both versions are messages of their own in the hub's store.
    assert [each["type"] for each in site.messages(case)][:4] == [
        "middle.case",
        "government.accept",
        "government.correction",
        "middle.corrected",
    ]


def test_a_correction_of_what_nobody_asked_for_is_shown_to_the_department(site: Site) -> None:
    case = site.number()
    site.file(case)
    site.versions(case, 1)
    assert site.ended(site.tell("correction", case))["state"] == "delivered"
    extra = example("case_receive", "government_middle_platform")["data"]["materials"]
    assert site.file(case, "case_corrected", materials=extra)["code"] == 0
    assert site.versions(case, 2)[2]["correction"]["unasked"] == ["M01", "M02"]


def test_a_case_filed_at_the_department_is_gathered_by_the_platform_with_all_its_attachments(site: Site) -> None:
    case = site.number()
    assert site.ended(site.tell("case", case))["state"] == "delivered"
    assert site.ended(site.tell("materials", case))["state"] == "delivered"
    (gather, whole), (push, attached) = site.platform.taken(case)
    assert (gather, push) == ("/hd1/bjqlxxhj", "/hd1/tssbcl")
    assert whole["materials"][0]["files"][0]["filename"] == "卫生许可申请表.pdf"
    assert whole["applyCardtype"] == "001"
    assert attached["materials"][0]["attrname"] == "现场照片"


def test_attachments_reach_the_department(site: Site) -> None:
    case = site.number()
    data = {**example("materials_receive", "government_middle_platform")["data"], "projid": case, "orgbusno": case}
    assert site.platform.call(f"{site.middle}/hd1/tssbcl", data)["code"] == 0
    wait_for(lambda: [m for m in site.department.materials if m["case"]["number"] == case], "the attachments")


# -- what the hub does not take in -------------------------------------------------------------------------------------


def test_calls_that_are_signed_or_encrypted_wrongly_or_come_again_are_refused_and_not_stored(site: Site) -> None:
    case, url = site.number(), f"{site.middle}/hd1/bjjs"
    data = site.filed(case)
    late = str(int((time.time() - 3600) * 1000))
    spoiled: list[dict[str, Any]] = [
        {"key": secrets.randbelow(1 << 250) + 1},
        {"data_key": secrets.token_bytes(16)},
        {"app": "ANOTHER-APP"},
        {"body": b'{"data": "AAAA"}'},
        {"body": b"{}"},
    ]
    for each in spoiled:
        reply = site.platform.call(url, data, **each)
        assert reply["code"] == 2001, (each, reply)
        assert case not in json.dumps(reply)
    assert site.platform.call(url, data, stamp=late)["code"] == 2002
    assert site.messages(case) == []
    nonce = secrets.token_hex(16)
    other = site.number()
    assert site.platform.call(url, site.filed(other), nonce=nonce)["code"] == 0
    assert site.platform.call(url, site.filed(other, dataver=2), nonce=nonce)["code"] == 2002


def test_the_same_notice_again_is_answered_alike_and_reaches_the_department_once(site: Site) -> None:
    case = site.number()
    first, again = site.file(case), site.file(case)
    assert first == again
    site.versions(case, 1)
    site.hub.settled()
    assert len(site.messages(case)) == 1
    assert list(site.department.versions[case]) == [1]


@pytest.mark.parametrize(
    ("what", "changes", "place"),
    [
        ("material_missing", {"materials": [{"attrid": "M01", "attrname": "申请表", "isneed": 1, "istake": 0}]}, "data.materials[0].attrid"),
        ("material_without_file", {"materials": [{"attrid": "M01", "attrname": "申请表", "isneed": 1, "istake": 1}]}, "data.materials[0].files"),
        ("credit_code", {"applyCardtypenumber": "9135999900000TE5T0"}, "data.applyCardtypenumber"),
        ("id_card", {"applyertype": 1, "applyCardtype": "111", "applyCardtypenumber": "359999198001010011"}, "data.applyCardtypenumber"),
        ("json.required", {"materials": None}, "data.materials"),
        ("file_kind", {"materials": [{"attrid": "M01", "attrname": "申请表", "istake": 1, "files": [{"filename": "a.docx", "entity": "QQ=="}]}]}, "data.materials[0].files[0].filename"),
    ],
)  # fmt: skip
def test_a_case_that_lacks_something_is_refused_with_the_place(
    site: Site, what: str, changes: dict[str, Any], place: str
) -> None:
    case = site.number()
    data = {key: value for key, value in site.filed(case, **changes).items() if value is not None}
    reply = site.platform.call(f"{site.middle}/hd1/bjjs", data)
    assert reply["code"] == 3001
    assert place in reply["msg"]
    for personal in ("9135999900000TE5T0", "359999198001010011", "样联系", "19900000001"):
        assert personal not in reply["msg"]
    assert site.messages(case) == []


def test_a_corrected_case_is_a_second_version_or_later(site: Site) -> None:
    reply = site.file(site.number(), "case_corrected", dataver=1)
    assert reply["code"] == 3001
    assert "data.dataver" in reply["msg"]


def test_the_department_needs_its_token_and_the_canonical_form(site: Site) -> None:
    assert site.post("progress", example("accept"), token="guessed")[0] == 401
    wrong = example("accept")
    wrong["kind"] = "done"
    status, answer = site.post("progress", wrong)
    assert status == 422
    assert answer["findings"][0]["place"] == "done"


# -- replies of the platform -------------------------------------------------------------------------------------------


def test_passing_codes_are_tried_again_with_the_same_number(site: Site) -> None:
    case = site.number()
    site.file(case)
    before = len(site.platform.tried)
    site.platform.forced += [5001, 2002]
    assert site.ended(site.tell("accept", case))["state"] == "delivered"
    tried = site.platform.tried[before:]
    assert len(tried) == 3
    assert len(set(tried)) == 1
    assert [path for path, _ in site.platform.taken(case)] == ["/hd1/bjsl"]


@pytest.mark.parametrize("how", ["lost", "forged"])
def test_a_reply_that_is_lost_or_not_signed_by_the_platform_is_not_believed_and_the_call_counts_once(
    site: Site, how: str
) -> None:
    case = site.number()
    site.file(case)
    before = len(site.platform.tried)
    site.platform.forced.append(how)
    assert site.ended(site.tell("accept", case))["state"] == "delivered"  # told 1001 at the second try
    assert len(site.platform.tried[before:]) == 2
    assert len(site.platform.taken(case)) == 1


@pytest.mark.parametrize(
    ("code", "reason"), [(3003, "事项或行政区划不存在"), (3002, "缺少必要材料"), (2003, "应用未授权此接口")]
)
def test_business_refusals_are_dead_letters_that_say_why(site: Site, code: int, reason: str) -> None:
    case = site.number()
    site.file(case)
    before = len(site.platform.tried)
    site.platform.forced.append(code)
    end = site.ended(site.tell("step", case))
    assert end["state"] == "dead"
    assert end["reason"] == reason
    assert len(site.platform.tried[before:]) == 1


def test_a_platform_that_does_not_answer_in_time_is_cut_off_and_asked_again(site: Site) -> None:
    case = site.number()
    site.platform.forced.append("silent")
    message = site.tell("archive", case)
    assert site.ended(message)["state"] == "delivered"
    shown = site.hub.call("GET", f"/api/v1/messages/{message}").json
    assert "timeout" in json.dumps(shown)  # the cut call is in the log
    assert len(site.platform.taken(case)) == 1


def test_what_comes_before_its_case_waits_for_it(site: Site) -> None:
    case = site.number()
    message = site.tell("accept", case)  # the platform does not know the case yet: 1002
    wait_for(lambda: any(a["state"] == "retrying" for a in site.deliveries(message)) or site.platform.tried, "refused")
    assert site.ended(site.tell("case", case))["state"] == "delivered"
    assert site.ended(message)["state"] == "delivered"


def test_a_finished_case_takes_no_more_steps(site: Site) -> None:
    case = site.number()
    site.file(case)
    assert site.ended(site.tell("done", case))["state"] == "delivered"
    end = site.ended(site.tell("step", case))
    assert end["state"] == "dead"
    assert "办件" in end["reason"]


def test_a_licence_that_is_granted_without_its_licence_never_leaves(site: Site) -> None:
    case = site.number()
    site.file(case)
    before = len(site.platform.raw)
    end = site.ended(site.tell("done", case, done__licences=None))
    assert end["state"] == "dead"
    assert "certificates" in end["reason"]
    assert len(site.platform.raw) == before


def test_the_cases_of_one_number_keep_their_order_while_the_platform_is_busy(site: Site) -> None:
    case = site.number()
    site.file(case)
    site.platform.forced += [5001, 5001]
    sent = [site.tell("step", case, step__sequence=number) for number in range(1, 6)]
    for message in sent:
        assert site.ended(message)["state"] == "delivered"
    assert [data["sn"] for _, data in site.platform.taken(case)] == [1, 2, 3, 4, 5]


# -- questions, unnamed interfaces, text messages ------------------------------------------------------------------------


def test_the_department_asks_the_platform(site: Site) -> None:
    case = site.number()
    site.file(case)
    status, answer = site.post("queries", {"messageId": f"Q{case}", "kind": "case", "caseNumber": case})
    assert (status, answer) == (200, {"total": answer["total"], "cases": [{"number": case, "state": "已收件"}]})
    status, answer = site.post(
        "queries",
        {"messageId": f"M{case}", "kind": "materials", "idNumber": "X1", "itemCode": "I1", "materials": ["M01"]},
    )
    assert answer["materials"] == [{"code": "M01", "name": "营业执照", "received": True}]
    site.platform.forced.append(2003)
    status, answer = site.post("queries", {"messageId": f"R{case}", "kind": "cases", "caseNumber": case})
    assert status == 422
    assert answer["code"] == 2003


def test_the_platform_asks_the_department(site: Site) -> None:
    case, url = site.number(), f"{site.middle}/hd1/cxbjlb"
    site.file(case)
    site.versions(case, 1)
    reply = site.platform.call(url, {"pageNum": 1, "pageSize": 20, "projid": case})
    assert reply["code"] == 0
    assert reply["data"]["total"] == 1
    assert reply["data"]["list"][0]["projid"] == case
    assert reply["data"]["list"][0]["phase"] == "待受理"
    assert site.platform.call(url, {"pageNum": 1, "pageSize": 101, "projid": case})["code"] == 3001


def test_a_refusal_of_the_department_reaches_the_platform_signed_and_in_its_own_codes(site: Site) -> None:
    asked = {"pageNum": 1, "pageSize": 20, "projid": "C1", "regionId": "359998"}
    reply = site.platform.call(f"{site.middle}/hd1/cxbjlb", asked)
    assert reply == {"code": 3004, "msg": "区划不在本机关范围"}


def test_a_department_that_is_silent_is_told_to_the_platform_as_a_failure(site: Site) -> None:
    site.department.fail_next += [0] * 4
    reply = site.platform.call(f"{site.middle}/hd1/cxbjlb", {"pageNum": 1, "pageSize": 20, "projid": "C2"})
    site.department.fail_next.clear()
    assert reply["code"] == 5002


def test_unnamed_interfaces_carry_their_content_both_ways(site: Site) -> None:
    case = site.number()
    content = {"字段": ["1", {"x": "01"}]}
    for name in ("hd1_10", "hd2_1"):
        tree = {"messageId": f"{name}{case}", "interface": name, "caseNumber": case, "content": content}
        status, answer = site.post("exchanges", tree)
        assert status == 202
        assert site.ended(answer["message_id"])["state"] == "delivered"
    assert site.platform.taken(case) == [
        ("/hd1/10", {"projid": case, "content": content}),
        ("/hd2/1", {"projid": case, "content": content}),
    ]
    for path in ("/hd1/15", "/hd2/9"):
        assert site.platform.call(f"{site.middle}{path}", {"projid": case, "content": content})["code"] == 0
    wait_for(lambda: len([e for e in site.department.exchanges if e["caseNumber"] == case]) == 2, "both arrive")
    assert {e["interface"] for e in site.department.exchanges if e["caseNumber"] == case} == {"hd1_15", "hd2_9"}
    status, answer = site.post("exchanges", {**tree, "messageId": "W9", "interface": "hd1_9"})
    assert status == 422  # the nine that are named have interfaces of their own


def test_applicants_are_told_by_text_message(site: Site) -> None:
    case = site.number()
    tree = {**example("sms"), "messageId": f"D{case}", "caseNumber": case}
    status, answer = site.post("sms", tree)
    assert status == 202
    assert site.ended(answer["message_id"])["state"] == "delivered"
    ((path, data),) = site.platform.taken(case)
    assert path == "/sms/send"
    assert (data["phone"], data["template"], data["node"]) == ("19900000001", "ACCEPTED", "受理")
    site.platform.forced.append(4004)
    _, answer = site.post("sms", {**tree, "messageId": f"E{case}"})
    assert site.ended(answer["message_id"])["state"] == "dead"


# -- what stays inside ---------------------------------------------------------------------------------------------------


def test_nothing_personal_is_on_the_wire_in_clear_and_no_key_is_stored(site: Site) -> None:
    case = site.number()
    assert site.ended(site.tell("case", case))["state"] == "delivered"
    wire = b"".join(site.platform.raw)
    for personal in ("样联系", "359999198001010012", "19900000001", case):
        assert personal.encode() not in wire
    site.hub.settled()
    stored = b"".join(file.read_bytes() for file in site.hub.data.rglob("*") if file.is_file())
    log = (site.hub.config.parent / "run.log").read_bytes()
    for each in (f"{site.platform.hub_private:064x}", site.platform.key.hex(), TOKEN, "token-of-the-department"):
        assert each.encode() not in stored
        assert each.encode() not in log
    for personal in ("样联系", "359999198001010012", "19900000001"):
        assert personal.encode() not in log


# -- what differs at the joint test is configuration -----------------------------------------------------------------------


def test_a_gateway_with_other_headers_paths_and_codes_is_a_matter_of_configuration(tmp_path: Path) -> None:
    calls: list[tuple[str, dict[str, Any]]] = []
    secret_word = "token-of-the-gateway"

    def answer(path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        stamp, nonce = headers["x-tif-timestamp"], headers["x-tif-nonce"]
        good = hashlib.sha256(f"{stamp}{secret_word}{nonce}{stamp}".encode()).hexdigest() == headers["x-tif-signature"]
        reply = {"code": "B0001" if len(calls) == 0 else "00000", "msg": "繁忙"} if good else {"code": "2001"}
        calls.append((path, json.loads(body)))
        return 200, {"Content-Type": "application/json"}, json.dumps(reply).encode()

    gateway, platform, department = Server(answer), MiddlePlatform(), Department()
    listening, desk = free_port(), free_port()
    try:
        file = configured(tmp_path, platform, department, listening, desk)
        tree = yaml.safe_load(file.read_text("utf-8"))
        middle = tree["systems"]["middle"]
        middle["settings"].update(
            base_url=gateway.url, success_code="00000", gateway_token=secret(tmp_path, "tif", secret_word)
        )
        middle["interfaces"]["case_accept"] = QUICK | {
            "connect": {"path": "/api/case/accept"},
            "errors": {"B0001": {"class": "transient", "text": "繁忙"}},
            "security": [{"x_tif": {"paasid": "P1", "token": "${gateway_token}"}}],
        }
        middle["interfaces"]["hd1_10_receive"] = "off"
        file.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
        with HubProcess(file) as hub:
            own = Site(platform, department, hub, "", f"http://127.0.0.1:{desk}/government/v1")
            assert own.ended(own.tell("accept", "C1"))["state"] == "delivered"
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(f"http://127.0.0.1:{listening}/middle/hd1/10", b"{}", timeout=30)
            assert (
                platform.call(f"http://127.0.0.1:{listening}/middle/hd1/11", {"projid": "C1", "content": {}})["code"]
                == 0
            )
    finally:
        for each in (gateway, platform, department):
            each.close()
    assert [path for path, _ in calls] == ["/api/case/accept"] * 2
    assert calls[0][1]["data"]["projid"] == "C1"  # in plain, as this gateway wants it
