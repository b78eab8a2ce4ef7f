"""公共场所卫生许可 from filing to archive as a flow, over a restart of the hub, between two independent parties."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from hub.flows.store import FlowStore, flows_file
from hub.node import salt_of
from tests.kernel.process import HubProcess, wait_for
from tests.plugins.government_parties import Department, MiddlePlatform
from tests.plugins.test_government import GOVERNMENT, Site, configured, free_port


@dataclass
class Course:
    file: Path
    platform: MiddlePlatform
    department: Department
    middle: str
    desk: str

    def site(self, hub: HubProcess) -> Site:
        return Site(self.platform, self.department, hub, self.middle, self.desk)

    def taken(self, case: str, *paths: str) -> list[dict[str, Any]]:
        """Wait until the platform has these calls of the case, in this order."""
        calls = wait_for(
            lambda: (
                [c for c in self.platform.taken(case) if c[0] != "/sms/send"][len(paths) - 1 :]
                and self.platform.taken(case)
            ),
            f"the platform is told {paths}",
        )
        found = [call for call in calls if call[0] != "/sms/send"]
        assert [path for path, _ in found] == list(paths)
        return [data for _, data in found]


@pytest.fixture
def course(tmp_path: Path) -> Iterator[Course]:
    platform, department = MiddlePlatform(), Department()
    middle, desk = free_port(), free_port()
    file = configured(tmp_path, platform, department, middle, desk)
    tree = yaml.safe_load(file.read_text("utf-8"))
    tree["routes"] = {}  # everything goes through the flow
    tree["flows"] = [str(GOVERNMENT / "flows")]
    file.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
    try:
        yield Course(
            file, platform, department, f"http://127.0.0.1:{middle}/middle", f"http://127.0.0.1:{desk}/government/v1"
        )
        assert platform.wrong == []
    finally:
        platform.close()
        department.close()


def ends(hub: HubProcess) -> list[tuple[str, str, str]]:
    """(business key, state, end) of every instance, read from the hub's files."""
    store = FlowStore(flows_file(hub.data), salt_of(hub.data), writable=False)
    try:
        return [(row.instance.key, row.instance.state, row.instance.end) for row in store.instances(limit=100)]
    finally:
        store.close()


def test_the_whole_course_with_two_corrections_and_the_hub_killed_in_between(course: Course) -> None:
    case = "359999000000GC20261128000001"
    with HubProcess(course.file) as hub:
        site = course.site(hub)
        assert site.file(case)["code"] == 0
        site.versions(case, 1)
        site.tell("correction", case, correction__number="BZ1")
        course.taken(case, "/hd1/bjbz")
        hub.kill()
    with HubProcess(course.file) as hub:
        site = course.site(hub)
        assert site.file(case, "case_corrected")["code"] == 0
        site.versions(case, 2)
        site.tell("correction", case, 2, correction__number="BZ2", correction__sequence=2)
        course.taken(case, "/hd1/bjbz", "/hd1/bjbz")
        assert site.file(case, "case_corrected", dataver=3, correctno="BZ2")["code"] == 0
        kept = site.versions(case, 3)
        assert [kept[number]["case"].get("corrects") for number in (1, 2, 3)] == [None, 1, 2]
        # Reported one after the other without waiting: the flow keeps the order in which the platform is told.
        site.tell("accept", case, 3)
        site.tell("step", case, 3, step__sequence=1, step__opinion="勘察不通过，限期整改", step__result="不同意")
        site.tell("step", case, 3, step__sequence=2)
        site.tell("done", case, 3)
        site.tell("archive", case, 3)
        told = course.taken(
            case, *["/hd1/bjbz"] * 2, "/hd1/bjsl", "/hd1/bjspgc", "/hd1/bjspgc", "/hd1/bjbj", "/archive/notice"
        )
        assert [data["dataver"] for data in told] == [1, 2, 3, 3, 3, 3, 3]
        assert [data["sn"] for data in told[3:5]] == [1, 2]
        messages = [data["node"] for path, data in course.platform.taken(case) if path == "/sms/send"]
        assert messages == ["补正", "补正", "受理", "办结"]
        wait_for(lambda: ends(hub) == [(case, "ended", "granted")], "the flow ends")


def test_a_case_that_is_not_accepted_ends_there_and_other_items_are_not_meant(course: Course) -> None:
    case, other = "359999000000GC20261128000002", "359999000000GC20261128000003"
    with HubProcess(course.file) as hub:
        site = course.site(hub)
        assert site.file(other, itemname="饮用水供水单位卫生许可")["code"] == 0
        site.file(case)
        site.versions(case, 1)
        site.tell("refuse", case)
        (told,) = course.taken(case, "/hd1/bjsl")
        assert (told["noderesult"], told["nodeadv"]) == (3, "不属于本机关职权范围")
        wait_for(lambda: ends(hub) == [(case, "ended", "refused")], "the flow ends")
        assert list(course.department.versions) == [case]
