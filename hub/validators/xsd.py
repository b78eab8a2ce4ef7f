"""Checks XML documents against XML Schema 1.0, by libxml2.

The tree of the codec is checked as it is: parsing the bytes a second time would take longer than the check and find the same lines. An error log belongs
to the compiled schema and not to the call, so that two threads must never use the same one: each check takes one from a pool.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from lxml import etree

from hub.errors import ConfigError, Problem
from hub.i18n import t
from hub.mapping import Context
from hub.validators.findings import Findings, not_checked
from hub.validators.report import Finding, Severity
from hub.validators.schema_files import Reference, Source, uri_of
from hub.validators.xml_places import element_at, line_of, more_elements, place_of
from hub.validators.xsd_words import attribute_of, finding_of
from hub.validators.xsd_words import name_of as element_name

__all__ = ["MAX_PLACED", "XsdValidator", "compile_xsd", "parse_schema", "xsd_references"]

#: Larger documents are checked without places: libxml2 counts the siblings before every wrong element, 22 s for 100,000.
MAX_PLACED = 10_000
#: What libxml2 says of a key whose value it has already found wrong.
_ECHO = "Warning: No precomputed value available"
_XS = "{http://www.w3.org/2001/XMLSchema}"
_OPTIONS: dict[str, Any] = {
    "resolve_entities": False,
    "load_dtd": False,
    "no_network": True,
    "huge_tree": False,
    "remove_comments": False,
}


class XsdValidator:
    """See :class:`hub.validators.report.Validator`."""

    slow = False
    stamp = ""

    def __init__(self, name: str, sources: Sequence[Source]) -> None:
        """Raises :class:`ConfigError` for what is no schema."""
        self.name = name
        self._sources = tuple(sources)
        self._pool: deque[etree.XMLSchema] = deque([_compiled(self._sources)])

    def check(self, raw: bytes, tree: Any, context: Context) -> list[Finding]:
        root = getattr(tree, "root", None)
        if not isinstance(root, etree._Element):
            return [not_checked("xsd", t("this is no XML document", "不是 XML 文档"))]
        try:
            schema = self._pool.pop()
        except IndexError:
            try:
                schema = _compiled(self._sources)
            except (ConfigError, OSError):
                return [not_checked("xsd", t("there is no room for its schema", "没有空间编译 schema"))]
        try:
            return _check(schema, root, raw)
        except etree.LxmlError:
            return [not_checked("xsd", t("the library gave up on it", "校验库无法处理"))]
        finally:
            self._pool.append(schema)


def _check(schema: etree.XMLSchema, root: etree._Element, raw: bytes) -> list[Finding]:
    findings = Findings("xsd")
    if more_elements(root, MAX_PLACED, raw):
        entries = _streamed(schema, root)
        if entries:
            text = t(f"more than {MAX_PLACED} elements: no lines", f"元素超过 {MAX_PLACED} 个，不含行号")
            findings.add(Finding("xsd.no_places", text, severity=Severity.WARNING))
    elif schema.validate(root.getroottree()):
        return []
    else:
        entries = list(cast(Any, schema.error_log))
    for entry in entries:
        if _ECHO in entry.message:
            continue
        attribute = attribute_of(entry)
        element = element_at(root, entry.path) if entry.path else None
        if element is not None:
            place = place_of(element, attribute)
        else:
            name = element_name(entry)
            place = f"{name}/@{attribute}" if attribute else name
        if not findings.add(finding_of(entry, place)):
            break
    return findings.found


def _streamed(schema: etree.XMLSchema, root: etree._Element) -> list[Any]:
    """The first hundred errors, found while the document is parsed again: the cost grows with its size only."""
    parser = etree.XMLParser(schema=schema, encoding="utf-8", **_OPTIONS)
    try:
        etree.fromstring(etree.tostring(root, encoding="utf-8", with_tail=False), parser)
    except etree.XMLSyntaxError:
        return list(cast(Any, parser.error_log))  # that of the error holds those of other documents, too
    return []


# -- loading -------------------------------------------------------------------------------------------------------------


def parse_schema(source: Source, place: str = "") -> etree._Element:
    """The root of a schema file in XML; ``place``: where it says it is. Raises :class:`ConfigError`."""
    try:
        root = etree.fromstring(source.raw, etree.XMLParser(**_OPTIONS), base_url=place or uri_of(source.name))
    except (etree.LxmlError, ValueError) as error:
        line = getattr(error, "lineno", 0) or 0
        said = (getattr(error, "msg", "") or str(error)).partition(", line")[0]
        text = t(f"not well-formed XML: {said}", f"XML 格式有误：{said}")
        raise ConfigError([Problem(text, str(source.path), line, remedy=t("correct the file", "请更正文件"))]) from None
    if root.getroottree().docinfo.internalDTD is not None:
        text = t("a document type declaration (DOCTYPE) is not accepted", "不接受文档类型声明（DOCTYPE）")
        remedy = t("remove it; write out what its entities stand for", "请删除；将其实体写成内容")
        raise ConfigError([Problem(text, str(source.path), 1, remedy=remedy)])
    return root


def xsd_references(source: Source) -> Iterator[Reference]:
    """The files a schema includes and imports. Raises :class:`ConfigError` when it is not an XML schema."""
    root = parse_schema(source)
    if root.tag != f"{_XS}schema":
        text = t("not an XML schema: the root is not xs:schema", "不是 XML Schema：根元素不是 xs:schema")
        raise ConfigError([Problem(text, str(source.path), line_of(root))])
    for element in root.iterchildren(f"{_XS}include", f"{_XS}import", f"{_XS}redefine"):
        location = element.get("schemaLocation")
        if location:
            key = etree.QName(element).localname
            yield Reference(location, partial(_place, line_of(element), f"xs:{key}"))


def _place(line: int, key: str) -> tuple[int, str]:
    return line, key


def _compiled(sources: Sequence[Source]) -> etree.XMLSchema:
    """libxml2 reads what a schema includes by itself. It gets copies in a folder of their own: the folders of schemas are several, and lxml's
    way to hand files over breaks when another thread parses at that moment.
    """
    if len(sources) == 1:
        return _compiled_in(sources, "")
    with tempfile.TemporaryDirectory(prefix="hub-xsd-") as folder:
        for source in sources:
            path = Path(folder, source.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(source.raw)
        return _compiled_in(sources, folder)


def _compiled_in(sources: Sequence[Source], folder: str) -> etree.XMLSchema:
    paths = {str(Path(folder, source.name)): str(source.path) for source in sources}
    main = sources[0]
    try:
        return etree.XMLSchema(parse_schema(main, str(Path(folder, main.name)) if folder else ""))
    except etree.XMLSchemaParseError as error:
        problems = []
        for entry in cast(Any, error.error_log):
            said = entry.message[:300]
            text = t(f"not a valid XML schema: {said}", f"不是有效的 XML Schema：{said}")
            file = paths.get(entry.filename or "", str(main.path))
            problems.append(Problem(text, file, entry.line))
        raise ConfigError(problems or [Problem(str(error)[:300], str(main.path))]) from None


def compile_xsd(sources: Sequence[Source]) -> tuple[XsdValidator | None, list[Problem]]:
    """The validator of the first of the sources, the others being all it refers to, and what is wrong with it."""
    try:
        return XsdValidator(sources[0].name, sources), []
    except ConfigError as error:
        return None, error.problems
