"""XML bytes to document and back: what is kept, what the bytes are read as, what is refused and where."""

from __future__ import annotations

import pytest
from lxml import etree

from hub.codecs.hl7v3 import CdaCodec, Hl7v3Codec
from hub.codecs.xml_codec import XmlCodec, XmlDocument, XmlOptions
from hub.errors import CodecError

CODEC = XmlCodec()
GB = '<?xml version="1.0" encoding="{}"?><a>{}</a>'


def refusal(raw: bytes, encoding: str = "") -> CodecError:
    with pytest.raises(CodecError) as caught:
        CODEC.decode(raw, encoding=encoding)
    return caught.value


# -- what nobody changes -----------------------------------------------------------------------------------------------

AS_IT_CAME = [
    b"<a/>",
    b" \r\n<a  b = '1'\r\n c=\"2\" ></a  >\r\n\r\n",
    b"<?xml version='1.0' standalone='yes'?><a/>",
    b'<?xml version="1.0" encoding="UTF-8"?>\r\n<?xml-stylesheet type="text/xsl" href="CDA.xsl"?><!-- c --><a/><!-- d -->',
    b"<a><![CDATA[<x>&]]><!-- c --><?p i?>&#x5F20;&#24352;&amp;&lt;</a>",
    "\ufeff<a>张三</a>".encode(),
    b'<a xmlns="urn:a" xmlns:b="urn:b"><b:c b:d="1">x<e/>y</b:c></a>',
    "<病人><姓名>张三</姓名></病人>".encode(),
    '<?xml version="1.0" encoding="GB18030"?><a>龘𠮷</a>'.encode("gb18030"),
    '<?xml version="1.0" encoding="UTF-16"?><a>张三</a>'.encode("utf-16"),
]


@pytest.mark.parametrize("raw", AS_IT_CAME)
def test_unchanged_documents_go_out_as_they_came(raw: bytes) -> None:
    document = CODEC.decode(raw)
    assert CODEC.encode(document) == raw
    copied = document.copy()
    assert not copied.changed
    assert CODEC.encode(copied) == raw
    assert CODEC.encode(copied.copy()) == raw


def test_a_changed_copy_leaves_the_original_alone() -> None:
    raw = b"<?xml version='1.0'?>\n<?s t?><!-- c --><a x='1'><b/><![CDATA[<]]>&#38;</a><!-- d -->"
    document = CODEC.decode(raw)
    twin = document.copy()
    twin.root.set("x", "2")
    assert twin.changed
    assert CODEC.encode(document) == raw
    assert (
        CODEC.encode(twin)
        == b'<?xml version="1.0" encoding="UTF-8"?>\n<?s t?><!-- c --><a x="2"><b/><![CDATA[<]]>&amp;</a><!-- d -->'
    )
    twin.root.set("x", "1")
    assert CODEC.encode(twin) == raw


def test_a_copy_without_declaration_gets_none() -> None:
    twin = CODEC.decode(b"<a/>").copy()
    twin.root.text = "张"
    assert CODEC.encode(twin) == "<a>张</a>".encode()


def test_standalone_is_kept() -> None:
    twin = CODEC.decode(b"<?xml version='1.0' standalone='yes'?><a/>").copy()
    twin.root.text = "x"
    assert CODEC.encode(twin) == b'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<a>x</a>'


# -- character sets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "text", "encoding", "declared"),
    [
        (GB.format("UTF-8", "张三").encode(), "张三", "utf-8", "UTF-8"),
        (GB.format("utf8", "张三").encode(), "张三", "utf-8", "utf8"),
        (GB.format("GBK", "张三").encode("gbk"), "张三", "gb18030", "GBK"),
        (GB.format("gb2312", "张三").encode("gbk"), "张三", "gb18030", "gb2312"),
        (GB.format("GB2312", "朱镕基").encode("gbk"), "朱镕基", "gb18030", "GB2312"),  # 镕 is not in GB 2312
        (GB.format("GB18030", "𠮷").encode("gb18030"), "𠮷", "gb18030", "GB18030"),
        (GB.format("big5", "張三").encode("big5"), "張三", "big5hkscs", "big5"),
        (GB.format("ISO-8859-1", "Müller").encode("latin-1"), "Müller", "iso8859-1", "ISO-8859-1"),
        # the declaration is wrong
        (GB.format("UTF-8", "张三").encode("gbk"), "张三", "gb18030", "UTF-8"),
        (GB.format("GB2312", "张三").encode(), "张三", "utf-8", "GB2312"),
        (GB.format("ISO-8859-1", "张三").encode(), "张三", "utf-8", "ISO-8859-1"),
        (GB.format("UTF-16", "张三").encode(), "张三", "utf-8", "UTF-16"),
        (GB.format("us-ascii", "张三").encode(), "张三", "utf-8", "us-ascii"),
        (GB.format("x-unknown", "张三").encode(), "张三", "utf-8", "x-unknown"),
        ("\ufeff".encode() + GB.format("GBK", "é").encode(), "é", "utf-8", "GBK"),
        # there is none
        ("<a>张三</a>".encode(), "张三", "utf-8", ""),
        ("<a>张三</a>".encode("gbk"), "张三", "gb18030", ""),
        (b"<a>x</a>", "x", "utf-8", ""),
        (GB.format("GBK", "x").encode(), "x", "gb18030", "GBK"),
        # several bytes for every character
        (GB.format("UTF-16", "张").encode("utf-16"), "张", "utf-16-le", "UTF-16"),
        (b"\xfe\xff" + GB.format("UTF-16", "张").encode("utf-16-be"), "张", "utf-16-be", "UTF-16"),
        (GB.format("UTF-16", "张").encode("utf-16-le"), "张", "utf-16-le", "UTF-16"),
        (GB.format("UTF-16", "张").encode("utf-16-be"), "张", "utf-16-be", "UTF-16"),
        (GB.format("UTF-8", "张").encode("utf-16"), "张", "utf-16-le", "UTF-8"),
        ("<a>张</a>".encode("utf-32"), "张", "utf-32-le", ""),
    ],
)
def test_character_sets(raw: bytes, text: str, encoding: str, declared: str) -> None:
    document = CODEC.decode(raw)
    assert (document.root.text, document.encoding, document.declared) == (text, encoding, declared)
    assert CODEC.encode(document) == raw


def test_the_contract_says_what_the_bytes_are() -> None:
    raw = GB.format("UTF-8", "锟斤拷").encode("gbk")
    assert CODEC.decode(raw, encoding="GBK").root.text == "锟斤拷"
    assert CODEC.decode("<a>张</a>".encode("utf-16-be")[0:], encoding="UTF-16BE").root.text == "张"
    assert CODEC.decode(GB.format("UTF-8", "é").encode("latin-1"), encoding="latin-1").root.text == "é"


@pytest.mark.parametrize("named", ["gbk", "utf-16", "utf-32", "ascii", "x-unknown"])
def test_the_contract_is_not_believed_against_the_bytes(named: str) -> None:
    raw = "<a>张</a>".encode()  # three bytes: no GBK
    assert CODEC.decode(raw, encoding=named).root.text == "张"
    assert CODEC.decode(b"<a/>", encoding=named).root.text is None


def test_a_cut_character_is_not_taken_for_another_set() -> None:
    error = refusal("<a>张三李四王五赵六</a>".encode()[:-5] + b"</a>")
    assert error.code == "xml.charset"
    assert str(error) == "byte 24: the bytes are not utf-8"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"<a>\xff\xff</a>", "byte 3: the bytes are not gb18030"),
        (
            b'<?xml version="1.0" encoding="big5"?><a>\xff</a>',
            "byte 40: the bytes are not big5hkscs, declared as big5",
        ),
        (b"\xff\xfe<\x00a\x00\x00\xd8>\x00", "byte 4: the bytes are not utf-16-le"),
    ],
)
def test_bytes_of_no_set(raw: bytes, text: str) -> None:
    error = refusal(raw)
    assert (str(error), error.code) == (text, "xml.charset")
    assert error.remedy


def test_writing_in_another_set() -> None:
    document = CODEC.decode("<a>张三</a>".encode())
    assert CODEC.encode(document, encoding="GBK") == '<?xml version="1.0" encoding="GBK"?>\n<a>张三</a>'.encode("gbk")
    assert CODEC.encode(document, encoding="UTF-8") == document.raw
    wide = CODEC.encode(document, encoding="UTF-16")
    assert wide == '<?xml version="1.0" encoding="UTF-16"?>\n<a>张三</a>'.encode("utf-16")
    assert CODEC.encode(CODEC.decode(wide), encoding="utf-16") == wide


def test_characters_a_set_lacks_become_references() -> None:
    document = CODEC.decode('<a b="𠮷">镕</a>'.encode())
    written = CODEC.encode(document, encoding="GB2312")
    assert written == b'<?xml version="1.0" encoding="GB2312"?>\n<a b="&#134071;">&#38229;</a>'
    assert CODEC.decode(written).root.text == "镕"


@pytest.mark.parametrize("raw", ["<镕/>", "<a><!--镕--></a>", "<a><?p 镕?></a>", "<a><![CDATA[镕]]></a>"])
def test_characters_a_set_lacks_in_other_places(raw: str) -> None:
    with pytest.raises(CodecError, match="can't be written in gb2312") as caught:
        CODEC.encode(CODEC.decode(raw.encode()), encoding="GB2312")
    assert caught.value.code == "xml.charset"


def test_a_changed_copy_is_written_as_it_declares() -> None:
    twin = CODEC.decode(GB.format("UTF-8", "张").encode("gbk")).copy()
    twin.root.set("b", "三")
    assert CODEC.encode(twin) == '<?xml version="1.0" encoding="UTF-8"?>\n<a b="三">张</a>'.encode()
    twin = CODEC.decode(GB.format("GBK", "x").encode()).copy()
    twin.root.text = "张"
    assert CODEC.encode(twin) == '<?xml version="1.0" encoding="GBK"?>\n<a>张</a>'.encode("gbk")


@pytest.mark.parametrize("name", ["no such set", "hex", "rot13"])
def test_unknown_sets_to_write(name: str) -> None:
    with pytest.raises(CodecError) as caught:
        CODEC.encode(XmlDocument(etree.Element("a")), encoding=name)
    assert caught.value.code == "xml.charset"


# -- writing new documents -----------------------------------------------------------------------------------------------


def new_document() -> XmlDocument:
    root = etree.Element("a")
    etree.SubElement(root, "b").text = "<&>\"'\r\n\t"
    etree.SubElement(root, "c").set("d", "<&>\"'\r\n\t")
    return XmlDocument(root)


def test_escaping() -> None:
    written = CODEC.encode(new_document())
    assert written == (
        b'<?xml version="1.0" encoding="UTF-8"?>\n'
        b'<a><b>&lt;&amp;&gt;"\'&#13;\n\t</b><c d="&lt;&amp;&gt;&quot;\'&#13;&#10;&#9;"/></a>'
    )
    again = CODEC.decode(written)
    assert again.root[0].text == again.root[1].get("d") == "<&>\"'\r\n\t"


def test_lines_only_when_asked_for() -> None:
    indented = CODEC.configured(XmlOptions(indent=True))
    root = etree.Element("a")
    etree.SubElement(root, "b")
    assert indented.encode(XmlDocument(root)) == b'<?xml version="1.0" encoding="UTF-8"?>\n<a>\n  <b/>\n</a>\n'
    assert CODEC.encode(XmlDocument(root)) == b'<?xml version="1.0" encoding="UTF-8"?>\n<a><b/></a>'
    assert indented.encode(indented.decode(b"<a><b/></a>")) == b"<a><b/></a>"


@pytest.mark.parametrize("tree", [None, {}, "<a/>", b"<a/>", etree.Element("a")])
def test_other_trees_are_refused(tree: object) -> None:
    with pytest.raises(CodecError, match="an XML document is needed") as caught:
        CODEC.encode(tree)
    assert caught.value.code == "xml.type"


# -- what is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "text", "code"),
    [
        ("", "line 1 column 1: there is no XML document in it", "xml.empty"),
        (" \n ", "line 2 column 2: there is no XML document in it", "xml.empty"),
        ("MSH|^~\\&|", "line 1 column 1: there is no XML document in it", "xml.empty"),
        ("<a>\n<b></a>", "line 2 column 8: an end tag that does not fit the start tag", "xml.invalid"),
        ("<a>\n张三<b></a>", "line 2 column 10: an end tag that does not fit the start tag", "xml.invalid"),
        ("<a><b>", "line 1 column 7: the document ends before its last tag is closed", "xml.invalid"),
        ("<a/>\n<b/>", "line 2 column 1: something follows the end of the document", "xml.invalid"),
        ("<a b='1' b='2'/>", "line 1 column 15: an attribute stands twice in one tag", "xml.invalid"),
        ("<a>\x01</a>", "line 1 column 4: a character that XML does not permit", "xml.character"),
        ("<a>&#1;</a>", "line 1 column 8: a character that XML does not permit", "xml.character"),
        ("<a>&nbsp;</a>", "line 1 column 10: an entity that is not defined", "xml.entity"),
        ("<a b='&secret;'/>", "line 1 column 15: an entity that is not defined", "xml.entity"),
        ("<a>\n <xsi:b/></a>", "line 2 column 8: the namespace prefix xsi is not declared", "xml.prefix"),
        ("<a x:b='1'/>", "line 1 column 11: the namespace prefix x is not declared", "xml.prefix"),
        ("<a b=1/>", "line 1 column 6: not well-formed XML", "xml.invalid"),
        ("<a>a & b</a>", "line 1 column 7: not well-formed XML", "xml.invalid"),
    ],
)
def test_places_of_errors(raw: str, text: str, code: str) -> None:
    error = refusal(raw.encode())
    assert (str(error), error.code) == (text, code)
    gbk = refusal(GB.format("GBK", "张").encode("gbk").replace(b"</a>", b"") + raw.encode("gbk")) if raw else error
    assert gbk.code.startswith("xml.")


def test_errors_do_not_quote_the_document() -> None:
    for raw in ("<张三>", "<a>&张三;</a>", "<a 张三='1' 张三='2'/>", "<a><张三:b/></a>", "<a></张三>", "<a b='张三"):
        assert "张三" not in str(refusal(raw.encode()))


DOCTYPES = [
    ("<!DOCTYPE a><a/>", 1, 1),
    ("<?xml version='1.0'?>\n<!-- <a> -->\n  <!DOCTYPE a SYSTEM 'http://localhost/x.dtd'><a/>", 3, 3),
    ("<!DOCTYPE a PUBLIC 'x' 'file:///etc/passwd'>\n<a/>", 1, 1),
    ("<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>", 1, 1),
    ("<!DOCTYPE a [<!ENTITY % x SYSTEM 'http://localhost/x'> %x;]><a/>", 1, 1),
    (
        "<!DOCTYPE a [<!ENTITY a0 'ha'>"
        + "".join(f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 12))
        + "]><a>&a11;</a>",
        1,
        1,
    ),
]


@pytest.mark.parametrize(("raw", "line", "column"), DOCTYPES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "gb18030"])
def test_document_type_declarations_are_refused(raw: str, line: int, column: int, encoding: str) -> None:
    error = refusal(raw.encode(encoding))
    assert error.code == "xml.doctype"
    assert error.place == f"line {line} column {column}"


def test_the_word_doctype_may_stand_in_text() -> None:
    raw = b"<a><!-- <!DOCTYPE b> --><![CDATA[<!DOCTYPE html>]]></a>"
    assert "".join(CODEC.decode(raw).root.itertext()) == "<!DOCTYPE html>"


def test_nothing_is_included() -> None:
    raw = b'<a xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="file:///etc/passwd" parse="text"/></a>'
    root = CODEC.decode(raw).root
    assert root[0].text is None
    assert len(root) == 1


def deep(levels: int) -> bytes:
    return b"<a>" * levels + b"</a>" * levels


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (deep(100_000), "xml.depth"),
        (deep(257), "xml.depth"),
        (b'<a b="' + b"x" * 10_000_001 + b'"/>', "xml.size"),
        (b"<a>" + b"x" * 10_000_001 + b"</a>", "xml.size"),
        (b"<a " + b" ".join(b'a%d=""' % n for n in range(1001)) + b"/>", "xml.attributes"),
        (b"<a " + b" ".join(b'a%d=""' % n for n in range(200_000)) + b"/>", "xml.attributes"),
        (b"<a><b " + b" ".join(b'xmlns:a%d="u"' % n for n in range(1001)) + b"/></a>", "xml.attributes"),
        (b"<a>" + b"<b/>" * 2_000_001 + b"</a>", "xml.size"),
        (b"<a>" + b" " * (65 << 20) + b"</a>", "xml.size"),
        (b"<!--" * 100_000, "xml.invalid"),
        (b"<?a " * 100_000, "xml.invalid"),
        (b"<" * 100_000, "xml.invalid"),
        (b"&" * 100_000, "xml.empty"),
        (b"<a>" + b"&#" * 100_000, "xml.invalid"),
        (b"<a>" + b"]]>" * 100_000, "xml.invalid"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[:12].decode(),
)
def test_hostile_documents(raw: bytes, code: str) -> None:
    assert refusal(raw).code == code


@pytest.mark.parametrize(
    "raw",
    [
        deep(255),
        b'<a b="' + b"x" * 9_000_000 + b'"/>',
        b"<a " + b" ".join(b'a%d=""' % n for n in range(1000)) + b"/>",
        b"<a>" + b"<b c=''>=</b>" * 2000 + b"=" * 9000 + b"</a>",
        b"<a>" + b"".join(b'<b xmlns:a%d="u"/>' % n for n in range(5000)) + b"</a>",
        b"<a>" + b"<!-- = -->" * 50_000 + b"</a>",
    ],
    ids=lambda value: value[:12].decode(),
)
def test_large_documents_within_the_limits(raw: bytes) -> None:
    document = CODEC.decode(raw)
    assert CODEC.encode(document) == raw
    assert CODEC.encode(document.copy()) == raw


# -- envelopes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "kind"), [("<a/>", "a"), ('<s:Envelope xmlns:s="urn:s"/>', "Envelope"), ("<病人/>", "病人")]
)
def test_the_type_of_a_document_is_its_root(raw: str, kind: str) -> None:
    assert CODEC.envelope(CODEC.decode(raw.encode())) == (kind, "")


@pytest.mark.parametrize(
    ("raw", "envelope"),
    [
        (
            '<PRPA_IN201311UV02 xmlns="urn:hl7-org:v3"><id root="2.16.156.10011.2.5.1.1" extension=" 22a "/>'
            '<interactionId extension="PRPA_IN201314UV02 "/></PRPA_IN201311UV02>',
            ("PRPA_IN201311UV02", "22a"),
        ),
        (
            '<QUMT_IN020030UV01><id root="2.25.19"/></QUMT_IN020030UV01>',
            ("QUMT_IN020030UV01", "2.25.19"),
        ),
        (
            '<v3:PRPA_IN900300UV xmlns:v3="urn:hl7-org:v3"><v3:id><v3:item root="2.16" extension="7"/></v3:id></v3:PRPA_IN900300UV>',
            ("PRPA_IN900300UV", "7"),
        ),
        (
            '<message><interactionId extension="PRPA_IN201305UV02"/></message>',
            ("PRPA_IN201305UV02", ""),
        ),
        ("<message><id extension=''/></message>", ("message", "")),
    ],
)
def test_envelope_of_an_interaction(raw: str, envelope: tuple[str, str]) -> None:
    codec = Hl7v3Codec()
    assert codec.envelope(codec.decode(raw.encode())) == envelope


@pytest.mark.parametrize(
    ("inside", "envelope"),
    [
        ('<templateId root="1.2"/><id root="2.16" extension="D1"/><code code="C0006"/>', ("C0006", "D1")),
        ('<templateId root="1.2"/><templateId root="1.3"/><id root="uuid"/>', ("1.2", "uuid")),
        ("<code nullFlavor='NI'/>", ("ClinicalDocument", "")),
    ],
)
def test_envelope_of_a_clinical_document(inside: str, envelope: tuple[str, str]) -> None:
    codec = CdaCodec()
    for namespace in (' xmlns="urn:hl7-org:v3"', ""):
        raw = f"<ClinicalDocument{namespace}>{inside}</ClinicalDocument>"
        assert codec.envelope(codec.decode(raw.encode())) == envelope


def test_a_part_of_a_clinical_document_is_named_by_its_root() -> None:
    codec = CdaCodec()
    assert codec.envelope(codec.decode(b'<section><code code="30954-2"/></section>')) == ("section", "")
