"""Which bytes go out: the mapping of the route or of the contract, or what was received; and failures of each step."""

from __future__ import annotations

import pytest

from hub.message import DeliveryState, Outcome
from hub.store.base import MessageQuery
from tests.kernel.conftest import StartHub
from tests.kernel.kernel_support import Hub, Site

HL7 = b"MSH|^~\\&|A|B|C|D|20260101||ADT^A01|7|P|2.5\rPID|1||P1\r"
HEAD = "from: {codec: json}\nto: {codec: json}\n"
DECLARED = HEAD + "fields: {id: id, by: {const: contract}}\n"
ROUTED = HEAD + "fields: {id: id, by: {const: route}}\n"
M1 = {"id": "m1", "type": "t", "key": "a"}


async def dead_at(hub: Hub, step: str, code: str) -> None:
    (dead,) = await hub.reached(DeliveryState.DEAD)
    assert (dead.step, dead.attempts) == (step, 1)
    (call,) = await hub.calls("sink/up")
    assert (call.outcome, call.code) == (Outcome.FAILED, code)
    assert call.error == dead.reason
    assert hub.site.peer().calls == []


@pytest.mark.parametrize(("route", "by"), [(None, "contract"), ("routed", "route")])
async def test_the_routes_mapping_goes_before_the_contracts(
    site: Site, start: StartHub, route: str | None, by: str
) -> None:
    peer = site.target(mapping="declared")
    site.mapping("declared", DECLARED)
    site.mapping("routed", ROUTED)
    if route:
        site.config["routes"]["to_sink"]["mapping"] = route
    hub = await start(site)
    await hub.wire.submit("his/in", M1)
    (done,) = await hub.reached(DeliveryState.DELIVERED)
    assert peer.bodies == [{"id": "m1", "by": by}]
    # A delivery that no route made takes the contract's.
    await hub.act("forward", [done.id], target="sink/up")
    await hub.reached(DeliveryState.DELIVERED, 2)
    assert peer.bodies[1]["by"] == "contract"


async def test_an_empty_mapping_of_the_route_sends_what_was_received(site: Site, start: StartHub) -> None:
    peer = site.target(mapping="declared")
    site.mapping("declared", DECLARED)
    site.config["routes"]["to_sink"]["mapping"] = ""
    hub = await start(site)
    await hub.wire.submit("his/in", b' {"id":"m1"  }')
    await hub.reached(DeliveryState.DELIVERED)
    assert peer.calls[0].body == b' {"id":"m1"  }'
    (call,) = await hub.calls("sink/up")
    assert (call.request, call.mapping) == (None, "")


async def test_another_format_goes_out_unmapped_only_where_a_route_says_so(site: Site, start: StartHub) -> None:
    site.system(
        "his", "his", **{"in": {"codec": "hl7v2", "type": "", "control_id": "", "keys": {"patient_id": "PID-3.1"}}}
    )
    peer = site.target(order_by=None)
    site.config["routes"]["to_sink"]["mapping"] = ""
    hub = await start(site)
    await hub.wire.submit("his/in", HL7)
    (done,) = await hub.reached(DeliveryState.DELIVERED)
    assert peer.calls[0].body == HL7
    result = await hub.act("forward", [done.id], target="sink/up")  # no route: the contract decides
    (dead,) = await hub.reached(DeliveryState.DEAD)
    assert (result.made, dead.step) == ([dead.id], "map")
    assert "hl7v2" in dead.reason
    assert "json" in dead.reason


async def test_a_mapping_of_another_format(site: Site, start: StartHub) -> None:
    site.mapping("other", "from: {codec: hl7v2}\nto: {codec: json}\nfields: {id: MSH-10}\n")
    site.target(mapping="other")
    hub = await start(site)
    assert [p.severity for p in hub.node.problems] == ["error"]
    site.system("other_sink", "sink", up={"mapping": "other"})
    site.config["routes"] = {"ok": {"from": "his", "to": "other_sink/up", "mapping": ""}}
    del site.config["systems"]["sink"]
    await hub.restart()
    await hub.wire.submit("his/in", M1)
    (done,) = await hub.reached(DeliveryState.DELIVERED)
    await hub.act("forward", [done.id], target="other_sink/up")
    (dead,) = await hub.reached(DeliveryState.DEAD)
    assert (dead.step, "hl7v2" in dead.reason) == ("map", True)


async def test_a_mapping_that_fails_names_file_line_and_masks_the_value(site: Site, start: StartHub) -> None:
    site.target(mapping="m")
    site.mapping("m", HEAD + "fields:\n  id: id\n  age: pid | number\n")
    hub = await start(site)
    await hub.wire.submit("his/in", {**M1, "pid": "110101199003070011x"})
    await dead_at(hub, "map", "mapping.failed")
    (dead,) = await hub.deliveries()
    assert "m.yaml:5" in dead.reason
    assert "110101199003070011" not in dead.reason


async def test_what_the_targets_codec_can_not_write(site: Site, start: StartHub) -> None:
    site.target(mapping="m", encoding="latin-1")
    site.mapping("m", HEAD + "fields: {id: id, name: pid}\n")
    hub = await start(site)
    await hub.wire.submit("his/in", {**M1, "pid": "张三"})
    await dead_at(hub, "encode", "json.charset")


async def test_a_plugins_function_that_throws(site: Site, start: StartHub) -> None:
    file = site.folder / "plugins" / "his" / "plugin.py"
    code = file.read_text() + (
        "from hub.api import hookimpl\n\n\n@hookimpl\ndef hub_functions():\n    return {'boom': lambda value: 1 // 0}\n"
    )
    file.write_text(code)
    site.target(mapping="m")
    site.mapping("m", HEAD + "fields: {id: id | boom}\n")
    hub = await start(site)
    await hub.wire.submit("his/in", M1)
    (dead,) = await hub.reached(DeliveryState.DEAD)
    assert "boom" in dead.reason
    assert site.peer().calls == []


async def test_a_stored_message_is_decoded_with_the_options_of_its_interface(site: Site, start: StartHub) -> None:
    options = {"delimiter": ";", "header": "none", "columns": ["id", "pid"]}
    contract = {"codec": "csv", "format": options, "type": "", "control_id": "", "keys": {"patient_id": "rows[0].pid"}}
    site.system("his", "his", **{"in": contract})
    peer = site.target(mapping="m", order_by=None)
    site.mapping("m", "from: {codec: csv}\nto: {codec: json}\nfields: {all: {each: rows, pid: .pid, c1: .c1}}\n")
    hub = await start(site)
    await hub.wire.submit("his/in", b"1;007\r\n2;a,b\r\n")
    (done,) = await hub.reached(DeliveryState.DELIVERED)
    await hub.restart()
    await hub.act("forward", [done.id], target="sink/up")
    await hub.reached(DeliveryState.DELIVERED, 2)
    assert peer.bodies == [{"all": [{"pid": "007"}, {"pid": "a,b"}]}] * 2
    (message,) = (await hub.node.store.reader.search(MessageQuery())).rows
    assert message.keys == {"patient_id": "007"}
    # The interface takes another format by now: the codec reads without options.
    site.system("his", "his")
    site.config["routes"]["to_sink"]["mapping"] = ""
    await hub.restart()
    await hub.act("forward", [done.id], target="sink/up")
    await hub.reached(DeliveryState.DELIVERED, 3)
    assert peer.bodies[2] == {}


async def test_a_target_has_a_codec_with_its_own_options(site: Site, start: StartHub) -> None:
    layout = {
        "by": "characters",
        "line_end": "lf",
        "fields": [{"name": "id", "length": 4}, {"name": "no", "length": 3, "type": "number"}],
    }
    peer = site.target(codec="fixed", format=layout, mapping="m")
    site.mapping("m", "from: {codec: json}\nto: {codec: fixed}\nfields: {rows: [{id: id, no: no}]}\n")
    hub = await start(site)
    await hub.wire.submit("his/in", {**M1, "no": 7})
    await hub.reached(DeliveryState.DELIVERED)
    assert peer.calls[0].body == b"m1  007\n"
    await hub.wire.submit("his/in", {**M1, "id": "m2", "no": 1000})
    (dead,) = await hub.reached(DeliveryState.DEAD)
    assert (dead.step, dead.reason) == ("encode", "row 1 field no: the value is 4 long, the field 3")
