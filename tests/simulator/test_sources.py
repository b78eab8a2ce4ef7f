"""REST sources that are played: pages, what is new, tokens, refusals; read by hand and by the hub's own reader."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.errors import HubError
from hub.registry import Registry
from hub.simulator import Behaviour, Simulator
from tests.adapters.http_source import Kept, polling, run_once
from tests.simulator.simulator_support import Played, played, plugins, post

CONTRACT = """
id: lab
name: 检验
settings:
  url: {type: url, required: true}
  token: {type: secret, required: true}
  login: {type: url, required: true}
interfaces:
  upload:
    direction: out
    adapter: http
    connect: {url: "${url}", path: /upload}
    codec: json
    success: code == 0
  reports:
    direction: in
    adapter: http_poll
    listen:
      url: ${url}
      path: /reports
      method: POST
      body: {kind: final, from: "{since}", page: "{page}", size: "{size}"}
      auth: {type: bearer, secret: "${token}"}
      success: code == 0
      message: text
      items: data.items
      paging: {by: page, size: 2, total: data.total}
      since: {by: item, value: at}
    codec: json
    control_id: id
    examples: [one.json, two.json, three.json]
  changes:
    direction: in
    adapter: http_poll
    listen:
      url: ${url}
      path: /changes
      query: {after: "{since}", cursor: "{next}"}
      items: list
      paging: {by: next, next: cursor}
      since: {by: reply, value: mark}
    codec: json
  links:
    direction: in
    adapter: http_poll
    listen: {url: "${url}", path: /links, items: ., paging: {by: link}}
    codec: json
  state:
    direction: in
    adapter: http_poll
    listen:
      url: ${url}
      path: /state
      auth: {type: login, url: "${login}/login", body: {name: hub, password: "{secret}"}, secret: "${token}", token: token}
    codec: json
    examples: [state.json]
"""
REPORTS = [{"id": f"R{n}", "at": f"2026-01-15 09:0{n}:00"} for n in range(3)]


@pytest.fixture(scope="module")
def party() -> Iterator[Played]:
    with played() as found:
        yield found


@pytest.fixture
def lab(party: Played, tmp_path: Path) -> Iterator[Simulator]:
    folder = tmp_path / "lab"
    folder.mkdir()
    (folder / "plugin.yaml").write_text(CONTRACT, encoding="utf-8")
    for name, body in zip(("one", "two", "three"), REPORTS, strict=True):
        (folder / f"{name}.json").write_text(json.dumps(body), encoding="utf-8")
    (folder / "state.json").write_text('{"beds": 12}', encoding="utf-8")
    registry = Registry.discover([tmp_path])
    simulator = party.run(Simulator.start(registry.plugins["lab"], registry, plugins()[1]))
    yield simulator
    party.run(simulator.stop())


def read(simulator: Simulator, kept: Kept, path: str, **options: Any) -> dict[str, Any]:
    async def work() -> dict[str, Any]:
        async with polling(simulator.settings["url"], kept, path=path, **options) as receiver:
            return await run_once(receiver)

    return asyncio.run(work())


def reports(simulator: Simulator, kept: Kept) -> dict[str, Any]:
    return read(
        simulator,
        kept,
        "/reports",
        method="POST",
        body={"kind": "final", "from": "{since}", "page": "{page}", "size": "{size}"},
        auth={"type": "bearer", "secret": simulator.settings["token"]},
        success="code == 0",
        message="text",
        items="data.items",
        paging={"by": "page", "size": 2, "total": "data.total"},
        since={"by": "item", "value": "at"},
    )


def test_everything_is_played_at_one_address(lab: Simulator) -> None:
    assert lab.not_simulated == {}
    assert sorted(lab.sources) == ["changes", "links", "reports", "state"]
    assert lab.interfaces["upload"] == "out"


def ask(simulator: Simulator, body: dict[str, Any], token: str = "") -> tuple[int, Any]:
    token = token or simulator.settings["token"]
    status, _, answer = post(f"{simulator.settings['url']}/reports", body, {"Authorization": f"Bearer {token}"})
    return status, json.loads(answer) if answer else None


def test_pages_of_the_examples_as_the_options_ask_for_them(lab: Simulator) -> None:
    first = {"kind": "final", "page": 1, "size": 2}
    assert ask(lab, first) == (200, {"code": 0, "data": {"items": REPORTS[:2], "total": 3}})
    assert ask(lab, {**first, "page": 2})[1]["data"] == {"items": REPORTS[2:], "total": 3}
    assert ask(lab, {**first, "page": 3})[1]["data"]["items"] == []
    newer = ask(lab, {**first, "from": "2026-01-15 09:01:00"})[1]
    assert [one["id"] for one in newer["data"]["items"]] == ["R1", "R2"]  # the very time asked for comes again


@pytest.mark.parametrize(
    ("body", "token", "status"),
    [
        ({"kind": "final", "page": 1, "size": 2}, "wrong", 401),
        ({"kind": "draft", "page": 1, "size": 2}, "", 200),
        ({"kind": "final", "page": "x", "size": 2}, "", 200),
        ({"kind": "final", "page": 0, "size": 2}, "", 200),
    ],
    ids=["token", "constant", "no number", "no page"],
)
def test_a_question_that_is_not_as_agreed_is_refused(
    lab: Simulator, body: dict[str, Any], token: str, status: int
) -> None:
    told, answer = ask(lab, body, token)
    assert told == status
    assert answer is None or answer["code"] != 0
    assert lab.calls[-1].verdict == "refused"


def test_the_hub_reads_what_is_new_and_each_entry_once(lab: Simulator, party: Played) -> None:
    kept = Kept()
    assert (reports(lab, kept)["taken"], kept.json) == (3, REPORTS)
    assert reports(lab, kept)["taken"] == 0
    late = {"id": "R9", "at": "2026-01-15 09:09:00"}
    party.run(lab.offer("reports", json.dumps(late).encode()))
    assert (reports(lab, kept)["taken"], kept.json[-1]) == (1, late)


def test_a_new_entry_is_an_example_with_a_number_of_its_own(lab: Simulator, party: Played) -> None:
    made = json.loads(party.run(lab.offer("reports")))
    assert made["id"] not in {one["id"] for one in REPORTS}
    assert made["at"] in {one["at"] for one in REPORTS}


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (Behaviour("status", "503"), "503"),
        (Behaviour("error", "17"), "17"),
        (Behaviour("garbage"), ""),
        (Behaviour("reset"), ""),
    ],
    ids=lambda value: getattr(value, "kind", value),
)
def test_a_source_with_a_bad_moment_is_read_the_next_time(lab: Simulator, behaviour: Behaviour, error: str) -> None:
    kept = Kept()
    lab.misbehave("reports", behaviour)
    failed = reports(lab, kept)
    assert (bool(failed["error"]), kept.items) == (True, [])
    if behaviour.kind == "status":
        assert error in failed["error"]
    assert (reports(lab, kept)["taken"], len(kept.items)) == (3, 3)


def test_a_token_of_the_reply_and_of_the_next_page(lab: Simulator, party: Played) -> None:
    options: dict[str, Any] = {
        "query": {"after": "{since}", "cursor": "{next}"},
        "items": "list",
        "paging": {"by": "next", "next": "cursor"},
        "since": {"by": "reply", "value": "mark"},
    }
    kept = Kept()
    for number in range(120):  # three pages
        party.run(lab.offer("changes", b'{"n": %d}' % number))
    assert read(lab, kept, "/changes", **options)["taken"] == 120
    assert kept.json == [{"n": number} for number in range(120)]
    assert read(lab, kept, "/changes", **options)["taken"] == 0
    party.run(lab.offer("changes", b'{"n": 120}'))
    assert (read(lab, kept, "/changes", **options)["taken"], kept.json[-1]) == (1, {"n": 120})


def test_pages_by_link(lab: Simulator, party: Played) -> None:
    kept = Kept()
    for number in range(60):
        party.run(lab.offer("links", b'{"n": %d}' % number))
    assert read(lab, kept, "/links", items=".", paging={"by": "link"})["taken"] == 60
    assert len(kept.items) == 60


def test_a_whole_reply_is_taken_when_it_changes_and_needs_a_login(lab: Simulator, party: Played) -> None:
    url = f"{lab.settings['login']}/login"
    auth = {"type": "login", "url": url, "body": {"name": "hub", "password": "{secret}"}, "token": "token"}
    auth["secret"] = lab.settings["token"]
    kept = Kept()
    assert read(lab, kept, "/state", auth=auth)["taken"] == 1
    assert read(lab, kept, "/state", auth=auth)["taken"] == 0
    party.run(lab.offer("state", b'{"beds": 11}'))
    assert read(lab, kept, "/state", auth=auth)["taken"] == 1
    assert kept.json == [{"beds": 12}, {"beds": 11}]
    assert read(lab, Kept(), "/state", auth={**auth, "secret": "wrong"})["error"]
    assert read(lab, Kept(), "/state")["error"]


@pytest.mark.parametrize(
    ("call", "interface", "body", "code"),
    [
        ("send", "reports", None, "simulate.source"),
        ("offer", "upload", None, "simulate.source"),
        ("offer", "reports", b"no json", "json.invalid"),
        ("offer", "changes", None, "simulate.example"),
        ("offer", "nothing", None, "simulate.interface"),
    ],
)
def test_what_a_source_can_not_do(
    lab: Simulator, party: Played, call: str, interface: str, body: bytes | None, code: str
) -> None:
    with pytest.raises(HubError) as told:
        party.run(lab.send(interface, "", body) if call == "send" else lab.offer(interface, body))
    assert told.value.code == code
