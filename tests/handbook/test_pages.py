"""Pages of the plugins that come with the hub: everything of a contract is in them, in both languages, the same at every run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import pytest
from lxml import html as lxml_html

from hub.handbook.blocks import Block, Bullets, Code, Fold, Heading, Note, Para, Pre, Table, plain
from hub.handbook.build import contents, in_each
from hub.handbook.material import Material, gather
from hub.handbook.page import page
from hub.handbook.subject import of_plugin
from hub.i18n import language
from tests.handbook.support import ROOT, subjects

HAN = re.compile(r"[\u4e00-\u9fff]")


def flat(blocks: Sequence[Block]) -> Iterator[Block]:
    for block in blocks:
        yield block
        if isinstance(block, Fold):
            yield from flat(block.blocks)


def words(blocks: Sequence[Block]) -> str:
    """Everything that can be read on a page."""
    found: list[str] = []
    for block in flat(blocks):
        match block:
            case Heading(_, text, _) | Para(text) | Note(text) | Fold(text, _):
                found.append(plain(text))
            case Bullets(items, _):
                found += map(plain, items)
            case Table(head, rows, _):
                found += [*head, *(plain(cell) for row in rows for cell in row)]
            case Pre(text, _):
                found.append(text)
    return "\n".join(found)


def test_every_part_of_every_contract_is_on_its_page(repository: Material) -> None:
    for name, plugin in repository.registry.plugins.items():
        text = words(page(repository, of_plugin(plugin)))
        contract = plugin.contract
        for setting in contract.settings:
            assert setting in text, (name, setting)
        for key, interface in contract.interfaces.items():
            assert key in text, (name, key)
            for code in interface.errors:
                assert str(code) in text, (name, key, code)
            for kind in interface.accepts if interface.direction == "out" else ():
                assert kind == "*" or kind in text, (name, key, kind)
        assert ("Assumed." in text) == contract.assumed, name


def test_both_languages_have_the_same_parts(repository: Material) -> None:
    """No section is missing in one of them, and no table has other columns, rows or steps."""
    for name, plugin in repository.registry.plugins.items():
        shapes = []
        for _ in in_each(("zh", "en")):
            shape: list[object] = []
            for block in flat(page(repository, of_plugin(plugin))):
                match block:
                    case Heading(level, _, anchor):
                        shape.append((level, anchor))
                    case Table(_, rows, kind):
                        shape.append((kind, len(rows)))
                    case Bullets(items, _):
                        shape.append(len(items))
                    case Para():
                        pass  # a remark of a schema that is in English only is left out of the Chinese page
                    case _:
                        shape.append(type(block).__name__)
            shapes.append(shape)
        assert shapes[0] == shapes[1], name


def test_a_chinese_page_has_no_english_sections(repository: Material) -> None:
    """Headings, heads of tables, names of facts and sentences are Chinese; names, codes and texts of standards are not translated."""
    for name, plugin in repository.registry.plugins.items():
        subject = of_plugin(plugin)
        own = {interface.name or key for key, interface in subject.interfaces.items()} | {subject.name}
        for _ in in_each(("zh",)):
            for block in flat(page(repository, subject)):
                match block:
                    case Heading(_, text, _) if not any(isinstance(span, Code) for span in text):
                        assert HAN.search(plain(text)) or plain(text) in own, (name, plain(text))
                    case Table(head, rows, kind):
                        assert all(HAN.search(cell) for cell in head), (name, head)
                        if not head:
                            facts = [plain(row[0]) for row in rows if plain(row[0]) not in ("TLS", "cron")]
                            assert all(HAN.search(fact) or "." in fact or fact.islower() for fact in facts), (
                                name,
                                facts,
                            )
                        if kind == "errors":
                            assert all(HAN.search(plain(row[-1])) for row in rows), name
                    case Para(text) if not any(isinstance(span, Code) for span in text):
                        assert HAN.search(plain(text)), (name, plain(text))


def test_the_same_contracts_make_the_same_bytes(handbook: dict[str, str], chosen: tuple[str, ...]) -> None:
    again = gather(ROOT / "config" / "hub.yaml", quality=False)
    made = contents(again, subjects(again, *reversed(chosen)))
    assert {name for name in made if "/" in name} == {name for name in handbook if "/" in name}
    for name, content in made.items():
        if "/" in name:  # the index lists them in the order asked for
            assert content.decode() == handbook[name], name


def test_the_language_of_the_process_is_what_it_was_before(repository: Material) -> None:
    contents(repository, subjects(repository, "his_hl7v2"))
    assert language() == "en"


def test_links_within_a_page_lead_somewhere(handbook: dict[str, str]) -> None:
    for name, text in handbook.items():
        if name.endswith(".html"):
            tree = lxml_html.fromstring(text)
            for target in tree.xpath("//a/@href"):
                if target.startswith("#"):
                    assert tree.xpath("//*[@id=$id]", id=target[1:]), (name, target)
                else:
                    path = (name.rpartition("/")[0] + "/" + target).lstrip("/")
                    path = path.partition("/../")[2] or path
                    assert path in handbook, (name, target)
            ids = tree.xpath("//@id")
            assert len(ids) == len(set(ids)), name


def test_a_page_needs_nothing_from_elsewhere(handbook: dict[str, str]) -> None:
    for name, text in handbook.items():
        if name.endswith(".html"):
            tree = lxml_html.fromstring(text)
            assert not tree.xpath("//link | //img | //iframe | //object | //*[@src] | //style[contains(., 'url(')]"), (
                name
            )
            assert not any("://" in target for target in tree.xpath("//a/@href")), name
            scripts = tree.xpath("//script")
            assert len(scripts) == (1 if name.startswith("index.") else 0), name


def test_the_index_has_every_plugin_with_its_group(handbook: dict[str, str], chosen: tuple[str, ...]) -> None:
    for suffix, group in (("zh", "医疗保障"), ("en", "Medical insurance")):
        tree = lxml_html.fromstring(handbook[f"index.{suffix}.html"])
        assert group in [text.strip() for text in tree.xpath("//h2/text()")]
        links = tree.xpath("//table[@class='systems']//td[1]//a/@href")
        assert sorted(links) == sorted(f"{name}/{suffix}.html" for name in chosen)
        assert tree.xpath("//input[@type='search' and @hidden]")  # shown by the script that makes it work


@pytest.mark.parametrize(
    ("plugin", "wanted"),
    [
        (
            "wechat_pay",
            ["METHOD\\nURL\\ntimestamp\\nnonce\\nbody\\n", "AEAD_AES_256_GCM", "OUT_TRADE_NO_USED", "orderNumber"],
        ),
        (
            "freight_exchange",
            ["C1C2C3", "SM4/ECB", "root.body.encryptedContent", "root.header.token", "waybill.number"],
        ),
        ("payment_desk", ["/payment/v1/commands", "Authorization: Bearer <token>", "requestId", "curl -i"]),
        ("aliyun_sms", ["ACS3-HMAC-SHA256", "isv.DAY_LIMIT_CONTROL", "x-acs-content-sha256"]),
        (
            "medical_insurance",
            ["1101 人员信息获取", "input.data.psn_no", "medical_insurance_insutype", "{fixmedins_code}"],
        ),
        ("his_hl7v2", ["ADT^A01", "PID-3", "MSH-10", "AA / CA", "0x1C 0x0D"]),
    ],
)
def test_what_the_other_party_looks_for(repository: Material, plugin: str, wanted: list[str]) -> None:
    text = words(page(repository, of_plugin(repository.plugin(plugin))))
    for one in wanted:
        assert one in text, one
