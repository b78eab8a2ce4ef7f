"""Whole messages as people may see them, and as testers may carry them away.

Every codec has its way through the structure of its messages. What can't be read by its own codec is looked at by the form of what it contains,
and bytes that are no text are not shown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from hub.codecs.dicom import DicomCodec
from hub.codecs.fhir import FhirCodec
from hub.codecs.hl7_charset import declared_name, decode_text, decode_wide, python_name
from hub.codecs.json_codec import JsonCodec
from hub.errors import CodecError, HubError
from hub.i18n import t
from hub.privacy.fhir import treat_fhir
from hub.privacy.images import dicom_text
from hub.privacy.members import treat_json
from hub.privacy.model import Policy, View
from hub.privacy.pseudonyms import Pseudonyms
from hub.privacy.segments import treat_astm, treat_hl7
from hub.privacy.tables import treat_form, treat_multipart, treat_table
from hub.privacy.treat import Treatment

__all__ = ["MOST_SHOWN", "Shown", "hidden_values", "mask_message", "rewrite_message", "show_message"]

#: Larger messages are not shown but for those who may see everything.
MOST_SHOWN = 4 << 20
_JSON = JsonCodec()
_FHIR = FhirCodec()
_DICOM = DicomCodec()
_INNER_DEPTH = 3
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a]")
_XML_CODECS = frozenset(("xml", "cda", "hl7v3"))
_TABLES = frozenset(("csv", "fixed"))


@dataclass(frozen=True, slots=True)
class Shown:
    """A message for a screen: its text, or why there is none."""

    text: str = ""
    withheld: str = ""

    def as_dict(self) -> dict[str, str]:
        return {"text": self.text} if not self.withheld else {"withheld": self.withheld}


def show_message(policy: Policy, codec: str, raw: bytes, view: View) -> Shown:
    """What a person with this view sees of a message. Raises nothing."""
    if not view.bodies:
        return Shown(withheld=t(f"not shown to you ({len(raw)} bytes)", f"无权查看（{len(raw)} 字节）"))
    if len(raw) > MOST_SHOWN and not view.open:
        return Shown(withheld=t(f"too large to be masked ({len(raw)} bytes)", f"过大，无法脱敏显示（{len(raw)} 字节）"))
    text = mask_message(policy, codec, raw, view)
    if text is None:
        return Shown(withheld=t(f"binary, {len(raw)} bytes", f"二进制，{len(raw)} 字节"))
    return Shown(text)


def mask_message(
    policy: Policy, codec: str, raw: bytes, view: View, pseudonyms: Pseudonyms | None = None
) -> str | None:
    """The text of a message with personal data treated as a view says; None for bytes that are no text.

    ``codec`` is what the message was stored with; ``""`` when it is not known. A view with pseudonyms needs ``pseudonyms``, else their places are hidden.
    """
    if view.open:
        return _plain_text(raw)
    person = _person_of(policy, codec, raw, view, pseudonyms) if pseudonyms is not None else ""
    treatment = _treatment(policy, view, pseudonyms, person)
    try:
        shown = _by_codec(codec, raw, treatment)
    except (HubError, ValueError, RecursionError):  # not what its codec takes it for
        shown = None
    return shown if shown is not None else _by_form(raw, treatment)


def hidden_values(policy: Policy, codec: str, raw: bytes, view: View) -> dict[str, str]:
    """The values of a message that a view does not show, with what it shows. Raises nothing."""
    treatment = _treatment(policy, view, None, "")
    try:
        found = _by_codec(codec, raw, treatment)
    except (HubError, ValueError, RecursionError):
        found = None
    if found is None:
        _by_form(raw, treatment)
    return treatment.treated()


def rewrite_message(policy: Policy, codec: str, raw: bytes, view: View, pseudonyms: Pseudonyms) -> bytes:
    """The message with pseudonyms, again as its codec reads it and in its character set.

    Raises :class:`HubError` (``privacy.rewrite``) for what can't be made without personal data for sure: bytes its codec can't read, DICOM, workbooks, other binary formats.
    """
    if codec in ("dicom", "excel", "binary", "multipart", "fixed"):
        raise _not_rewritten(codec)
    person = _person_of(policy, codec, raw, view, pseudonyms)
    treatment = _treatment(policy, view, pseudonyms, person)
    try:
        if codec == "fhir" and raw.lstrip(b" \t\r\n\xef\xbb\xbf").startswith(b"<"):
            from hub.codecs.fhir_write import write_xml

            tree = treat_fhir(_FHIR.decode(raw), treatment)
            return treatment.swept(write_xml(tree, "R4")).encode("utf-8")
        if codec in _XML_CODECS:
            return _xml_bytes(raw, treatment)
        text, charset = _decoded(codec, raw)
        shown = treat_form(text, treatment, readable=False) if codec == "form" else _by_codec(codec, raw, treatment)
        if shown is not None:
            return shown.encode(charset, "xmlcharrefreplace" if codec in _XML_CODECS else "replace")
    except (CodecError, ValueError, RecursionError) as error:
        raise _not_rewritten(codec) from error
    raise _not_rewritten(codec)


def _not_rewritten(codec: str) -> HubError:
    return HubError(
        t(f"a {codec or 'binary'} message can't be anonymised", f"无法匿名化 {codec or '二进制'} 消息"),
        code="privacy.rewrite",
    )


def _treatment(policy: Policy, view: View, pseudonyms: Pseudonyms | None, person: str) -> Treatment:
    treatment = Treatment(policy, view, pseudonyms, person)
    treatment.inner = _inner
    return treatment


def _person_of(policy: Policy, codec: str, raw: bytes, view: View, pseudonyms: Pseudonyms | None) -> str:
    """What the dates of a message go by: the date of birth in it, else the first number of a person."""
    looking = _treatment(policy, view, pseudonyms, "")
    try:
        _by_codec(codec, raw, looking)
    except (HubError, ValueError, RecursionError):
        return ""
    number = looking.seen_number
    return looking.seen_birth or (number[6:14] if len(number) == 18 and number[:17].isdigit() else number)


def _inner(text: str, treatment: Treatment) -> str | None:
    """A message inside a value: JSON in JSON, XML in the CDATA of SOAP, HL7 in XML."""
    if treatment.depth >= _INNER_DEPTH:
        return "***"
    head = text.lstrip()
    codec = "json" if head[0] in "{[" else "xml" if head[0] == "<" else "hl7v2" if head.startswith("MSH") else ""
    if not codec:
        return None
    treatment.depth += 1
    try:
        return _by_codec(codec, text.encode("utf-8", "surrogatepass"), treatment)
    except (HubError, ValueError, RecursionError):
        return None
    finally:
        treatment.depth -= 1


# -- ways ----------------------------------------------------------------------------------------------------------------


def _by_codec(codec: str, raw: bytes, treatment: Treatment) -> str | None:
    if codec == "hl7v2":
        return treat_hl7(_decoded(codec, raw)[0], treatment)
    if codec == "json":
        return treatment.swept(_json_text(treat_json(_JSON.decode(raw), treatment)))
    if codec == "fhir":
        return treatment.swept(_json_text(treat_fhir(_FHIR.decode(raw), treatment)))
    if codec in _XML_CODECS:
        return _xml_bytes(raw, treatment).decode("utf-8")
    if codec == "jsonl":
        lines = raw.decode("utf-8-sig").splitlines()
        shown = [
            _json_text(treat_json(_JSON.decode(line.encode()), treatment)) if line.strip() else line for line in lines
        ]
        return treatment.swept("\n".join(shown) + "\n")
    if codec == "form":
        return treatment.swept(treat_form(_decoded(codec, raw)[0], treatment))
    if codec == "dicom":
        return treatment.swept(dicom_text(_DICOM.decode(raw), treatment))
    if codec == "excel":
        return None
    text = _text_of(raw)
    if text is None:
        return None
    if codec == "multipart":
        return treatment.swept(treat_multipart(text, treatment))
    if codec == "astm":
        return treat_astm(text, treatment)
    if codec in _TABLES:
        table = treat_table(text, treatment)
        return None if table is None else treatment.swept(table)
    return None


def _json_text(tree: Any) -> str:
    return _JSON.encode(tree).decode("utf-8")


def _xml_bytes(raw: bytes, treatment: Treatment) -> bytes:
    from lxml import etree

    from hub.codecs.xml_charset import to_utf8
    from hub.codecs.xml_parse import parse
    from hub.privacy.elements import treat_xml

    root = parse(to_utf8(raw, "").data)
    treat_xml(root, treatment)
    text = etree.tostring(root.getroottree(), encoding="unicode")
    names = {str(one.tag).rpartition("}")[2] for one in root.iter() if isinstance(one.tag, str)}
    treatment.spread = {
        value: shown for value, shown in treatment.spread.items() if not any(value in name for name in names)
    }
    return treatment.swept(text).encode("utf-8")


def _by_form(raw: bytes, treatment: Treatment) -> str | None:
    """What nobody could read: by what begins like, else by the form of what it contains."""
    text = _text_of(raw)
    if text is None:
        return None
    for codec in _likely(text):
        try:
            shown = _by_codec(codec, raw, treatment)
        except (HubError, ValueError, RecursionError):
            continue
        if shown is not None:
            return shown
    return treatment.swept(_torn(text, treatment))


_WORD = re.compile(r"[^\s,;|^~&=:\"'<>()\[\]{}\\/，。；：、（）“”]+")
_KEYED = re.compile(
    r"""["']?([A-Za-z_\u4e00-\u9fff][\w-]{1,40})["']?\s{0,3}[=:：>]\s{0,3}(["']?)([^"'<>,;&|\r\n]{1,200})"""
)


def _torn(text: str, treatment: Treatment) -> str:
    """Text without structure, or with a broken one: what stands behind a known name, what has a form, what looks like a name."""

    def keyed(found: re.Match[str]) -> str:
        kind = treatment.policy.class_of_key(found[1])
        if not kind:
            return found[0]
        value = found[3].rstrip()
        return found[0][: found.start(3) - found.start()] + treatment.value(kind, value) + found[3][len(value) :]

    text = treatment.plain(_KEYED.sub(keyed, text))
    return _WORD.sub(lambda found: treatment.loose(found[0]) if len(found[0]) <= 4 else found[0], text)


def _likely(text: str) -> list[str]:
    head = text[:64].lstrip("\ufeff \t\r\n\x0b")
    if head.startswith(("MSH", "FHS", "BHS")):
        return ["hl7v2"]
    if head.startswith(("{", "[")):
        return ["json", "jsonl"]
    if head.startswith("<"):
        return ["xml"]
    return []


# -- bytes ---------------------------------------------------------------------------------------------------------------


def _decoded(codec: str, raw: bytes) -> tuple[str, str]:
    if codec != "hl7v2":
        return decode_text(raw, "")
    charset = python_name(declared_name(raw))
    wide = decode_wide(raw, charset)
    return wide if wide is not None else decode_text(raw, charset)


def _text_of(raw: bytes) -> str | None:
    """The text of bytes that are text."""
    wide = decode_wide(raw, "")
    if wide is not None:
        return wide[0]
    text, charset = decode_text(raw, "")
    sample = text[:4096]
    if (charset == "iso8859-1" and raw) or len(_CONTROLS.findall(sample)) * 50 > len(sample) or "\x00" in sample[:512]:
        return None
    return text


def _plain_text(raw: bytes) -> str | None:
    return _text_of(raw)
