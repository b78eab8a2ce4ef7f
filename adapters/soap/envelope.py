"""Reading an envelope, and writing one."""

from __future__ import annotations

from dataclasses import dataclass

from lxml import etree

from adapters.soap.fault import FaultRefusal
from adapters.soap.names import Version, local, namespace
from hub.api import CodecError
from hub.codecs.xml_charset import to_utf8
from hub.codecs.xml_parse import parse
from hub.masking import mask_text

__all__ = ["NEXT", "Envelope", "envelope_bytes", "read_envelope"]

_VERSIONS = {version.value: version for version in Version}
#: Who a header block is meant for, when it is meant for us (SOAP 1.1, 4.2.2; SOAP 1.2 part 1, 2.2).
NEXT = frozenset(
    (
        "",
        "http://schemas.xmlsoap.org/soap/actor/next",
        "http://www.w3.org/2003/05/soap-envelope/role/next",
        "http://www.w3.org/2003/05/soap-envelope/role/ultimateReceiver",
    )
)
#: Most header blocks of an envelope, and most parameters of an operation.
_MOST_CHILDREN = 1000


@dataclass(slots=True)
class Envelope:
    """An envelope as it was read; ``operation`` is the first element of the body, none where the body is empty."""

    version: Version
    root: etree._Element
    header: etree._Element | None
    body: etree._Element
    operation: etree._Element | None

    def blocks(self) -> list[etree._Element]:
        """Header blocks meant for us."""
        if self.header is None:
            return []
        role = f"{{{self.version.value}}}{'actor' if self.version is Version.V11 else 'role'}"
        found = [block for block in self.header.iterchildren(etree.Element) if (block.get(role) or "").strip() in NEXT]
        return found[:_MOST_CHILDREN]

    def must_understand(self, understood: frozenset[str]) -> None:
        """Raise the MustUnderstand fault for header blocks that insist on what we don't do.

        ``understood``: ``{namespace}name`` of blocks that are dealt with, or ``{namespace}*``.
        """
        flag = f"{{{self.version.value}}}mustUnderstand"
        missed = [
            str(block.tag)
            for block in self.blocks()
            if (block.get(flag) or "").strip() in ("1", "true")
            and not {str(block.tag), f"{{{namespace(str(block.tag))}}}*"} & understood
        ]
        if missed:
            names = ", ".join(mask_text(local(tag)[:60]) for tag in missed[:5])
            raise FaultRefusal(
                "must_understand",
                "soap.must_understand",
                (f"header blocks that are not understood: {names}", f"无法处理的必须理解头块：{names}"),
                (
                    "send them without mustUnderstand, or have them named in listen.understands",
                    "请去掉 mustUnderstand，或将其列入 listen.understands",
                ),
                status=500,
                blocks=missed[:20],
            )


def read_envelope(data: bytes, charset: str) -> Envelope:
    """An envelope of either version; raises :class:`FaultRefusal` for anything else.

    ``charset``: that of the transport (RFC 7303: it goes before the declaration), where the bytes fit it.
    """
    try:
        root = parse(to_utf8(data, charset).data)
    except CodecError as error:
        raise _malformed(error.code, (error.text, error.text), (error.remedy, error.remedy)) from None
    if local(str(root.tag)) != "Envelope":
        raise _malformed(
            "soap.envelope",
            ("the document is not a SOAP envelope", "该文档不是 SOAP 信封"),
        )
    version = _VERSIONS.get(namespace(str(root.tag)))
    if version is None:
        raise FaultRefusal(
            "version",
            "soap.version",
            ("the envelope has a namespace of neither SOAP 1.1 nor 1.2", "信封的命名空间既非 SOAP 1.1 也非 1.2"),
            (f"use {Version.V11.value} or {Version.V12.value}", f"请使用 {Version.V11.value} 或 {Version.V12.value}"),
            status=500,
        )
    space = f"{{{version.value}}}"
    header = body = None
    for child in root.iterchildren(etree.Element):
        if child.tag == f"{space}Header" and header is None and body is None:
            header = child
        elif child.tag == f"{space}Body" and body is None:
            body = child
        elif version is Version.V12 or namespace(str(child.tag)) == version.value:
            raise _malformed(
                "soap.envelope",
                (
                    "the envelope holds more than one Header and one Body",
                    "信封中除一个 Header 与一个 Body 外还有其他元素",
                ),
            )
    if body is None:
        raise _malformed("soap.envelope", ("the envelope has no Body", "信封中没有 Body"))
    return Envelope(version, root, header, body, next(body.iterchildren(etree.Element), None))


def envelope_bytes(version: Version, body: str, header: str = "") -> bytes:
    """An envelope in UTF-8 with the prefix ``soap``; ``body`` and ``header`` are the contents of these elements."""
    if header:
        header = f"<soap:Header>{header}</soap:Header>"
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<soap:Envelope xmlns:soap="{version.value}">{header}<soap:Body>{body}</soap:Body></soap:Envelope>'
    ).encode()


def _malformed(code: str, text: tuple[str, str], remedy: tuple[str, str] = ("", "")) -> FaultRefusal:
    return FaultRefusal("client", code, text, remedy)
