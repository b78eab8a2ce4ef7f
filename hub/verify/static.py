"""Checks that look at a plugin's files: nothing is called."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hub.api import Codec
from hub.checking.load import make_slow
from hub.codecs.options import configure
from hub.contract import Interface
from hub.errors import Problem
from hub.i18n import t
from hub.mapping import Context
from hub.plugin_mappings import mappings_of, untested
from hub.quality import QualityValidator
from hub.validators.report import Severity, Validator
from hub.validators.schema_files import SchemaFiles
from hub.verify.citations import Citations
from hub.verify.citing import Rulebook, bodyless
from hub.verify.citing_schema import uncited_fields
from hub.verify.evidence import Evidence
from hub.verify.model import Result, Status
from hub.verify.proving import Proven
from hub.verify.site import Subject, VerifySite

__all__ = ["WITH_CODES", "sending", "static_checks"]

#: Adapters whose replies carry codes of the other party's business, so that an error table says what they mean.
WITH_CODES = frozenset(("http", "soap"))
#: Letters in each language below which notes are none.
_NOTES_EN, _NOTES_ZH = 120, 60
#: The adapter of what the other party answered to a call: nobody sends it.
_ANSWERED = "results"
_MAX_TEXT = 1 << 20
#: Checks that ask for something to be there; what is there is not wrong.
_WANTED = frozenset(("coverage", "error_table", "retry", "notes", "sources"))
#: Fields without a source that are named.
_NAMED = 8
#: Formats that are a standard with fields of its own, and how sources name it.
_STANDARDS = {"hl7v2": "HL7", "fhir": "FHIR", "dicom": "DICOM"}

#: A finding: the place, what is wrong or missing ("" for nothing), how to mend it.
Finding = tuple[str, str, str]


def static_checks(site: VerifySite, subject: Subject, proven: Mapping[str, Proven]) -> list[Result]:
    """Everything that files can show; ``proven``: what tests named as proof said, by their names."""
    judge = _Judge(site, subject)
    evidence = Evidence(site, subject, proven)
    asks: tuple[tuple[str, Callable[[], Iterable[Finding]]], ...] = (
        ("manifest", judge.manifest),
        ("examples", judge.examples),
        ("mappings", lambda: judge.mappings(site.proofs.tested)),
        ("coverage", lambda: judge.mappings(site.proofs.covered)),
        ("error_table", judge.error_table),
        ("retry", judge.retry),
        ("notes", judge.notes),
        ("sources", judge.sources),
    )
    results: list[Result] = []
    for check, ask in asks:
        begun = time.perf_counter()
        found = list(ask())
        each = (time.perf_counter() - begun) / max(len(found), 1)
        for place, why, remedy in found:
            results.append(Result(check, _status(check, why), place, why, remedy, each))
    return results + evidence.results()


def _status(check: str, why: str) -> Status:
    if not why:
        return Status.PASSED
    missing = (
        check in _WANTED
        or (check == "mappings" and why == untested())
        or (check == "examples" and why == _no_example())
    )
    return Status.MISSING if missing else Status.FAILED


class _Judge:
    def __init__(self, site: VerifySite, subject: Subject) -> None:
        self._site = site
        self._subject = subject
        self._plugin = subject.plugin
        self._interfaces = subject.plugin.contract.interfaces
        self._schemas = SchemaFiles(site.loaded.schema_folders)

    # -- bronze --------------------------------------------------------------------------------------------------

    def manifest(self) -> Iterator[Finding]:
        wrong = [p for p in self._subject.problems if p.severity == "error" and not _of_example(p)]
        for problem in wrong:
            yield problem.key, problem.text, problem.remedy
        if not wrong:
            yield "", "", ""

    def examples(self) -> Iterator[Finding]:
        """What an interface receives has an example, and neither its schemas nor the format's own check find an error in it.

        Rule sets are not asked: what they look at may be settings of a system, or other messages.
        """
        unreadable = [problem for problem in self._subject.problems if _of_example(problem)]
        for problem in unreadable:
            yield problem.key, problem.text, problem.remedy
        for name, interface in () if unreadable else self._interfaces.items():
            if interface.direction == "in" and not interface.examples and interface.adapter != _ANSWERED:
                yield (
                    name,
                    _no_example(),
                    t("add a message as it comes, under examples:", "请在 examples: 下添加一条真实格式的消息"),
                )
            elif interface.examples:
                yield name, "; ".join(dict.fromkeys(self._wrong_examples(name, interface))), ""

    def _wrong_examples(self, name: str, interface: Interface) -> Iterator[str]:
        codec = self._codec(interface)
        if codec is None:
            return
        for example in interface.examples:
            raw = (self._plugin.folder / example).read_bytes()
            tree = codec.decode(raw, encoding=interface.encoding if "${" not in interface.encoding else "")
            for validator in self._validators(name, codec):
                found = validator.check(raw, tree, Context(now_us=time.time_ns() // 1000))
                if any(finding.severity is Severity.ERROR for finding in found):
                    yield t(f"{example} fails {validator.name}", f"{example} 未通过 {validator.name}")

    def _validators(self, name: str, codec: Codec) -> list[Validator]:
        interface = self._interfaces[name]
        origin = self._plugin.document.place("interfaces", name)
        checks = self._site.deployment.check_library().checks(name, interface, codec, origin, [])
        if checks is None:
            return []
        slow = make_slow(checks.slow.body).validators if checks.slow is not None else ()
        return [validator for validator in (*checks.fast, *slow) if not isinstance(validator, QualityValidator)]

    def _codec(self, interface: Interface) -> Codec | None:
        """The codec with its options; None where they are not known without a system, or wrong."""
        codec = self._site.registry.codecs.get(interface.codec)
        if codec is None or "${" in str(interface.format):
            return None
        return configure(codec, interface.format, _Nowhere(), [])

    def mappings(self, ask: Callable[[str], str]) -> Iterator[Finding]:
        names = [name for interface in self._interfaces.values() for name in mappings_of(interface)]
        for name in dict.fromkeys(names):
            yield name, ask(name), ""

    # -- silver --------------------------------------------------------------------------------------------------

    def error_table(self) -> Iterator[Finding]:
        text = t("no error table", "没有错误码表")
        remedy = t("list the codes of the answer under errors:", "请在 errors: 下列出应答码")
        for name, one in sending(self._subject):
            if one.adapter in WITH_CODES:
                yield name, "" if one.errors else text, "" if one.errors else remedy

    def retry(self) -> Iterator[Finding]:
        text = t("does not say how it is retried", "未写明重试策略")
        remedy = t("write retry: {attempts: 3, interval: 5s}", "请写 retry: {attempts: 3, interval: 5s}")
        for name, one in sending(self._subject):
            yield (name, text, remedy) if one.retry is None else (name, "", "")

    def notes(self) -> Iterator[Finding]:
        text = _text(self._plugin.folder / "README.md")
        if "<!-- hub new plugin:" in text:
            text = ""  # nobody has written them yet
        # What a profile says of all its plugins need not be said again for each.
        text += "".join(_text(profile.folder / "README.md") for profile in self._plugin.profiles)
        english = "operator" in text.lower() and len(re.findall(r"[A-Za-z]", text)) >= _NOTES_EN
        chinese = "运维" in text and len(re.findall(r"[\u4e00-\u9fff]", text)) >= _NOTES_ZH
        missing = [
            word for word, there in ((t("English", "英文"), english), (t("Chinese", "中文"), chinese)) if not there
        ]
        why = ""
        if missing:
            en = f"README.md has no operator notes in {' and '.join(missing)}"
            why = t(en, f"README.md 缺少{'、'.join(missing)}运维须知")
        yield "README.md", why, ""

    # -- gold ----------------------------------------------------------------------------------------------------

    def sources(self) -> Iterator[Finding]:
        """Of the contract, and of the fields: each cites what it is taken from, or a group it is in does, or the whole schema or mapping."""
        cited = bool(self._plugin.contract.sources)
        yield "", "" if cited else t("no sources are cited", "未注明来源"), "" if cited else "sources: […]"
        citations = Citations(self._plugin.contract.sources)
        rules = Rulebook(self._site.mappings.document, citations)
        for name, interface in self._interfaces.items():
            adapter = self._site.registry.adapters.get(interface.adapter)
            if adapter is not None and adapter.alone:
                continue  # between parts of the hub: no other party says what its fields are
            schemas = interface.validation.schemas if interface.validation is not None else []
            if schemas:
                wrong = [self._uncited(one, uncited_fields(one, self._schemas, citations)) for one in schemas]
            elif bodyless(interface) or self._of_standard(interface):
                wrong = []
            else:
                made = self._made(name, interface)
                wrong = (
                    [self._uncited(made, rules.uncited(made))]
                    if made
                    else [
                        t(
                            "neither a schema nor notes in its mapping say what its fields are and where they are from",
                            "既无 schema 也无映射注释说明字段及其出处",
                        )
                    ]
                )
            why = "; ".join(filter(None, wrong))
            yield name, why, _cite() if why else ""

    @staticmethod
    def _uncited(file: str, fields: list[str] | None) -> str:
        if fields is None:
            return t(f"{file}: its fields can't be read", f"{file}：无法读取其字段")
        if not fields:
            return ""
        named = ", ".join(fields[:_NAMED]) + (f" +{len(fields) - _NAMED}" if len(fields) > _NAMED else "")
        return t(f"{file}: no source is cited for {named}", f"{file}：未注明出处的字段：{named}")

    def _of_standard(self, interface: Interface) -> bool:
        """Whether messages are held against the standard their format is, and the contract names which: its fields are the standard's."""
        rule, word = interface.validation, _STANDARDS.get(interface.codec)
        if rule is None or word is None or rule.mode == "off":
            return False
        held = not rule.quality if rule.standard is None else rule.standard
        return held and any(word in source for source in self._plugin.contract.sources)

    def _made(self, name: str, interface: Interface) -> str:
        """The mapping that makes the content, whose page for sign-off shows its notes; "" where there is none."""
        made = interface.mapping or interface.reply_mapping
        for other in self._interfaces.values():
            if other.results is not None and other.results.to == name:
                made = made or other.results.mapping
        return made if made and "${" not in made else ""


class _Nowhere:
    """Where options come from whose problems :func:`hub.check.plugin_problems` tells."""

    def problem(self, text: str, path: Any = (), *, remedy: str = "", severity: str = "error") -> Problem:
        return Problem(text, remedy=remedy, severity=severity)


def sending(subject: Subject) -> Iterator[tuple[str, Interface]]:
    return ((name, one) for name, one in subject.plugin.contract.interfaces.items() if one.direction == "out")


def _cite() -> str:
    return t(
        "write where it is from beside the field, its group or all of them: a document line, a standard with its clause, an address, "
        "or what the contract has under sources: by its name",
        "请在字段、所在分组或整个文件处注明出处：文档行号、标准及条款、网址，或契约 sources: 中的名称",
    )


def _no_example() -> str:
    return t("no example", "没有示例")


def _of_example(problem: Problem) -> bool:
    return ".examples" in problem.key


def _raw(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(_MAX_TEXT)
    except OSError:
        return b""


def _text(file: Path) -> str:
    return _raw(file).decode("utf-8", "replace")
