"""``hub check`` on answers that come later, and on request style where nobody waits: file, line and remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hub.check import check
from hub.deployment import load_deployment
from hub.errors import Problem
from hub.i18n import language, set_language
from hub.workers import worker_groups
from tests.kernel.kernel_support import Site

LAB = """
id: lab
name: answers later
settings: {channel: {type: string, required: true}}
interfaces:
  submit:
    direction: out
    adapter: wire
    connect: {channel: "${channel}"}
    codec: json
    callback: {key: data.task}
  result:
    direction: in
    adapter: wire
    listen: {channel: "${channel}"}
    codec: json
    answers: {key: task}
"""


@pytest.fixture(autouse=True)
def english() -> Any:
    before = language()
    set_language("en")
    yield
    set_language(before)


def site_of(folder: Path, lab: str = LAB, **interfaces: Any) -> Site:
    site = Site(folder)
    site.plugin("lab", lab)
    site.system("lab", "lab", **interfaces)
    site.target()
    site.config["routes"] = {"orders": {"from": "his", "to": "lab/submit"}, "back": {"from": "lab", "to": "sink/up"}}
    return site


def problems(site: Site, part: str) -> list[Problem]:
    return [problem for problem in check(site.write()).problems if part in problem.text]


def test_a_sound_contract_has_no_problems(tmp_path: Path) -> None:
    report = check(site_of(tmp_path).write())
    assert (report.ok, report.problems) == (True, [])


def line_of(site: Site, text: str) -> int:
    lines = (site.folder / "plugins" / "lab" / "plugin.yaml").read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


@pytest.mark.parametrize(
    ("old", "new", "part", "severity"),
    [
        ("answers: {key: task}", "answers: {key: 'task |'}", "function expected", "error"),
        ("callback: {key: data.task}", "callback: {key: 'data.'}", "", "error"),
        ("answers: {key: task}", "answers: {key: task, to: nowhere}", "nothing is sent to 'lab/nowhere'", "error"),
        ("answers: {key: task}", "answers: {key: task, to: sink/up}", "sink/up awaits no answer", "error"),
        ("answers: {key: task}", "answers: {key: task}\n    style: request", "an answer is no request", "error"),
        ("answers: {key: task}", "callback: {key: task}", "callback is for what is sent", "error"),
        ("callback: {key: data.task}", "answers: {key: task}", "answers is for what is received", "error"),
        ("    callback: {key: data.task}\n", "", "so nothing is awaited", "error"),
        ("    answers: {key: task}\n", "", "no interface takes the answers of lab/submit", "warning"),
        (
            "callback: {key: data.task}",
            "collect: {messages: 5}\n    callback: {key: data.task}",
            "one call carries several messages",
            "error",
        ),
    ],
)
def test_what_can_not_be(tmp_path: Path, old: str, new: str, part: str, severity: str) -> None:
    assert old in LAB
    site = site_of(tmp_path, LAB.replace(old, new))
    found = [problem for problem in problems(site, part) if problem.severity == severity]
    assert found
    assert all(problem.line and problem.file.endswith(".yaml") for problem in found)
    assert part == "" or all(problem.remedy for problem in found if "function" not in part)


def test_a_caller_that_waits_for_an_answer_nobody_takes(tmp_path: Path) -> None:
    lab = LAB.replace("{key: data.task}", "{key: data.task, caller_gets: callback}").replace(
        "    answers: {key: task}\n", ""
    )
    (problem,) = problems(site_of(tmp_path, lab), "no interface takes the answers")
    assert problem.severity == "error"


def test_answers_that_callers_wait_for_need_no_route(tmp_path: Path) -> None:
    site = site_of(tmp_path, LAB.replace("{key: data.task}", "{key: data.task, caller_gets: callback}"))
    del site.config["routes"]["back"]
    assert problems(site, "no route takes") == []


def test_the_mapping_of_what_a_caller_gets_must_fit_the_answer(tmp_path: Path) -> None:
    lab = LAB.replace("{key: data.task}", "{key: data.task, caller_gets: callback}")
    site = site_of(tmp_path, lab)
    site.mapping("wrong", "from: {codec: hl7v2}\nto: {codec: json}\nfields: {id: MSH-10}\n")
    site.system("his", "his", **{"in": "off", "ask": {"reply_mapping": "wrong", "error_mapping": "wrong"}})
    found = problems(site, "reads hl7v2, but gets json")
    assert {problem.key.rpartition(".")[2] for problem in found} == {"reply_mapping", "error_mapping"}


def test_callback_of_the_source_message_is_checked_for_each_source(tmp_path: Path) -> None:
    site = site_of(tmp_path, LAB.replace("{key: data.task}", "{key: 'PID-3 |', of: message}"))
    (problem,) = problems(site, "for messages of his/in")
    assert problem.line == line_of(site, "PID-3")


def test_who_asks_and_who_answers_share_a_worker(tmp_path: Path) -> None:
    lab = LAB.replace("    callback:", '    order_by: ""\n    callback:')
    site = site_of(tmp_path, lab)
    site.config["systems"]["sink"]["interfaces"] = {"up": {"order_by": ""}}
    groups = worker_groups(load_deployment(site.write()))
    assert ["his", "lab"] in groups


# -- request style where nobody waits ------------------------------------------------------------------------------

SOURCES = {
    "sql": 'listen: {url: "sqlite:///x.db", query: "select 1"}',
    "file": "listen: {folder: /tmp}",
    "ftp": "listen: {host: h}",
    "sftp": "listen: {host: h}",
    "mail": "listen: {host: h}",
    "http_poll": "listen: {url: http://h/}",
    "fhir_poll": "listen: {url: http://h/}",
    "redis": "listen: {url: redis://h/}",
}


@pytest.mark.parametrize("adapter", SOURCES)
@pytest.mark.parametrize("used", [True, False])
def test_request_style_is_refused_where_a_source_is_read(tmp_path: Path, adapter: str, used: bool) -> None:
    lab = f"""
id: lab
name: a source
interfaces:
  rows:
    direction: in
    style: request
    adapter: {adapter}
    {SOURCES[adapter]}
    codec: json
"""
    site = Site(tmp_path)
    site.plugin("lab", lab)
    if used:
        site.config["systems"]["lab"] = {"plugin": "lab"}
    site.target()
    (problem,) = problems(site, "reads a source")
    assert (problem.severity, problem.line) == ("error", line_of(site, "style: request"))
    assert problem.file.endswith("plugins/lab/plugin.yaml")
    assert "style: event" in problem.remedy


def test_an_unknown_answer_can_not_be_refused_to_a_source(tmp_path: Path) -> None:
    lab = LAB.replace('adapter: wire\n    listen: {channel: "${channel}"}', "adapter: file\n    listen: {folder: /tmp}")
    lab = lab.replace("answers: {key: task}", "answers: {key: task, unknown: refuse}")
    site = site_of(tmp_path, lab)
    found = problems(site, "nobody to refuse an answer to")
    assert found[0].line == line_of(site, "unknown: refuse")
