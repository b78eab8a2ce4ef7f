"""Makes the validators of an interface from what its declaration says: names of schema files, and whether to check the standard.

Everything is compiled when the configuration is loaded, and every fault is reported with its file and line then: it takes 1 to 2 ms a schema.
Validators are shared by all who name the same file with the same content, and what it refers to.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from hub.errors import ConfigError, Problem
from hub.i18n import t
from hub.mapping.formats import XML_CODECS
from hub.validators.report import Validator
from hub.validators.schema_files import Reference, SchemaFiles, Source, UnreadableError, gather

__all__ = ["STANDARDS", "load"]

#: Codecs whose standard the hub can check.
STANDARDS = ("dicom", "fhir", "hl7v2")
_LIBRARIES = {"hl7v2": "hl7apy", "fhir": "fhir.resources"}
#: Codecs whose trees no JSON Schema can describe.
_NOT_PLAIN = frozenset({*XML_CODECS, "hl7v2", "dicom"})


class _Kind(NamedTuple):
    """How schema files with a suffix are read and compiled; their module is loaded when the first one comes."""

    module: str
    references: str
    compile: str


_KINDS = {
    ".json": _Kind("json_schema", "json_references", "compile_json"),
    ".xsd": _Kind("xsd", "xsd_references", "compile_xsd"),
    ".sch": _Kind("schematron", "schematron_references", "compile_schematron"),
}
_lock = threading.Lock()
_compiled: weakref.WeakValueDictionary[bytes, Any] = weakref.WeakValueDictionary()
_warnings: weakref.WeakKeyDictionary[Any, list[Problem]] = weakref.WeakKeyDictionary()


def load(
    folders: Sequence[Path],
    codec: str,
    format: Mapping[str, Any] | None = None,
    *,
    schemas: Sequence[str] = (),
    standard: bool = False,
) -> tuple[list[Validator], list[Problem]]:
    """The validators in the order declared, the standard's last, and everything that is wrong with them.

    ``schemas``: names below ``folders``, whose suffix tells their kind. ``codec`` and ``format``: of the interface; ``version`` in the latter
    is that of FHIR. ``standard`` gives nothing for a codec that is not in :data:`STANDARDS`. A schema with an error has no validator. Problems
    of the declaration itself name no file: whoever reads it knows the line.
    """
    files = SchemaFiles(folders)
    validators: list[Validator] = []
    problems: list[Problem] = []
    for name in schemas:
        found, wrong = _schema(name, files, codec)
        problems += wrong
        if found is not None:
            validators.append(found)
    if standard and codec in STANDARDS:
        try:
            validators.append(_standard(codec, str((format or {}).get("version", "R4")) if codec == "fhir" else ""))
        except ImportError as error:
            library = _LIBRARIES.get(codec, error.name or "")
            text = t(
                f"the check of {codec} needs {library}, which is not installed",
                f"校验 {codec} 需要 {library}，但未安装",
            )
            problems.append(Problem(text, remedy=f"pip install {library}"))
    return validators, problems


def _schema(name: str, files: SchemaFiles, codec: str) -> tuple[Validator | None, list[Problem]]:
    suffix = Path(name).suffix.lower()
    kind = _KINDS.get(suffix)
    if kind is None:
        text = t(f"{name}: the kind of schema is told by its suffix", f"{name}：schema 的种类由后缀决定")
        return None, [Problem(text, remedy=t("use .json, .xsd or .sch", "请使用 .json、.xsd 或 .sch"))]
    if (codec in _NOT_PLAIN) if suffix == ".json" else (codec not in XML_CODECS):
        text = t(f"{name} can't check messages of codec {codec}", f"{name} 不能用于校验 {codec} 报文")
        remedy = t(
            ".xsd and .sch are for xml, hl7v3 and cda, .json for JSON, FHIR and records",
            ".xsd、.sch 用于 xml、hl7v3、cda，.json 用于 JSON、FHIR 和记录",
        )
        return None, [Problem(text, remedy=remedy)]
    try:
        main = Source(name, *files.read(name))
    except UnreadableError as error:
        remedy = t("the name is relative to the schema folders", "文件名相对于 schema 目录")
        return None, [Problem(str(error), remedy=remedy)]
    module: Any = importlib.import_module(f"hub.validators.{kind.module}")
    references: Callable[[Source], Iterable[Reference]] = getattr(module, kind.references)
    try:
        sources, wrong = gather(main, files, references)
    except ConfigError as error:
        return None, error.problems
    if wrong:
        return None, wrong
    digest = hashlib.sha256()
    for source in sources:
        digest.update(b"%d %d %s" % (len(source.name.encode()), len(source.raw), source.name.encode()))
        digest.update(source.raw)
    with _lock:
        validator = _compiled.get(digest.digest())
        if validator is None:
            validator, wrong = getattr(module, kind.compile)(sources)
            if validator is None:
                return None, wrong
            validator.stamp = f"{name}@{digest.hexdigest()[:12]}"
            _compiled[digest.digest()] = validator
            _warnings[validator] = wrong
    return validator, list(_warnings.get(validator, ()))


@cache
def _standard(codec: str, version: str) -> Validator:
    """The validator of a codec's standard; ``ImportError``: its library is not installed."""
    module, name = {
        "hl7v2": ("hl7_conformance", "Hl7Validator"),
        "fhir": ("fhir_models", "FhirValidator"),
        "dicom": ("dicom_iod", "DicomValidator"),
    }[codec]
    made: Any = getattr(importlib.import_module(f"hub.validators.{module}"), name)
    validator: Validator = made(version) if codec == "fhir" else made()
    library = _LIBRARIES.get(codec)
    stamped: Any = validator
    stamped.stamp = f"{validator.name} ({library} {importlib.metadata.version(library)})" if library else validator.name
    return validator
