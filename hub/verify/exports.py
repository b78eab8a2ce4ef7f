"""A report for programs: JSON, and JUnit XML as build servers read it."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import orjson

from hub.verify.catalogue import CHECKS
from hub.verify.levels import level_of
from hub.verify.model import PluginReport, Report, Status

__all__ = ["as_dict", "as_json", "as_junit"]


def as_dict(report: Report) -> dict[str, Any]:
    """The whole report. Keys are stable."""
    return {
        "ok": report.ok,
        "at": report.at,
        "seconds": round(report.seconds, 3),
        "counts": {str(status): count for status, count in report.counts().items()},
        "checks": [{"id": c.id, "level": c.level, "title": c.title, "proves": c.proves} for c in CHECKS],
        "not_loaded": dict(report.not_loaded),
        "plugins": [_plugin(plugin) for plugin in report],
    }


def _plugin(plugin: PluginReport) -> dict[str, Any]:
    return {
        "id": plugin.plugin,
        "name": plugin.name,
        "group": plugin.group,
        "version": plugin.version,
        "assumed": plugin.assumed,
        "digest": plugin.digest,
        "level": level_of(plugin),
        "seconds": round(plugin.seconds, 3),
        "interfaces": plugin.interfaces,
        "checks": {c.id: str(status) for c in CHECKS if (status := plugin.status(c.id)) is not None},
        "results": [result.as_dict() for result in plugin.results],
    }


def as_json(report: Report) -> bytes:
    return orjson.dumps(as_dict(report), option=orjson.OPT_INDENT_2)


def as_junit(report: Report) -> bytes:
    """A ``testsuite`` for each plugin, a ``testcase`` for each result."""
    root = ElementTree.Element("testsuites", name="hub verify", time=f"{report.seconds:.3f}")
    for plugin in report:
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=plugin.plugin,
            timestamp=report.at,
            tests=str(len(plugin.results)),
            failures=str(len(plugin.failed)),
            skipped=str(len(plugin.open)),
            time=f"{plugin.seconds:.3f}",
        )
        for result in plugin.results:
            name = f"{result.check} {result.place}".strip()
            case = ElementTree.SubElement(
                suite, "testcase", classname=f"contracts.{plugin.plugin}", name=_xml(name), time=f"{result.seconds:.3f}"
            )
            told = _xml(f"{result.why}{' -> ' + result.remedy if result.remedy else ''}")
            if result.status is Status.FAILED:
                ElementTree.SubElement(case, "failure", message=told)
            elif result.status is not Status.PASSED:
                ElementTree.SubElement(case, "skipped", message=told)
    for name, why in report.not_loaded.items():
        suite = ElementTree.SubElement(root, "testsuite", name=name, tests="1", failures="0", errors="1", skipped="0")
        case = ElementTree.SubElement(suite, "testcase", classname=f"contracts.{name}", name="manifest")
        ElementTree.SubElement(case, "error", message=_xml(why))
    written: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return written


def _xml(text: str) -> str:
    """Without the characters XML 1.0 has no place for."""
    return "".join(char for char in text if char in "\t\n\r" or (char >= " " and char not in "\ufffe\uffff"))
