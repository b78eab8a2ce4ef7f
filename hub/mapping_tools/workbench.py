"""The mappings of a deployment with everything it takes to run one by hand."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from hub.codecs.base import Codec
from hub.codecs.options import configure
from hub.config import LoadedConfig
from hub.errors import HubError, MappingError, Problem
from hub.i18n import t
from hub.ids import parse_id
from hub.mapping import CompiledMapping, Context, MappingLibrary
from hub.mapping.document import Document
from hub.mapping.formats import XML_CODECS
from hub.mapping.runtime import CHINA
from hub.mapping_tools.places import outline_places, places_of
from hub.mapping_tools.scope import Evaluator, Expressions
from hub.mapping_tools.walk import Walk
from hub.mapping_tools.walk_dicom import DicomWalk
from hub.mapping_tools.walk_hl7 import Hl7Walk
from hub.mapping_tools.walk_plain import PlainWalk
from hub.mapping_tools.walk_xml import XmlWalk
from hub.message import Message
from hub.registry import Registry
from hub.validation import did_you_mean
from hub.yaml_source import KeyPath, key_text, load

__all__ = ["MAX_INPUT", "Circumstances", "Input", "Workbench", "instant", "open_workbench"]

#: Largest input file, bytes.
MAX_INPUT = 64 << 20
#: The id of the message a mapping sees when none is said: 0000100000000.
MESSAGE_ID = 1 << 40
TESTS_SUFFIX = ".tests.yaml"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a mapping can see besides the source. Times are microseconds since the epoch, UTC; 0 stands for now."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)
    now_us: int = 0
    message_id: int = MESSAGE_ID
    source: str = ""
    type: str = ""  # "": the codec's
    control_id: str = ""  # "": the codec's
    received_at: int = 0
    correlation: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Input:
    """A decoded input with the context it is mapped in."""

    name: str
    tree: Any
    context: Context


def instant(text: str) -> int:
    """Microseconds since the epoch of an ISO 8601 time; without offset it is Beijing time. Raises :class:`HubError`."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise HubError(
            t(f"{text!r} is not a time", f"{text!r} 不是时间"),
            code="time.invalid",
            remedy=t("write e.g. 2026-11-20T08:12:00+08:00", "例如 2026-11-20T08:12:00+08:00"),
        ) from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=CHINA)
    return round(found.timestamp() * 1_000_000)


def message_id(text: str) -> int:
    """The number of an id of 13 characters; raises :class:`HubError`."""
    try:
        return parse_id(text)
    except ValueError as error:
        raise HubError(
            t(str(error), f"{text!r} 不是 13 个字符的编号"), code="id.invalid", remedy="0000100000000"
        ) from None


class _Options:
    """Where options come from that are written in no contract."""

    def problem(self, text: str, path: KeyPath = (), *, remedy: str = "", severity: str = "error") -> Problem:
        return Problem(text, key=key_text(path), remedy=remedy, severity=severity)


class Workbench:
    """``library`` and ``codecs`` are of the deployment; ``problems`` are those of its plugins."""

    def __init__(
        self, library: MappingLibrary, codecs: Mapping[str, Codec], folders: list[Path], problems: list[Problem]
    ) -> None:
        self.library = library
        self.codecs = codecs
        self.folders = folders
        self.problems = problems
        self._expressions: dict[str, Expressions] = {}

    # -- names and files -----------------------------------------------------------------------------------------

    def chosen(self, names: list[str]) -> list[str]:
        """The names of mappings: those asked for, or all; raises :class:`MappingError` for one nobody knows."""
        known = self.library.names()
        for name in names:
            if name not in known:
                raise MappingError(
                    t(f"there is no mapping {name!r}", f"没有映射 {name!r}"),
                    code="mapping.missing",
                    remedy=did_you_mean(name, known),
                )
        return names or known

    def document(self, name: str) -> Document:
        """A mapping that compiles, as written; raises :class:`MappingError` for one that doesn't."""
        self.library.get(name)
        document = self.library.document(name)
        assert document is not None  # noqa: S101 - it has just been compiled
        return document

    def parts(self, name: str) -> tuple[CompiledMapping, ...]:
        """What a mapping runs, one after the other: its steps, or itself; raises :class:`MappingError` when it has errors."""
        mapping = self.library.get(name)
        return mapping.parts or (mapping,)

    def tests_of(self, name: str) -> Path | None:
        """The file with the tests of a mapping; None when it has none."""
        document = self.library.document(name)
        if document is None:
            return None
        file = Path(document.file).with_suffix(TESTS_SUFFIX)
        return file if file.is_file() else None

    def stray_tests(self) -> list[Path]:
        """Files of tests that belong to no mapping."""
        found = [path for folder in self.folders for path in sorted(folder.glob(f"**/*{TESTS_SUFFIX}"))]
        return [path for path in found if not path.with_name(path.name.replace(TESTS_SUFFIX, ".yaml")).is_file()]

    def problems_of(self, names: list[str]) -> list[Problem]:
        """Everything that is wrong with these mappings, or with all mappings and code tables when none are named."""
        found = self.library.problems(names or None)
        for name in self.chosen(names):
            document = self.library.document(name)
            if document is not None:
                found += [p for p in self._codec_problems(document) if p not in found]
        return found

    def _codec_problems(self, document: Document) -> list[Problem]:
        problems = []
        for key, codec in (("from", document.source_codec), ("to", document.target_codec)):
            if codec and codec not in self.codecs:
                try:
                    line = load(document.file).line((key, "codec"))
                except HubError:
                    line = 1
                text = t(f"unknown codec {codec!r}", f"未知的编解码器 {codec!r}")
                problems.append(Problem(text, document.file, line, f"{key}.codec", did_you_mean(codec, self.codecs)))
        return problems

    # -- running -------------------------------------------------------------------------------------------------

    def codec(self, name: str, options: Mapping[str, Any] | None = None) -> Codec:
        """A codec with the options an interface would give it (``format``); raises :class:`HubError`."""
        codec = self.codecs.get(name)
        if codec is None:
            raise HubError(
                t(f"unknown codec {name!r}", f"未知的编解码器 {name!r}"),
                code="codec.missing",
                remedy=did_you_mean(name, self.codecs),
            )
        problems: list[Problem] = []
        found = configure(codec, options or {}, _Options(), problems)
        if found is None:
            told = "; ".join(f"{problem.key}: {problem.text}" if problem.key else problem.text for problem in problems)
            raise HubError(
                t(f"options of codec {name}: {told}", f"编解码器 {name} 的选项：{told}"),
                code="codec.options",
                remedy=problems[0].remedy,
            )
        return found

    def input(
        self,
        mapping: CompiledMapping,
        raw: bytes,
        around: Circumstances,
        *,
        encoding: str = "",
        options: Mapping[str, Any] | None = None,
        name: str = "",
    ) -> Input:
        """Decode an input for a mapping, ``options`` being those of its codec; raises :class:`HubError`."""
        if len(raw) > MAX_INPUT:
            raise HubError(t(f"larger than {MAX_INPUT >> 20} MB", f"超过 {MAX_INPUT >> 20} MB"), code="input.size")
        codec = self.codec(mapping.source_codec, options)
        tree = codec.decode(raw, encoding=encoding)
        kind, number = codec.envelope(tree)
        now = around.now_us or time.time_ns() // 1000
        message = Message(
            id=around.message_id,
            received_at=around.received_at or now,
            source=around.source,
            type=around.type or kind,
            control_id=around.control_id or number,
            raw=raw,
            keys=dict(around.keys),
            codec=codec.name,
            correlation=around.correlation,
        )
        context = Context(around.settings, message, now, around.variables)
        # A lookup whose condition does not hold finds nothing, whoever asks.
        nothing = {
            lookup.name: None
            for lookup in mapping.lookups
            if lookup.name not in context.variables and not lookup.ask(tree, context)
        }
        return Input(name, tree, replace(context, variables={**around.variables, **nothing}) if nothing else context)

    def outputs(self, mapping: CompiledMapping, given: Input, options: Mapping[str, Any] | None = None) -> list[bytes]:
        """Run a mapping and write what it makes as it would be sent; raises :class:`HubError`."""
        codec = self.codec(mapping.target_codec, options)
        return [codec.encode(output) for output in mapping.run(given.tree, given.context)]

    # -- looking inside ------------------------------------------------------------------------------------------

    def expressions(self, document: Document) -> Expressions:
        found = self._expressions.get(document.name)
        if found is None:
            gathered = self.library.gathered(document)
            namespaces: dict[str, str] = {}
            for part in reversed(gathered.documents):
                namespaces |= part.source_namespaces
            found = self._expressions[document.name] = Expressions(
                document.source_codec,
                {**self.library.functions, **gathered.functions},
                self.library.table,
                namespaces=namespaces,
                empty_absent=document.empty_absent,
            )
        return found

    def walk(self, document: Document, given: Input | None) -> Walk:
        """A finished walk through a mapping, with an input or without; raises :class:`HubError`."""
        expressions = self.expressions(document)
        evaluator = Evaluator(expressions, given.tree, given.context) if given is not None else None
        codec = document.source_codec
        places = places_of(codec, given.tree) if given is not None else outline_places(codec)
        kind: type[Walk] = PlainWalk
        if document.target_codec == "hl7v2":
            kind = Hl7Walk
        elif document.target_codec in XML_CODECS:
            kind = XmlWalk
        elif document.target_codec == "dicom":
            kind = DicomWalk
        walk = kind(document, self.library.document, places, evaluator, expressions.parse)
        walk.run()
        return walk


def open_workbench(loaded: LoadedConfig) -> Workbench:
    """The mappings a configuration names, with the codecs and functions of its plugins."""
    registry = Registry.discover(loaded.plugin_folders)
    folders = [folder for folder in loaded.mapping_folders if folder.is_dir()]
    library = MappingLibrary(folders, registry.functions)
    return Workbench(library, registry.codecs, folders, registry.problems)
