"""What ``hub check`` says of flows: file, line and key of what is wrong, and who must share a worker."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hub.check import check
from hub.deployment import assign_workers, load_deployment
from hub.errors import Problem
from hub.flows.loading import load_flows
from hub.flows.model import FlowModel
from tests.flows.flow_support import ORDER, order_site


def _problems(folder: Path, flow: str) -> list[str]:
    report = check(order_site(folder, flow).write())
    return [f"{p.line} {p.key}: {p.text}" for p in report.problems if p.file.endswith("order.yaml")]


def test_a_sound_flow_has_no_problems(tmp_path: Path) -> None:
    assert _problems(tmp_path, ORDER) == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("from: his/in", "from: his/out", "3 start.from: no interface receives as 'his/out'"),
        ("key: pid", "key: 'pid |'", "3 start.key: "),
        ("to: shop/up", "to: shop/down", "6 steps[0].send.to: no interface sends as 'shop/down'"),
        (
            "item: item, amount: amount}, until",
            "item: 'item ==', amount: amount}, until",
            "6 steps[0].send.fields.item: ",
        ),
        (
            "until: callback, callback: {slot: slot}",
            "until: reply, callback: {slot: slot}",
            "9 steps[1].send.callback: ",
        ),
        ("role: reviewer", "role: reviever", "12 steps[2].manual.role: there is no role 'reviever'"),
        (
            "end: {name: refused,",
            "end: {name: refuse,",
            "12 steps[2].manual.choices.no: there is no end 'refuse' among ends",
        ),
        ("id: confirm", "id: review", "there is another step 'review'"),
        ("yes: 同意", "yes: {goto: confirmed}", "there is no step 'confirmed'"),
        ("reply: {reservation: number}", "reply: {flow: number}", "'flow' means something else in expressions"),
        ("manual: {role", "manuel: {role", "12 steps[2].manuel: unknown key 'manuel'"),
        ("name: 订单", "on_error: {then: somewhere}", "2 on_error.then"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in ORDER
    found = _problems(tmp_path, ORDER.replace(old, new, 1))
    assert any(told in each for each in found), found


def test_a_flow_with_errors_takes_nothing_in_and_the_rest_works(tmp_path: Path) -> None:
    deployment = load_deployment(order_site(tmp_path, ORDER.replace("to: shop/up", "to: shop/down", 1)).write())
    assert deployment.flows == {}
    assert not any(name.startswith("flow:") for name in deployment.routes)
    assert "shop/up" in deployment.outbound


def test_systems_of_a_flow_share_a_worker(tmp_path: Path) -> None:
    site = order_site(tmp_path)
    site.system("other", "his")
    site.target("sink")
    site.config["routes"]["to_sink"]["from"] = "other"
    owner = assign_workers(load_deployment(site.write()), 2)
    assert owner["his"] == owner["courier"] == owner["flow"]
    assert owner["other"] != owner["flow"]


def test_the_name_of_the_system_is_the_hubs_own(tmp_path: Path) -> None:
    site = order_site(tmp_path)
    site.system("flow", "his")
    assert any("own flows" in problem.text for problem in check(site.write()).problems)


def test_a_hub_without_flows_has_no_part_of_them(tmp_path: Path) -> None:
    site = order_site(tmp_path)
    (tmp_path / "flows" / "order.yaml").unlink()
    deployment = load_deployment(site.write())
    assert "flow" not in deployment.systems
    assert deployment.flows == {}


def test_every_key_of_the_model_is_in_the_reference() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "flows.md").read_text(encoding="utf-8")
    schema = FlowModel.model_json_schema(by_alias=True)
    parts = [schema, *schema["$defs"].values()]
    keys = {key for part in parts for key in part.get("properties", {})}
    assert {key for key in keys if not re.search(rf"`{key}`|\b{key}:", text)} == set()


def test_the_examples_of_the_reference_are_sound(tmp_path: Path) -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "flows.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    whole = [block for block in blocks if "start:" in block and "steps:" in block]
    parts = [block for block in blocks if block.startswith("  - id:")]
    assert len(whole) >= 2
    assert len(parts) >= 3
    extra = "\n  - {id: unpaid, end: completed}\n  - {id: second_review, set: {x: '1'}}\n"
    for number, block in enumerate([*whole, *("start: {key: no}\nsteps:\n" + part + extra for part in parts)]):
        (tmp_path / f"example_{number}.yaml").write_text(block, encoding="utf-8")
    problems: list[Problem] = []
    found = load_flows([tmp_path], problems)
    assert problems == []
    assert len(found) == len(whole) + len(parts)
