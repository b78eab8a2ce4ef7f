"""Messages to send through an interface: from the tests of its mapping, its examples, or ``verify.yaml``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from hub.contract import Interface
from hub.errors import HubError
from hub.i18n import t
from hub.mapping import CompiledMapping
from hub.mapping_tools.cases import load_tests
from hub.mapping_tools.testing import raw_input_of
from hub.mapping_tools.workbench import Circumstances, Workbench
from hub.plugin_mappings import mappings_of
from hub.router import type_matcher
from hub.verify.declared import GivenMessage
from hub.verify.site import Subject, VerifySite

__all__ = ["Sample", "answer_for", "sample_of", "tested_settings"]

#: Types of settings the simulated party decides.
_PARTYS = frozenset(("url", "host", "port", "secret"))
#: Cases of a mapping's tests that are tried before giving up.
_TRIED = 60
_TEMPLATE = re.compile(r"\{([a-z][a-z0-9_]*)\}")
#: Business keys by which messages are kept in order: sources give them, mapping tests seldom do.
_KEY = re.compile(r"\$message\.keys\.(\w+)")
#: Parts of ``connect`` whose templates are filled from business keys.
_FILLED = ("url", "path", "query", "headers", "name", "folder", "to", "subject")


@dataclass(frozen=True, slots=True)
class Sample:
    """A message as a source system would send it. ``name`` says where it is from."""

    name: str
    raw: bytes = field(repr=False)
    codec: str
    type: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)
    format: Mapping[str, Any] = field(default_factory=dict)
    encoding: str = ""


def sample_of(site: VerifySite, subject: Subject, name: str, settings: Mapping[str, Any]) -> Sample | str:
    """A message that interface ``name`` takes and its mapping can map with these settings; else why there is none."""
    interface = subject.plugin.contract.interfaces[name]
    finder = _Finder(site, subject, name, interface, settings)
    why = t("no mapping test and no example gives a message", "映射测试与示例均未给出可用消息")
    for sample in finder.candidates():
        told = finder.unusable(sample)
        if not told:
            return sample
        why = f"{sample.name}: {told}"
    return why


class _Finder:
    def __init__(
        self, site: VerifySite, subject: Subject, name: str, interface: Interface, settings: Mapping[str, Any]
    ) -> None:
        self._bench: Workbench = site.bench
        self._subject = subject
        self._name = name
        self._interface = interface
        declared = subject.plugin.contract.settings
        self._settings = {key: setting.default for key, setting in declared.items()} | dict(settings)
        self._mapping: CompiledMapping | None = None
        if interface.mapping and "${" not in interface.mapping:
            with suppress(HubError):
                self._mapping = self._bench.library.get(interface.mapping)
        self._fits = type_matcher(interface.accepts)
        self._exact = [kind for kind in interface.accepts if "*" not in kind]
        connect = {key: value for key, value in interface.connect.items() if key in _FILLED}
        self._names = sorted(
            set(_TEMPLATE.findall(str(connect).replace("${", "$$")))
            - ({"token"} if interface.connect.get("auth") else set())
            | set(_KEY.findall(interface.order_by or ""))
        )

    # -- candidates ----------------------------------------------------------------------------------------------

    def candidates(self) -> Iterator[Sample]:
        given = self._subject.declared.messages.get(self._name)
        if given is not None and (given.file or given.body is not None or given.codec):
            yield self._given(given)
            return
        found = [*self._cases(), *self._examples()]
        for sample in sorted(found, key=lambda sample: not self._names_it(sample)):
            yield sample if given is None else replace(sample, keys={**sample.keys, **given.keys})
        if self._mapping is None and not self._interface.examples and self._interface.codec == "json":
            yield self._filled(Sample(t("an empty object", "空对象"), b"{}", "json", self._first_type()))

    def _given(self, given: GivenMessage) -> Sample:
        codec = given.codec or (self._mapping.source_codec if self._mapping else "") or self._interface.codec
        if given.file:
            raw = (self._subject.plugin.folder / given.file).read_bytes()
        elif isinstance(given.body, str):
            raw = given.body.encode()
        else:
            raw = self._bench.codec(codec).encode({} if given.body is None else given.body)
        sample = Sample("verify.yaml", raw, codec, given.type, given.keys)
        return self._filled(self._typed(sample))

    def _cases(self) -> Iterator[Sample]:
        mapping = self._mapping
        file = self._bench.tests_of(mapping.name) if mapping is not None else None
        if mapping is None or file is None:
            return
        tests = load_tests(file)
        for case in tests.cases[:_TRIED]:
            if case.error is not None or case.count == 0:
                continue
            try:
                raw, encoding = raw_input_of(self._bench, mapping, tests, case)
            except HubError:
                continue
            around = tests.circumstances(case)
            form = tests.input_format(case)
            name = f"{file.name}: {case.name}"
            sample = Sample(name, raw, mapping.source_codec, around.type, around.keys, form, encoding)
            sample = self._ours(sample, str(around.variables.get("target", "")).partition("/")[0])
            yield self._filled(self._typed(sample))

    def _examples(self) -> Iterator[Sample]:
        interface = self._interface
        codec = self._mapping.source_codec if self._mapping is not None else interface.codec
        form = interface.format if codec == interface.codec and "${" not in str(interface.format) else {}
        for example in interface.examples:
            try:
                raw = (self._subject.plugin.folder / example).read_bytes()
            except OSError:
                continue
            yield self._filled(self._typed(Sample(example, raw, codec, format=form)))

    def _ours(self, sample: Sample, system: str) -> Sample:
        """A message about the system a test is for, made one about the tested system."""
        if not system or system == self._subject.id:
            return sample
        with suppress(HubError):
            codec = self._bench.codec(sample.codec, sample.format)
            tree = codec.decode(sample.raw, encoding=sample.encoding)
            if isinstance(tree, dict | list):
                renamed = _replaced(tree, system, self._subject.id)
                return replace(sample, raw=codec.encode(renamed, encoding=sample.encoding))
        return sample

    # -- completing ----------------------------------------------------------------------------------------------

    def _typed(self, sample: Sample) -> Sample:
        """With the type the interface accepts: the sample's, one its codec reads, one the message names, or the only one."""
        if sample.type and self._fits(sample.type):
            return sample
        tree: Any = None
        with suppress(HubError):
            codec = self._bench.codec(sample.codec, sample.format)
            tree = codec.decode(sample.raw, encoding=sample.encoding)
            kind = codec.envelope(tree)[0]
            if kind and self._fits(kind):
                return replace(sample, type=kind)
        named = {str(leaf) for leaf in _leaves(tree)} & set(self._exact)
        return replace(sample, type=min(named) if named else self._first_type())

    def _first_type(self) -> str:
        return self._exact[0] if self._exact else self._interface.accepts[0].replace("*", "verify")

    def _filled(self, sample: Sample) -> Sample:
        """With a value for each business key the address or the order needs."""
        missing = {name: f"V{number}" for number, name in enumerate(self._names, 1) if name not in sample.keys}
        return replace(sample, keys={**sample.keys, **missing}) if missing else sample

    # -- choosing ------------------------------------------------------------------------------------------------

    def _names_it(self, sample: Sample) -> bool:
        """Whether the message itself names the type the interface takes; prefers it where a mapping serves many types."""
        if sample.type and not self._exact:
            return True
        with suppress(HubError):
            codec = self._bench.codec(sample.codec, sample.format)
            tree = codec.decode(sample.raw, encoding=sample.encoding)
            return codec.envelope(tree)[0] in self._exact or any(str(x) in self._exact for x in _leaves(tree))
        return False

    def unusable(self, sample: Sample) -> str:
        """Why the message can't be sent, "" where it can, or where only the running hub can tell."""
        mapping = self._mapping
        if not self._fits(sample.type):
            return t(f"type {sample.type!r} is not accepted", f"接口不接收类型 {sample.type!r}")
        if mapping is None or mapping.lookups or any(part.lookups for part in mapping.parts):
            return ""
        around = Circumstances(
            settings=self._settings,
            variables={"target": f"{self._subject.id}/{self._name}"},
            type=sample.type,
            keys=sample.keys,
        )
        try:
            given = self._bench.input(
                mapping, sample.raw, around, encoding=sample.encoding, options=sample.format, name=sample.name
            )
            found = mapping.run(given.tree, given.context)
        except HubError as error:
            return error.text
        return "" if len(found) == 1 else t(f"makes {len(found)} targets", f"产生 {len(found)} 个目标")


def tested_settings(site: VerifySite, subject: Subject) -> dict[str, Any]:
    """Settings under which the messages of mapping tests mean something: those the tests give, and those of ``verify.yaml``.

    Addresses and secrets are left to the simulated party.
    """
    declared = subject.plugin.contract.settings
    found: dict[str, Any] = {}
    for interface in subject.plugin.contract.interfaces.values():
        for name in mappings_of(interface):
            with suppress(HubError):
                file = site.bench.tests_of(name)
                given = load_tests(file).defaults.settings if file is not None else {}
                for key, value in given.items():
                    if key in declared and declared[key].type not in _PARTYS and key not in found:
                        found[key] = value
    return found | subject.declared.settings


def answer_for(site: VerifySite, interface: Interface) -> bytes:
    """What a target would answer to an interface in request style: an input of the tests of its ``reply_mapping``."""
    bench = site.bench
    with suppress(HubError):
        mapping = bench.library.get(interface.reply_mapping) if interface.reply_mapping else None
        file = bench.tests_of(mapping.name) if mapping is not None else None
        if mapping is not None and file is not None:
            tests = load_tests(file)
            for case in tests.cases:
                if case.error is None:
                    return raw_input_of(bench, mapping, tests, case)[0]
    return b"{}" if interface.codec == "json" else b""


def _replaced(tree: Any, old: str, new: str) -> Any:
    if isinstance(tree, dict):
        return {key: _replaced(value, old, new) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_replaced(value, old, new) for value in tree]
    return new if tree == old else tree


def _leaves(tree: Any) -> Iterator[Any]:
    if isinstance(tree, dict):
        for value in tree.values():
            yield from _leaves(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _leaves(value)
    elif isinstance(tree, str | int):
        yield tree
