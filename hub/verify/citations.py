"""What counts as a citation: a text beside a field says where the field is from, and not only what it is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

__all__ = ["Citations"]

#: A line of a document of the requirements (``004:10440``), and a page of the web that is no example.
_PLACES = re.compile(
    r"(?<![\d:.])0\d{2}:\d{1,5}(?![\d:])"
    r"|https?://(?!(?:[\w-]+\.)*example\b|localhost|127\.|json-schema\.org)[\w-]+\.[\w.-]+"
)
#: Standards by number or by the one name everybody knows them by; a DICOM tag is a line of PS3.6.
_STANDARDS = re.compile(
    r"(?<![A-Za-z_])(?:"
    r"(?:GB|WS|YD|JT|GM|GA|YY|YZ|SJ|HJ|CJ|LD|SF|MZ|YB|DB\s?\d{2,4})(?:/[TZ])?\s?-?\d{2,}"
    r"|(?:RFC|ISO(?:/IEC)?|IEEE|ANSI|ECMA|ITU-T|ASTM|3GPP(?:\sTS)?|NIST(?:\sSP)?|FIPS|PKCS)\s?#?[A-Z]{0,2}\s?\d+"
    r"|PS3\.\d+|HL7|FHIR|CMPP|SMPP|SGIP|SMGP|OAuth\s?[12]|CAS\sProtocol|OpenID\sConnect|WS-Security"
    r"|(?:ITI|RAD|PCC|LAB|QRPH)-\d+|LOINC|SNOMED|ICD-\d+"
    r")(?![A-Za-z])|\([0-9A-Fa-f]{4},[0-9A-Fa-f]{4}\)"
)
#: They say how a value is written, not where a field is from.
_FORMS = re.compile(r"ISO\s?8601|RFC\s?(?:3339|4648|2045|8259|4122)")
_SEGMENTS = (
    "MSH|MSA|ERR|EVN|PID|PD1|NK1|PV1|PV2|MRG|AL1|DG1|PR1|IN1|IN2|GT1|ORC|OBR|OBX|NTE|SPM|TQ1|RXO|RXE|RXD|RXA|RXR|FT1|"
    "SCH|RGS|AIS|AIG|AIL|AIP|TXA|QRD|QRF|QPD|RCP|QAK|DSC|ZDS|IPC|STF|MFI|MFE"
)
#: A clause: of what the contract names under ``sources``. A field of HL7 v2 (``PID-5.1``) is one.
_CLAUSES = re.compile(
    r"(?<![A-Za-z])(?:(?i:sections?|clauses?|chapters?|tables?|annex(?:es)?|appendix)\s|§\s?)(?:\d|[A-Z]\b)"
    r"|第\s?[\d一二三四五六七八九十百.]+\s?[章节条款]|(?:附录|附件|附表|表)\s?[A-Z\d一二三四五六七八九十]"
    rf"|(?<![A-Za-z])(?:{_SEGMENTS})-\d+(?:\.\d+)*(?![\w-])"
)
#: Words that say what kind of thing a source is: its name is what stands before.
_KINDS = re.compile(
    r"(?:\s*(?:公开|接口)?(?:文档|说明|documentation|documents?|docs|reference|manual|white\s?paper))+$", re.IGNORECASE
)
_ENDS = re.compile(r"[:：;；,，、(（\[【]")
_TITLES = re.compile(r"《([^《》]{4,})》")
#: Names of documents, operations, tables and programs a source lists: WLHY_YD1001, alipay.trade.query, WccyClient.php.
_NAMES = re.compile(
    r"(?<![\w.])(?:[A-Z][A-Z0-9]*_[A-Z0-9_]+|[a-z]+(?:\.[a-z]+){2,}"
    r"|[A-Z]\w+\.(?:php|java|cs|js|py|go|wsdl|xsd)|[A-Z][a-z]+[A-Z]\w+)(?![\w.])",
    re.ASCII,
)
#: Shorter names are words that may stand anywhere; a Chinese character counts twice.
_SHORTEST = 8


class Citations:
    """``sources``: of the contract; what is named there may be cited by its name."""

    def __init__(self, sources: Iterable[str]) -> None:
        texts = list(sources)
        self._names = sorted({_plain(name) for text in texts for name in _names(text)})
        self._clauses = bool(texts)

    def cites(self, *texts: object) -> bool:
        """Whether one of the texts names a source."""
        return any(self._one(text) for text in texts if isinstance(text, str))

    def _one(self, text: str) -> bool:
        text = _FORMS.sub("", text)
        if _PLACES.search(text) or _STANDARDS.search(text) or (self._clauses and _CLAUSES.search(text)):
            return True
        plain = _plain(text)
        return any(name in plain for name in self._names)


def _names(source: str) -> Iterator[str]:
    """By which names a source may be cited."""
    yield source
    yield from _TITLES.findall(source)
    yield from _NAMES.findall(source)
    name = _KINDS.sub("", _ENDS.split(source, maxsplit=1)[0].strip())
    if sum(1 if char.isascii() else 2 for char in name) >= _SHORTEST:
        yield name


def _plain(text: str) -> str:
    """Letters and digits alone: how a name is spaced and written in capitals does not matter."""
    return "".join(char for char in text.casefold() if char.isalnum())
