"""Any document that can be built comes back the same; any bytes are read or refused."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from hub.codecs.hl7v3 import CdaCodec, Hl7v3Codec
from hub.codecs.xml_codec import XmlCodec, XmlDocument
from hub.errors import CodecError

CODEC = XmlCodec()
NAMES = st.sampled_from(["a", "b", "c-d", "e.f", "_g", "病人", "{urn:x}a", "{urn:y}b", "{urn:hl7-org:v3}id"])
TEXTS = st.text(
    st.one_of(
        st.sampled_from("<>&\"'\t\n\r ]张镕𠮷é"),
        st.characters(
            exclude_categories=["Cs"],
            exclude_characters="".join(map(chr, (*range(9), 11, 12, *range(14, 32), 0xFFFE, 0xFFFF))),
        ),
    ),
    max_size=12,
)
ATTRIBUTES = st.dictionaries(NAMES, TEXTS, max_size=3)


@st.composite
def elements(draw: st.DrawFn) -> etree._Element:
    root = etree.Element(draw(NAMES), draw(ATTRIBUTES))
    fill(draw, root, 3)
    return root


def fill(draw: st.DrawFn, element: etree._Element, depth: int) -> None:
    element.text = draw(TEXTS)
    for _ in range(draw(st.integers(0, 3)) if depth else 0):
        kind = draw(st.sampled_from(["element", "element", "comment", "instruction"]))
        if kind == "element":
            fill(draw, etree.SubElement(element, draw(NAMES), draw(ATTRIBUTES)), depth - 1)
        elif kind == "comment":
            element.append(etree.Comment(draw(st.sampled_from([" c ", "<a>&", "张"]))))
        else:
            element.append(etree.ProcessingInstruction("p", draw(st.sampled_from(["x", 'a="1"']))))
        element[-1].tail = draw(TEXTS)


def content(element: etree._Element) -> tuple[object, ...]:
    return (
        str(element.tag),
        sorted(element.attrib.items()),
        element.text or "",
        [(content(child), child.tail or "") for child in element],
    )


@settings(max_examples=150, deadline=None)
@given(elements(), st.sampled_from(["", "UTF-8", "GB18030", "UTF-16", "GBK", "GB2312"]))
def test_what_is_built_comes_back(root: etree._Element, encoding: str) -> None:
    written, refused = b"", ""
    try:
        written = CODEC.encode(XmlDocument(root), encoding=encoding)
    except CodecError as error:
        refused = error.code
    if refused:
        assert refused == "xml.charset"
        assert encoding in ("GBK", "GB2312")
        return
    document = CODEC.decode(written)
    assert content(document.root) == content(root)
    assert CODEC.encode(document) == written
    assert CODEC.encode(document.copy()) == written


FRAGMENTS = st.sampled_from(
    [b"<", b">", b"</a>", b"<a>", b"<a b='", b"'", b"<!--", b"-->", b"<![CDATA[", b"]]>", b"<?xml version='1.0' encoding='",
     b"?>", b"GBK", b"utf-16", b"UTF-8", b"&#", b";", b"&amp;", b"xmlns:x='u'", b"x:", b"\xff\xfe", b"\xef\xbb\xbf", b"\x00",
     b"<!DOCTYPE a [", b"\xd5\xc5", "张".encode(), b" ", b"\n"]
)  # fmt: skip
BYTES = st.one_of(
    st.binary(max_size=60),
    st.lists(st.one_of(FRAGMENTS, st.binary(max_size=3)), max_size=12).map(b"".join),
    st.tuples(st.just(b"<a>"), st.lists(FRAGMENTS, max_size=8).map(b"".join), st.just(b"</a>")).map(b"".join),
)


@settings(max_examples=400, deadline=None)
@given(BYTES, st.sampled_from(["", "gbk", "utf-16", "utf-32-be", "latin-1", "idna", "nonsense"]))
def test_any_bytes_are_read_or_refused(raw: bytes, encoding: str) -> None:
    for codec in (XmlCodec(), Hl7v3Codec(), CdaCodec()):
        document = None
        with contextlib.suppress(CodecError):
            document = codec.decode(raw, encoding=encoding)
        if document is None:
            continue
        assert codec.encode(document) == raw
        codec.envelope(document)
        for name in ("GB2312", "utf-16", "UTF-8"):
            with contextlib.suppress(CodecError):
                written = codec.encode(document, encoding=name)
                assert content(codec.decode(written, encoding=name).root) == content(document.root)
