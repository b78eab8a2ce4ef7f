"""What ``hub check`` says of ``collect`` and ``results`` that can't be: with file, line, key and remedy, in both languages."""

from __future__ import annotations

from typing import Any

import pytest

from hub.check import check
from hub.contract import CollectRule, ResultsRule
from hub.errors import Problem
from hub.i18n import set_language
from tests.kernel.kernel_support import Site

ITEMS = {"each": "results", "success": "ok"}


def problems(site: Site, **contract: Any) -> list[Problem]:
    site.target(**contract)
    return [problem for problem in check(site.write()).problems if problem.severity == "error"]


@pytest.mark.parametrize(
    ("contract", "key", "text"),
    [
        ({"collect": {"messages": 0}}, "collect.messages", "at least 1"),
        ({"collect": {"mesages": 5}}, "collect.mesages", "unknown key"),
        ({"collect": {"within": "2 hours"}}, "collect.within", "not a duration"),
        ({"collect": {"as": "transaction"}}, "collect.as", "'transaction' is not allowed"),
        ({"collect": {"as": "array", "mapping": "m"}}, "collect.as", "not allowed"),
        ({"collect": {}, "codec": "form"}, "collect", "form knows no document of several"),
        ({"collect": {"by": "key |"}}, "collect.by", "for messages of his/in"),
        ({"collect": {"mapping": "nothing"}}, "collect.mapping", "'nothing'"),
        ({"collect": {"mapping": "to_xml"}}, "collect.mapping", "makes xml, not json"),
        ({"collect": {"mapping": "from_xml"}}, "collect.mapping", "reads xml, not json"),
        ({"collect": {"items": ITEMS}, "order_by": None}, "collect.items", "one message only"),
        ({"collect": {"items": {"each": "a", "key": "x"}}}, "collect.items", "no message is ever delivered"),
        ({"collect": {"items": {**ITEMS, "index": "n", "key": "k"}}}, "collect.items.index", "index and key"),
        ({"collect": {"items": {**ITEMS, "of": "id"}}}, "collect.items.of", "no key"),
        ({"collect": {"items": {**ITEMS, "success": "ok |"}}}, "collect.items.success", ""),
        ({"collect": {"items": ITEMS}, "reply": {"codec": "xml"}}, "collect.items.each", "one by one"),
        ({"collect": {}, "results": {"to": "up"}}, "results", "several messages"),
        ({"results": {"to": "nowhere"}}, "results.to", "there is no interface sink/nowhere"),
        ({"results": {"to": "up"}}, "results.to", "sends"),
        ({"results": {"to": "back", "each": "a |"}}, "results.each", ""),
        ({"results": {"to": "back", "more": "more"}}, "results.more", "next page"),
        ({"results": {"to": "back", "next": {"page": "a |"}}}, "results.next.page", ""),
        ({"results": {"to": "back", "each": "a"}, "reply": {"codec": "xml"}}, "results.each", "one by one"),
        ({"results": {"to": "back"}, "reply": {"codec": "xml"}}, "results.to", "there is no mapping"),
        ({"results": {"to": "back", "mapping": "to_xml"}}, "results.mapping", "makes xml, not json"),
        ({"results": {"to": "back", "pages": 0}}, "results.pages", "at least 1"),
        ({"results": {"to": "asks"}}, "results.to", "style: request"),
    ],
)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_cannot_be(site: Site, contract: dict[str, Any], key: str, text: str, language: str) -> None:
    site.mapping("to_xml", "from: {codec: json}\nto: {codec: xml}\nfields: {a: id}\n")
    site.mapping("from_xml", "from: {codec: xml}\nto: {codec: json}\nfields: {a: /a}\n")
    site.mapping("m", "from: {codec: json}\nto: {codec: json}\nfields: {list: items}\n")
    plugin = site.folder / "plugins" / "sink" / "plugin.yaml"
    back = "  back: {direction: in, adapter: results, codec: json}\n"
    asks = '  asks: {direction: in, style: request, adapter: wire, listen: {channel: "${channel}"}, codec: json}\n'
    plugin.write_text(plugin.read_text(encoding="utf-8") + back + asks, encoding="utf-8")
    set_language(language)
    found = problems(site, **contract)
    matching = [problem for problem in found if problem.key.endswith(f"interfaces.up.{key}")]
    assert matching, [str(problem) for problem in found]
    assert all(problem.line > 0 and problem.file for problem in matching)
    if language == "en":
        assert any(text in problem.text for problem in matching), matching
        assert not any("\u4e00" <= character <= "\u9fff" for problem in matching for character in problem.text)


def test_an_interface_that_receives_has_neither(site: Site) -> None:
    site.system("his", "his", **{"in": {"collect": {}, "results": {"to": "in"}}})
    found = [problem.key for problem in check(site.write()).problems if problem.severity == "error"]
    assert [key.rpartition(".")[2] for key in found] == ["collect", "results"]


def test_a_caller_who_waits_is_not_sent_to_a_target_that_collects(site: Site) -> None:
    site.system("his", "his", ask={})
    site.config["routes"]["to_sink"] = {"from": "his/ask", "to": "sink/up"}
    found = problems(site, collect={})
    assert [problem.key for problem in found if "collect" in problem.text] == ["routes.to_sink.to"]


def test_what_can_be(site: Site) -> None:
    site.mapping("item", "from: {codec: json}\nto: {codec: json}\nfields: {no: id}\n")
    site.mapping("m", "from: {codec: json}\nto: {codec: xml}\nfields: {list: {entry: {each: items, no: .no}}}\n")
    items = {"each": "results", "key": "no", "of": "no", "success": "ok"}
    collect = {"messages": 5, "by": "key", "mapping": "m", "items": items, "bytes": "1MB"}
    assert problems(site, codec="xml", mapping="item", order_by="key", collect=collect, reply={"codec": "json"}) == []


def test_the_short_form_of_next() -> None:
    rule = ResultsRule.model_validate({"to": "x", "next": "data.token", "bytes": "2MB"})
    assert (rule.next, rule.size) == ({"next": "data.token"}, 2 << 20)
    assert CollectRule.model_validate({"bytes": "1KB", "as": "batch"}).size == 1024
