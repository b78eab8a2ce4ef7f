"""The reference page: everything is on it, nothing of it can run, and it needs nothing else."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from hub.errors import MappingError
from hub.i18n import set_language
from hub.mapping_tools import Workbench
from hub.mapping_tools.comments import comments_of
from hub.mapping_tools.page import page
from tests.mapping_tools.conftest import Bench, complete

VOID = {"meta", "br", "col", "link", "img", "input", "hr"}
ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "table", "thead", "tbody", "colgroup", "col", "tr", "th", "td",
    "code", "br", "strong", "span",
}  # fmt: skip


class Reader(HTMLParser):
    """Rows of cells as a reader sees them; checks that what is opened is closed, and that only harmless elements occur."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.languages: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ALLOWED, tag
        assert {name for name, _ in attrs} <= {"lang", "charset", "name", "content", "class"}
        if tag == "html":
            self.languages += [value for name, value in attrs if name == "lang"]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag == "br" and self.rows:
            self.rows[-1][-1] += " / "

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.rows and ("td" in self.open or "th" in self.open):
            self.rows[-1][-1] += data


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def test_a_page(folder: Bench) -> None:
    folder.mapping("fragment: true\nfields: {v: .1}\n", "part", source="hl7v2")
    folder.write(
        "m.yaml",
        "description: patients <b>\n"
        "from: {codec: hl7v2, types: ['ADT^A01']}\n"
        "to: {codec: json}\n"
        "when: PV1-2 != 'X'\n"
        "vars:\n"
        "  org: MSH-4 | table('sex', unmapped='keep')   # the sender\n"
        "fields:\n"
        "  id: {expr: PID-3.1, required: true}   # never empty\n"
        "  kind: {const: 'a&b'}\n"
        "  org: $org\n"
        "  # as stated\n"
        "  sex: {expr: \"PID-8 | table('sex')\", default: U}\n"
        "  ids:\n"
        "    each: PID-3\n"
        "    where: .5 == 'MR'\n"
        "    value: .1\n"
        "    of: {when: .4, name: .4.1}\n"
        "  more: {include: part, from: PID-5}\n"
        "  at: {expr: $settings.x, when: PID-30, keep_null: true}\n",
    )
    reader = read(page(folder.open(), "m"))
    stamp = folder.open().library.get("m").stamp
    assert ["Purpose", "patients <b>"] in reader.rows
    assert ["Message types", "ADT^A01"] in reader.rows
    assert ["Only when", "PV1-2 != 'X'"] in reader.rows
    assert ["Version", stamp] in reader.rows
    assert ["$org", "MSH-4", "MSH-4 | table('sex', unmapped='keep')", "the sender"] in reader.rows
    start = reader.rows.index(["target", "source", "rule", "note"]) + 1
    assert reader.rows[start : start + 11] == [
        ["id", "PID-3.1", "PID-3.1 / required", "never empty"],
        ["kind", "", "always a&b", ""],
        ["org", "$org", "$org", ""],
        ["sex", "PID-8", "PID-8 | table('sex') / when absent U", "as stated"],
        ["ids", "PID-3", "one entry for each element / counted where .5 == 'MR'", ""],
        ["ids[].value", "PID-3.1", ".1", ""],
        ["ids[].of", "", "only when .4", ""],
        ["ids[].of.name", "PID-3.4.1", ".4.1", ""],
        ["more", "", "as in part / starting from PID-5", ""],
        ["more.v", "PID-5.1", ".1", ""],
        ["at", "$settings.x", "$settings.x / null is written when absent / only when PID-30", ""],
    ]
    assert ["from", "to", "note"] in reader.rows
    assert ["F", "2", "female, of course"] in reader.rows
    assert "version 7" in reader.text
    assert ["signature", "", ""] in reader.rows
    assert reader.text.count(stamp) == 2


def test_both_languages(shipped: Workbench) -> None:
    name = "provincial_health_platform/patient"
    english = read(page(shipped, name))
    set_language("zh")
    chinese = read(page(shipped, name))
    assert (english.languages, chinese.languages) == (["en"], ["zh-CN"])
    assert "Signatures of both parties" in english.text
    assert "双方签字确认" in chinese.text
    assert len(english.rows) == len(chinese.rows)


def test_every_shipped_mapping_has_a_page_that_needs_nothing_else(shipped: Workbench) -> None:
    for name in complete(shipped):
        html = page(shipped, name)
        reader = read(html)
        walk = shipped.walk(shipped.document(name), None)
        targets = {row[0] for row in reader.rows}
        assert {made.pattern for made in walk.made} <= targets
        assert not re.search(r"url\(|@import", html)
        markup = re.sub(r">[^<>]*<", "><", html)  # constants that are URLs may be shown
        assert not re.search(r"https?:|src=|href=|<script|javascript:", markup)


NASTY = "<script>alert('x')</script>\"&"


def test_nothing_that_is_written_can_run(folder: Bench) -> None:
    folder.write("tables/bad.csv", f"from,to,note\n<i>,<b>,\"<img src=x onerror='{1}'>\"\n")
    quoted = NASTY.replace("'", "''")
    folder.write(
        "m.yaml",
        f"description: '{quoted}'\nfrom: {{codec: json, types: ['<b>']}}\nto: {{codec: json}}\nfields:\n  '[''<i>a</i>'']': x | table('bad')   # {NASTY}\n"
        f"  b: {{const: '{quoted}'}}\n",
    )
    reader = read(page(folder.open(), "m"))  # no element but those of the page itself
    assert NASTY in reader.text
    assert "<img src=x onerror='1'>" in reader.text


def test_long_tables_are_cut(folder: Bench) -> None:
    folder.write("tables/long.csv", "from,to\n" + "".join(f"{n},x\n" for n in range(1200)))
    folder.mapping("fields: {a: x | table('long')}")
    reader = read(page(folder.open(), "m"))
    assert ["999", "x"] in reader.rows
    assert ["1000", "x"] not in reader.rows
    assert "200 more rows" in reader.text


def test_hl7_targets_and_copies(folder: Bench) -> None:
    folder.write(
        "m.yaml",
        "from: {codec: hl7v2}\nto: {codec: hl7v2, base: source, remove: [NTE]}\nfields:\n  PID-8: PID-9\n  OBX: {each: NTE, '.5': .3}\n",
    )
    rows = read(page(folder.open(), "m")).rows
    assert ["Starts from", "a copy of the source message"] in rows
    assert ["Taken out first", "NTE"] in rows
    assert ["OBX", "NTE", "one entry for each element", ""] in rows
    assert ["OBX-5", "NTE-3", ".3", ""] in rows


def test_a_mapping_with_errors_has_no_page(folder: Bench) -> None:
    folder.mapping("fields: {a: x |}")
    with pytest.raises(MappingError):
        page(folder.open(), "m")


@pytest.mark.parametrize(
    ("text", "comments"),
    [
        ("a: 1  # one\n", {1: "one"}),
        ("# above\n# twice\na: 1 # end\n", {3: "above twice end"}),
        ("# lonely\n\na: 1\n", {}),
        ("a: 'x # no'\nb: \"y # no\" # yes\n", {2: "yes"}),
        ("a: http://x#y\n", {}),
        ("a: >-   # head\n  text # no\n  # no\nb: 1 # b\n", {1: "head", 4: "b"}),
        ("a: |\n  x\n\n# above b\nb: 1\n", {5: "above b"}),
        ("a: {b: 1, c: '#'} # flow\n", {1: "flow"}),
        ("a: [1, # first\n  2] # second\n", {1: "first", 2: "second"}),
        ("a:\n  - b # item\n", {2: "item"}),
        ("a: *x # [\n", {1: "["}),
        ("a: ]\n", {}),
        ("", {}),
    ],
)
def test_comments(text: str, comments: dict[int, str]) -> None:
    assert comments_of(text) == comments
