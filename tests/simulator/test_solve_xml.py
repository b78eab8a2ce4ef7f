"""XML replies in which the conditions of a contract hold."""

from __future__ import annotations

import pytest

from hub.codecs.registry import builtin_codecs
from hub.mapping import Context, compile_expression
from hub.simulator.solve import give, hold, parsed
from hub.simulator.solve_xml import written

XML = next(codec for codec in builtin_codecs() if codec.name == "xml")


@pytest.mark.parametrize(
    "condition",
    [
        "*/acknowledgement/@typeCode == 'AA'",
        "*/Body/ResultCode == '0'",
        "reply/a/text() == 'x' and reply/b/@c in ['p', 'q']",
        "//code == '0'",
        "not answer/fault",
        "answer/code | default('1') == '1'",
    ],
)
def test_the_condition_holds_or_does_not(condition: str) -> None:
    read = compile_expression(condition, "xml")
    for wanted in (True, False):
        body = written(hold(hold({}, parsed(condition, "xml"), not wanted), parsed(condition, "xml"), wanted))
        assert body is not None
        assert bool(read(XML.decode(body), Context())) is wanted


def test_a_code_is_put_where_it_is_read() -> None:
    where = "*/Body/ResultCode"
    body = written(give(hold({}, parsed(f"{where} == '0'", "xml"), False), parsed(where, "xml"), "E<7"))
    assert body is not None
    assert compile_expression(where, "xml")(XML.decode(body), Context()) == "E<7"


def test_what_can_not_be_solved_changes_nothing() -> None:
    assert written(hold({}, parsed("a[b='1']/c == '2'", "xml"), True)) is None
