"""The six checks of 003:57 with their state, rates and alarms of 003:81, through a real hub, its database and independent platforms."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.process import HubProcess, wait_for
from tests.plugins.freight_province_site import EXAMPLES, Province, province, today

CHECK, FUNDS = "monitor/waybill_check", "monitor/fund_flow_check"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Province]:
    with province(tmp_path_factory.mktemp("province"), alarm_percent=10, alarm_least=4) as found:
        found.takes("vehicle")
        found.takes("driver")
        yield found


@pytest.fixture(autouse=True)
def as_ever(site: Province) -> None:
    """Platforms that are there and find nothing wrong, a driver whose licence is valid."""
    site.platforms.down = False
    site.platforms.entry = {"status": 1001, "result": "yes"}
    site.platforms.track = {"code": 0, "data": {"pass": True}}


def vehicle(plate: str, **more: Any) -> dict[str, Any]:
    """``vehicleInfo`` of the example with another plate."""
    tree = json.loads((EXAMPLES / "waybill.json").read_bytes())["root"]["body"]["vehicleInfo"]
    return {**tree, "vehicleNumber": plate, **more}


def note(number: str, yuan: Any = 3271.75) -> dict[str, Any]:
    return {"shippingNoteNumber": number, "serialNumber": "0000", "totalMonetaryAmount": yuan}


def pay(site: Province, number: str, document: str, yuan: Any = 3271.75, paid: Any = 3271.75, **body: Any) -> None:
    tree = json.loads((EXAMPLES / "fund_flow.json").read_bytes())["root"]["body"]
    entries = [{**tree["financiallist"][0], "monetaryAmount": paid}]
    site.takes(
        "fund_flow", documentNumber=document, shippingNoteList=[note(number, yuan)], financiallist=entries, **body
    )


# -- 运单重复 -----------------------------------------------------------------------------------------------------------


def test_a_waybill_that_comes_again_is_repeated_and_a_correction_or_another_part_is_not(site: Province) -> None:
    times = site.recent("waybill")
    site.takes("waybill", shippingNoteNumber="YDDUP1", **times)
    assert site.found(CHECK) == set()
    site.takes("waybill", shippingNoteNumber="YDDUP1", **{**times, "remark": "nothing else"})
    assert site.found(CHECK) == {"duplicate_waybill"}
    assert site.flags("YDDUP1-0000") == {"repeated"}
    # Mended: the same journey, another amount. It takes the place of what was judged before.
    site.takes("waybill", shippingNoteNumber="YDDUP1", **times, totalMonetaryAmount=3300)
    assert site.found(CHECK) == {"corrected_waybill"}
    assert site.flags("YDDUP1-0000") == set()
    # Another vehicle or leg of the same journey has a serial of its own.
    leg = {name: times[name] for name in ("despatchActualDateTime", "goodsReceiptDateTime")}
    leg |= {"placeOfLoading": "虚构省演示市工业路7号", "loadingCountrySubdivisionCode": "359999"}
    leg |= {"goodsReceiptPlace": "虚构省样例市仓库7号", "receiptCountrySubdivisionCode": "359998"}
    second = vehicle("闽Z00007", **leg)
    site.takes("waybill", shippingNoteNumber="YDDUP1", serialNumber="0201", **times, vehicleInfo=second)
    assert site.found(CHECK) == set()


def test_numbers_are_an_operators_own_but_one_journey_is_not_reported_by_two(site: Province) -> None:
    site.takes("vehicle", vehicleNumber="闽Z00021")
    site.takes("waybill", shippingNoteNumber="YDTWO1")
    other = vehicle("闽Z00021")
    site.takes("waybill", enterprise="DEMO0002", shippingNoteNumber="YDTWO1", vehicleInfo=other)
    assert site.found(CHECK) == set()
    site.takes("waybill", shippingNoteNumber="YDTWO2")
    site.takes("waybill", enterprise="DEMO0002", shippingNoteNumber="YDTWO2")
    assert site.found(CHECK) == {"duplicate_elsewhere"}
    assert site.flags("YDTWO2-0000", enterprise="DEMO0002") == {"repeated"}
    assert site.flags("YDTWO2-0000") == set()


# -- 运单与资金流水单匹配 --------------------------------------------------------------------------------------------------


def test_a_payment_beside_its_waybill(site: Province) -> None:
    site.takes("waybill", shippingNoteNumber="YDPAY1")
    pay(site, "YDPAY1", "ZJ1")
    assert site.found(FUNDS) == set()
    assert site.flags("ZJ1", "fund_flow") == set()
    pay(site, "YDPAY1", "ZJ2", 3000, carrier="别家运输队", vehiclePlateColorCode="1")
    assert site.found(FUNDS) == {"fund_carrier", "fund_vehicle", "fund_amount", "fund_paid"}
    assert site.flags("ZJ2", "fund_flow") == {"matching"}
    pay(site, "YDPAY1", "ZJ3", enterprise="DEMO0002")  # the waybill is another operator's
    assert site.found(FUNDS) == {"fund_waybill"}


def test_a_payment_that_comes_before_its_waybill_is_compared_when_that_comes(site: Province) -> None:
    pay(site, "YDPAY2", "ZJ11")
    pay(site, "YDPAY3", "ZJ12", 3000, 3000)
    assert site.found(FUNDS) == {"fund_waybill"}
    assert site.flags("ZJ12", "fund_flow") == set()
    assert site.rows("SELECT awaits FROM freight_check WHERE number IN ('ZJ11', 'ZJ12')") == [(1,), (1,)]
    site.takes("waybill", shippingNoteNumber="YDPAY2")
    assert site.found(CHECK) == set()
    site.takes("waybill", shippingNoteNumber="YDPAY3")
    assert site.found(CHECK) == {"fund_amount"}
    assert site.flags("ZJ11", "fund_flow") == set()
    assert site.flags("ZJ12", "fund_flow") == {"matching"}
    assert site.flags("YDPAY3-0000") == set()  # the payment is what does not fit
    assert site.rows("SELECT awaits FROM freight_check WHERE number IN ('ZJ11', 'ZJ12')") == [(0,), (0,)]


# -- 资质 --------------------------------------------------------------------------------------------------------------


def test_who_drives_what_must_be_known_and_valid_on_the_day_of_despatch(site: Province) -> None:
    times = site.recent("waybill")
    day = times["despatchActualDateTime"][:8]
    site.takes("waybill", shippingNoteNumber="YDQ1", vehicleInfo=vehicle("闽Z00031"))
    assert site.found(CHECK) == {"qualification_vehicle_known"}
    two = [{"driverName": "司机样7", "drivingLicense": "359999197208150157"}]
    two.append({"driverName": "司机样8", "drivingLicense": "359999197309150172"})
    site.takes("waybill", shippingNoteNumber="YDQ2", vehicleInfo=vehicle("闽Z00007", driver=two))
    assert site.found(CHECK) == {"qualification_driver_known"}
    second: dict[str, Any] = {"driverName": "司机样8", "drivingLicense": "359999197309150172"}
    site.takes("driver", **second, validPeriodFrom="20200501", validPeriodTo=day)
    site.takes("waybill", shippingNoteNumber="YDQ3", vehicleInfo=vehicle("闽Z00007", driver=two), **times)
    assert site.found(CHECK) == set()
    before = today(-3).replace("-", "")
    site.takes("driver", **second, validPeriodFrom="20200501", validPeriodTo=before)
    site.takes("waybill", shippingNoteNumber="YDQ4", vehicleInfo=vehicle("闽Z00007", driver=two))
    assert site.found(CHECK) == {"qualification_driver_licence"}
    assert site.flags("YDQ4-0000") == {"qualification"}


# -- 车辆入网 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "plate"),
    [({"status": 1001, "result": "no"}, "闽Z00041"), ({"status": 1006, "result": ""}, "闽Z00042")],
)
def test_a_vehicle_the_platform_does_not_have_is_an_anomaly(site: Province, answer: dict[str, Any], plate: str) -> None:
    site.platforms.entry = answer
    site.takes("vehicle", vehicleNumber=plate)
    site.takes("waybill", shippingNoteNumber=f"YDE{plate[-2:]}", vehicleInfo=vehicle(plate))
    assert site.found(CHECK) == {"entry_vehicle"}
    assert site.flags(f"YDE{plate[-2:]}-0000") == {"entry"}


@pytest.mark.parametrize("kind", ["down", "error"])
def test_a_platform_that_does_not_answer_is_none_and_the_check_waits_for_it(site: Province, kind: str) -> None:
    plate = {"down": "闽Z00043", "error": "闽Z00044"}[kind]
    site.takes("vehicle", vehicleNumber=plate)
    asked = len(site.platforms.queries)
    if kind == "down":
        site.platforms.down = True
    else:
        site.platforms.entry = {"status": 9001, "result": "系统错误"}
    number = f"YDE{plate[-2:]}"
    site.takes("waybill", settled=False, shippingNoteNumber=number, vehicleInfo=vehicle(plate))
    page = "/api/v1/deliveries?limit=1&state=retrying,pending&target=monitor/waybill_check"
    wait_for(lambda: site.hub.call("GET", page).json["deliveries"], "the check waits")
    if kind == "error":
        wait_for(lambda: len(site.platforms.queries) >= asked + 2, "it is tried again")
    assert site.rows("SELECT count(*) FROM freight_check WHERE number = ?", f"{number}-0000") == [(0,)]
    site.platforms.down = False
    site.platforms.entry = {"status": 1001, "result": "yes"}
    site.hub.settled()
    assert site.flags(f"{number}-0000") == set()


def test_small_vehicles_are_not_asked_about(site: Province) -> None:
    site.platforms.entry = {"status": 1001, "result": "no"}
    site.platforms.track = {"code": 0, "data": {"pass": False}}
    asked = len(site.platforms.queries)
    carrier = json.loads((EXAMPLES / "waybill.json").read_bytes())["root"]["body"]["actualCarrierInfo"]
    carrier["actualCarrierBusinessLicense"] = "359999000000"
    site.takes("waybill", shippingNoteNumber="YDSMALL", actualCarrierInfo=carrier)
    assert site.found(CHECK) == set()
    assert len(site.platforms.queries) == asked


# -- 运输轨迹 ----------------------------------------------------------------------------------------------------------


def test_a_track_that_does_not_fit_and_an_answer_that_does_not_say(site: Province) -> None:
    site.platforms.track = {"code": 0, "data": {"pass": False}}
    site.takes("waybill", shippingNoteNumber="YDT1")
    assert site.found(CHECK) == {"track_journey"}
    assert site.flags("YDT1-0000") == {"track"}
    site.platforms.track = {"code": 500, "message": "no such service"}
    site.takes("waybill", shippingNoteNumber="YDT2")
    assert site.found(CHECK) == {"track_unknown"}
    assert site.flags("YDT2-0000") == set()


def test_positions_of_the_driver_that_come_late_end_early_or_are_elsewhere(site: Province) -> None:
    times = site.recent("waybill")
    start, end = times["despatchActualDateTime"], times["goodsReceiptDateTime"]

    def at(*moments: str) -> list[dict[str, Any]]:
        return [{"positionDateTime": each, "longitude": 119.3, "latitude": 26.08} for each in moments]

    site.takes("location", shippingNoteNumber="YDP1", positions=at(start, end))
    site.takes("waybill", shippingNoteNumber="YDP1", **times)
    assert site.found(CHECK) == set()
    site.takes("location", shippingNoteNumber="YDP2", positions=at(end, start))
    site.takes("waybill", shippingNoteNumber="YDP2", **times)
    assert site.found(CHECK) == {"track_begins_late", "track_ends_early"}
    site.takes("location", shippingNoteNumber="YDP3", positions=at(start, end), endCountrySubdivisionCode="359997")
    site.takes("waybill", shippingNoteNumber="YDP3", **times)
    assert site.found(CHECK) == {"track_elsewhere"}
    assert site.flags("YDP3-0000") == {"track"}


# -- 单据接入 ----------------------------------------------------------------------------------------------------------


def test_times_amounts_and_loads_that_can_not_be(site: Province) -> None:
    times = site.recent("waybill")
    swapped = {**times, "consignmentDateTime": times["goodsReceiptDateTime"]}
    goods = {"descriptionOfGoods": "苹果", "cargoTypeClassificationCode": "1601", "goodsItemGrossWeight": 40000}
    loaded = vehicle("闽Z00007", goodsInfo=[goods], vehiclePlateColorCode="1")
    site.takes("waybill", shippingNoteNumber="YDD1", **swapped, totalMonetaryAmount=0, vehicleInfo=loaded)
    assert site.found(CHECK) == {"document_times", "document_amount", "document_load", "document_plate_colour"}
    assert site.flags("YDD1-0000") == {"document"}
    old: dict[str, Any] = {name: "2026010112000" + str(order) for order, name in enumerate(sorted(times))}
    site.takes("waybill", shippingNoteNumber="YDD2", **old)
    assert site.found(CHECK) == {"document_late"}


# -- what is told, and to whom ----------------------------------------------------------------------------------------------


def test_nothing_personal_gets_into_the_database_and_each_anomaly_is_a_message(site: Province) -> None:
    site.platforms.track = {"code": 0, "data": {"pass": False}}
    reference = site.takes("waybill", shippingNoteNumber="YDMSG1")
    (told,) = [m for m in site.messages("freight.anomaly") if m["control_id"].endswith(reference)]
    assert told["control_id"] == f"DEMO0001-waybill-YDMSG1-0000-{reference}"
    stored = b"".join(f.read_bytes() for f in site.config.parent.glob("monitor.sqlite*"))
    for personal in ("359999197208150157", "司机样7", "91359999MADEM1007Y", "闽Z00007"):
        assert personal.encode() not in stored


def test_one_login_serves_all_queries_and_is_made_anew_when_it_ended(site: Province) -> None:
    """Two interfaces that logged in each for itself would end each other's token for ever."""
    platforms = site.platforms

    def asked() -> int:
        return len([path for path, _ in platforms.queries if path == "/save/apis/vLastLocationV3"])

    site.takes("waybill", shippingNoteNumber="YDLOGIN1", vehicleInfo=vehicle("闽Z00051"))
    logins, before = len(platforms.logins), asked()
    site.takes("location")
    assert (len(platforms.logins), asked()) == (logins, before + 1)
    platforms.token = ""
    site.takes("location")
    wait_for(lambda: len(platforms.logins) == logins + 1, "a new login")
    site.hub.settled()
    assert asked() == before + 2


# -- 异常率与报警 -------------------------------------------------------------------------------------------------------


def alarms(site: Province, *operators: str) -> list[str]:
    return sorted(m["control_id"] for m in site.messages("freight.alarm") if m["control_id"][:8] in operators)


def fill(site: Province, operator: str, day: str, *, good: int, bad: int = 0, waiting: int = 0) -> None:
    """Judgements of a day, as the checks write them."""
    with closing(sqlite3.connect(site.config.parent / "monitor.sqlite", timeout=30)) as connection, connection:
        for number in range(good + bad + waiting):
            waits = number >= good + bad
            connection.execute(
                "INSERT INTO freight_check VALUES (?, ?, ?, ?, 'r', ?, '20260101', 0, ?, 0, 0, 0, 0, ?, '')",
                (
                    operator,
                    "fund_flow" if waits else "waybill",
                    f"{day}-{number}",
                    f"W{day}-{number}",
                    day,
                    int(good <= number < good + bad),
                    int(waits),
                ),
            )


def test_a_rate_beyond_the_threshold_is_one_alarm_for_each_operator_and_day(site: Province) -> None:
    fill(site, "RATE0001", "2026-03-01", good=9, bad=1)  # 10 %: not beyond
    fill(site, "RATE0001", "2026-03-02", good=8, bad=1)  # 11 %
    fill(site, "RATE0002", "2026-03-02", good=1, bad=2)  # too few to say anything
    fill(site, "RATE0003", "2026-03-02", good=4, waiting=1)  # a payment whose waybill may still come
    site.tick("freight.hour", "2026-03-02", "2026-03-01")
    ours = ("RATE0001", "RATE0002", "RATE0003")
    assert alarms(site, *ours) == ["RATE0001-2026-03-02"]
    for _ in range(2):
        site.tick("freight.hour", "2026-03-02", "2026-03-01")
    fill(site, "RATE0001", "2026-03-02x", good=0, bad=0)
    assert alarms(site, *ours) == ["RATE0001-2026-03-02"]
    # The day is over, its waybill has not come.
    site.tick("freight.hour", "2026-03-03", "2026-03-02")
    assert alarms(site, *ours) == ["RATE0001-2026-03-02", "RATE0003-2026-03-02"]
    figures = "SELECT judged, anomalous, qualification, matching FROM freight_alarm WHERE operator = ?"
    assert site.rows(figures, "RATE0001") == [(9, 1, 1, 0)]
    assert site.rows(figures, "RATE0003") == [(5, 1, 0, 1)]


def test_figures_of_a_day_for_each_operator(site: Province) -> None:
    fill(site, "DAY00001", "2026-04-01", good=5, bad=2, waiting=1)
    fill(site, "DAY00002", "2026-04-01", good=3)
    site.tick("freight.day", "2026-04-02", "2026-04-01")
    found = [m for m in site.messages("freight.rate") if m["control_id"].startswith("DAY")]
    assert sorted(m["control_id"] for m in found) == ["DAY00001-2026-04-01", "DAY00002-2026-04-01"]
    number = next(m["id"] for m in found if m["control_id"].startswith("DAY00001"))
    body = site.hub.call("GET", f"/api/v1/messages/{number}/raw").body
    figures = json.loads(body)
    assert (figures["judged"], figures["waybills"], figures["anomalous"], figures["matching"]) == (8, 7, 3, 1)


def test_the_clock_of_the_hub_does_it_by_itself(site: Province) -> None:
    fill(site, "CLOCK001", today(), good=3, bad=3)
    done = site.hub.call("POST", "/api/v1/interfaces/monitor/hourly/poll", {})
    assert done.status == 202, done.body
    wait_for(lambda: alarms(site, "CLOCK001") == [f"CLOCK001-{today()}"], "the alarm")


def test_alarms_outlive_a_hub_that_is_killed_between_raising_and_telling(tmp_path: Path) -> None:
    with province(tmp_path, alarm_percent=10, alarm_least=4) as site:
        fill(site, "KILL0001", "2026-03-02", good=0, bad=4)
        # The row is in the database, the message is not yet in the store: as if the hub had died in between.
        with closing(sqlite3.connect(site.config.parent / "monitor.sqlite")) as connection, connection:
            connection.execute("INSERT INTO freight_alarm VALUES ('KILL0001', '2026-03-02', 4, 4, 0, 4, 0, 0, 0, 0)")
        fill(site, "KILL0002", "2026-03-02", good=0, bad=4)
        site.hub.kill()
        with HubProcess(site.config) as again:
            site.hub = again
            site.tick("freight.hour", "2026-03-02", "2026-03-01")
            assert alarms(site, "KILL0001", "KILL0002") == ["KILL0001-2026-03-02", "KILL0002-2026-03-02"]
            again.kill()
        with HubProcess(site.config) as once_more:
            site.hub = once_more
            site.tick("freight.hour", "2026-03-02", "2026-03-01")
            assert alarms(site, "KILL0001", "KILL0002") == ["KILL0001-2026-03-02", "KILL0002-2026-03-02"]
